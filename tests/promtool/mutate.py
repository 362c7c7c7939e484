"""Whether the cases notice a change of any threshold: every number, wait and comparison of every alert is changed, one at a time.

    python tests/promtool/mutate.py [ALERT...]

Each changed rule has to fail cases.yml; those that pass are listed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from rules import Rule, failures, render

SECONDS = {"m": 60, "h": 3600, "d": 86400}
TURNED = {"==": "!=", "!=": "==", ">": "<", "<": ">", ">=": "<", "unless": "and", "and": "unless"}
# A string is left alone; a duration, a number, an operator is not.
TOKEN = re.compile(r'"[^"]*"|(?P<duration>\b\d+[mhd]\b)|(?P<number>(?<![\w.])\d+(?:\.\d+)?\b)|(?P<turn>[=!<>]=|[<>](?!=)|\bunless\b|\band\b)')


def changes(text: str) -> Iterator[str]:
    """The text with one of its thresholds changed."""
    braces = [range(*found.span()) for found in re.finditer(r"\{[^}]*\}", text)]
    for found in TOKEN.finditer(text):
        token, kind = found[0], found.lastgroup
        if kind is None or any(found.start() in inside for inside in braces):
            continue
        for other in {"turn": turned, "number": others, "duration": longer_and_shorter}[kind](token):
            yield text[:found.start()] + other + text[found.end():]


def turned(operator: str) -> list[str]:
    return [TURNED[operator]]


def others(number: str) -> list[str]:
    """Half as much again, and as much less; the opposite of yes and no."""
    return ["1"] if number == "0" else ["0"] if number == "1" else [f"{float(number) * 1.5:g}", f"{float(number) / 1.5:g}"]


def longer_and_shorter(duration: str) -> list[str]:
    seconds = int(duration[:-1]) * SECONDS[duration[-1]]
    return [f"{int(seconds * 1.5)}s", f"{int(seconds / 2)}s"]


def mutants(rule: Rule) -> Iterator[Rule]:
    """The rule with one change each."""
    for expr in changes(rule["expr"]):
        yield {**rule, "expr": expr}
    for wait in changes(rule.get("for", "")):
        yield {**rule, "for": wait}


def main() -> str | None:
    # The Watchdog has no threshold.
    chosen = [rule for rule in render() if rule["alert"] != "Watchdog" and (not sys.argv[1:] or rule["alert"] in sys.argv[1:])]
    changed = [mutant for rule in chosen for mutant in mutants(rule)]
    # A process has to read promtool's 48 MB and works on one rule at a time: as many processes as processors, the rules dealt out to them.
    hands = [changed[first::os.cpu_count()] for first in range(os.cpu_count())]
    with ThreadPoolExecutor(len(hands)) as pool:
        unnoticed = [mutant for hand, complaints in zip(hands, pool.map(failures, hands), strict=True)
                     for mutant, complaint in zip(hand, complaints, strict=True) if not complaint]
    for mutant in unnoticed:
        print(f"{mutant['alert']}: {mutant['expr']} for {mutant.get('for', '0m')}")
    print(f"{len(chosen)} alerts, {len(changed)} changes, {len(unnoticed)} not noticed")
    return "A changed threshold has to fail a case" if unnoticed else None


if __name__ == "__main__":
    sys.exit(main())
