#!/usr/bin/python3
"""Stands for MicroK8s's own command, in front of the node's Kubernetes: its answers, oddities and exit codes are the real one's."""
from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from string import Template

DATA = Path("/var/snap/microk8s/current")
CREDENTIALS = DATA / "credentials/client.config"
STOPPED = DATA / "var/lock/stopped.lock"
WORKER = DATA / "var/lock/clustered.lock"
HIGHLY_AVAILABLE = DATA / "var/lock/ha-cluster"
API_ARGUMENTS = DATA / "args/kube-apiserver"
MANIFESTS = Path("/usr/local/share/testbed/addons")

KUBECTL = ("kubectl", f"--kubeconfig={CREDENTIALS}")
INSPECT = "microk8s is not running. Use microk8s inspect for a deeper inspection."
START = "microk8s is not running, try microk8s start"

# Add-ons by release, as (version, description, what exists where it is enabled). Those without a manifest of their own
# are a Deployment of that name which does nothing.
BOTH = {
    "cert-manager": ("1.20.2", "Cloud native certificate management", "pod/cert-manager"),
    "dns": ("1.13.1", "CoreDNS", "pod/coredns"),
    "hostpath-storage": ("1.5.0", "Storage class; allocates storage from host directory", "pod/hostpath-provisioner"),
    "observability": ("", "A lightweight observability stack for logs, traces and metrics", "pod/kube-prom-stack"),
    "rbac": ("", "Role-Based Access Control for authorisation", "clusterrole.rbac.authorization.k8s.io/cluster-admin"),
}
ADDONS = {
    "1.35": {**BOTH, "dashboard": ("7.12.0", "The Kubernetes dashboard", "pod/kubernetes-dashboard"),
             "ingress": ("1.11.5", "Ingress controller for external access", "pod/nginx-ingress-microk8s-controller")},
    "1.36": {**BOTH, "ingress": ("3.6.13", "Ingress controller for external access", "pod/traefik")},
}


def snap() -> dict:
    return json.loads(Path("/var/snap/microk8s/snap.json").read_text())


def addons() -> dict[str, tuple[str, str, str]]:
    """Those of this release; an older one has the same as 1.35."""
    return ADDONS.get(".".join(snap()["version"].lstrip("v").split(".")[:2]), ADDONS["1.35"])


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Raises CalledProcessError, where the API does not answer too."""
    return subprocess.run([*KUBECTL, "--request-timeout=10s", *arguments], input=text, check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


def ready() -> bool:
    try:
        return " Ready " in kubectl("get", "nodes") and "service/kubernetes" in kubectl("get", "services", "--output=name")
    except subprocess.CalledProcessError:
        return False


def wait_for_ready(timeout: int) -> bool:
    """Without an end where timeout is 0."""
    start = time.time()
    while not ready():
        if timeout and time.time() > start + timeout:
            return False
        time.sleep(0.5)
    return True


def enabled() -> list[str]:
    """An add-on is enabled where something exists whose name begins like its."""
    names = kubectl("get", "pods,clusterroles", "--all-namespaces", "--output=name")
    return [name for name, (_version, _description, mark) in sorted(addons().items()) if mark in names]


def status(given: Sequence[str]) -> int | str:
    parser = argparse.ArgumentParser(prog="microk8s status")
    parser.add_argument("--format", default="pretty", choices=["pretty", "yaml", "short"])
    parser.add_argument("-w", "--wait-ready", action="store_true")
    parser.add_argument("-t", "--timeout", type=int, default=0)
    parser.add_argument("-a", "--addon", default="all")
    options = parser.parse_args(given)
    running = wait_for_ready(options.timeout) if options.wait_ready else ready()
    on = enabled() if running else []
    if options.addon != "all":
        print("enabled" if options.addon in on else "disabled")
    elif options.format == "yaml":
        print(f"microk8s:\n  running: {running}\nhigh-availability:\n  enabled: {HIGHLY_AVAILABLE.exists()}")
        if HIGHLY_AVAILABLE.exists():
            print("  nodes:\n    - address: 127.0.0.1:19001\n      role: voter")
        if running:
            print("addons:")
            for name in [*on, *sorted(set(addons()) - set(on))]:
                version, description, _mark = addons()[name]
                print(f"  - name: {name}\n    repository: core\n    description: {description}\n    version: {version}"
                      f"\n    status: {'enabled' if name in on else 'disabled'}")
        else:
            print(f"  message: {INSPECT}")
    else:
        print("microk8s is running" if running else INSPECT)
    return 0 if running else 1


def enable(given: Sequence[str]) -> int | str:
    return xable("enable", given)


def disable(given: Sequence[str]) -> int | str:
    return xable("disable", given)


def xable(action: str, given: Sequence[str]) -> int | str:
    """One add-on a call: what the real one makes of several is not worth having."""
    if not given:
        print(f"Usage: microk8s {action} [OPTIONS] ADDONS...\n\nError: Missing argument 'ADDONS...'.", file=sys.stderr)
        return 2
    repository, slash, name = given[0].split(":")[0].rpartition("/")
    if name not in addons():
        if slash:
            print(f"Addon {repository}/{name} not found")
            return 0
        return f"Addon {name} was not found in any repository"
    if not slash:
        print(f"Infer repository core for addon {name}", file=sys.stderr)
    wait_for_ready(30)
    if (name in enabled()) == (action == "enable"):
        print(f"Addon core/{name} is already {action}d")
        return 0
    print(f"{action.removesuffix('e').capitalize()}ing {name}", flush=True)
    if name == "rbac":
        text = API_ARGUMENTS.read_text()
        API_ARGUMENTS.write_text(re.sub("--authorization-mode=.*", f"--authorization-mode={'RBAC,Node' if action == 'enable' else 'AlwaysAllow'}", text))
        subprocess.run(["systemctl", "restart", "kube-apiserver.service"], check=True)
    else:
        if action == "enable" and (MANIFESTS / name).is_dir():
            kubectl("apply", "--server-side", f"--filename={MANIFESTS / name}")
            kubectl("wait", "--for=condition=Established", f"--filename={MANIFESTS / name}")
        kubectl(*{"enable": ("apply", "--server-side"), "disable": ("delete", "--ignore-not-found")}[action], "--filename=-", text=manifest(name))
    wait_for_ready(30)
    print(f"{name} is {action}d")
    return 0


def manifest(name: str) -> str:
    own = MANIFESTS / f"{name}.yaml"
    workload = addons()[name][2].removeprefix("pod/")
    dns = re.search("^clusterDNS: .(.*).$", Path("/etc/kubernetes/kubelet.yaml").read_text(), re.M)[1]
    return Template((own if own.exists() else MANIFESTS / "other.yaml").read_text()).safe_substitute(namespace=name, name=workload, cluster_dns=dns)


def config(_given: Sequence[str]) -> int | str:
    """The address is that of the default route, which a container's name resolves to."""
    print(CREDENTIALS.read_text().replace("127.0.0.1", socket.gethostbyname(socket.gethostname())), end="")
    return 0


