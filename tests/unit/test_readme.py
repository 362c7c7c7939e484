"""Every command of the README is run by a step of `make test`."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The command: the step of tests/run.py that runs it, or what is said of it there.
RUN_BY = {
    "make demo": "make demo",
    "make clean": "make clean",
    "make test": None,  # It runs this test.
    "ansible-galaxy collection install openlsp.node": "install",
    "cd ~/.ansible/collections/ansible_collections/openlsp/node": "install",
    "pip install -r requirements.txt": "requirements",
    "cp -r inventories/pi ~/my-pi": "artifact",
    "ansible-playbook openlsp.node.site -i ~/my-pi/hosts.yml --ask-vault-pass": "site, installed",
    "cp -r inventories/cluster ~/my-nodes": "artifact",
    "ansible-playbook openlsp.node.site -i ~/my-nodes/hosts.yml --ask-vault-pass": "site, installed",
    "ansible-playbook openlsp.node.status -i ~/my-nodes/hosts.yml": "status, installed",
    "ansible-playbook openlsp.node.verify -i ~/my-nodes/hosts.yml": "verify, installed",
    "ansible-doc openlsp.node.lnd_macaroon_secret": "ansible-doc",
    "ansible-doc -t role openlsp.node.lnd": "ansible-doc",
}


def steps() -> set[str]:
    """The names of the steps of `make test`."""
    return set(re.findall(r'Step\("([^"]+)"', (ROOT / "tests/run.py").read_text()))


def test_every_command_is_run_by_a_step():
    blocks = re.findall(r"```shell\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    commands = {line.split("#")[0].strip() for block in blocks for line in block.splitlines()} - {""}
    assert commands == set(RUN_BY)
    assert {step for step in RUN_BY.values() if step} <= steps()


def test_it_starts_with_what_it_is_and_two_commands():
    first_screen = (ROOT / "README.md").read_text().splitlines()[:25]
    assert "make demo" in " ".join(first_screen)
    assert "make clean" in " ".join(first_screen)


def test_every_playbook_that_is_named_is_there():
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for name in re.findall(r"ansible-playbook (\S+)", path.read_text()):
            playbook = ROOT / "playbooks" / f"{name.removeprefix('openlsp.node.')}.yml" if name.startswith("openlsp.node.") else ROOT / name
            assert playbook.exists(), f"{path.name}: {name}"
