"""The world of the tests: the virtual machine on which the roles have run, and a way to run them again."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "testbed"))

from vm import Vm  # noqa: E402

ROLES_TIMEOUT = 300


@pytest.fixture(scope="session")
def said() -> Callable[[str], str]:
    """What a command on the machine prints: ``said("cat /proc/cmdline")``; fails when the command does."""
    vm = Vm(os.environ["TESTBED"])

    def run(command: str) -> str:
        done = vm.ssh(command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout
    return run


@pytest.fixture(scope="session")
def roles() -> Callable[..., subprocess.CompletedProcess]:
    """Run the roles again as an operator does: ``roles("-e", "pi_boot_journal_mib=100")``."""
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["ansible-playbook", "molecule/pi_boot/converge.yml", "-i", "inventories/vm", *arguments],
                              cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=ROLES_TIMEOUT, check=False)
    return run
