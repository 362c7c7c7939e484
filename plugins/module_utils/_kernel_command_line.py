# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's command line as a Raspberry Pi's cmdline.txt has it."""

from __future__ import annotations

import re
from typing import Iterable, Iterator

# As the kernel's next_arg() splits: white space separates unless quoted, and a quote may begin anywhere in a word.
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+', re.ASCII)

# Parameters that are said several times, each time with names separated by commas, and the one that takes a name back.
_OPPOSITES = {"cgroup_enable": "cgroup_disable", "cgroup_disable": "cgroup_enable"}

# Parameters whose every mention counts.
_REPEATED = {"console", "earlycon"}

# What follows is handed to init and means nothing to the kernel.
_FOR_INIT = "--"


def kernel_command_line(text: str, wanted: Iterable[str], unwanted: Iterable[str] = ()) -> str:
    """The text of a cmdline.txt in which the wanted words stand and nothing contradicts them.

    The words that may stay keep their order, missing ones follow in the order of ``wanted``. The firmware hands over the first
    line alone, so what other lines say was never in force and is dropped. The result is one line, with one space between
    words, that ends in a line break if the text's line did.
    Raises ValueError where a word could not be told from its neighbours.
    """
    wanted, unwanted = list(wanted), {_parameter(word) for word in unwanted}
    for word in wanted:
        if not _WORD.fullmatch(word):
            raise ValueError(f"kernel command line: {word!r} is not one word")
    # A file that begins with blank lines has its command line below them: a Pi without one does not start.
    line, line_break, _never_read = text.lstrip().partition("\n")
    if line.count('"') % 2:
        raise ValueError(f"kernel command line: a quote is opened and not closed in {line!r}")
    words = _WORD.findall(line)
    end = words.index(_FOR_INIT) if _FOR_INIT in words else len(words)
    kept = [left for word in words[:end] if _parameter(word) not in unwanted for left in _without_contradiction(word, wanted)]
    said = {parameter for word in kept for parameter in _parameters(word)}
    missing = [word for word in dict.fromkeys(wanted) if not said.issuperset(_parameters(word))]
    return " ".join([*kept, *missing, *words[end:]]) + line_break


def _without_contradiction(word: str, wanted: list[str]) -> Iterator[str]:
    """The word, what is left of it, or nothing."""
    said = _parameters(word)
    name = said[0][0]
    if name in _OPPOSITES:
        denied = {(_OPPOSITES[other], value) for each in wanted for other, value in _parameters(each) if other in _OPPOSITES}
        left = [parameter for parameter in said if parameter not in denied]
        if left:
            yield word if left == said else f"{name}={','.join(value or '' for _name, value in left)}"
    elif name in _REPEATED or said[0] in map(_parameter, wanted) or name not in (_parameter(each)[0] for each in wanted):
        yield word


def _parameters(word: str) -> list[tuple[str, str | None]]:
    """What a word says: several things where its parameter takes a list."""
    name, value = _parameter(word)
    return [(name, each) for each in (value or "").split(",")] if name in _OPPOSITES else [(name, value)]


def _parameter(word: str) -> tuple[str, str | None]:
    """Name and value as the kernel compares them: without quotes, hyphens in a name like underscores, None for a bare word."""
    name, equals, value = word.replace('"', "").partition("=")
    return name.replace("-", "_"), value if equals else None
