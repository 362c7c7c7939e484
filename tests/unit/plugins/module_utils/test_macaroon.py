"""LND's macaroons, made by pymacaroons and read by the collection."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
from datetime import datetime, timedelta, timezone

import pymacaroons
import pytest
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import (
    KINDS, MAX_BYTES, MacaroonError, Permission, constrain, ip_range, mint, parse, permissions, signed_with, summary, time_before, words)
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


def version_1():
    macaroon = pymacaroons.Macaroon(location="lnd", identifier="id", key="key", version=pymacaroons.MACAROON_V1)
    return pymacaroons.serializers.BinarySerializer().serialize_raw(macaroon)


def zipped():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("admin.macaroon", raw())
    return archive.getvalue()


def operation(entity, action):
    return serialized(b"\x03" + field(1, NONCE) + field(2, b"0") + field(3, field(1, entity) + field(2, action)))


def caveat_packets(packets):
    """A macaroon whose caveat consists of these packets, up to the signature."""
    return serialized(identifier([("info", "read")]))[:-35] + packets + b"\0\x06\x20" + bytes(32)


HEXADECIMAL = "it is hexadecimal text of a macaroon; the binary form is needed"
BASE64 = "it is base64 text of a macaroon; the binary form is needed"
IDENTIFIER = b"\x02\x01\x03lnd\x02"

REFUSED = {
    "empty": (b"", "it is empty"),
    "hexadecimal": (raw().hex().encode(), HEXADECIMAL),
    "hexadecimal-upper-case": (raw().hex().upper().encode(), HEXADECIMAL),
    "hexadecimal-with-a-line-break": (raw().hex().encode() + b"\n", HEXADECIMAL),
    "hexadecimal-cut-short": (raw().hex().encode()[:101], HEXADECIMAL),
    "hexadecimal-of-hexadecimal": (raw().hex().encode().hex().encode(), "hexadecimal text of hexadecimal text of a macaroon"),
    "base64": (base64.b64encode(raw()), BASE64),
    "base64-in-lines": (base64.encodebytes(raw()), BASE64),
    "base64-for-urls": (base64.urlsafe_b64encode(raw()).rstrip(b"="), BASE64),
    "base64-cut-short": (base64.b64encode(raw())[:101], BASE64),
    "base64-of-base64": (base64.b64encode(base64.b64encode(raw())), "it is base64 text of base64 text of a macaroon"),
    "base64-of-hexadecimal": (base64.b64encode(raw().hex().encode()), "it is base64 text of hexadecimal text of a macaroon"),
    "lndconnect": (b"lndconnect://lnd:10009?macaroon=" + base64.urlsafe_b64encode(raw()), "it is an lndconnect address, not"),
    "pem": (b"-----BEGIN CERTIFICATE-----\n", "it is PEM text, such as a certificate, not a version 2 macaroon"),
    "base64-of-pem": (base64.b64encode(b"-----BEGIN CERTIFICATE-----\n"), "it is base64 text of PEM text"),
    "version-1": (version_1(), "it is a version 1 macaroon, not a version 2 macaroon"),
    "version-1-base64": (base64.urlsafe_b64encode(version_1()), "it is base64 text of a version 1 macaroon, not"),
    "version-2-json": (b'{"v":2,"l":"lnd"}', "it is JSON text, not a version 2 macaroon"),
    "null": (b"null", "it is text, not a version 2 macaroon"),
    "error-message": (b"[lncli] rpc error: code = Unknown desc = wallet locked", "it is text, not a version 2 macaroon"),
    "text": ("the wallet is locked – unlock it\n".encode(), "it is text, not a version 2 macaroon"),
    "utf-16": ("0201036c6e64".encode("utf-16"), "it is UTF-16 text, not"),
    "gzip": (gzip.compress(raw()), "it is a gzip archive, not"),
    "zip": (zipped(), "it is a zip archive, not"),
    "zero-bytes": (bytes(292), "it is a file of zero bytes, not"),
    "noise": (b"\x99\x01\x02", "it starts with byte 153 instead of 2: not a version 2 macaroon"),
    "over-64-KiB": (raw() + bytes(MAX_BYTES), "no macaroon is larger than 65536"),
    "a-byte-too-much": (raw() + b"\n", f"1 bytes follow the signature at offset {len(raw())}"),
    "twice": (raw() + raw(), f"{len(raw())} bytes follow the signature"),
    "another-location": (raw().replace(b"\x01\x03lnd", b"\x01\x04loop"), "its location is 'loop' instead of 'lnd': another program made it"),
    "no-location": (b"\x02" + raw()[6:], "its location is '' instead of 'lnd'"),
    "location-not-text": (b"\x02\x01\x01\xff\x02\x00", "its location is not UTF-8"),
    "version-byte-only": (b"\x02", "it is cut short at offset 1"),
    "cut-in-the-header": (raw()[:4], "it is cut short: 3 bytes wanted at offset 3, 1 there"),
    "cut-in-the-identifier": (raw()[:30], "it is cut short: .* bytes wanted at offset 8, 22 there"),
    "cut-before-the-signature": (raw()[:-34], f"it is cut short at offset {len(raw()) - 34}"),
    "third-party-caveat": (third_party(), "third-party caveat"),
    "caveat-with-a-location": (caveat_packets(b"\x01\x01x\x02\x01x\0"), "third-party caveat"),
    "caveat-without-identifier": (caveat_packets(b"\x04\x01x\0"), "a caveat is missing at offset"),
    "caveat-not-closed": (caveat_packets(b"\x02\x01x\x02\x01x\0"), "a caveat is not closed at offset"),
    "caveat-not-text": (caveat_packets(b"\x02\x01\xff\0"), "a caveat is not UTF-8"),
    "expires-never": (serialized(identifier([("info", "read")]), ["time-before tomorrow"]), "the time at which it expires is none that LND can read"),
    "expires-on-a-day-that-is-none": (serialized(identifier([("info", "read")]), ["time-before 2026-02-30T00:00:00Z"]), "the time at which it"),
    "expires-after-the-last-year": (serialized(identifier([("info", "read")]), ["time-before 9999-12-31T23:59:59-01:00"]), "the time at which it"),
    "no-signature": (raw()[:-34] + b"\x05\x00", "the signature is missing at offset"),
    "short-signature": (signature_of(31), "its signature has 31 bytes instead of 32"),
    "long-signature": (signature_of(33), "its signature has 33 bytes instead of 32"),
    "no-identifier": (b"\x02\x01\x03lnd\x00", "the identifier is missing at offset 6"),
    "header-not-closed": (IDENTIFIER + b"\x01\x03\x05\x00", "the header is not closed at offset 9"),
    "endless-number": (IDENTIFIER + b"\xff" * 20, "a number at offset 7 is too long"),
    "number-too-large": (IDENTIFIER + b"\xff\xff\xff\xff\x08", "a number at offset 7 is larger than 2147483647"),
    "bakery-version-2": (made_by(2), "not made by LND"),
    "empty-identifier": (serialized(b""), "its identifier is empty"),
    "no-root-key": (serialized(b"\x03" + field(1, NONCE)), "names no root key"),
    "two-root-keys": (serialized(identifier([("info", "read")]) + field(2, b"1")), "names two root keys"),
    "field-of-another-type": (serialized(b"\x03\x08\x01"), "wire type 0"),
    "field-without-number": (serialized(b"\x03\x02\x00"), "a field with the number 0"),
    "identifier-cut-short": (serialized(b"\x03\x0a\x10nonce"), "its identifier is cut short: 16 bytes wanted at offset 2, 5 there"),
    "root-key-not-text": (serialized(b"\x03" + field(2, b"\xff")), "the root key id is not UTF-8"),
    "entity-not-text": (operation(b"\xff", b"read"), "an entity is not UTF-8"),
    "action-not-text": (operation(b"info", b"\xff"), "an action is not UTF-8"),
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


# --- what is made --------------------------------------------------------------------------------------------------

ROOT_KEY = b"fake root key of a test"

# What a caveat may be: time-before is of macaroon-bakery, the others are in lnd/macaroons/constraints.go.
EVERY_CAVEAT = ("time-before 2026-12-01T00:00:00.25Z", "ipaddr 10.1.2.3", "iprange fd00::/64", "lnd-custom account 0123456789abcdef")


def theirs(of_identifier, caveats=()):
    """The bytes that pymacaroons makes with our root key."""
    macaroon = pymacaroons.Macaroon(location="lnd", identifier=of_identifier, key=ROOT_KEY, version=pymacaroons.MACAROON_V2)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return pymacaroons.serializers.BinarySerializer().serialize_raw(macaroon)


def minted(*held, caveats=(), root_key_id="0"):
    return mint(ROOT_KEY, root_key_id, permissions(*(held or ("info:read",))), NONCE, caveats)


def test_ours_is_byte_for_byte_what_pymacaroons_makes():
    held = ["offchain:write", "info:read", "offchain:read", "uri:/lnrpc.State/GetState"]
    made = theirs(identifier(sorted(word.split(":", 1) for word in held), "4711"), EVERY_CAVEAT)
    assert minted(*held, caveats=EVERY_CAVEAT, root_key_id="4711").raw == made


def test_the_order_and_repetition_of_permissions_make_no_difference():
    assert minted("info:read", "address:read", "info:read").raw == minted("address:read", "info:read").raw


def test_an_identifier_is_what_macaroonpb_of_the_bakery_writes():
    # MacaroonId{nonce 16, storageId "0", ops [{address [read write]}, {info [read]}]} by hand.
    assert minted("info:read", "address:write", "address:read").identifier.hex() == (
        "03" "0a10" + NONCE.hex() + "120130" "1a16" "0a0761646472657373" "120472656164" "12057772697465" "1a0c" "0a04696e666f" "120472656164")


@pytest.mark.parametrize("caveat", EVERY_CAVEAT)
def test_a_caveat_of_ours_is_what_pymacaroons_adds(caveat):
    assert constrain(minted(), [caveat]).raw == theirs(minted().identifier, [caveat])


def test_caveats_are_added_after_those_that_are_there():
    assert constrain(constrain(minted(), EVERY_CAVEAT[:2]), EVERY_CAVEAT[2:]).raw == minted(caveats=EVERY_CAVEAT).raw


def test_no_caveat_leaves_a_macaroon_as_it_was():
    assert constrain(minted(caveats=EVERY_CAVEAT), []) == minted(caveats=EVERY_CAVEAT)


def test_the_root_key_of_a_macaroon_is_recognised_through_its_caveats():
    assert signed_with(minted(caveats=EVERY_CAVEAT), ROOT_KEY)


@pytest.mark.parametrize("key", [b"", ROOT_KEY[:-1], ROOT_KEY + b" ", bytes(32)])
def test_another_root_key_is_told_apart(key):
    assert not signed_with(minted(caveats=EVERY_CAVEAT), key)


def test_a_caveat_that_was_taken_away_breaks_the_signature():
    whole, part = minted(caveats=EVERY_CAVEAT).raw, minted(caveats=EVERY_CAVEAT[:3]).raw
    assert not signed_with(parse(part[:-32] + whole[-32:]), ROOT_KEY)


printable = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    operations=st.sets(st.tuples(printable, printable), min_size=1, max_size=12),
    caveats=st.lists(printable.filter(lambda text: text and not text.startswith("time-before ")), max_size=4),
    nonce=st.binary(max_size=64),
    root_key_id=printable.filter(bool),
    root_key=st.binary(min_size=1, max_size=64),
)
def test_whatever_was_minted_is_read_back(operations, caveats, nonce, root_key_id, root_key):
    held = {Permission(*operation) for operation in operations}
    macaroon = constrain(mint(root_key, root_key_id, held, nonce, caveats[:2]), caveats[2:])
    assert macaroon == parse(macaroon.raw)
    assert (macaroon.permissions, macaroon.root_key_id, macaroon.caveats, macaroon.nonce) == (held, root_key_id, tuple(caveats), nonce)
    assert signed_with(macaroon, root_key)


anything = st.text(st.characters(), max_size=20)


@given(root_key_id=anything, held=st.sets(st.builds(Permission, anything, anything), max_size=3), caveats=st.lists(anything, max_size=3))
def test_whatever_is_asked_for_ends_in_a_macaroon_or_a_refusal(root_key_id, held, caveats):
    try:
        assert signed_with(mint(ROOT_KEY, root_key_id, held, NONCE, caveats), ROOT_KEY)
    except MacaroonError as error:
        assert str(error)


@pytest.mark.parametrize("make, reason", {
    "no-permission": (lambda: mint(ROOT_KEY, "0", [], NONCE), "needs at least one permission"),
    "no-root-key-id": (lambda: minted(root_key_id=""), "needs the id of its root key"),
    "empty-caveat": (lambda: constrain(minted(), [""]), "a caveat is empty"),
    "half-a-character": (lambda: constrain(minted(), ["\ud800"]), "a caveat has characters that UTF-8 cannot hold"),
    "half-a-character-in-an-entity": (lambda: minted("\ud800:read"), "an entity has characters"),
    "no-time": (lambda: constrain(minted(), ["time-before soon"]), "the time at which it expires is none"),
    "too-large": (lambda: constrain(minted(), ["x" * MAX_BYTES]), "no macaroon is larger than 65536"),
}.values(), ids=str)
def test_what_lnd_would_not_take_is_not_made(make, reason):
    with pytest.raises(MacaroonError, match=reason):
        make()


# --- caveats of time and place -------------------------------------------------------------------------------------

UTC = timezone.utc
CET = timezone(timedelta(hours=1))


@pytest.mark.parametrize("when, text", [
    (datetime(2026, 12, 1, tzinfo=UTC), "2026-12-01T00:00:00Z"),
    (datetime(2026, 12, 1, tzinfo=CET), "2026-11-30T23:00:00Z"),
    (datetime(2026, 12, 1, 10, 20, 30, 500000, UTC), "2026-12-01T10:20:30.5Z"),
    (datetime(2026, 12, 1, 10, 20, 30, 7, UTC), "2026-12-01T10:20:30.000007Z"),
], ids=["utc", "elsewhere", "half-a-second", "microseconds"])
def test_a_time_is_written_as_go_does_it(when, text):
    assert time_before(when) == f"time-before {text}"


@given(st.datetimes(timezones=st.timezones()))
def test_every_time_is_read_back(when):
    try:
        caveat = time_before(when)
    except MacaroonError:
        assert when.year in (1, 9999)
        return
    assert minted(caveats=[caveat]).expires == when.astimezone(UTC)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(MacaroonError, match="needs a time zone"):
        time_before(datetime(2026, 12, 1))


@pytest.mark.parametrize("text, expires", {
    "2026-12-01T00:00:00Z": datetime(2026, 12, 1, tzinfo=UTC),
    "2026-12-01T00:00:00.123456789Z": datetime(2026, 12, 1, 0, 0, 0, 123456, UTC),
    "2026-12-01T01:00:00+01:00": datetime(2026, 12, 1, tzinfo=UTC),
}.items())
def test_the_time_of_a_caveat_is_when_the_macaroon_expires(text, expires):
    assert minted(caveats=["ipaddr 10.1.2.3", f"time-before {text}"]).expires == expires


def test_the_earliest_of_several_times_counts():
    times = [f"time-before 20{year}-01-01T00:00:00Z" for year in (31, 27, 29)]
    assert minted(caveats=times).expires == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_macaroon_without_a_time_does_not_expire():
    assert minted(caveats=["ipaddr 10.1.2.3", "time-beforehand x"]).expires is None


@pytest.mark.parametrize("network, text", {
    "10.1.0.0/16": "10.1.0.0/16",
    "10.1.2.3/16": "10.1.0.0/16",
    "10.1.2.3": "10.1.2.3/32",
    "FD00:0:0:0::1/64": "fd00::/64",
    "::/0": "::/0",
}.items())
def test_a_network_is_written_as_go_does_it(network, text):
    assert ip_range(network) == f"iprange {text}"


@pytest.mark.parametrize("network", ["", "lnd", "10.1.0.0/33", "10.1.0.0/16 or so", "fe80::1%eth0/64", "::ffff:10.0.0.0/104"])
def test_what_is_no_network_is_refused(network):
    with pytest.raises(MacaroonError, match="is no range of addresses|is a range of IPv4 addresses"):
        ip_range(network)


@given(st.text(max_size=20))
def test_any_text_is_a_network_or_refused(text):
    try:
        assert ip_range(text).startswith("iprange ")
    except MacaroonError:
        pass


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
