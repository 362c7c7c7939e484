#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: blockchain_copy
short_description: Take over the blockchain of another node by rsync over SSH
version_added: 0.1.0
description:
  - Copies C(blocks), C(chainstate) and C(indexes) of a stopped bitcoind to the machine on which the module runs, before the first start of the bitcoind there.
    Nothing else comes along, no wallet and no credential.
  - One run copies for O(seconds) at most and says how far it is; the next one goes on. So a loop shows the progress, a forwarded SSH agent
    is there as long as it is needed, and nothing runs on after the playbook is interrupted.
  - While it copies it holds bitcoind's own lock on the other machine, so that no bitcoind can start there.
  - What has come lies in C(bootstrap.partial) until all of it is there, and is moved then. A file C(bootstrap.json) keeps it from happening again.
requirements:
  - rsync, and ssh, on both machines
  - Python 3.7 or later on the other machine
options:
  source:
    description: C(user@host:/path) of the other node's data directory, or of its network's sub-directory.
    type: str
    required: true
  path:
    description: The data directory on this machine. It must exist.
    type: path
    required: true
  network:
    description: The network that it must be of.
    type: str
    required: true
    choices: [mainnet, testnet3, testnet4, signet, regtest]
  pruned:
    description: Whether the oldest blocks may be missing.
    type: bool
    default: false
  key_file:
    description: An SSH key on this machine. Without it the forwarded agent and the user's own keys are tried.
    type: path
  host_key:
    description: The other machine's public host key, C(ssh-ed25519 AAAA...). Without it the user's C(known_hosts) has to have it.
    type: str
  seconds:
    description: How long one run copies.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Looks at the other node, refuses what cannot work, and copies nothing.
  diff_mode:
    support: full
    description: Names the source and its size.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Copy the blockchain, a minute at a time
  openlsp.node.blockchain_copy:
    source: bitcoin@umbrel.local:/home/bitcoin/.bitcoin
    path: /srv/blockchain/bitcoind
    network: mainnet
  delegate_to: pi
  become: true
  register: copy
  loop: "{{ range(10000) | list }}"
  loop_control:
    label: "{{ copy.progress | default('refused') }}"
    break_when: [copy is failed or copy.finished]
"""

RETURN = r"""
finished:
  description: Whether everything is in its place.
  returned: success
  type: bool
progress:
  description: How far it is.
  returned: success
  type: str
  sample: 37 % of 712.3 GB, 41.2 MB/s
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils._bootstrap import (
    SUBDIRECTORIES, BootstrapError, Step, next_step, progress, readable, refuse)
from ansible_collections.openlsp.node.plugins.module_utils._chain_copy import Directory, OtherMachine, agent, ssh_command


def run(module: AnsibleModule) -> dict:
    """Do what one run can do. Raises BootstrapError."""
    given = module.params
    directory = Directory(given["path"], given["network"])
    machine = OtherMachine(given["source"], ssh_command(given["key_file"], known_hosts(module)), {**os.environ, **agent()})
    begin = time.monotonic()
    with directory.locked():
        target = directory.look()
        if module.check_mode and not target.exists:
            return {"changed": True, "finished": True, "progress": f"{target.directory} does not exist yet"}
        step = next_step(target)
        if step is Step.NOTHING or module.check_mode and step is Step.MOVE:
            return {"changed": step is not Step.NOTHING, "finished": True, "progress": step.value}
        if step is Step.COPY:
            with machine.asked(SUBDIRECTORIES[given["network"]]) as found:
                refuse(found, target, given["network"], given["pruned"])
                if module.check_mode:
                    return _taken(given["source"], found.size)
                directory.prepare()
                all_here = machine.copy(found, directory.staging, given["seconds"])
            staged = directory.look().staged
            if not all_here:
                return {"changed": True, "finished": False, "progress": progress(found.size, target.staged, staged, time.monotonic() - begin)}
            directory.complete()
        directory.move(given["source"])
    return _taken(given["source"], target.staged if step is Step.MOVE else staged)


def _taken(source: str, size: int) -> dict:
    return {"changed": True, "finished": True, "progress": f"all of {readable(size)}",
            "diff": {"before": "", "after": f"the blockchain of {source}, {readable(size)}\n"}}


def known_hosts(module: AnsibleModule) -> str | None:
    """A file with the given host key under the name that ssh_command looks for."""
    if not module.params["host_key"]:
        return None
    path = os.path.join(module.tmpdir, "known_hosts")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"source {module.params['host_key']}\n")
    return path


def main() -> None:
    """The module's entry point."""
    arguments: dict[str, Any] = {
        "source": {"type": "str", "required": True},
        "path": {"type": "path", "required": True},
        "network": {"type": "str", "required": True, "choices": list(SUBDIRECTORIES)},
        "pruned": {"type": "bool", "default": False},
        "key_file": {"type": "path", "no_log": False},
        "host_key": {"type": "str", "no_log": False},
        "seconds": {"type": "int", "default": 60},
    }
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    try:
        result = run(module)
    except (BootstrapError, OSError) as error:
        module.fail_json(msg=f"bitcoind_bootstrap_from: {module.params['source']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
