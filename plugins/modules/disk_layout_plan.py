#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_layout_plan
short_description: Say what is missing between a data disk and the volumes that are wanted on it
version_added: 0.1.0
description:
  - Looks at the disks, the volume group C(nvmedisk), the mounts and C(/etc/fstab), and gives the steps that are missing. It only reads.
  - Fails, with every reason, where a step would endanger what is there. A disk that is not empty is accepted only with its serial number.
options:
  disk:
    description: The disk, as C(/dev/disk/by-id/...) names it.
    type: str
    required: true
  confirm_serial:
    description: The serial number of a disk that is not empty, and whose content is given up.
    type: str
    default: ""
  volumes:
    description: The volumes that are wanted.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the logical volume.
        type: str
        required: true
      mount:
        description: Where it is mounted.
        type: str
        required: true
      size:
        description: V(32GiB), V(10%) of the disk, or V(rest).
        type: str
        required: true
      copy:
        description: Copy what is in the mount point to the volume before it is mounted there.
        type: bool
        default: false
      directory:
        description: A directory on the volume for a pod; empty for none.
        type: str
        default: ""
  options:
    description: Options of the mounts, as in C(/etc/fstab).
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Reports a change where there are steps, since no other module runs then.
  diff_mode:
    support: full
    description: The diff is the plan in words.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Look at the disk
  openlsp.node.disk_layout_plan:
    disk: /dev/disk/by-id/nvme-Samsung_SSD_980_1TB_S649NX0R123456
    volumes:
      - {name: home, mount: /home, size: 16GiB, copy: true}
      - {name: blockchain, mount: /srv/blockchain, size: rest, directory: bitcoind}
    options: noatime,nofail,x-systemd.device-timeout=90s
  register: plan
"""

RETURN = r"""
steps:
  description:
    - What has to be done, by kind and in this order; empty where all is as wanted.
    - C(on) is what it is done to, C(value) what the module for it needs, C(says) the sentence.
  returned: success
  type: dict
  sample: {create: [{"on": home, value: 16384m, says: "home: make a volume of 16 GiB"}]}
"""

import json
import os
from dataclasses import replace
from typing import Iterable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _disk_layout as layout

PACKAGES = ("lvm2", "btrfs-progs", "rsync")

# What dpkg has not yet merged into its database; apt refuses to work as long as there is something.
JOURNAL = "/var/lib/dpkg/updates"


class Machine:
    """What the machine's own tools say. Nothing here writes."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module

    def found(self, wanted: layout.Layout) -> layout.Found:
        """Everything that the plan follows from. Raises LayoutError."""
        # With NAME it is a tree: without, the parts of a disk stand beside it.
        devices = layout.devices(self._json("lsblk", "--json", "--bytes", "--output", "NAME,PATH,TYPE,SIZE,FSTYPE,SERIAL,RO,MOUNTPOINTS"))
        target = os.path.realpath(wanted.disk) if os.path.exists(wanted.disk) else None
        status = self._packages()
        missing = tuple(package for package in PACKAGES if status.get(package) != "installed")
        labels = {each.path: group_of(each.path) for top in devices for each in top.family() if each.type in ("disk", "part")}
        found = layout.Found(
            target=target, devices=devices, candidates=tuple(disk_links(devices)), labels=labels, missing=missing,
            interrupted=is_interrupted(status.values()), fstab=text("/etc/fstab"),
            mounts=layout.mounts(self._json("findmnt", "--json", "--bytes", "--list", "--output", "TARGET,SOURCE,SIZE,OPTIONS")),
            trim=self._run("systemctl", "is-enabled", "fstrim.timer")[0] == 0)
        if found.disk in found.carriers:
            found = replace(found, group=None if "lvm2" in missing else self._group())
        elif found.disk:
            found = replace(found, signatures=self._signatures(target)[0], zeros=not any(read(target, 0, layout.MIB)), busy=is_busy(target))
        places = {volume.mount: self._place(volume) for volume in wanted.volumes if volume.mount not in found.mounts}
        directories = [f"{volume.mount}/{volume.directory}" for volume in wanted.volumes if volume.directory and volume.mount in found.mounts]
        return replace(found, places=places, owners={path: os.stat(path).st_uid for path in directories if os.path.isdir(path)})

    def _packages(self) -> dict[str, str]:
        """How far each package is that the role needs. dpkg-query fails where one of them is unknown to it, and tells of the others."""
        _code, output, _errors = self._module.run_command(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *PACKAGES])
        return dict(line.split() for line in output.splitlines())

    def _group(self) -> layout.Group | None:
        """The volume group, or None where LVM cannot read it."""
        options = ("--reportformat", "json", "--units", "b", "--nosuffix", "--options")
        answers = [self._run(*command, layout.GROUP) for command in (
            ("vgs", *options, "vg_size,vg_free,vg_extent_size,vg_missing_pv_count"), ("lvs", *options, "lv_name,lv_size,lv_active"))]
        if any(code for code, _output in answers):
            return None
        group = layout.group(*(json.loads(output) for _code, output in answers))
        return replace(group, volumes={name: self._volume(name, volume) for name, volume in group.volumes.items()})

    def _volume(self, name: str, volume: layout.LogicalVolume) -> layout.LogicalVolume:
        """A volume with what is on it."""
        path = f"/dev/{layout.GROUP}/{name}"
        if not volume.active:
            return volume
        signatures, uuid = self._signatures(path)
        filled, remains = layout.btrfs_size(lambda offset, length: read(path, offset, length))
        return replace(volume, signatures=signatures, uuid=uuid, filled=filled, remains=remains and not signatures)

    def _signatures(self, path: str) -> tuple[tuple[str, ...], str]:
        """The kinds of what is on a device, and the UUID of the first."""
        code, output = self._run("wipefs", "--json", path)
        if code:
            raise layout.LayoutError(f"{path} cannot be read: {output.strip()}")
        found = json.loads(output or "{}").get("signatures", [])
        return tuple(each["type"] for each in found), next((each["uuid"] for each in found if each.get("uuid")), "")

    def _place(self, volume: layout.Volume) -> layout.Place:
        path = volume.mount
        if not os.path.lexists(path):
            return layout.Place()
        if os.path.realpath(path) != path or not os.path.isdir(path):
            return layout.Place("other")
        entries = tuple(sorted(os.listdir(path)))
        sealed = "i" in self._run("lsattr", "-d", path)[1].partition(" ")[0]
        return layout.Place("directory", entries, sealed, self._used(path) if volume.copy and entries else 0)

    def _used(self, path: str) -> int:
        """Bytes. du counts the rest where it may not read something, or a file goes away meanwhile, and says so by its exit code."""
        _code, output, errors = self._module.run_command(["du", "--summarize", "--block-size=1", path])
        if not output.split():
            raise layout.LayoutError(f"{path} cannot be measured: {errors.strip()}")
        return int(output.split()[0])

    def _json(self, *command: str) -> dict:
        code, output = self._run(*command)
        if code:
            raise layout.LayoutError(f"{command[0]} failed: {output.strip()}")
        return json.loads(output)

    def _run(self, *command: str) -> tuple[int, str]:
        """Exit code and output; the errors where it failed."""
        code, output, errors = self._module.run_command(list(command), environ_update={"LC_ALL": "C"})
        return code, errors if code else output


