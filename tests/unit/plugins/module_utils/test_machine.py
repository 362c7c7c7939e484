"""What machines say about themselves, as they say it."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _machine

AB_CURRENT, AB_NEW = "/boot/firmware/current/cmdline.txt", "/boot/firmware/new/cmdline.txt"
FIRMWARE, BOOT = "/boot/firmware/cmdline.txt", "/boot/cmdline.txt"

BOOT_FILES = {
    "ubuntu-24.04": ({FIRMWARE}, [FIRMWARE]),
    "ubuntu-26.04": ({AB_CURRENT}, [AB_CURRENT]),
    "a-kernel-waits-to-be-tried": ({AB_CURRENT, AB_NEW}, [AB_CURRENT, AB_NEW]),
    "a-dead-file-beside-a-b-boot": ({AB_CURRENT, FIRMWARE}, [AB_CURRENT]),
    "raspberry-pi-os-12-with-its-signpost": ({FIRMWARE, BOOT}, [FIRMWARE]),
    "raspberry-pi-os-11": ({BOOT}, [BOOT]),
    "a-pc": (set(), []),
}


@pytest.mark.parametrize("existing, read", BOOT_FILES.values(), ids=BOOT_FILES)
def test_only_the_files_that_the_boot_loader_reads_count(existing, read):
    assert _machine.command_line_files(existing) == read


THROTTLING = {
    "well": ("throttled=0x0\n", []),
    "undervoltage": ("throttled=0x50005\n", ["undervoltage now", "throttled now", "undervoltage since the start", "throttled since the start"]),
    "a-bad-moment-is-over": ("throttled=0x50000\n", ["undervoltage since the start", "throttled since the start"]),
    "hot": ("throttled=0xE0008\n", ["hot now", "frequency capped since the start", "throttled since the start", "hot since the start"]),
    "no-firmware": ("VCHI initialization failed\n", []),
    "no-vcgencmd": ("", []),
}


@pytest.mark.parametrize("answer, words", THROTTLING.values(), ids=THROTTLING)
def test_the_firmware_s_bits_become_words(answer, words):
    assert _machine.throttling(answer) == words


def test_memory_is_what_the_kernel_has():
    assert _machine.memory_mib("MemTotal:        7998892 kB\nMemFree:          102400 kB\n") == 7811


V2 = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
V1 = """\
33 24 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
34 33 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
35 33 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
36 33 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
37 33 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,clone_children
38 33 0:33 / /sys/fs/cgroup/memory ro - cgroup cgroup ro,memory
"""


def test_the_second_version_says_what_it_can_limit():
    assert _machine.cgroups("cpuset cpu io memory pids\n", V2) == (2, ["cpu", "cpuset", "io", "memory", "pids"])


def test_of_the_first_version_what_is_mounted_counts():
    version, controllers = _machine.cgroups(None, V1)
    assert version == 1
    assert {"cpu", "cpuacct", "cpuset", "memory"} <= set(controllers)
    assert not {"pids", "rw", "ro", "xattr", "name=systemd"} & set(controllers)


CLOCKS = {
    "right": ("Timezone=Etc/UTC\nLocalRTC=no\nCanNTP=yes\nNTP=yes\nNTPSynchronized=yes\nTimeUSec=Fri 2026-11-27 20:51:45 UTC\n", (True, "active")),
    "not-yet": ("CanNTP=yes\nNTP=yes\nNTPSynchronized=no\n", (False, "active")),
    "switched-off": ("CanNTP=yes\nNTP=no\nNTPSynchronized=no\n", (False, "inactive")),
    "nobody-there": ("CanNTP=no\nNTP=no\nNTPSynchronized=no\n", (False, "none")),
    "no-systemd": ("", (False, "none")),
}


@pytest.mark.parametrize("shown, state", CLOCKS.values(), ids=CLOCKS)
def test_the_clock_and_who_keeps_it(shown, state):
    assert _machine.clock(shown) == state


def test_os_release_is_read_as_a_shell_would():
    text = '# a comment\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\nVERSION_ID="24.04"\n\nLOGO=\'x y\'\n'
    assert _machine.os_release(text) == {"PRETTY_NAME": "Ubuntu 24.04.3 LTS", "ID": "ubuntu", "VERSION_ID": "24.04", "LOGO": "x y"}


def test_modules_are_named_as_the_kernel_names_them():
    dep = "kernel/net/bridge/br_netfilter.ko.zst: kernel/net/bridge/bridge.ko.zst\nkernel/drivers/net/vxlan/vxlan.ko.xz:\nkernel/x/snd-pcm.ko:\n"
    assert _machine.module_names(dep) == {"br_netfilter", "vxlan", "snd_pcm"}
    assert _machine.module_names("kernel/fs/overlayfs/overlay.ko\n") == {"overlay"}
    assert _machine.module_names("") == set()


def test_a_module_is_present_or_loadable_or_missing():
    states = _machine.module_states(["overlay", "snd-pcm", "vxlan"], present={"overlay", "vxlan_not"}, loadable={"snd_pcm", "overlay"})
    assert states == {"overlay": "present", "snd-pcm": "loadable", "vxlan": "missing"}


POLICY = """\
chrony:
  Installed: 4.5-1ubuntu4
  Candidate: 4.5-1ubuntu4.2
  Version table:
 *** 4.5-1ubuntu4 500
linux-modules-extra-raspi:
  Installed: (none)
  Candidate: 6.8.0-1013.14
  Version table:
     6.8.0-1013.14 500
virtual-only:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


def test_a_package_is_installed_or_available_or_unknown():
    assert _machine.package_states(["chrony", "linux-modules-extra-raspi", "virtual-only", "nosuch"], POLICY) == {
        "chrony": "installed", "linux-modules-extra-raspi": "available", "virtual-only": "unknown", "nosuch": "unknown"}


MOUNTS = r"""22 1 179:2 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p2 rw
80 22 253:3 / /srv/blockchain rw shared:40 - btrfs /dev/mapper/nvmedisk-blockchain rw,ssd
81 22 8:1 / /srv/my\040disk rw shared:41 - ext4 /dev/sda1 rw
82 22 253:4 / /var/snap/microk8s rw shared:42 - btrfs /dev/mapper/old rw
83 22 253:5 / /var/snap/microk8s rw shared:43 - btrfs /dev/mapper/new rw
"""

PLACES = {
    "below-a-mount": ("/srv/blockchain/bitcoind/blocks", "/dev/mapper/nvmedisk-blockchain"),
    "a-mount": ("/srv/blockchain", "/dev/mapper/nvmedisk-blockchain"),
    "a-name-that-only-begins-alike": ("/srv/blockchain2", "/dev/mmcblk0p2"),
    "nothing-of-its-own": ("/srv/lightning", "/dev/mmcblk0p2"),
    "a-space": ("/srv/my disk/x", "/dev/sda1"),
    "one-over-another": ("/var/snap/microk8s/common", "/dev/mapper/new"),
    "the-root": ("/", "/dev/mmcblk0p2"),
}


@pytest.mark.parametrize("path, source", PLACES.values(), ids=PLACES)
def test_a_path_is_where_its_innermost_mount_is(path, source):
    assert _machine.source_of(path, MOUNTS) == source


def test_without_mounts_there_is_no_answer():
    assert _machine.source_of("/srv", "") == ""
