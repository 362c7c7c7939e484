# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the blockchain of another node may be taken over, and how far that is. Pure; no input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

# user@host:/path as rsync and ssh read it. No part can begin with a hyphen and be taken for an option.
SOURCE = re.compile(r"(?P<login>[\w.][\w.-]*@(?:[\w.][\w.-]*|\[[0-9a-fA-F:.]+\])):(?P<path>/[^\n]*)", re.ASCII)

# The sub-directory of bitcoind's data directory and the message start, by network: chainparamsbase.cpp and kernel/chainparams.cpp.
SUBDIRECTORIES = {"mainnet": "", "testnet3": "testnet3", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}
MAGICS = {"f9beb4d9": "mainnet", "0b110907": "testnet3", "1c163f28": "testnet4", "0a03cf40": "signet", "fabfb5da": "regtest"}

# Since this build Knots follows rules of its own; on mainnet it left Bitcoin's chain at block 961,632.
KNOTS_SPLIT = ((29, 3), 20260508)

# Beside the copy bitcoind needs room to start: it writes to its databases at once.
SPARE_BYTES = 1_000_000_000


REMEDIES = {
    "Host key verification failed": "set bitcoind_bootstrap_host_key to the line in that machine's /etc/ssh/ssh_host_ed25519_key.pub",
    "Permission denied": "forward an agent whose key may log in there, or name the key in bitcoind_bootstrap_key_file",
    # dash says "rsync: not found", bash "rsync: command not found".
    "python3: not found": "install Python there",
    "python3: command not found": "install Python there",
    "rsync: not found": "install rsync there",
    "rsync: command not found": "install rsync there",
}


class BootstrapError(Exception):
    """Why the blockchain is not taken over, and what to do."""


class Step(Enum):
    """What is left to do."""

    NOTHING = "it was copied before"
    MOVE = "everything has come and is moved to its place"
    COPY = "it is copied"


@dataclass(frozen=True)
class Source:
    """What _chain_source.look tells; in ``first_block_file`` a pruned chain shows, whose oldest files are gone."""

    directory: str
    parts: list[str]
    running: bool
    magic: str
    first_block_file: str
    programs: list[str]
    size: int


@dataclass(frozen=True)
class Target:
    """bitcoind's directory on this machine. complete: all has come; staged: bytes that have come; parts: what is in its place."""

    directory: str
    exists: bool
    marked: bool = False
    complete: bool = False
    parts: tuple[str, ...] = ()
    staged: int = 0
    free: int = 0


def login_and_path(source: str) -> tuple[str, str]:
    """``bitcoin@umbrel:/data`` is ("bitcoin@umbrel", "/data"). Raises BootstrapError."""
    found = SOURCE.fullmatch(source)
    if not found:
        raise BootstrapError("it is no address such as bitcoin@umbrel.local:/home/bitcoin/.bitcoin")
    return found["login"], found["path"]


def next_step(target: Target) -> Step:
    """What is to be done where so much is there. Raises BootstrapError."""
    if not target.exists:
        raise BootstrapError(f"{target.directory} does not exist here; is its volume mounted?")
    if target.marked and not target.parts:
        raise BootstrapError(f"it was copied to {target.directory} before, and is gone; remove bootstrap.json there to copy it again, "
                             "or empty bitcoind_bootstrap_from")
    if target.marked:
        return Step.NOTHING
    if target.complete:
        return Step.MOVE
    if target.parts:
        raise BootstrapError(f"{target.directory} has a blockchain already ({', '.join(target.parts)}), which stays as it is; "
                             "empty bitcoind_bootstrap_from to keep it, or move it away")
    return Step.COPY


def refuse(source: Source, target: Target, network: str, pruned: bool) -> None:
    """Raises BootstrapError with the first reason not to copy. pruned: the chain here may lack its oldest blocks."""
    missing = [part for part in ("blocks", "chainstate") if part not in source.parts]
    if missing or not source.first_block_file:
        raise BootstrapError(f"no blockchain that this user can read is there ({' or '.join(missing or ['blk*.dat'])} is missing); "
                             "name the data directory of its bitcoind, and a user who may read it")
    if source.running:
        raise BootstrapError("a bitcoind runs there; stop it until the copy is here")
    found = MAGICS.get(source.magic, "a network that is not known")
    if found != network:
        raise BootstrapError(f"this is {found}, not {network}; name a node of {network}")
    if network == "mainnet":
        _refuse_other_chains(source)
    if not pruned and source.first_block_file != "blk00000.dat":
        raise BootstrapError(f"its oldest blocks are pruned (it begins with {source.first_block_file}); "
                             "set bitcoind_prune_mib, or name a node that has all blocks")
    short = source.size - target.staged + SPARE_BYTES - target.free
    if short > 0:
        raise BootstrapError(f"{target.directory} lacks {readable(short)} for its {readable(source.size)}; make the volume larger")


def _refuse_other_chains(source: Source) -> None:
    """Any trace of such a Knots counts: after it, Bitcoin Core alone stays stuck at the block that Knots marked invalid."""
    if not source.programs:
        raise BootstrapError("nothing there tells which program wrote it (debug.log, settings.json), and Knots left Bitcoin's chain; "
                             "start and stop Bitcoin Core there once")
    for program in source.programs:
        if left_the_chain(program):
            raise BootstrapError(f"{program} wrote it, which is not on Bitcoin's chain; name a node of Bitcoin Core")


def left_the_chain(program: str) -> bool:
    """Whether a program, ``Bitcoin Knots version v29.5.0.knots20260508``, does not follow mainnet; a Knots without a version may not."""
    if program.startswith("Bitcoin Core"):
        return False
    found = re.fullmatch(r"Bitcoin Knots version v(\d+)\.(\d+)\S*knots(\d{8})\S*", program)
    return not found or ((int(found[1]), int(found[2])), int(found[3])) >= KNOTS_SPLIT


def explained(complaint: str) -> str:
    """What ssh or rsync said last, with the remedy where the role has one."""
    lines = [line for line in complaint.strip().splitlines() if line.strip()] or ["the connection ended"]
    known = next(((line, remedy) for line in reversed(lines) for words, remedy in REMEDIES.items() if words in line), None)
    if known:
        return f"{known[0].rstrip('.')}; {known[1]}"
    # rsync ends with a line that says in which of its own files it gave up.
    return ([line for line in lines if not line.startswith("rsync error:")] or lines)[-1]


def progress(total: int, before: int, staged: int, seconds: float) -> str:
    """How far the copy is and how fast it went in the last seconds: ``37 % of 712.3 GB, 41.2 MB/s``."""
    rate = max(staged - before, 0) / seconds
    return f"{min(100 * staged // max(total, 1), 100)} % of {readable(total)}, {readable(rate)}/s"


def readable(size: float) -> str:
    """Bytes for a reader: ``712.3 GB``, ``17.9 MB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
