#!/usr/bin/python3
"""Stands for snapd and the snap store, which has one snap: microk8s. Its answers, oddities and exit codes are the real one's."""
from __future__ import annotations

import argparse
import grp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

import setup

HOME = Path("/var/snap/microk8s")
STATE = HOME / "snap.json"
CURRENT = HOME / "current"
COMMAND = Path("/snap/bin/microk8s")

# What the store has: the version that each channel says, although the programs are the same, and the revision.
CHANNELS = {
    "1.28/stable": ("v1.28.15", 7449),
    "1.34/stable": ("v1.34.9", 8701),
    "1.35/stable": ("v1.35.4", 8802),
    "1.36/stable": ("v1.36.1", 8888),
    "1.36/candidate": ("v1.36.2", 8911),
}

# The first that exists is read at the install, in the place of the default.
LAUNCH_CONFIGURATIONS = (Path("/etc/microk8s.yaml"), Path("/root/snap/microk8s/common/.microk8s.yaml"), HOME / "common/.microk8s.yaml")
DEFAULT = {"version": "0.1.0", "addons": [{"name": "dns"}]}

API_ARGUMENTS = {"--authorization-mode": "AlwaysAllow", "--secure-port": "16443"}
CNI = {"IPv4_SUPPORT": "true", "IPv4_CLUSTER_CIDR": "10.1.0.0/16", "IPv4_SERVICE_CIDR": "10.152.183.0/24", "IPv6_SUPPORT": "false"}


class Refused(Exception):
    """What the real one says on stderr before it ends with 1."""


def state() -> dict | None:
    return json.loads(STATE.read_text()) if STATE.exists() else None


def save(values: dict) -> None:
    STATE.write_text(json.dumps(values))


def main(given: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="snap")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, action in ("list", show), ("install", install), ("refresh", refresh):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("name", nargs="?" if name == "list" else None)
        command.add_argument("--channel")
        for flag in "--classic", "--hold", "--unhold":
            command.add_argument(flag, action="store_true")
    options = parser.parse_args(given)
    if options.command != "list" and os.geteuid():
        raise Refused("error: access denied (try with sudo)")
    if options.command == "install" and options.name != "microk8s":
        raise Refused(f'error: snap "{options.name}" not found')
    options.action(options)


