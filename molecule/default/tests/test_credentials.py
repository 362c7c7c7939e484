"""What the Secrets hold, and what each macaroon opens and does not open."""

from __future__ import annotations

import os

import pytest

SECRETS = {
    "lnd-tls": {"cert"},
    "lnd-admin": {"macaroon"}, "lnd-readonly": {"macaroon"}, "lnd-invoice": {"macaroon"}, "lnd-invoices": {"macaroon"},
    "lnd-signer": {"macaroon"}, "lnd-chain-notifier": {"macaroon"}, "lnd-walletkit": {"macaroon"}, "lnd-router": {"macaroon"},
    "bitcoind-rpc": {"username", "password", "cookie"},
}

GETINFO = ("GET", "/v1/getinfo")
PAY = ("POST", "/v2/router/send", {"payment_request": "lnbcrt1", "timeout_seconds": 1})
NEW_ADDRESS = ("POST", "/v2/wallet/address/next", {})
INVOICE = ("POST", "/v1/invoices", {"value": "1"})
BALANCE = ("GET", "/v1/balance/blockchain")
# 32 bytes in base64: a payment hash that nobody knows the preimage of.
HOLD_INVOICE = ("POST", "/v2/invoices/hodl", {"hash": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "value": "1"})
SIGN = ("POST", "/v2/signer/signmessage", {"msg": "b3BlbmxzcA==", "key_loc": {"key_family": 6, "key_index": 0}})
BAKE_IDS = ("GET", "/v1/macaroon/ids")


@pytest.mark.parametrize(("name", "allowed", "refused"), [
    ("lnd-readonly", GETINFO, PAY),
    ("lnd-readonly", BAKE_IDS, INVOICE),
    ("lnd-invoice", INVOICE, GETINFO),
    ("lnd-invoices", HOLD_INVOICE, GETINFO),
    ("lnd-invoices", HOLD_INVOICE, NEW_ADDRESS),
    ("lnd-router", ("GET", "/v2/router/mccfg"), BALANCE),
    ("lnd-signer", SIGN, GETINFO),
    ("lnd-walletkit", NEW_ADDRESS, INVOICE),
    ("lnd-chain-notifier", BALANCE, NEW_ADDRESS),
], ids=lambda value: value if isinstance(value, str) else value[1])
def test_macaroon_opens_what_it_promises_and_nothing_else(lnd, name, allowed, refused):
    client = lnd("alice", name)
    if allowed is HOLD_INVOICE:
        allowed = (*allowed[:2], {**allowed[2], "hash": _fresh_hash()})
    client.call(*allowed)
    assert "permission denied" in client.refusal(*refused)


def _fresh_hash() -> str:
    """LND takes each payment hash once."""
    import base64
    return base64.b64encode(os.urandom(32)).decode()


def test_admin_macaroon_opens_everything(lnd):
    admin = lnd("alice", "lnd-admin")
    for call in (GETINFO, BALANCE, NEW_ADDRESS, INVOICE, BAKE_IDS, SIGN):
        admin.call(*call)
    # It reaches the router, which looks at the invoice and not at the macaroon any more.
    assert "permission denied" not in admin.refusal(*PAY)


def test_changed_macaroon_is_refused(lnd, secret):
    raw = bytearray(secret("alice", "lnd-admin")["macaroon"])
    raw[-1] ^= 1
    assert "signature mismatch" in lnd("alice", macaroon=bytes(raw)).refusal(*GETINFO)


def test_no_macaroon_is_refused(lnd):
    assert "macaroon" in lnd("alice", macaroon=None).refusal(*GETINFO)


def test_bobs_macaroon_does_not_open_alice(lnd, secret):
    assert lnd("alice", macaroon=secret("bob", "lnd-admin")["macaroon"]).refusal(*GETINFO)


@pytest.mark.parametrize("node", ["alice", "bob"])
def test_every_secret_has_exactly_its_keys(secret, node):
    assert {name: set(secret(node, name)) for name in SECRETS} == SECRETS


def test_certificate_is_published_without_its_key(secret):
    certificate = secret("alice", "lnd-tls")["cert"]
    assert certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE" not in certificate


def test_cookie_is_what_lnd_and_bitcoin_cli_read(secret):
    rpc = secret("alice", "bitcoind-rpc")
    assert rpc["cookie"] == rpc["username"] + b":" + rpc["password"]
    assert len(rpc["password"]) >= 32


def test_bitcoind_is_never_given_the_password(core, secret):
    password = secret("alice", "bitcoind-rpc")["password"].decode()
    configuration = core.read_namespaced_config_map("bitcoind", "alice").data["bitcoin.conf"]
    assert "rpcauth=lnd:" in configuration
    assert password not in configuration