def is_interrupted(states: Iterable[str]) -> bool:
    """Whether dpkg was stopped at its work: it has not written down all that it did, or one of our packages is on its way."""
    return any(name.isdigit() for name in os.listdir(JOURNAL)) or bool(set(states) - {"installed", "not-installed", "config-files"})


def disk_links(devices: tuple[layout.Device, ...]) -> list[str]:
    """The names in /dev/disk/by-id that lead to whole disks."""
    disks = {each.path for each in devices if each.type == "disk"}
    names = sorted(os.listdir(layout.BY_ID)) if os.path.isdir(layout.BY_ID) else []
    return [layout.BY_ID + name for name in names if os.path.realpath(layout.BY_ID + name) in disks]


def group_of(path: str) -> str | None:
    """The volume group that a device belongs to, see labelled_group; None also where the device cannot be read, as a card reader without a card."""
    try:
        return layout.labelled_group(lambda offset, length: read(path, offset, length))
    except OSError:
        return None


def read(path: str, offset: int, length: int) -> bytes:
    """Bytes of a device; fewer at its end, none behind it."""
    device = os.open(path, os.O_RDONLY)
    try:
        return os.pread(device, length, offset)
    finally:
        os.close(device)


def is_busy(path: str) -> bool:
    """Whether the kernel lets nobody else have the disk: something of it is mounted, in an array, mapped."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return True
    return False


def text(path: str) -> str:
    """The content of a file; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            "disk": {"type": "str", "required": True},
            "confirm_serial": {"type": "str", "default": ""},
            "volumes": {"type": "list", "elements": "dict", "required": True, "options": {
                "name": {"type": "str", "required": True},
                "mount": {"type": "str", "required": True},
                "size": {"type": "str", "required": True},
                "copy": {"type": "bool", "default": False},
                "directory": {"type": "str", "default": ""},
            }},
            "options": {"type": "str", "required": True},
        },
        supports_check_mode=True)
    try:
        wanted = layout.layout(module.params)
        mistakes = list(layout.variable_mistakes({f"disk_layout_{name}": value for name, value in module.params.items()}))
        found = None if mistakes else Machine(module).found(wanted)
        mistakes = mistakes or layout.mistakes(wanted, found)
    except (layout.LayoutError, OSError) as error:
        mistakes = [f"disk_layout_disk: {module.params['disk']}: {error}"]
    if mistakes:
        module.fail_json(msg="\n".join(mistakes) if len(mistakes) > 1 else mistakes[0])
    steps = layout.plan(wanted, found)
    by_kind: dict[str, list] = {}
    for step in steps:
        by_kind.setdefault(step.do, []).append({"on": step.on, "value": step.value, "says": step.says})
    words = "".join(f"{step.says}\n" for step in steps)
    module.exit_json(changed=module.check_mode and bool(steps), steps=by_kind, diff={"before": "", "after": words})


if __name__ == "__main__":
    main()
