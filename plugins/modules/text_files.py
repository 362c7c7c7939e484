#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: text_files
short_description: Write small text files, durably and all in one go
version_added: 0.1.0
description:
  - For the few lines that a machine reads when it starts. M(ansible.builtin.copy) takes two module runs a file, which cost seconds each on a Raspberry Pi.
  - Each file is written beside the old one, is on the disk before it takes the old one's name, and keeps the old one's mode. Missing directories are made.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file is.
        type: path
        required: true
      content:
        description: Its text. An empty one means that there is no such file.
        type: str
        required: true
      backup:
        description:
          - Keep the old file beside the new one, with C(.bak) after its name.
          - The name that M(ansible.builtin.copy) gives to a backup has a colon, which the FAT of a boot partition refuses.
        type: bool
        default: false
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: full
    description: Shows what becomes of each file.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Load a module at every start, and no longer limit the journal
  openlsp.node.text_files:
    files:
      - path: /etc/modules-load.d/vxlan.conf
        content: "vxlan\n"
      - path: /etc/systemd/journald.conf.d/size.conf
        content: ""
"""

RETURN = r"""
paths:
  description: The files that changed.
  returned: always
  type: list
  elements: str
  sample: [/etc/modules-load.d/vxlan.conf]
"""

import contextlib
import os
import pathlib
import stat

from ansible.module_utils.basic import AnsibleModule


def read(path: pathlib.Path) -> str:
    """The text of a file, empty where there is none."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""


def write(path: pathlib.Path, text: str) -> None:
    """Put a text in place of a file, so that at any moment there is the old one or the new one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        # FAT has no modes: the mount gives every file the same one.
        with contextlib.suppress(PermissionError):
            os.fchmod(file.fileno(), mode)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def sync(directory: pathlib.Path) -> None:
    """Make the names in a directory last, through a power cut too."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def put(path: pathlib.Path, text: str, before: str, backup: bool) -> None:
    """Make one file what it should be."""
    if backup and before:
        write(path.with_name(f"{path.name}.bak"), before)
    if text:
        write(path, text)
    else:
        path.unlink()
        sync(path.parent)


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "backup": {"type": "bool", "default": False},
        }}},
        supports_check_mode=True)
    diff = []
    for each in module.params["files"]:
        try:
            path, before = pathlib.Path(each["path"]), read(pathlib.Path(each["path"]))
            if each["content"] == before:
                continue
            diff.append({"before_header": str(path), "before": before, "after_header": str(path), "after": each["content"]})
            if not module.check_mode:
                put(path, each["content"], before, each["backup"])
        except (OSError, UnicodeDecodeError) as error:
            module.fail_json(msg=f"{each['path']}: {error}")
    module.exit_json(changed=bool(diff), diff=diff, paths=[each["after_header"] for each in diff])


if __name__ == "__main__":
    main()
