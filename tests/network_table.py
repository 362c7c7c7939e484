"""Print the table of docs/network.md: `python tests/network_table.py`. A unit test compares the two."""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def table() -> str:
    """The edges as Markdown."""
    sys.path.insert(0, str(ROOT / ".ansible/collections"))
    from ansible_collections.openlsp.node.plugins.module_utils import _edges

    heads = [("from", "to", "port", "why", "when"), ("---",) * 5]
    return "".join(f"| {' | '.join(row)} |\n" for row in [*heads, *_edges.rows()])


if __name__ == "__main__":
    sys.stdout.write(table())
