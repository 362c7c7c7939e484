#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_layout_copy
short_description: Copy a directory to the volume that will be mounted over it
version_added: 0.1.0
description:
  - Copies everything, with owners, ACLs, extended attributes, hard links and holes, and compares every byte. The directory itself stays as it is.
  - The volume is mounted where only this module sees it, so an interrupted run leaves no mount.
  - A mark on the volume says that the copy is not complete. A run after a power cut finds it and goes on.
  - On a volume that holds files of an earlier installation those win; what is missing there is added, and so is each SSH key that opens an account now.
options:
  device:
    description: The volume, which has a file system.
    type: path
    required: true
  directory:
    description: The directory.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Reports a change.
  diff_mode:
    support: none
    description: The files are many.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Copy the home directories to their volume
  openlsp.node.disk_layout_copy:
    device: /dev/nvmedisk/home
    directory: /home
"""

RETURN = r"""
directory:
  description: The directory that was copied.
  returned: success
  type: str
  sample: /home
way:
  description: What was found on the volume; V(new) for nothing, V(resumed) for an incomplete copy, V(merged) for files of an earlier installation.
  returned: success
  type: str
  sample: new
"""

import ctypes
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _disk_copy as copy

CLONE_NEWNS = 0x00020000  # linux/sched.h; os.unshare came with Python 3.12

# A directory in which somebody writes without pause is never equal to its copy.
ROUNDS = 5


class Copier:
    """Copies a directory to a mounted volume."""

    def __init__(self, module: AnsibleModule, source: str, target: str) -> None:
        self._module, self._source, self._target = module, source, target
        self._mark = os.path.join(target, copy.MARK)

    def run(self) -> str:
        """Copy until nothing differs; return the way. Raises CopyError."""
        way = copy.way(os.listdir(self._target))
        if way == "merged":
            self._merge()
            os.sync()
            return way
        with open(self._mark, "w", encoding="ascii"):
            os.sync()
        self._rsync(*copy.OPTIONS, "--delete")
        for _round in range(ROUNDS):
            if not self._rsync(*copy.OPTIONS, "--delete", "--checksum"):
                break
        else:
            raise copy.CopyError(f"{self._source} changes faster than it can be copied; end what writes there")
        # The mark goes after everything else has arrived.
        os.sync()
        os.unlink(self._mark)
        os.sync()
        return way

    def _merge(self) -> None:
        """Add what is missing on the volume. Raises CopyError where an account would lose its home directory."""
        owners = [{name: os.stat(os.path.join(place, name)).st_uid for name in os.listdir(place)} for place in (self._source, self._target)]
        strangers = copy.strangers(*owners)
        if strangers:
            raise copy.CopyError(f"the volume has home directories of other users under the same names: {'; '.join(strangers)}; "
                                 "mount it by hand and give them their owners")
        self._rsync(*copy.OPTIONS, "--ignore-existing")
        for name in owners[0]:
            keys = [os.path.join(place, name, ".ssh/authorized_keys") for place in (self._source, self._target)]
            if all(map(os.path.isfile, keys)):
                now, then = ([line.rstrip("\n") for line in open(path, encoding="utf-8", errors="surrogateescape")] for path in keys)
                added = copy.missing_keys(now, then)
                if added:
                    with open(keys[1], "a", encoding="utf-8", errors="surrogateescape") as stream:
                        stream.write("".join(f"\n{line}" for line in added) + "\n")

    def _rsync(self, *options: str) -> str:
        """What was different. Files that vanish meanwhile (24) are for the next round."""
        code, output, errors = self._module.run_command(["rsync", *options, f"{self._source}/", f"{self._target}/"], environ_update={"LC_ALL": "C"})
        if code == 24:
            return output or "vanished"
        if code:
            raise copy.CopyError(f"rsync to the volume failed ({code}): {errors.strip()[-1000:]}")
        return output


def mounted_for_us_alone(module: AnsibleModule, device: str) -> str:
    """Mount a device in a mount namespace of this process, which takes the mount with it however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    module.run_command(["mount", "--make-rprivate", "/"], check_rc=True)
    target = tempfile.mkdtemp(prefix="openlsp-", dir="/run")
    module.add_cleanup_file(target)
    module.run_command(["mount", "-o", "noatime", device, target], check_rc=True)
    return target


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={"device": {"type": "path", "required": True}, "directory": {"type": "path", "required": True}},
        supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=True, directory=module.params["directory"], way="new")
    device, directory = module.params["device"], module.params["directory"]
    try:
        target = mounted_for_us_alone(module, device)
        try:
            way = Copier(module, directory, target).run()
        finally:
            module.run_command(["umount", target])
    except (copy.CopyError, OSError) as error:
        module.fail_json(msg=f"{directory}: {error}")
    module.exit_json(changed=True, directory=directory, way=way)


if __name__ == "__main__":
    main()
