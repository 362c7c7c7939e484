"""First boot: the cluster's keys, the kubeconfigs, and the few settings that depend on the machine. Runs once in a node's life."""
from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterable
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
}
# Kubeconfigs beyond those that kubeadm makes by itself, and the user that each is for.
USERS = {"kube-proxy": "system:kube-proxy", "kube-router": "openlsp:kube-router"}


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def kubeadm(*arguments: str) -> str:
    return output("kubeadm", *arguments, f"--config={SETTINGS['kubeadm.yaml']}")


def write_settings(names: Iterable[str] = ()) -> None:
    """names: what else the API's certificate is good for."""
    # With cgroup v2 systemd owns the tree and hands out parts of it; on v1 the kubelet and runc write to it themselves.
    unified = output("stat", "-fc", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    values = {
        "hostname": socket.gethostname(),
        "kubernetes": output("kubelet", "--version").split()[-1],
        "names": json.dumps(["127.0.0.1", "localhost", *names]),
        "systemd_cgroup": str(unified).lower(),
        "cgroup_driver": "systemd" if unified else "cgroupfs",
    }
    for name, target in SETTINGS.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template((SHARE / name).read_text()).substitute(values))


def certify(names: Iterable[str]) -> None:
    """Give the API a certificate for further names."""
    write_settings(names)
    for file in KUBERNETES.glob("pki/apiserver.*"):
        file.unlink()
    kubeadm("init", "phase", "certs", "apiserver")


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
