"""The filter openlsp.node.rpcauth."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.filter.rpcauth import FilterModule

CHECKOUT = pathlib.Path(__file__).parents[4]

# The first of the two users that Bitcoin Core publishes in test/functional/rpc_users.py.
PASSWORD = "cA773lm788buwYe4g4WT+05pKyNruVKjQ25x3n0DQcM="
SALT = "93648e835a54c573682c2eb19f882535"
LINE = f"rt:{SALT}$7681e9c5b74bdd85e78166031d2058e1069b3ed7ed967c93fc63abba06f31144"

rpcauth = FilterModule().filters()["rpcauth"]


def test_a_password_becomes_the_line_that_bitcoind_accepts():
    assert rpcauth(PASSWORD, "rt", SALT) == LINE


def test_an_inventory_finds_it_under_its_full_name():
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", "localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.debug",
         "-a", f"msg={{{{ '{PASSWORD}' | openlsp.node.rpcauth('rt', '{SALT}') }}}}"],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}, capture_output=True, text=True, check=True)
    assert f"msg: {LINE}" in done.stdout


def test_a_user_name_that_bitcoind_would_split_is_an_error_of_the_filter():
    with pytest.raises(AnsibleFilterError, match="rpcauth: the user name 'r:t' is empty or has one of"):
        rpcauth(PASSWORD, "r:t", SALT)


def test_an_error_does_not_repeat_the_password():
    with pytest.raises(AnsibleFilterError) as refusal:
        rpcauth(PASSWORD, "r:t", SALT)
    assert PASSWORD[:8] not in str(refusal.value)
