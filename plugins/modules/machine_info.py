#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_info
short_description: What a machine is, and what its kernel can do for Kubernetes
version_added: 0.1.0
description:
  - Reads in one go what the role openlsp.node.pi_boot decides by. A module run costs a Raspberry Pi seconds, whatever it does.
  - What cannot be found out is empty, never an error.
options:
  modules:
    description: Kernel modules to look for.
    type: list
    elements: str
    default: []
  sysctls:
    description: Kernel settings to read.
    type: list
    elements: str
    default: []
  packages:
    description: Packages of Debian or Ubuntu to look for.
    type: list
    elements: str
    default: []
  files:
    description: Text files to read.
    type: list
    elements: path
    default: []
  paths:
    description: Directories of which to say whether they are, or would be, on an SD card.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Look at the machine
  openlsp.node.machine_info:
    modules: [br_netfilter, vxlan]
    sysctls: [net.mptcp.enabled]
  register: machine

- name: Refuse a kernel that cannot limit memory
  ansible.builtin.assert:
    that: "'memory' in machine.cgroup_controllers"
"""

RETURN = r"""
architecture:
  description: The kernel's.
  returned: always
  type: str
  sample: aarch64
userland_bits:
  description: Of the programs, here Python; 32 also under a 64-bit kernel.
  returned: always
  type: int
  sample: 64
memory_mib:
  description: Memory in mebibytes, without what the firmware keeps.
  returned: always
  type: int
  sample: 7811
hostname:
  description: The machine's name.
  returned: always
  type: str
os:
  description: C(id) and C(version) of the operating system.
  returned: always
  type: dict
  sample: {id: ubuntu, version: "24.04"}
kernel:
  description: The kernel's release.
  returned: always
  type: str
  sample: 6.8.0-1013-raspi
boot_id:
  description: Another one after each start.
  returned: always
  type: str
kernel_command_line:
  description: What the kernel was started with.
  returned: always
  type: str
command_line_files:
  description: The files that the boot loader takes it from, C(path) and C(content) of each; several with A/B boot, none on a PC.
  returned: always
  type: list
  elements: dict
cgroup_version:
  description: 1 or 2.
  returned: always
  type: int
cgroup_controllers:
  description: What the kernel can limit.
  returned: always
  type: list
  elements: str
  sample: [cpu, cpuset, io, memory, pids]
clock_synchronised:
  description: Whether the kernel holds its clock for synchronised.
  returned: always
  type: bool
clock_service:
  description: C(active), C(inactive), or C(none) where none is installed.
  returned: always
  type: str
throttling:
  description: What the Raspberry Pi's firmware complains about.
  returned: always
  type: list
  elements: str
  sample: [undervoltage now, undervoltage since the start]
modules:
  description: For each module C(present) (loaded or built in), C(loadable) or C(missing).
  returned: always
  type: dict
  sample: {br_netfilter: loadable, vxlan: missing}
sysctls:
  description: The value of each setting, null where the kernel has none.
  returned: always
  type: dict
  sample: {net.mptcp.enabled: "1"}
packages:
  description: For each package C(installed), C(available) or C(unknown).
  returned: always
  type: dict
  sample: {linux-modules-extra-raspi: available}
files:
  description: The text of each file, null where there is none.
  returned: always
  type: dict
on_sd_card:
  description: Those of O(paths) that are on an SD card.
  returned: always
  type: list
  elements: str
