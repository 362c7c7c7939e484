"""The RPC credentials: made once, and the same line for bitcoind in every run."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._secret import Secret
from ansible_collections.openlsp.node.plugins.modules.bitcoind_rpc_secret import complete, salted, shown

PASSWORD = b"cA773lm788buwYe4g4WT-05pKyNruVKjQ25x3n0DQcM"


def completed(found=None):
    return complete("bitcoind-rpc", "ns", "lnd", {}, found)


def holding(**data):
    return Secret("bitcoind-rpc", data)


def test_the_password_that_is_there_stays():
    assert completed(holding(password=PASSWORD)).data["password"] == PASSWORD


@pytest.mark.parametrize("found", [None, holding(), holding(password=b"")], ids=["no-secret", "no-key", "empty"])
def test_a_missing_password_is_made(found):
    assert len(completed(found).data["password"]) == 43  # 32 bytes as base64url


def test_a_password_that_everybody_knows_is_refused():
    with pytest.raises(ValueError, match="bitcoind-rpc holds the published password of Polar; remove its key password"):
        completed(holding(password=b"polarpass"))


def test_no_two_passwords_are_the_same():
    assert completed().data["password"] != completed().data["password"]


def test_the_cookie_is_what_lnd_reads_from_a_file():
    assert completed(holding(password=PASSWORD)).data["cookie"] == b"lnd:" + PASSWORD


@pytest.mark.parametrize("_attempt", range(20))
def test_lnd_neither_splits_nor_expands_a_new_password(_attempt):
    assert not set(b":$\n") & set(completed().data["password"])


def test_another_user_name_goes_into_every_key():
    found = holding(username=b"old", password=PASSWORD, cookie=b"old:" + PASSWORD)
    assert completed(found).data == {"username": b"lnd", "password": PASSWORD, "cookie": b"lnd:" + PASSWORD}


def test_the_line_is_the_same_in_every_run():
    assert salted(completed(holding(password=PASSWORD))) == salted(completed(holding(password=PASSWORD)))


def test_another_password_has_another_salt():
    salts = {salted(completed()).split(":")[1].split("$")[0] for _password in range(10)}
    assert len(salts) == 10


def test_the_line_does_not_give_the_password_away(shows):
    assert not shows(salted(completed(holding(password=PASSWORD))), PASSWORD)


def test_the_diff_does_not_give_the_password_away(shows):
    assert not shows(shown(completed(holding(password=PASSWORD))), PASSWORD)


def test_the_diff_names_every_key():
    assert [line.split(":")[0] for line in shown(completed()).splitlines()] == [
        "bitcoind-rpc/cookie", "bitcoind-rpc/password", "bitcoind-rpc/username"]