def show(options: argparse.Namespace) -> None:
    found = state()
    if found is None and not options.name:
        print("No snaps are installed yet. Try 'snap install hello-world'.", file=sys.stderr)
        return
    if found is None or options.name not in (None, "microk8s"):
        raise Refused("error: no matching snaps installed")
    rows = (("Name", "Version", "Rev", "Tracking", "Publisher", "Notes"),
            ("microk8s", found["version"], str(found["revision"]), found["channel"], "canonical**", "classic,held" if found["held"] else "classic"))
    widths = [max(map(len, column)) + 2 for column in zip(*rows)]
    for row in rows:
        print("".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def offered(channel: str | None) -> tuple[str, str, int]:
    """The channel as it is tracked, its version and revision."""
    full = channel or "1.36/stable"
    full = full if "/" in full else f"{full}/stable"
    if full not in CHANNELS:
        have = "\n".join(f"    snap install --channel={name} microk8s" for name in CHANNELS)
        raise Refused(f'error: snap "microk8s" is not available on {full} but is available to install on the\n'
                      f"       following channels:\n\n{have}")
    return full, *CHANNELS[full]


def install(options: argparse.Namespace) -> None:
    if state():
        print("snap \"microk8s\" is already installed, see 'snap help refresh'", file=sys.stderr)
        return
    channel, number, revision = offered(options.channel)
    if not options.classic:
        raise Refused('error: This revision of snap "microk8s" was published using classic confinement and thus may\n'
                      "       perform arbitrary system changes outside of the security sandbox that snaps are usually\n"
                      "       confined to, which may put your system at risk.\n\n"
                      "       If you understand and want to proceed repeat the command including --classic.")
    file = next((path for path in LAUNCH_CONFIGURATIONS if path.exists()), None)
    try:
        launch = parsed(file.read_text()) if file else DEFAULT
    except (ValueError, yaml.YAMLError) as error:
        raise Refused('error: cannot perform the following tasks:\n- Run install hook of "microk8s" snap if present (run hook "install": \n-----\n'
                      f"Error: failed to parse config file: {error}\n-----)") from None
    data = HOME / str(revision)
    for directory in HOME / "common", data / "args", data / "credentials", data / "var/lock", COMMAND.parent:
        directory.mkdir(parents=True, exist_ok=True)
    CURRENT.unlink(missing_ok=True)
    CURRENT.symlink_to(str(revision))
    (data / "var/lock/ha-cluster").touch()
    cni = {**CNI, **launch.get("extraCNIEnv", {})}
    (data / "args/cni-env").write_text("".join(f"{name}={value}\n" for name, value in cni.items()))
    wanted = setup.install(launch.get("extraSANs", []), families(cni))
    wanted["kube-apiserver"] |= {**API_ARGUMENTS, **launch.get("extraKubeAPIServerArgs", {})}
    for program, arguments in wanted.items():
        (data / "args" / program).write_text("".join(f"{name}={value}\n" for name, value in arguments.items() if value is not None))
    credentials = data / "credentials/client.config"
    shutil.copy(setup.KUBERNETES / "super-admin.conf", credentials)
    subprocess.run(["groupadd", "--force", "--system", "microk8s"], check=True)
    os.chown(credentials, 0, grp.getgrnam("microk8s").gr_gid)
    credentials.chmod(0o660)
    if not COMMAND.exists():
        COMMAND.symlink_to(setup.LIB / "microk8s.py")
    save({"channel": channel, "version": number, "revision": revision, "held": False})
    # As the real one: the API answers some time after the install has ended, and add-ons come after that.
    subprocess.run(["systemctl", "enable", "--quiet", "--now", "--no-block", "kubernetes.target"], check=True)
    names = [each["name"] for each in launch.get("addons", []) if not each.get("disable")]
    if names:
        script = " && ".join([f"{COMMAND} status --wait-ready >/dev/null", *(f"{COMMAND} enable {name}" for name in names)])
        subprocess.run(["systemd-run", "--quiet", "--unit=microk8s-launch", "--collect", "sh", "-c", script], check=True)
    print(f"microk8s ({channel}) {number} from Canonical** installed")


def families(cni: dict) -> list[setup.Family]:
    """Those of the launch configuration; of them, the machine may be told to leave one out (testbed/create.yml), as no MicroK8s does."""
    machine = os.environ.get("TESTBED_IP_FAMILIES", "IPv4,IPv6").split(",")
    return [family for name, family in setup.FAMILIES.items() if name in machine and cni.get(f"{name}_SUPPORT") == "true"]


def parsed(text: str) -> dict:
    """A launch configuration. Raises ValueError where the real one would not take it; what it does not know, it only warns of."""
    launch = yaml.safe_load(text)
    if not isinstance(launch, dict):
        raise ValueError("could not parse configuration: it is no mapping")
    if launch.get("version") not in ("0.1.0", "0.2.0"):
        raise ValueError(f"could not parse config file version {launch.get('version')!r}")
    for name in "extraSANs", "addons":
        if not isinstance(launch.get(name, []), list):
            raise ValueError(f"could not parse configuration: cannot unmarshal {name} into a list")
    if not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in launch.get("addons", [])):
        raise ValueError("could not parse configuration: cannot unmarshal addons")
    for name in "extraCNIEnv", "extraKubeAPIServerArgs", "extraKubeletArgs":
        if not isinstance(launch.get(name, {}), dict):
            raise ValueError(f"could not parse configuration: cannot unmarshal {name} into a mapping")
    return launch


def refresh(options: argparse.Namespace) -> None:
    found = state()
    if found is None or options.name != "microk8s":
        raise Refused(f'error: snap "{options.name}" is not installed')
    if options.hold or options.unhold:
        save({**found, "held": options.hold})
        print('General refreshes of "microk8s" held indefinitely' if options.hold else 'Removed general refresh hold of "microk8s"')
        return
    channel, number, revision = offered(options.channel or found["channel"])
    if (channel, revision) == (found["channel"], found["revision"]):
        print('snap "microk8s" has no updates available', file=sys.stderr)
        return
    if revision != found["revision"]:
        subprocess.run(["cp", "--archive", "--no-target-directory", CURRENT.resolve(), HOME / str(revision)], check=True)
        CURRENT.unlink()
        CURRENT.symlink_to(str(revision))
        subprocess.run(["systemctl", "restart", "--no-block", "kube-apiserver.service", "kubelet.service"], check=True)
    save({**found, "channel": channel, "version": number, "revision": revision})
    print(f"microk8s ({channel}) {number} from Canonical** refreshed")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refused as refused:
        sys.exit(str(refused))
