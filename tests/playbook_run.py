"""What a run of ansible-playbook says of itself, for the tests of the scenarios."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Its exit code and its output."""

    code: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """Changed tasks by host."""
        return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.output, re.M)}

    @property
    def changed_tasks(self) -> list[str]:
        """The names of the tasks that changed something, as they are shown: with their role's; once a changed item or host."""
        task, names = "", []
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                task = line.split("[", 1)[1].rsplit("]", 1)[0]
            elif line.startswith("changed: "):
                names.append(task)
        return names
