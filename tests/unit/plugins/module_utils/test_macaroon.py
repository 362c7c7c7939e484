"""LND's macaroons, made by pymacaroons and read by the collection."""

from __future__ import annotations

import base64

import pymacaroons
import pytest
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import (
    KINDS, MAX_BYTES, MacaroonError, Permission, parse, permissions, summary, words)
from bakery import NONCE, field, identifier, serialized, uvarint
from hypothesis import given
from hypothesis import strategies as st

# What LND v0.21's rpcserver.go and lnrpc/*/*_server.go put into each file.
FILES = {
    "admin": "address:read address:write info:read info:write invoices:read invoices:write macaroon:generate macaroon:read "
             "macaroon:write message:read message:write offchain:read offchain:write onchain:read onchain:write peers:read "
             "peers:write signer:generate signer:read",
    "readonly": "address:read info:read invoices:read macaroon:read message:read offchain:read onchain:read peers:read signer:read",
    "invoice": "address:read address:write invoices:read invoices:write onchain:read",
    "invoices": "invoices:read invoices:write",
    "router": "offchain:read offchain:write",
    "signer": "signer:generate signer:read",
    "walletkit": "address:read address:write onchain:read onchain:write",
    "chainnotifier": "onchain:read",
}

every_file = pytest.mark.parametrize("kind", FILES)


def held(data):
    return sorted(map(str, parse(data).permissions))


@every_file
def test_each_file_of_lnd_is_recognised_by_its_permissions(bake, kind):
    assert parse(bake(*FILES[kind].split())).kind == kind


@every_file
def test_each_file_of_lnd_holds_the_permissions_it_was_baked_with(bake, kind):
    assert held(bake(*FILES[kind].split())) == sorted(FILES[kind].split())


def test_no_kind_is_known_that_lnd_does_not_write():
    assert set(KINDS) == set(FILES)


@every_file
def test_one_permission_less_is_no_longer_that_kind(bake, kind):
    assert parse(bake(*FILES[kind].split()[1:])).kind != kind


def test_a_permission_to_call_one_method_keeps_its_colon(bake):
    wanted = ["uri:/lnrpc.Lightning/ExportAllChannelBackups", "uri:/lnrpc.Lightning/VerifyChanBackup"]
    assert held(bake(*wanted)) == wanted


def test_a_permission_is_named_by_what_is_before_its_first_colon():
    assert permissions("uri:/a:b") == {Permission("uri", "/a:b")}


@pytest.mark.parametrize("root_key_id", ["0", "1", "4711", "18446744073709551615"])
def test_the_root_key_id_tells_which_key_revokes_it(bake, root_key_id):
    assert parse(bake("info:read", root_key_id=root_key_id)).root_key_id == root_key_id


def test_caveats_are_read_in_their_order(bake):
    caveats = ("time-before 2026-12-01T00:00:00Z", "ipaddr 10.1.2.3", "lnd-custom account 0123")
    assert parse(bake("info:read", caveats=caveats)).caveats == caveats


def test_the_raw_bytes_stay_as_they_were(bake):
    data = bake("info:read", caveats=["ipaddr 10.1.2.3"])
    assert parse(data).raw == data


def test_an_operation_may_repeat_its_entity():
    message = field(1, NONCE) + field(2, b"0")
    for action in (b"read", b"write"):
        message += field(3, field(1, b"info") + field(2, action))
    assert held(serialized(b"\x03" + message)) == ["info:read", "info:write"]


def test_a_macaroon_without_an_operation_may_do_nothing():
    assert parse(serialized(identifier([]))).permissions == frozenset()


text = st.text(max_size=40)


@given(
    operations=st.sets(st.tuples(text, text), max_size=12),
    caveats=st.lists(text, max_size=4),
    nonce=st.binary(max_size=64),
    root_key_id=text,
)
def test_whatever_was_baked_is_read_back(operations, caveats, nonce, root_key_id):
    macaroon = parse(serialized(identifier(operations, root_key_id, nonce), caveats))
    assert macaroon.permissions == {Permission(*operation) for operation in operations}
    assert macaroon.caveats == tuple(caveats)
    assert macaroon.root_key_id == root_key_id


# --- what is no macaroon -------------------------------------------------------------------------------------------

def raw():
    """A macaroon with everything in it that LND's own may have."""
    return serialized(identifier([("info", "read"), ("onchain", "read"), ("onchain", "write")]), ["ipaddr 10.1.2.3"])


def third_party():
    macaroon = pymacaroons.Macaroon(location="lnd", identifier=identifier([("info", "read")]), key="key", version=pymacaroons.MACAROON_V2)
    macaroon.add_third_party_caveat("https://elsewhere.example", "key", "id")
    return pymacaroons.serializers.BinarySerializer().serialize_raw(macaroon)


def signature_of(length):
    return raw()[:-34] + b"\x06" + uvarint(length) + bytes(length)


def made_by(bakery_version):
    return serialized(bytes([bakery_version]) + identifier([("info", "read")])[1:])


