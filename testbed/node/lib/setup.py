"""First boot: the cluster's keys, the kubeconfigs, and the few settings that depend on the machine. Runs once in a node's life."""
from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

LIB = Path("/usr/local/lib/testbed")
SHARE = Path("/usr/local/share/testbed")
KUBERNETES = Path("/etc/kubernetes")

# Templates of SHARE and where they land.
SETTINGS = {
    "containerd.toml": Path("/etc/containerd/config.toml"),
    "kubeadm.yaml": KUBERNETES / "kubeadm.yaml",
    "kubelet.yaml": KUBERNETES / "kubelet.yaml",
    "pods.conflist": Path("/etc/cni/net.d/10-pods.conflist"),
}
# Kubeconfigs beyond those that kubeadm makes by itself, and the user that each is for.
USERS = {"kube-proxy": "system:kube-proxy", "kube-router": "openlsp:kube-router"}


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def kubeadm(*arguments: str) -> str:
    return output("kubeadm", *arguments, f"--config={SETTINGS['kubeadm.yaml']}")


@dataclass(frozen=True)
class Family:
    """The ranges of addresses of one family, those of MicroK8s. Of the pods' range, the one node has ``node_pods``."""

    pods: str
    node_pods: str
    services: str
    dns: str
    everywhere: str
    ip_flag: str


FAMILIES = {
    "IPv4": Family("10.1.0.0/16", "10.1.0.0/24", "10.152.183.0/24", "10.152.183.10", "0.0.0.0/0", "-4"),
    "IPv6": Family("fd01::/64", "fd01::/64", "fd98::/108", "fd98::a", "::/0", "-6"),
}


def node_address(family: Family) -> str:
    """Of the machine; podman has given it this one for good."""
    listed = json.loads(output("ip", "-json", family.ip_flag, "address", "show", "scope", "global", "dev", "eth0"))
    return next(each["local"] for link in listed for each in link["addr_info"])


def write_settings(names: Iterable[str] = (), families: Sequence[Family] = (FAMILIES["IPv4"],)) -> None:
    """names: what else the API's certificate is good for. families: those that the cluster has."""
    # With cgroup v2 systemd owns the tree and hands out parts of it; on v1 the kubelet and runc write to it themselves.
    unified = output("stat", "-fc", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    values = {
        "hostname": socket.gethostname(),
        "kubernetes": output("kubelet", "--version").split()[-1],
        "names": json.dumps(["127.0.0.1", "localhost", *names]),
        "systemd_cgroup": str(unified).lower(),
        "cgroup_driver": "systemd" if unified else "cgroupfs",
        "cluster_dns": families[0].dns,
        "ranges": json.dumps([[{"subnet": each.node_pods}] for each in families]),
        "routes": json.dumps([{"dst": each.everywhere} for each in families]),
        "pods": ",".join(each.pods for each in families),
        "services": ",".join(each.services for each in families),
    }
    for name, target in SETTINGS.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template((SHARE / name).read_text()).substitute(values))


def install(names: Iterable[str], families: Sequence[Family]) -> dict[str, dict[str, str]]:
    """Give the API a certificate for further names, and the pods addresses; the arguments that follow, by program."""
    addresses = [node_address(each) for each in families]
    write_settings([*names, *addresses], families)
    for file in KUBERNETES.glob("pki/apiserver.*"):
        file.unlink()
    kubeadm("init", "phase", "certs", "apiserver")
    pods, services = (",".join(getattr(each, name) for each in families) for name in ("pods", "services"))
    return {
        "kube-apiserver": {"--service-cluster-ip-range": services, "--advertise-address": addresses[0]},
        "kube-controller-manager": {"--cluster-cidr": pods, "--service-cluster-ip-range": services},
        "kube-proxy": {"--cluster-cidr": pods},
        "kube-router": {"--service-cluster-ip-range": services, **{
            f"--enable-{name.lower()}": str(family in families).lower() for name, family in FAMILIES.items()}},
        "kubelet": {"--node-ip": ",".join(addresses)},
    }


def main() -> None:
    if (KUBERNETES / "kube-router.conf").exists():
        return
    Path("/usr/bin/snap").symlink_to(LIB / "snap.py")
    write_settings()
    kubeadm("init", "phase", "certs", "all")
    kubeadm("init", "phase", "kubeconfig", "all")
    for name, user in USERS.items():
        kubeconfig = KUBERNETES / f"{name}.conf"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(kubeadm("kubeconfig", "user", f"--client-name={user}"))


if __name__ == "__main__":
    main()
