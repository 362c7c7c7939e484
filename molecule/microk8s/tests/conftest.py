"""The world of the tests: one machine on which the role has run, and a way to run it again with other values."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import playbook_run
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
NODE = os.environ["TESTBED"]
STATE = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state") / "openlsp.node" / NODE
KUBECONFIG = STATE / "kubeconfig"


class Run(playbook_run.Run):
    """One run of the role."""

    @property
    def changed_tasks(self) -> list[str]:
        """The names of the tasks that changed something."""
        tasks = re.split(r"^TASK \[(?:[^\]]* : )?", self.output, flags=re.M)[1:]
        return [task.split("]", 1)[0] for task in tasks if re.search("^changed: ", task, re.M)]

    @property
    def complaints(self) -> dict[str, str]:
        """What each refused host was told."""
        return dict(re.findall(r"^fatal: \[(\S+)\]: FAILED! =>(.*?)(?=^(?:\S|$))", self.output, re.M | re.S))


def run(*arguments: str, **variables: object) -> Run:
    """Run the role as the scenario does, with these variables in the place of its own."""
    command = ["ansible-playbook", "molecule/microk8s/converge.yml", "-i", "inventories/demo", "-i", "molecule/microk8s/inventory",
               *arguments, "-e", json.dumps(variables)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=300, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "NO_COLOR": "1"})
    return Run(done.returncode, done.stdout)


def settled(*arguments: str, **variables: object) -> Run:
    """Run the role and insist that it went well."""
    done = run(*arguments, **variables)
    assert done.code == 0, done.output[-4000:]
    return done


def on_node(*command: str) -> str:
    """Run a command on the machine; what it prints."""
    done = subprocess.run(["podman", "exec", f"openlsp-{NODE}", *command], text=True, capture_output=True, timeout=120, check=False)
    return done.stdout + done.stderr


def kubectl(*command: str) -> str:
    """The same for its cluster."""
    return on_node("/snap/bin/microk8s", "kubectl", *command)


@pytest.fixture
def altered():
    """Alter the machine with a command, and undo it with another after the test."""
    undo = []

    def alter(command: str, back: str) -> None:
        on_node("sh", "-ec", command)
        undo.append(back)
    yield alter
    for command in undo:
        on_node("sh", "-ec", command)
