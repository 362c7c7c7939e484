#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_verify
short_description: Find what is wired wrongly in a node
version_added: 0.1.0
description:
  - Looks at a node from outside and names what does not fit together, within seconds. What it can find is listed in the collection's docs/verify.md.
  - Compares the Kubernetes objects with each other and with what runs, bitcoind's and LND's own answers, LND's credentials with the running LND, and
    tries the addresses that LND announces.
  - A node that downloads the chain is in order. It has findings of severity V(wait), with its progress.
  - Shows no credential.
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  network:
    description: The network that the node is to be on.
    type: str
    required: true
    choices: [mainnet, testnet3, testnet4, signet, regtest]
  mine:
    description:
      - Let bitcoind mine a block, to nobody, and see whether it reaches LND within five seconds. On V(regtest) alone.
      - Without it bitcoind's newest block is compared with the newest one that reached LND.
    type: bool
    default: false
  local_paths:
    description: The directory in which the volume of C(bitcoind), C(lnd) or C(tor) is to lie, by these names, where it is a local one.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Mines nothing.
  diff_mode:
    support: none
    description: A mined block is all that it may change.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Look for what is wired wrongly
  openlsp.node.node_verify:
    namespace: lightning
    network: mainnet
  register: verified
  failed_when: verified.errors > 0
"""

RETURN = r"""
findings:
  description: What was found, errors first.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: What kind of finding it is.
      type: str
      sample: zmq-swapped
    severity:
      description: V(error), V(warning), or V(wait) for what passes by itself.
      type: str
    what:
      description: The same in a sentence.
      type: str
    evidence:
      description: What shows it.
      type: str
    remedy:
      description: What to do.
      type: str
errors:
  description: How many of them are errors.
  returned: always
  type: int
block:
  description: bitcoind's newest block; none where it does not answer.
  returned: always
  type: int
lnd_block:
  description: The newest block that reached LND; none where it was not asked, or has none.
  returned: always
  type: int
peers:
  description: LND's peers; none where it does not answer.
  returned: always
  type: int
reached:
  description: The announced addresses and onions that answered.
  returned: always
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: always
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _observer, _wiring
from ansible_collections.openlsp.node.plugins.module_utils._credentials import NETWORK_DIRECTORIES


def run(module: AnsibleModule) -> dict:
    """Look, judge, tell. Raises ClusterError."""
    given, begin = module.params, time.monotonic()
    mine = given["mine"] and given["network"] == "regtest" and not module.check_mode
    seen = _observer.observe(_observer.Given(
        _cluster.connect(given["kubeconfig"], given["context"]), given["namespace"], given["network"], mine, given["local_paths"]))
    found = _wiring.findings(seen)
    return {
        "changed": bool(seen.bitcoind and seen.bitcoind.mined),
        "findings": [{"name": each.name, "severity": each.kind.severity, "what": each.kind.what, "evidence": each.evidence,
                      "remedy": each.kind.remedy} for each in found],
        "errors": sum(each.kind.severity == "error" for each in found),
        "block": seen.bitcoind.blocks if seen.bitcoind and not seen.bitcoind.obstacle else None,
        "lnd_block": seen.lnd.block if seen.lnd else None,
        "peers": seen.lnd.peers if seen.lnd and seen.lnd.network else None,
        "reached": [each.address for each in seen.reached if each.answers],
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "network": {"type": "str", "required": True, "choices": list(NETWORK_DIRECTORIES)},
            "mine": {"type": "bool", "default": False},
            "local_paths": {"type": "dict", "default": {}},
        },
        supports_check_mode=True)
    try:
        result = run(module)
    except _cluster.ClusterError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
