#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bitcoind_snapshot
short_description: Let bitcoind start from an assumeutxo snapshot
version_added: 0.1.0
description:
  - Loads a set of unspent outputs that somebody else has computed, so that bitcoind is at the end of the chain within the hour. It checks the blocks
    before it in the background, for days.
  - bitcoind knows the hashes of the snapshots that it takes. Until the check is over, whoever uses its answers trusts that list.
  - Does nothing where the snapshot's block is in the chain already.
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  file:
    description: The snapshot as the pod sees it, on its volume.
    type: path
    required: true
  network:
    description: The network that it must be of.
    type: str
    required: true
    choices: [mainnet, testnet3, testnet4, signet, regtest]
  timeout:
    description: Seconds to wait until bitcoind knows the header of the snapshot's block.
    type: int
    default: 1800
attributes:
  check_mode:
    support: full
    description: Says whether it would load the snapshot.
  diff_mode:
    support: none
    description: The set is too large to show.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Start from the snapshot once
  openlsp.node.bitcoind_snapshot:
    namespace: lightning
    file: /data/utxo-965000.dat
    network: mainnet
"""

RETURN = r"""
block:
  description: The newest block in the snapshot.
  returned: when the pod exists
  type: str
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _bootstrap, _cluster, _pod, _snapshot

POD = "bitcoind-0"
CONTAINER = "bitcoind"

CLI = "bitcoin-cli -datadir=/data -conf=/etc/bitcoin/bitcoin.conf"

# In one piece: bitcoind goes back to the network also when this playbook is interrupted. Off the network, as Bitcoin Core's
# doc/assumeutxo.md has it, because new blocks would wait for the load and peers would be dropped.
LOAD = f"{CLI} setnetworkactive false >&2 && {CLI} -rpcclienttimeout=0 loadtxoutset \"$1\"; code=$?; {CLI} setnetworkactive true >&2; exit $code"

# Seconds. The kubelet closes an exec session without traffic after four hours.
LOAD_LIMIT = 4 * 3600


class Bitcoind:
    """The bitcoind of a namespace, asked by its own command."""

    def __init__(self, cluster: _cluster.Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace

    def run(self, *command: str, timeout: float = 60) -> bytes:
        """The output of a command in its container. Raises ClusterError."""
        return _pod.run(self._cluster, self._namespace, POD, CONTAINER, list(command), timeout)

    def call(self, *words: str) -> dict:
        """The answer to an RPC. Raises ClusterError."""
        return json.loads(self.run(*CLI.split(), *words))

    def header(self, block: str) -> dict | None:
        """A block's header, or None as long as bitcoind does not know it. Raises ClusterError."""
        try:
            return self.call("getblockheader", block)
        except _cluster.ClusterError as error:
            if "error code: -5" not in str(error):
                raise
            return None


def run(module: AnsibleModule) -> dict:
    """Load the snapshot where it is not loaded. Raises ClusterError and SnapshotError."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    if module.check_mode and not _pod.pod(cluster, given["namespace"], POD):
        return {"changed": True}
    bitcoind = Bitcoind(cluster, given["namespace"])
    snapshot = _snapshot.parse(bitcoind.run("head", "-c", str(_snapshot.HEAD_BYTES), given["file"]))
    if snapshot.network != given["network"]:
        raise _snapshot.SnapshotError(f"it is of {snapshot.network}, not of {given['network']}; name another one")
    header = bitcoind.header(snapshot.block)
    # Confirmations count up from the chain's end; a header without a block in the chain has -1.
    if header and header["confirmations"] > 0 or _loaded(bitcoind, snapshot):
        return {"changed": False, "block": snapshot.block}
    if not module.check_mode:
        _await_header(bitcoind, snapshot, given["timeout"])
        bitcoind.run("sh", "-c", LOAD, "sh", given["file"], timeout=LOAD_LIMIT)
        if not _loaded(bitcoind, snapshot):
            raise _snapshot.SnapshotError(f"bitcoind took it but does not use it (getchainstates does not name {snapshot.block}); see its log")
    return {"changed": True, "block": snapshot.block}


def _loaded(bitcoind: Bitcoind, snapshot: _snapshot.Snapshot) -> bool:
    return any(each.get("snapshot_blockhash") == snapshot.block for each in bitcoind.call("getchainstates")["chainstates"])


def _await_header(bitcoind: Bitcoind, snapshot: _snapshot.Snapshot, timeout: int) -> None:
    deadline = time.monotonic() + timeout
    while not bitcoind.header(snapshot.block):
        if time.monotonic() > deadline:
            raise _snapshot.SnapshotError(f"bitcoind does not know its block {snapshot.block} after {timeout} s; "
                                          "has it peers, and is the snapshot of this chain? Run again to wait longer")
        time.sleep(1)


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "file": {"type": "path", "required": True},
            "network": {"type": "str", "required": True, "choices": list(_bootstrap.SUBDIRECTORIES)},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True)
    try:
        result = run(module)
    except (_cluster.ClusterError, _snapshot.SnapshotError) as error:
        module.fail_json(msg=f"bitcoind_snapshot_file: {module.params['file']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
