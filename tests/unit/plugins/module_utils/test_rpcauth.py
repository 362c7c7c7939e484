"""bitcoind's salted passwords."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth

# Bitcoin Core, test/functional/rpc_users.py.
PUBLISHED = [
    ("rt", "cA773lm788buwYe4g4WT+05pKyNruVKjQ25x3n0DQcM=",
     "rt:93648e835a54c573682c2eb19f882535$7681e9c5b74bdd85e78166031d2058e1069b3ed7ed967c93fc63abba06f31144"),
    ("rt2", "8/F3uMDw4KSEbw96U3CA1C4X05dkHDN2BPFjTgZW4KI=",
     "rt2:f8607b1a88861fac29dfccf9b52ff9f$ff36a0c23c8c62b4846112e50fa888416e94c17bfd4c42f88fd8f55ec6a3137e"),
]


def salt_of(line):
    return line.split(":")[1].split("$")[0]


@pytest.mark.parametrize("username, password, line", PUBLISHED, ids=[user for user, _password, _line in PUBLISHED])
def test_bitcoin_core_accepts_the_password(username, password, line):
    assert rpcauth(username, password, salt_of(line)) == line


def test_a_password_is_more_than_ascii():
    assert rpcauth("lnd", "Zitrönchen\n", "00") != rpcauth("lnd", "Zitronchen\n", "00")


@pytest.mark.parametrize("character", [":", "$", "#", "\n"], ids=["colon", "dollar", "hash", "line-break"])
def test_a_user_name_that_bitcoind_would_split_is_refused(character):
    with pytest.raises(ValueError, match="the user name"):
        rpcauth(f"ln{character}d", "password", "00")


@pytest.mark.parametrize("character", [":", "$", "#", "\n"], ids=["colon", "dollar", "hash", "line-break"])
def test_a_salt_that_bitcoind_would_split_is_refused(character):
    with pytest.raises(ValueError, match="the salt"):
        rpcauth("lnd", "password", f"0{character}0")


@pytest.mark.parametrize("username, password, salt, empty", [
    ("", "password", "00", "the user name"),
    ("lnd", "", "00", "the password"),
    ("lnd", "password", "", "the salt"),
], ids=["username", "password", "salt"])
def test_nothing_may_be_empty(username, password, salt, empty):
    with pytest.raises(ValueError, match=f"{empty}.* is empty"):
        rpcauth(username, password, salt)


def test_a_refusal_does_not_repeat_the_password():
    with pytest.raises(ValueError) as refusal:
        rpcauth("ln:d", "sesame-open", "00")
    assert "sesame" not in str(refusal.value)