REFUSED = {
    "empty": (b"", "it is empty"),
    "hexadecimal": (raw().hex().encode(), "hexadecimal text"),
    "hexadecimal-upper-case": (raw().hex().upper().encode(), "hexadecimal text"),
    "hexadecimal-with-a-line-break": (raw().hex().encode() + b"\n", "hexadecimal text"),
    "base64": (base64.b64encode(raw()), "base64 text"),
    "base64-for-urls": (base64.urlsafe_b64encode(raw()).rstrip(b"="), "base64 text"),
    "base64-of-base64": (base64.b64encode(base64.b64encode(raw())), "base64 text"),
    "base64-of-hexadecimal": (base64.b64encode(raw().hex().encode()), "base64 text"),
    "pem": (b"-----BEGIN CERTIFICATE-----\n", "not a version 2 macaroon"),
    "version-1": (serialized("id", version=pymacaroons.MACAROON_V1), "not a version 2 macaroon"),
    "version-2-json": (b'{"v":2,"l":"lnd"}', "not a version 2 macaroon"),
    "over-64-KiB": (raw() + bytes(MAX_BYTES), "no macaroon is larger than 65536"),
    "a-byte-too-much": (raw() + b"\n", f"1 bytes follow the signature at offset {len(raw())}"),
    "twice": (raw() + raw(), f"{len(raw())} bytes follow the signature"),
    "third-party-caveat": (third_party(), "third-party caveat"),
    "short-signature": (signature_of(31), "its signature has 31 bytes instead of 32"),
    "long-signature": (signature_of(33), "its signature has 33 bytes instead of 32"),
    "no-identifier": (b"\x02\x01\x03lnd\x00", "the identifier is missing at offset 6"),
    "header-not-closed": (b"\x02\x02\x01\x03\x05\x00", "the header is not closed at offset 4"),
    "endless-number": (b"\x02\x02" + b"\xff" * 20, "a number at offset 12 is too long"),
    "bakery-version-2": (made_by(2), "not made by LND"),
    "empty-identifier": (serialized(b""), "not made by LND"),
    "no-root-key": (serialized(b"\x03" + field(1, NONCE)), "names no root key"),
    "field-of-another-type": (serialized(b"\x03\x08\x01"), "wire type 0"),
    "root-key-not-text": (serialized(b"\x03" + field(2, b"\xff")), "the root key id is not UTF-8"),
}


@pytest.mark.parametrize("data, reason", REFUSED.values(), ids=REFUSED)
def test_what_is_no_binary_macaroon_is_refused_by_name(data, reason):
    with pytest.raises(MacaroonError, match=reason):
        parse(data)


def test_64_KiB_are_not_too_many(bake):
    frame = len(bake("info:read", caveats=["x" * 60000])) - 60000
    assert len(parse(bake("info:read", caveats=["x" * (MAX_BYTES - frame)])).raw) == MAX_BYTES


def test_every_shorter_part_of_a_macaroon_is_refused():
    for length in range(len(raw())):
        with pytest.raises(MacaroonError):
            parse(raw()[:length])


def test_a_file_that_was_read_while_lnd_wrote_it_is_said_to_be_cut_short():
    with pytest.raises(MacaroonError, match="it is cut short: 32 bytes wanted at offset .*, 22 there"):
        parse(raw()[:-10])


def ends_in_order(data):
    """A parser's only two ends: a Macaroon, or a MacaroonError that says something."""
    try:
        return parse(data)
    except MacaroonError as error:
        assert str(error)
        return None


def test_one_wrong_bit_breaks_nothing_but_the_macaroon():
    for position in range(len(raw())):
        for bit in range(8):
            data = bytearray(raw())
            data[position] ^= 1 << bit
            ends_in_order(bytes(data))


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_in_order(data):
    assert ends_in_order(data) is None


@given(st.binary(max_size=300))
def test_random_bytes_behind_a_good_beginning_are_refused_in_order(data):
    ends_in_order(b"\x02\x01\x03lnd\x02" + uvarint(len(data)) + b"\x03" + data)


@given(st.integers(0, len(raw())), st.binary(min_size=1, max_size=20))
def test_bytes_that_slipped_in_are_survived(position, inserted):
    ends_in_order(raw()[:position] + inserted + raw()[position:])


# --- what is shown -------------------------------------------------------------------------------------------------

def test_printing_a_macaroon_does_not_give_it_away(shows):
    macaroon = parse(raw())
    assert not shows(f"{macaroon} {macaroon!r} {[macaroon]}", macaroon.raw)


@pytest.mark.parametrize("data, _reason", REFUSED.values(), ids=REFUSED)
def test_a_refusal_does_not_give_the_bytes_away(data, _reason, shows):
    with pytest.raises(MacaroonError) as refusal:
        parse(data)
    assert len(data) < 12 or not shows(refusal.value, data)


def test_the_digest_tells_two_macaroons_apart(bake):
    assert parse(bake("info:read")).digest != parse(bake("info:read", nonce=bytes(16))).digest


@pytest.mark.parametrize("kind, sentence", {
    "admin": "reads everything; writes everything; makes macaroon, signer",
    "readonly": "reads everything",
    "invoice": "reads address, invoices, onchain; writes address, invoices",
    "signer": "reads signer; makes signer",
}.items())
def test_the_summary_says_what_a_macaroon_may_do(kind, sentence):
    assert summary(KINDS[kind]) == sentence


def test_the_summary_names_single_methods():
    assert summary(permissions("info:read", "uri:/lnrpc.State/GetState")) == "reads info; uri:/lnrpc.State/GetState"


def test_nothing_is_said_of_a_macaroon_that_may_nothing():
    assert (words([]), summary([])) == ("no permission", "nothing")
