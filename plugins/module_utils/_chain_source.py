# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another node's machine is asked about its blockchain.

This file's text is sent there and run by that machine's Python (3.7 or later), so it uses nothing but the standard library.
It writes one line of JSON and then keeps bitcoind from starting until its input ends; each line of input is answered.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import re
import sys

PARTS = ("blocks", "chainstate", "indexes")

# bitcoind and its databases hold a write lock on each of these while it runs. They are POSIX record locks, which flock(1) does not see.
# A read lock keeps bitcoind out and needs no right to write; the kernel drops it with the connection.
LOCKS = (".lock", "blocks/index/LOCK", "chainstate/LOCK")

_PROGRAM = re.compile(rb"(?:^|\s)(Bitcoin \S+ version v\S+)")


def look(path: str, subdirectory: str) -> tuple[dict, list[int]]:
    """What a data directory, or its network's sub-directory, holds; and the open files whose locks keep bitcoind out."""
    candidates = [os.path.join(path, subdirectory), path]
    directory = next((each for each in candidates if os.path.isdir(os.path.join(each, "chainstate"))), path)
    running, held = lock(directory)
    block_files = sorted(glob.glob(os.path.join(glob.escape(directory), "blocks", "blk*.dat")))
    return {
        "directory": directory,
        "parts": [part for part in PARTS if os.path.isdir(os.path.join(directory, part))],
        "running": running,
        "magic": magic(directory, block_files[0]) if block_files else "",
        "first_block_file": os.path.basename(block_files[0]) if block_files else "",
        "programs": programs(directory),
        "size": sum(size(os.path.join(directory, part)) for part in PARTS),
    }, held


def lock(directory: str) -> tuple[bool, list[int]]:
    """Whether a bitcoind runs in the directory; if not, it cannot start there until the files are closed."""
    held = []
    for name in LOCKS:
        try:
            file = os.open(os.path.join(directory, name), os.O_RDONLY)
        except FileNotFoundError:
            continue
        held.append(file)
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True, held
    return False, held


def magic(directory: str, block_file: str) -> str:
    """The network's message start, with which every block in a file begins, in hexadecimal."""
    with open(block_file, "rb") as stream:
        start = stream.read(4)
    try:
        with open(os.path.join(directory, "blocks", "xor.dat"), "rb") as stream:
            key = stream.read(4)
    except FileNotFoundError:  # Written by a bitcoind before 28: in the clear.
        key = bytes(4)
    return bytes(a ^ b for a, b in zip(start, key)).hex()


def programs(directory: str) -> list[str]:
    """What has written here: each program and version that debug.log still tells of, or the program that settings.json names."""
    try:
        with open(os.path.join(directory, "debug.log"), "rb") as stream:
            found = [match[1].decode() for match in map(_PROGRAM.search, stream) if match]
    except FileNotFoundError:
        found = []
    try:
        with open(os.path.join(directory, "settings.json"), "rb") as stream:
            named = re.search(rb"updated by (Bitcoin \w+)", stream.read())
    except FileNotFoundError:
        named = None
    return list(dict.fromkeys(found or ([named[1].decode()] if named else [])))


def size(directory: str) -> int:
    """Bytes in all files below a directory, through links, as rsync will copy them."""
    return sum(os.path.getsize(os.path.join(parent, name)) for parent, _directories, names in os.walk(directory, followlinks=True) for name in names)


def answer(line: str) -> None:
    """Send a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(path: str, subdirectory: str) -> None:
    """Tell, and hold the locks while the input lasts."""
    try:
        facts, _held = look(path, subdirectory)
    except OSError as error:
        facts = {"error": f"{error.filename}: {error.strerror}"}
    answer(json.dumps(facts))
    for _line in sys.stdin:
        answer("held")


if __name__ == "__main__":
    main(*sys.argv[1:])