def start(_given: Sequence[str]) -> int | str:
    STOPPED.unlink(missing_ok=True)
    subprocess.run(["systemctl", "start", "kubernetes.target"], check=True)
    wait_for_ready(60)
    return 0


def stop(_given: Sequence[str]) -> int | str:
    STOPPED.touch()
    # The target alone would be stopped at once, and its units some time later.
    return subprocess.run(["systemctl", "stop", "kubernetes.target", "kube*.service", "etcd.service"]).returncode


def dbctl(given: Sequence[str]) -> int | str:
    """A backup holds every object as the API gives it; the real one's is of dqlite's files."""
    parser = argparse.ArgumentParser(prog="microk8s dbctl")
    backup = parser.add_subparsers(required=True).add_parser("backup")
    backup.add_argument("-o", default=f"backup-{time.strftime('%Y-%m-%d-%H-%M-%S')}")
    target = parser.parse_args(given).o.removesuffix(".tar.gz")
    if subprocess.run(["systemctl", "is-active", "--quiet", "kube-apiserver.service"]).returncode:
        print("Please ensure the kubernetes apiserver is running and HA is enabled.")
        return 10
    print("Backing up the datastore")
    snapshot = Path("/run/microk8s-backup.json")
    snapshot.write_text(kubectl("get", "all,configmaps,secrets", "--all-namespaces", "--output=json"))
    with tarfile.open(f"{target}.tar.gz", "w:gz") as archive:
        archive.add(snapshot, f"{Path(target).name}/objects.json")
    snapshot.unlink()
    print(f"The backup is: {target}.tar.gz")
    return 0


def version(_given: Sequence[str]) -> int | str:
    print(f"MicroK8s {snap()['version']} revision {snap()['revision']}")
    return 0


def own_kubectl(given: Sequence[str]) -> int | str:
    os.execvp(KUBECTL[0], [*KUBECTL, *given])


COMMANDS = {"config": config, "dbctl": dbctl, "disable": disable, "enable": enable, "kubectl": own_kubectl, "start": start, "status": status,
            "stop": stop, "version": version}


def main(arguments: Sequence[str]) -> int | str:
    """The exit code, or the text of an error, as sys.exit takes them."""
    command = arguments[0] if arguments else ""
    if command not in COMMANDS:
        return f"'{command}' is not a valid MicroK8s subcommand."
    if not os.access(CREDENTIALS, os.R_OK):
        user = os.environ.get("USER", "")
        return (f"Insufficient permissions to access MicroK8s.\nYou can either try again with sudo or add the user {user} to the 'microk8s' group:\n\n"
                f"    sudo usermod -a -G microk8s {user}\n    sudo chown -R {user} ~/.kube\n\nAfter this, reload the user groups either via a "
                "reboot or by running 'newgrp microk8s'.")
    if WORKER.exists() and command not in ("start", "stop", "version"):
        print(f"This MicroK8s deployment is acting as a node in a cluster.\nPlease use the {'master' if command in ('enable', 'disable') else 'control plane'} node.")
        return 1 if command in ("enable", "disable") else 0
    if STOPPED.exists():
        if command == "status":
            print(START)
            return 0
        if command in ("enable", "disable", "kubectl", "dbctl"):
            return START
    return COMMANDS[command](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
