# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a directory gets to a volume that may hold an incomplete copy, or files of an earlier installation. Pure; no input or output."""

from __future__ import annotations

from typing import Iterable, Mapping

# Lies in the root of the volume as long as the copy is not complete.
MARK = ".openlsp-incomplete-copy"

# Everything that a file has, and a line for each that differed. Not the directories in which Ansible keeps the running
# task itself, nor our mark, which is protected from --delete by that too.
OPTIONS = ("--archive", "--hard-links", "--acls", "--xattrs", "--sparse", "--numeric-ids", "--itemize-changes",
           f"--exclude=/{MARK}", "--exclude=/*/.ansible/tmp/ansible-tmp-*")


class CopyError(Exception):
    """What keeps a copy from being complete, in the operator's words."""


def way(entries: Iterable[str]) -> str:
    """What the entries of the volume's root mean: new, resumed (only we can have begun it), or merged (it is somebody's)."""
    entries = set(entries)
    if MARK in entries:
        return "resumed"
    return "merged" if entries else "new"


def strangers(here: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    """The names that belong to one user here and to another there, by user id; he could not enter his home directory."""
    return [f"{name} belongs to user {there[name]} there and to {uid} here" for name, uid in sorted(here.items()) if there.get(name, uid) != uid]


def missing_keys(now: Iterable[str], then: Iterable[str]) -> list[str]:
    """The lines of authorized_keys that open an account now and would not any more."""
    known = {line.strip() for line in then}
    return [line for line in now if line.strip() and not line.strip().startswith("#") and line.strip() not in known]
