# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The head of an assumeutxo snapshot. Pure; no input or output."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.openlsp.node.plugins.module_utils._bootstrap import MAGICS

HEAD_BYTES = 43
_BEGIN = b"utxo\xff"
_VERSION = 2


class SnapshotError(Exception):
    """Why bitcoind does not start from a snapshot, and what to do."""


@dataclass(frozen=True)
class Snapshot:
    """The network, and the hash of the newest block in it as bitcoind's RPC writes it."""

    network: str
    block: str


def parse(head: bytes) -> Snapshot:
    """Read the first HEAD_BYTES of what ``dumptxoutset`` writes. Raises SnapshotError.

    Format: Bitcoin Core since 28, node/utxo_snapshot.h: "utxo" and 0xff, a version of two bytes, the network's message start, the block's hash.
    """
    if len(head) < HEAD_BYTES or not head.startswith(_BEGIN):
        raise SnapshotError("it is no snapshot that dumptxoutset writes; download it again")
    version = int.from_bytes(head[5:7], "little")
    if version != _VERSION:
        raise SnapshotError(f"it is a snapshot of version {version}, and bitcoind reads version {_VERSION}; take one of Bitcoin Core 28 or later")
    return Snapshot(MAGICS.get(head[7:11].hex(), "a network that is not known"), head[11:43][::-1].hex())