"""

import pathlib
import platform
import struct
from typing import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _machine


class Machine:
    """A machine by its files under a root and by a way to run programs, which returns their output or nothing."""

    def __init__(self, root: pathlib.Path, run: Callable[..., str], kernel: str) -> None:
        self._root, self._run, self._kernel = root, run, kernel

    def text(self, path: str) -> str | None:
        """A file's text with its line breaks as they are. Raises ValueError with the file's name where it is no UTF-8."""
        try:
            return (self._root / path.lstrip("/")).read_bytes().decode()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: it is not UTF-8 at byte {error.start}; is the file system damaged?") from error

    def facts(self) -> dict:
        """What does not depend on what is asked for."""
        release = _machine.os_release(self.text("/etc/os-release") or "")
        version, controllers = _machine.cgroups(self.text("/sys/fs/cgroup/cgroup.controllers"), self.text("/proc/self/mountinfo"))
        synchronised, service = _machine.clock(self._run("timedatectl", "show"))
        existing = {path: text for group in _machine.COMMAND_LINE_FILES for path in group if (text := self.text(path)) is not None}
        return {
            "memory_mib": _machine.memory_mib(self.text("/proc/meminfo")),
            "os": {"id": release.get("ID", ""), "version": release.get("VERSION_ID", "")},
            "kernel": self._kernel,
            "boot_id": self.text("/proc/sys/kernel/random/boot_id").strip(),
            "kernel_command_line": self.text("/proc/cmdline").strip(),
            "command_line_files": [{"path": path, "content": existing[path]} for path in _machine.command_line_files(existing)],
            "cgroup_version": version,
            "cgroup_controllers": controllers,
            "clock_synchronised": synchronised,
            "clock_service": service,
            "throttling": _machine.throttling(self._run("vcgencmd", "get_throttled")),
        }

    def modules(self, names: list[str]) -> dict[str, str]:
        """The state of each module."""
        tree = f"/lib/modules/{self._kernel}"
        present = _machine.module_names(self.text(f"{tree}/modules.builtin") or "")
        present |= {line.split()[-1] for line in self.text("/proc/filesystems").splitlines()}
        present |= {path.name for path in (self._root / "sys/module").iterdir()}
        present |= {name for name, trace in _machine.MODULE_TRACES.items() if (self._root / "proc/sys" / trace).exists()}
        return _machine.module_states(names, present, _machine.module_names(self.text(f"{tree}/modules.dep") or ""))

    def sysctl(self, name: str) -> str | None:
        """A setting's value, words separated by one space."""
        value = self.text(f"/proc/sys/{name.replace('.', '/')}")
        return value if value is None else " ".join(value.split())

    def packages(self, names: list[str]) -> dict[str, str]:
        """The state of each package."""
        return _machine.package_states(names, self._run("apt-cache", "policy", *names) if names else "")

    def is_on_sd_card(self, path: str) -> bool:
        """By what the kernel says of the disk, so that eMMC is none; a card in a USB reader cannot be told from a disk."""
        inside = (self._root / path.lstrip("/")).resolve().relative_to(self._root.resolve())
        source = _machine.source_of(f"/{inside}", self.text("/proc/self/mountinfo"))
        device = (self._root / source.lstrip("/")).resolve().name
        return any((self.text(f"/sys/class/block/{disk}/device/type") or "").strip() == "SD" for disk in self._disks(device))

    def _disks(self, device: str) -> set[str]:
        """The disks under a block device: of a partition its disk, of a logical volume those of its physical volumes."""
        entry = (self._root / "sys/class/block" / device).resolve()
        if (entry / "partition").exists():
            return self._disks(entry.parent.name)
        below = list((entry / "slaves").iterdir()) if (entry / "slaves").is_dir() else []
        return {disk for each in below for disk in self._disks(each.name)} or {device}


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={name: {"type": "list", "elements": "path" if name in ("files", "paths") else "str", "default": []}
                       for name in ("modules", "sysctls", "packages", "files", "paths")},
        supports_check_mode=True)

    def run(program: str, *arguments: str) -> str:
        found = module.get_bin_path(program)
        return module.run_command([found, *arguments], environ_update={"LC_ALL": "C"})[1] if found else ""

    given = module.params
    machine = Machine(pathlib.Path("/"), run, platform.release())
    try:
        module.exit_json(
            changed=False,
            architecture=platform.machine(),
            userland_bits=struct.calcsize("P") * 8,
            hostname=platform.node(),
            modules=machine.modules(given["modules"]),
            sysctls={name: machine.sysctl(name) for name in given["sysctls"]},
            packages=machine.packages(given["packages"]),
            files={path: machine.text(path) for path in given["files"]},
            on_sd_card=[path for path in given["paths"] if machine.is_on_sd_card(path)],
            **machine.facts())
    except ValueError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
