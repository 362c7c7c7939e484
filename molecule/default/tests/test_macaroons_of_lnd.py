"""The collection's own macaroons, beside those that LND bakes and lncli narrows."""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _credentials, _pod
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import KINDS, constrain, ip_range, mint, parse, permissions, time_before

GETINFO = ("GET", "/v1/getinfo")

BAKED = {
    "one": permissions("info:read"),
    "of-one-method": permissions("uri:/lnrpc.Lightning/GetInfo"),
    "of-several-methods": permissions(*(f"uri:/lnrpc.Lightning/{each}" for each in ("VerifyChanBackup", "ExportAllChannelBackups", "GetInfo"))),
    "mixed": permissions("uri:/walletrpc.WalletKit/ListUnspent", "offchain:write", "info:read", "offchain:read"),
    **{f"as-{kind}": held for kind, held in KINDS.items()},
}

# lncli's flags for the caveats that it can add: its --ip_range is not registered (cmd/commands/cmd_macaroon.go).
FLAGS = {
    "time-before": ["--timeout=3600"],
    "ipaddr": ["--ip_address=10.1.2.3"],
    "ipaddr-of-IPv6": ["--ip_address=FD00:0::1"],
    "lnd-custom": ["--custom_caveat_name=account", "--custom_caveat_condition=0123456789abcdef"],
    "lnd-custom-without-condition": ["--custom_caveat_name=account"],
    "every-one": ["--timeout=3600", "--ip_address=10.1.2.3", "--custom_caveat_name=account", "--custom_caveat_condition=0123456789abcdef"],
}


@pytest.fixture
def bake(lnd):
    """``bake(permissions)`` is a macaroon of LND under a root key id that is gone after the test, and that id."""
    admin, ids = lnd("alice", "lnd-admin"), []

    def baked(held):
        # Far below the ids that the collection allocates.
        ids.append(str(secrets.randbelow(2**31) + 1))
        wanted = [{"entity": each.entity, "action": each.action} for each in held]
        answer = admin.call("POST", "/v1/macaroon", {"permissions": wanted, "root_key_id": ids[-1]})
        return parse(bytes.fromhex(answer["macaroon"])), ids[-1]

    yield baked
    for each in ids:
        admin.call("DELETE", f"/v1/macaroon/{each}")


@pytest.fixture
def narrowed_by_lncli(cluster):
    """What ``lncli constrainmacaroon`` makes of LND's own readonly macaroon."""
    def narrowed(flags):
        source = f"/data/data/chain/bitcoin/{_credentials.NETWORK_DIRECTORIES['regtest']}/readonly.macaroon"
        command = ["lncli", "--lnddir=/data", "--network=regtest", "constrainmacaroon", *flags, source, "/dev/stdout"]
        output = _pod.run(cluster, "alice", "lnd-0", "lnd", command)
        data, said, _path = output.partition(b"Macaroon saved to ")
        assert said, output[-200:]
        return parse(data)
    return narrowed


@pytest.fixture
def readonly(secret):
    """LND's own readonly macaroon, which every caveat here narrows."""
    return parse(secret("alice", "lnd-readonly")["macaroon"])


@pytest.mark.parametrize("held", BAKED.values(), ids=BAKED)
def test_ours_is_what_lnd_bakes_but_for_the_signature(bake, held):
    theirs, root_key_id = bake(held)
    ours = mint(b"LND's root key is known to LND alone", root_key_id, held, theirs.nonce)
    assert ours.raw[:-32] == theirs.raw[:-32]


@pytest.mark.parametrize(("name", "kind"), _credentials.MACAROON_SECRETS.items())
def test_ours_is_what_lnd_writes_into_its_files_but_for_the_signature(secret, name, kind):
    theirs = parse(secret("alice", name)["macaroon"])
    assert mint(b"LND's root key is known to LND alone", "0", KINDS[kind], theirs.nonce).raw[:-32] == theirs.raw[:-32]


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_ours_is_what_lncli_narrows_byte_for_byte(narrowed_by_lncli, readonly, flags):
    theirs = narrowed_by_lncli(flags)
    assert constrain(readonly, theirs.caveats).raw == theirs.raw


def test_the_time_that_lncli_writes_is_read(narrowed_by_lncli):
    left = narrowed_by_lncli(["--timeout=3600"]).expires - datetime.now(timezone.utc)
    assert timedelta(minutes=58) < left < timedelta(minutes=61)


def in_(seconds):
    return time_before(datetime.now(timezone.utc) + timedelta(seconds=seconds))


# LND's REST server calls its RPC server itself: whoever comes by REST is 127.0.0.1 for these caveats.
@pytest.mark.parametrize("caveat", [
    lambda: in_(3600), lambda: "ipaddr 127.0.0.1", lambda: ip_range("127.0.0.0/8"), lambda: ip_range("0.0.0.0/0")],
    ids=["before-its-time", "from-its-address", "from-its-network", "from-anywhere"])
def test_lnd_accepts_what_we_narrowed(lnd, readonly, caveat):
    assert lnd("alice", macaroon=constrain(readonly, [caveat()]).raw).call(*GETINFO)["alias"] == "alice"


def test_lnd_accepts_what_we_narrowed_thrice(lnd, readonly):
    narrowed = constrain(constrain(readonly, [in_(3600), "ipaddr 127.0.0.1"]), [ip_range("127.0.0.0/8")])
    assert lnd("alice", macaroon=narrowed.raw).call(*GETINFO)["alias"] == "alice"


@pytest.mark.parametrize(("caveat", "reason"), [
    (lambda: in_(-1), "macaroon has expired"),
    (lambda: "ipaddr 10.1.2.3", "macaroon locked to different IP address"),
    (lambda: ip_range("10.1.0.0/16"), "macaroon locked to different IP range"),
    (lambda: ip_range("fd00::/64"), "macaroon locked to different IP range"),
    (lambda: "lnd-custom account 0123", "account"),
    (lambda: "unheard-of 1", "caveat not recognized"),
], ids=["expired", "another-address", "another-network", "a-network-of-IPv6", "custom-of-nobody", "unknown"])
def test_lnd_refuses_what_does_not_hold(lnd, readonly, caveat, reason):
    assert reason in lnd("alice", macaroon=constrain(readonly, [caveat()]).raw).refusal(*GETINFO)


def test_a_macaroon_ends_at_the_time_in_its_caveat(lnd, readonly):
    narrowed = constrain(readonly, [in_(4)])
    client = lnd("alice", macaroon=narrowed.raw)
    client.call(*GETINFO)
    time.sleep(max(0, (narrowed.expires - datetime.now(timezone.utc)).total_seconds()) + 0.5)
    assert "macaroon has expired" in client.refusal(*GETINFO)


def test_one_caveat_that_does_not_hold_is_enough(lnd, readonly):
    narrowed = constrain(readonly, [in_(3600), "ipaddr 10.1.2.3", ip_range("0.0.0.0/0")])
    assert "different IP address" in lnd("alice", macaroon=narrowed.raw).refusal(*GETINFO)


def test_lnd_does_not_accept_a_macaroon_of_another_root_key(lnd):
    forged = mint(b"fake root key of a test", "0", KINDS["admin"], bytes(16))
    assert "signature mismatch" in lnd("alice", macaroon=forged.raw).refusal(*GETINFO)
