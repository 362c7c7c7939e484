# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine says about itself, from the texts in which it says so. Pure; no input or output."""

from __future__ import annotations

import pathlib
import re
import shlex
from typing import Collection, Iterable

# Where the boot loader reads the kernel's command line: only the first group of which a file exists counts. With A/B boot (Ubuntu
# 25.10 and later) a new kernel waits in new/ until it has started once; the file beside these directories is a dead one then, as is
# /boot/cmdline.txt of Raspberry Pi OS since 12, which only says where the real one is.
COMMAND_LINE_FILES = (
    ("/boot/firmware/current/cmdline.txt", "/boot/firmware/new/cmdline.txt"),
    ("/boot/firmware/cmdline.txt",),
    ("/boot/cmdline.txt",),
)

# Bits of the firmware's get_throttled: www.raspberrypi.com/documentation/computers/os.html#get_throttled
_THROTTLING = {
    0: "undervoltage now", 1: "frequency capped now", 2: "throttled now", 3: "hot now",
    16: "undervoltage since the start", 17: "frequency capped since the start", 18: "throttled since the start", 19: "hot since the start",
}

# What shows a module that is built in where the kernel came without a list of those, as in a container.
MODULE_TRACES = {"br_netfilter": "net/bridge", "nf_conntrack": "net/netfilter"}


def command_line_files(existing: Collection[str]) -> list[str]:
    """Those that the boot loader reads, now or at the next start."""
    groups = ([path for path in group if path in existing] for group in COMMAND_LINE_FILES)
    return next((group for group in groups if group), [])


def throttling(answer: str) -> list[str]:
    """What ``vcgencmd get_throttled`` complains about: ``throttled=0x50005``. Nothing where it gave no number."""
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", answer)
    bits = int(found[1], 16) if found else 0
    return [word for bit, word in _THROTTLING.items() if bits >> bit & 1]


def memory_mib(meminfo: str) -> int:
    """What the kernel has of the memory, from /proc/meminfo; the firmware keeps some for itself."""
    return int(re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.M)[1]) // 1024


def cgroups(controllers: str | None, mountinfo: str) -> tuple[int, list[str]]:
    """Version and controllers.

    controllers: the root's cgroup.controllers, None without the second version's hierarchy.
    mountinfo: of the first version, what is mounted counts; /proc/cgroups no longer lists every controller since kernel 6.12.
    """
    if controllers is not None:
        return 2, sorted(controllers.split())
    mounted = (options for _point, kind, _source, options in _mounts(mountinfo) if kind == "cgroup")
    return 1, sorted({word for options in mounted for word in options.split(",") if word not in ("rw", "ro", "xattr") and "=" not in word})


def clock(shown: str) -> tuple[bool, str]:
    """Whether the kernel's clock is synchronised, and the state of the service that keeps it so: active, inactive or none.

    shown: ``timedatectl show``.
    """
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    service = "active" if said.get("NTP") == "yes" else "inactive" if said.get("CanNTP") == "yes" else "none"
    return said.get("NTPSynchronized") == "yes", service


def os_release(text: str) -> dict[str, str]:
    """The assignments of /etc/os-release, which a shell could read."""
    return dict(word.split("=", 1) for word in shlex.split(text, comments=True) if "=" in word)


def module_names(listing: str) -> set[str]:
    """The modules of a modules.dep or modules.builtin, named as the kernel does."""
    paths = (line.split(":")[0] for line in listing.splitlines())
    return {pathlib.PurePosixPath(path).name.split(".")[0].replace("-", "_") for path in paths}


def module_states(names: Iterable[str], present: Collection[str], loadable: Collection[str]) -> dict[str, str]:
    """present, when the kernel can do it now; loadable; or missing."""
    def state(name: str) -> str:
        known_as = name.replace("-", "_")
        return "present" if known_as in present else "loadable" if known_as in loadable else "missing"
    return {name: state(name) for name in names}


def package_states(names: Iterable[str], policy: str) -> dict[str, str]:
    """installed, available or unknown.

    policy: ``apt-cache policy`` in the C locale; it says nothing of packages that it does not know.
    """
    found = {name: (installed, candidate) for name, installed, candidate in
             re.findall(r"^(\S+):\n  Installed: (.+)\n  Candidate: (.+)$", policy, re.M)}

    def state(name: str) -> str:
        installed, candidate = found.get(name, ("(none)", "(none)"))
        return "installed" if installed != "(none)" else "available" if candidate != "(none)" else "unknown"
    return {name: state(name) for name in names}


def source_of(path: str, mountinfo: str) -> str:
    """What is mounted where a path is, or would be if it existed."""
    above = {str(each) for each in (pathlib.PurePosixPath(path), *pathlib.PurePosixPath(path).parents)}
    found = [(len(point), number, source) for number, (point, _kind, source, _options) in enumerate(_mounts(mountinfo)) if point in above]
    # Of several mounts on one point the last one is on top.
    return max(found)[2] if found else ""


def _mounts(mountinfo: str) -> list[tuple[str, str, str, str]]:
    """Mount point, type, source and options of the file system: proc_pid_mountinfo(5)."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _separator, after = line.partition(" - ")
        kind, source, options = after.split(" ")[:3]
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
        mounts.append((point, kind, source, options))
    return mounts
