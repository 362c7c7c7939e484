"""The inventory that a Pi's owner copies, and the page that leads him through it."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - openlsp.node.validate:
        roles: "{{ ['pi_boot', 'disk_layout', 'microk8s'] if 'machines' in group_names else ['namespace', 'bitcoind', 'lnd', 'observability'] }}"
        cluster: false
"""


def test_as_it_comes_it_has_no_mistake(tmp_path):
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "password").write_text("password")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", str(tmp_path / "play.yml"), "-i", str(ROOT / "inventories/pi"), "--vault-password-file",
         str(tmp_path / "password")],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\S+) +: ok=1 ", done.stdout, re.M) == ["lightning", "pi"]


def test_the_page_names_only_variables_and_files_that_exist():
    page = (ROOT / "docs/raspberry-pi.md").read_text()
    variables = {name for path in ROOT.glob("roles/*/defaults/main.yml") for name in yaml.safe_load(path.read_text())}
    roles = {path.name for path in ROOT.glob("roles/*")}
    words = set(re.findall(r"`((?:" + "|".join(roles) + r")_\w+)(?=[:`])", page))
    assert words and words <= variables
    for path in re.findall(r"`(hosts\.yml|group_vars/[\w/]+\.yml)`", page):
        assert (ROOT / "inventories/pi" / path).exists(), path
