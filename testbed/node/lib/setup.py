"""First boot: the cluster's keys, the kubeconfigs, and the few settings that depend on the machine. Runs once in a node's life."""
from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from string import Template

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


def main() -> None:
    if (KUBERNETES / "kube-router.conf").exists():
        return
    # With cgroup v2 systemd owns the tree and hands out parts of it; on v1 the kubelet and runc write to it themselves.
    unified = output("stat", "-fc", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    values = {
        "hostname": socket.gethostname(),
        "kubernetes": output("kubelet", "--version").split()[-1],
        "systemd_cgroup": str(unified).lower(),
        "cgroup_driver": "systemd" if unified else "cgroupfs",
    }
    for name, target in SETTINGS.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template((SHARE / name).read_text()).substitute(values))

    config = f"--config={SETTINGS['kubeadm.yaml']}"
    output("kubeadm", "init", "phase", "certs", "all", config)
    output("kubeadm", "init", "phase", "kubeconfig", "all", config)
    for name, user in USERS.items():
        kubeconfig = KUBERNETES / f"{name}.conf"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(output("kubeadm", "kubeconfig", "user", f"--client-name={user}", config))


main()
