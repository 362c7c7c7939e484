"""The world of the tests: the virtual machine on which the role has run after a power cut, and a way to run it again."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import yaml
from power_cut import RUN_LIMIT, role_call
from vm import Vm

VOLUMES = {"home": "/home", "containers": "/var/lib/containers", "microk8s": "/var/snap/microk8s", "lightning": "/srv/lightning",
           "blockchain": "/srv/blockchain"}


@dataclass(frozen=True)
class Run:
    """One run of the role: its exit code and its output."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Changed tasks on the machine."""
        return int(re.search(r"^vm\s+: ok=\d+\s+changed=(\d+)", self.output, re.M)[1])

    def refusal(self, host: str = "vm") -> str:
        """Why the role refuses a host; fails where it does not."""
        found = re.search(rf"^fatal: \[{host}\]: FAILED! =>(.*?)(?=^\S)", self.output, re.M | re.S)
        assert found, f"{host} was not refused; the end of what was said:\n{self.output[-4000:]}"
        return yaml.safe_load(found[1])["msg"]


@pytest.fixture(scope="session")
def vm() -> Vm:
    return Vm(os.environ["TESTBED"])


@pytest.fixture(scope="session")
def role() -> Callable[..., Run]:
    """Run the role as an operator does: ``role("-e", "test_sizes={home: 1GiB}")``."""
    def run(*arguments: str) -> Run:
        done = subprocess.run(**role_call(*arguments), stdout=subprocess.PIPE, timeout=RUN_LIMIT, check=False)
        return Run(done.returncode, done.stdout)
    return run


@pytest.fixture
def settled(role) -> Callable[..., Run]:
    """Run the role and insist that it went well."""
    def run(*arguments: str) -> Run:
        done = role(*arguments)
        assert done.code == 0, done.output[-4000:]
        return done
    return run


@pytest.fixture(scope="session")
def root(vm) -> Callable[[str], str]:
    """The output of a command that root runs on the machine; fails where the command does."""
    def run(command: str) -> str:
        done = vm.ssh(f"sudo sh -ec {quoted(command)}")
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run


def quoted(command: str) -> str:
    """A word for the shell."""
    return "'" + command.replace("'", "'\\''") + "'"


@pytest.fixture
def mounts(root) -> Callable[[], dict[str, dict]]:
    """What is mounted from our volumes: mount point -> source, size and options."""
    def read() -> dict[str, dict]:
        answer = json.loads(root("findmnt --json --bytes --list --types btrfs --output TARGET,SOURCE,SIZE,OPTIONS,UUID"))
        return {each["target"]: each for each in answer["filesystems"]}
    return read
