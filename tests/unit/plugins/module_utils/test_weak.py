"""Credentials that stand in public repositories are recognised, and no others."""

from __future__ import annotations

import secrets

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import constrain, mint, parse, permissions
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth
from ansible_collections.openlsp.node.plugins.module_utils._weak import weak_password, weak_root_key, weak_rpcauth

# As it stands in bitcoin-dev-project/warnet, resources/charts/bitcoincore/charts/lnd/templates/configmap.yaml.
WARNET = parse(bytes.fromhex(
    "0201036c6e6402f801030a1062beabbf2a614b112128afa0c0b4fdd61201301a160a0761646472657373120472656164120577726974651a130a04696e666f1204"
    "72656164120577726974651a170a08696e766f69636573120472656164120577726974651a210a086d616361726f6f6e120867656e657261746512047265616412"
    "0577726974651a160a076d657373616765120472656164120577726974651a170a086f6666636861696e120472656164120577726974651a160a076f6e63686169"
    "6e120472656164120577726974651a140a057065657273120472656164120577726974651a180a067369676e6572120867656e6572617465120472656164000006"
    "20b17be53e367290871681055d0de15587f6d1cd47d1248fe2662ae27f62cfbdc6"))
GALOYS_NONCE = bytes.fromhex("07515d8466bdc687b07352c45e69d445")


def made(key, nonce=bytes(16)):
    return mint(key, "0", permissions("info:read"), nonce)


def test_warnets_published_admin_macaroon_is_recognised():
    assert (WARNET.kind, weak_root_key(WARNET)) == ("admin", "Warnet")


def test_any_macaroon_of_warnets_published_root_key_is_recognised():
    assert weak_root_key(made(bytes(32), secrets.token_bytes(16))) == "Warnet"


def test_a_caveat_does_not_hide_a_published_root_key():
    assert weak_root_key(constrain(WARNET, ["ipaddr 10.1.2.3", "time-before 2026-12-01T00:00:00Z"])) == "Warnet"


def test_a_published_macaroon_is_recognised_without_its_root_key():
    published = made(secrets.token_bytes(32), GALOYS_NONCE)
    assert weak_root_key(constrain(published, ["ipaddr 10.1.2.3"])) == "Galoy's development setup"


def test_a_macaroon_of_an_unknown_root_key_passes():
    assert weak_root_key(made(secrets.token_bytes(32))) is None


@pytest.mark.parametrize(("password", "whose"), {
    "moneyprintergobrrr": "Umbrel",
    "\0\0\0\0\0\0\0\0": "Warnet",
    "hellorockstar": "BTCPay Server",
    "hellorockstar\n": "BTCPay Server",
    "1f2d1e2e67df": "kube-bitcoin-stack",
    "polarpass": "Polar",
    "bolt": "myNode",
}.items(), ids=repr)
def test_a_published_password_is_recognised(password, whose):
    assert weak_password(password) == whose


@pytest.mark.parametrize("password", ["", "Password", "hellorockstar2", " password", "8 of the operator's own"], ids=repr)
def test_another_password_passes(password):
    assert weak_password(password) is None


def test_a_random_password_passes():
    assert weak_password(secrets.token_urlsafe(32)) is None


@pytest.mark.parametrize(("line", "whose"), {
    # jamaljsr/polar, src/utils/constants.ts
    "polaruser:5e5e98c21f5c814568f8b55d83b23c1c$066b03f92df30b11de8e4b1b1cd5b1b4281aa25205bd57df9be82caf97a05526": "Polar",
    # bitcoin/bitcoin, test/functional/rpc_users.py
    "rt:93648e835a54c573682c2eb19f882535$7681e9c5b74bdd85e78166031d2058e1069b3ed7ed967c93fc63abba06f31144": "Bitcoin Core's tests",
    "user1:6dd184e5e69271fdd69103464630014f$eb3d7ce67c4d1ff3564270519b03b636c0291012692a5fa3dd1d2075daedd07b": "many setups with Docker",
    # bitcoin/bitcoin, share/examples/bitcoin.conf
    "alice:f7efda5c189b999524f151318c0c86$d5b51b3beffbc02b724e5d095828e0bc8b2456e9ac8757ae3211a5d9b16a22ae":
        "Bitcoin Core's example configuration",
    # ruimarinho/docker-bitcoin-core, README.md
    "foo:7d9ba5ae63c3d4dc30583ff4fe65a67e$9e3634e81c11659e3de036d0bf88f89cd169c1039e6e09607562d54765c649cc":
        "the guide to a Docker image of Bitcoin Core",
}.items())
def test_a_published_password_is_recognised_through_its_salt(line, whose):
    assert weak_rpcauth(line) == whose


@pytest.mark.parametrize("line", [
    rpcauth("lnd", secrets.token_urlsafe(32), "5e5e98c21f5c814568f8b55d83b23c1c"), "", "lnd", "lnd:", "lnd:salt", ":salt$00", "lnd:$00", "é:salt$é"],
    ids=["random", "empty", "no-colon", "no-salt", "no-hash", "no-user", "empty-salt", "not-ascii"])
def test_any_other_line_passes(line):
    assert weak_rpcauth(line) is None
