"""Whole machines, made of the files that they show."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.openlsp.node.plugins.modules.machine_info import Machine

KERNEL = "6.8.0-1013-raspi"

# A Pi 4 with Ubuntu 24.04 on an SD card and an SSD for the chain, as it comes.
PI = {
    "etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\n',
    "boot/firmware/cmdline.txt": "console=serial0,115200 console=tty1 root=LABEL=writable rootwait fixrtc\r\n",
    "proc/cmdline": "coherent_pool=1M cgroup_disable=memory console=tty1 root=LABEL=writable\n",
    "proc/meminfo": "MemTotal:        7998892 kB\n",
    "proc/filesystems": "nodev\tsysfs\nnodev\toverlay\n\text4\n",
    "proc/self/mountinfo": "22 1 179:2 / / rw - ext4 /dev/mmcblk0p2 rw\n80 22 0:50 / /srv/blockchain rw - btrfs /dev/mapper/nvmedisk-blockchain rw\n",
    "proc/sys/kernel/random/boot_id": "442570bc-6bb3-4cc3-ace8-b7c507a4a7b8\n",
    "proc/sys/net/mptcp/enabled": "1\n",
    "proc/sys/net/ipv4/tcp_mem": "92121\t122831\t184242\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
    "sys/module/zswap/x": "",
    f"lib/modules/{KERNEL}/modules.builtin": "kernel/net/netfilter/nf_conntrack.ko\n",
    f"lib/modules/{KERNEL}/modules.dep": "kernel/net/bridge/br_netfilter.ko.zst: kernel/net/bridge/bridge.ko.zst\n",
    "sys/devices/mmc/mmcblk0/device/type": "SD\n",
    "sys/devices/mmc/mmcblk0/mmcblk0p2/partition": "2\n",
    "sys/devices/nvme/nvme0n1/device/model": "SSD\n",
    "sys/devices/nvme/nvme0n1/nvme0n1p1/partition": "1\n",
    "sys/devices/dm/dm-0/slaves/x": "",
    "dev/dm-0": "",
    "srv/x": "",
}
BLOCK_DEVICES = ["mmc/mmcblk0", "mmc/mmcblk0/mmcblk0p2", "nvme/nvme0n1", "nvme/nvme0n1/nvme0n1p1", "dm/dm-0"]

ANSWERS = {
    ("timedatectl", "show"): "CanNTP=yes\nNTP=yes\nNTPSynchronized=yes\n",
    ("vcgencmd", "get_throttled"): "throttled=0x50000\n",
    ("apt-cache", "policy", "linux-modules-extra-raspi"): "linux-modules-extra-raspi:\n  Installed: (none)\n  Candidate: 6.8.0\n",
}


@pytest.fixture
def machine(tmp_path):
    """A Pi; given files replace its own, None removes one."""
    def made(changes: dict[str, str | bytes | None] | None = None) -> Machine:
        for path, text in {**PI, **(changes or {})}.items():
            if text is not None:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        link(tmp_path / "dev/mapper/nvmedisk-blockchain", tmp_path / "dev/dm-0")
        for device in BLOCK_DEVICES:
            link(tmp_path / "sys/class/block" / pathlib.Path(device).name, tmp_path / "sys/devices" / device)
        (tmp_path / "sys/devices/dm/dm-0/slaves/x").unlink()
        link(tmp_path / "sys/devices/dm/dm-0/slaves/nvme0n1p1", tmp_path / "sys/devices/nvme/nvme0n1/nvme0n1p1")
        return Machine(tmp_path, lambda *command: ANSWERS.get(command, ""), KERNEL)
    return made


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent.resolve()))


def test_a_pi_as_it_comes(machine):
    assert machine().facts() == {
        "memory_mib": 7811,
        "os": {"id": "ubuntu", "version": "24.04"},
        "kernel": KERNEL,
        "boot_id": "442570bc-6bb3-4cc3-ace8-b7c507a4a7b8",
        "kernel_command_line": "coherent_pool=1M cgroup_disable=memory console=tty1 root=LABEL=writable",
        "command_line_files": [{"path": "/boot/firmware/cmdline.txt",
                                "content": "console=serial0,115200 console=tty1 root=LABEL=writable rootwait fixrtc\r\n"}],
        "cgroup_version": 2,
        "cgroup_controllers": ["cpu", "cpuset", "io", "pids"],
        "clock_synchronised": True,
        "clock_service": "active",
        "throttling": ["undervoltage since the start", "throttled since the start"],
    }


def test_with_a_b_boot_the_current_and_the_waiting_file_count(machine):
    found = machine({"boot/firmware/current/cmdline.txt": "a\n", "boot/firmware/new/cmdline.txt": "b\n"})
    assert found.facts()["command_line_files"] == [
        {"path": "/boot/firmware/current/cmdline.txt", "content": "a\n"}, {"path": "/boot/firmware/new/cmdline.txt", "content": "b\n"}]


def test_modules_are_found_wherever_the_kernel_has_them(machine):
    assert machine().modules(["overlay", "nf_conntrack", "br_netfilter", "zswap", "vxlan"]) == {
        "overlay": "present", "nf_conntrack": "present", "br_netfilter": "loadable", "zswap": "present", "vxlan": "missing"}


def test_a_kernel_without_a_module_tree_shows_what_it_has_by_its_settings(machine):
    found = machine({f"lib/modules/{KERNEL}/modules.builtin": None, f"lib/modules/{KERNEL}/modules.dep": None,
                     "proc/sys/net/bridge/bridge-nf-call-iptables": "1\n"})
    assert found.modules(["br_netfilter", "nf_conntrack"]) == {"br_netfilter": "present", "nf_conntrack": "missing"}


def test_a_setting_is_a_value_or_nothing(machine):
    found = machine()
    assert [found.sysctl("net.mptcp.enabled"), found.sysctl("net.ipv4.tcp_mem"), found.sysctl("net.nosuch")] == ["1", "92121 122831 184242", None]


def test_packages_are_asked_for_only_when_wanted(machine):
    found = machine()
    assert found.packages(["linux-modules-extra-raspi"]) == {"linux-modules-extra-raspi": "available"}
    assert found.packages([]) == {}


ON_A_CARD = {
    "the-root-s-directory": ("/srv/lightning", {}, True),
    "one-that-does-not-exist": ("/var/snap/microk8s", {}, True),
    "a-logical-volume-on-an-ssd": ("/srv/blockchain", {}, False),
    "a-logical-volume-on-a-card": ("/srv/blockchain", {"sys/devices/nvme/nvme0n1/device/type": "SD\n"}, True),
    "emmc-is-no-card": ("/srv/lightning", {"sys/devices/mmc/mmcblk0/device/type": "MMC\n"}, False),
    "a-container-s-root": ("/srv/lightning", {"proc/self/mountinfo": "22 1 0:2 / / rw - overlay overlay rw\n"}, False),
}


@pytest.mark.parametrize("path, changes, answer", ON_A_CARD.values(), ids=ON_A_CARD)
def test_what_is_on_an_sd_card(machine, path, changes, answer):
    assert machine(changes).is_on_sd_card(path) is answer


def test_a_damaged_boot_file_is_named(machine):
    found = machine({"boot/firmware/cmdline.txt": b"console=tty1 \xff\xfe"})
    with pytest.raises(ValueError, match="^/boot/firmware/cmdline.txt: it is not UTF-8 at byte 13; is the file system damaged[?]$"):
        found.facts()
