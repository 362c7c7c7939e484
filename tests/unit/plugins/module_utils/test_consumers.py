"""The programs that talk to LND: what an inventory may say of them, when one needs a new macaroon, and what its Secret holds."""

from __future__ import annotations

import base64
import ssl
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _consumers, _macaroon
from ansible_collections.openlsp.node.plugins.module_utils._consumers import OUR_IDS, Consumer, ConsumerError
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import permissions
from ansible_collections.openlsp.node.plugins.module_utils._presets import PRESETS
from ansible_collections.openlsp.node.plugins.module_utils._secret import MANAGED_BY, Secret
from certificates import made
from hypothesis import given, strategies

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
KEY = "1795824000123456"
SHOP = Consumer("shop", "lnd-consumer-shop", "ln", permissions("invoices:read"))
CERTIFICATE = made(NOW)[0]


def macaroon(*words, root_key_id=KEY, caveats=()):
    return _macaroon.mint(b"k" * 32, root_key_id, permissions(*(words or ["invoices:read"])), b"n" * 16, caveats)


def ending(days=0, **further):
    return _macaroon.time_before(NOW + timedelta(days=days, **further))


def listed(**entry):
    return [each for each in _consumers.wanted([{"name": "shop", **entry}], "ln") if each.name == "shop"][0]


# --- what an inventory says ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("entry, expected", [
    ({"preset": "rtl"}, Consumer("shop", "lnd-consumer-shop", "ln", PRESETS["rtl"])),
    ({"permissions": ["invoices:read", "uri:/lnrpc.Lightning/GetInfo"]},
     Consumer("shop", "lnd-consumer-shop", "ln", permissions("invoices:read", "uri:/lnrpc.Lightning/GetInfo"))),
    ({"uris": ["/lnrpc.Lightning/GetInfo"]}, Consumer("shop", "lnd-consumer-shop", "ln", permissions("uri:/lnrpc.Lightning/GetInfo"))),
    ({"permissions": ["invoices:read"], "namespace": "shops", "expires": 90, "ip_range": "10.1.2.3/16"},
     Consumer("shop", "lnd-consumer-shop", "shops", permissions("invoices:read"), 90, "iprange 10.1.0.0/16")),
    # What Ansible gives a module for options that are not there.
    ({"permissions": ["invoices:read"], "preset": None, "uris": None, "namespace": None, "expires": None, "ip_range": None}, SHOP),
], ids=["preset", "permissions", "uris", "everything", "absent-options"])
def test_an_entry_is_read(entry, expected):
    assert listed(**entry) == expected


def test_who_fetches_the_backups_is_always_there():
    assert _consumers.wanted([], "ln") == [Consumer("lnd-backup", "lnd-backup", "ln", PRESETS["backup"])]


def test_consumers_are_in_the_order_of_their_secrets():
    entries = [{"name": "b", "preset": "rtl"}, {"name": "a", "preset": "rtl"}, {"name": "c", "preset": "rtl", "namespace": "apps"}]
    assert [each.name for each in _consumers.wanted(entries, "ln")] == ["c", "lnd-backup", "a", "b"]


ONE = {"permissions": ["invoices:read"]}
REFUSALS = {
    "no-name": ({**ONE, "name": None}, "consumer '': a name has lower case letters, digits and hyphens, at most 50"),
    "upper-case": ({**ONE, "name": "Shop"}, "consumer 'Shop': a name has lower case letters, digits and hyphens, at most 50"),
    "hyphen-at-the-end": ({**ONE, "name": "shop-"}, "consumer 'shop-': a name has"),
    "long-name": ({**ONE, "name": "x" * 51}, f"consumer '{'x' * 51}': a name has"),
    "line-break": ({**ONE, "name": "shop\n"}, "consumer 'shop\\n': a name has"),
    "nothing": ({}, "consumer shop: it needs exactly one of preset, permissions and uris, and has none"),
    "empty-list": ({"permissions": []}, "consumer shop: it needs exactly one of preset, permissions and uris, and has none"),
    "two-sources": ({**ONE, "preset": "rtl"}, "consumer shop: it needs exactly one of preset, permissions and uris, and has preset and permissions"),
    "no-day": ({**ONE, "expires": 0}, "consumer shop: expires is 0; a macaroon lives for 1 to 36500 days, or for ever without it"),
    "negative-days": ({**ONE, "expires": -1}, "consumer shop: expires is -1; a macaroon lives for 1 to"),
    "days-beyond-the-calendar": ({**ONE, "expires": 4000000}, "consumer shop: expires is 4000000; a macaroon lives for 1 to"),
    "no-network": ({**ONE, "ip_range": "everywhere"}, "consumer shop: ip_range 'everywhere' is no range of addresses such as 10.1.0.0/16"),
    "no-preset": ({"preset": "zeus"}, f"consumer shop: there is no preset zeus; there are {', '.join(sorted(PRESETS))}"),
    "no-call": ({"uris": ["lnrpc.Lightning/GetInfo"]},
                "consumer shop: 'lnrpc.Lightning/GetInfo' is no call of LND; one is written like /lnrpc.Lightning/GetInfo"),
    "no-permission": ({"permissions": ["invoices"]}, "consumer shop: 'invoices' is no permission; one is written like invoices:read"),
    "permission-with-a-blank": ({"permissions": ["invoices: read"]}, "consumer shop: 'invoices: read' is no permission"),
}


@pytest.mark.parametrize("entry, message", REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_is_refused_with_the_name(entry, message):
    with pytest.raises(ConsumerError) as refusal:
        listed(**entry)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("names", [["shop", "shop"], ["lnd-backup"]], ids=["two", "of-the-collection"])
def test_a_name_is_there_once(names):
    with pytest.raises(ConsumerError, match=f"consumer {names[0]} is there twice; give each program a name of its own"):
        _consumers.wanted([{"name": name, **ONE} for name in names], "ln")


def test_all_is_no_name_because_it_stands_for_every_one():
    with pytest.raises(ConsumerError, match="consumer all: the name stands for every consumer; give it another one"):
        listed(name="all", **ONE)


@given(strategies.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?\Z"))
def test_every_name_that_is_taken_fits_into_kubernetes(name):
    if name not in ("all", "lnd-backup"):
        secret = listed(name=name, **ONE).secret if name == "shop" else _consumers._consumer({"name": name, **ONE}, "ln").secret
        assert len(secret) <= 63 and not secret.endswith("-")


# --- which of them ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("names, expected", [
    ([], set()), (["shop"], {"shop"}), (["all"], {"shop", "lnd-backup"}), (["shop", "all"], {"shop", "lnd-backup"})],
    ids=["none", "one", "all", "one-and-all"])
def test_consumers_are_chosen_by_name(names, expected):
    assert _consumers.chosen([SHOP, _consumers.backup("ln")], names) == expected


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(ConsumerError, match="^there is no consumer shpo; there are lnd-backup, shop$"):
        _consumers.chosen([SHOP, _consumers.backup("ln")], ["shpo", "all"])


KNOWN = permissions("invoices:read", "invoices:write", "uri:/lnrpc.Lightning/GetInfo")


@pytest.mark.parametrize("word, message", [
    ("invoices:reed", "this LND has no permission invoices:reed; did you mean invoices:read?"),
    ("uri:/lnrpc.Lightning/Getinfo", "this LND has no permission uri:/lnrpc.Lightning/Getinfo; did you mean uri:/lnrpc.Lightning/GetInfo?"),
    ("zzz:qqq", "this LND has no permission zzz:qqq")])
def test_a_permission_that_lnd_does_not_have_is_refused(word, message):
    with pytest.raises(ConsumerError) as refusal:
        _consumers.refuse_unknown(Consumer("shop", "s", "ln", permissions(word, "invoices:read")), KNOWN)
    assert str(refusal.value) == f"consumer shop: {message}"


def test_permissions_that_lnd_has_pass():
    _consumers.refuse_unknown(Consumer("shop", "s", "ln", KNOWN), KNOWN)


# --- when a new macaroon is needed -----------------------------------------------------------------------------------

NARROW = Consumer("shop", "lnd-consumer-shop", "ln", permissions("invoices:read"), 90, "iprange 10.1.0.0/16")
REASONS = {
    "kept": (SHOP, macaroon(), ""),
    "kept-narrow": (NARROW, macaroon(caveats=[ending(90), "iprange 10.1.0.0/16"]), ""),
    "made-by-lnd": (SHOP, macaroon(root_key_id="0"), "it was not made for this consumer"),
    "made-by-hand": (SHOP, macaroon(root_key_id="7"), "it was not made for this consumer"),
    "key-that-is-no-number": (SHOP, macaroon(root_key_id="x"), "it was not made for this consumer"),
    "more-permissions": (SHOP, macaroon("invoices:read", "info:read"), "its permissions are to be others"),
    "less-permissions": (NARROW, macaroon("info:read"), "its permissions are to be others"),
    "no-network": (NARROW, macaroon(caveats=[ending(90)]), "its caveats are to be others"),
    "network-not-wanted": (SHOP, macaroon(caveats=["iprange 10.1.0.0/16"]), "its caveats are to be others"),
    "another-network": (NARROW, macaroon(caveats=[ending(90), "iprange 10.2.0.0/16"]), "its caveats are to be others"),
    "no-end": (NARROW, macaroon(caveats=["iprange 10.1.0.0/16"]), "it is to end at another time"),
    "end-not-wanted": (SHOP, macaroon(caveats=[ending(90)]), "it is to end at another time"),
    "a-third-left": (NARROW, macaroon(caveats=[ending(30), "iprange 10.1.0.0/16"]), ""),
    "less-than-a-third": (NARROW, macaroon(caveats=[ending(30, seconds=-1), "iprange 10.1.0.0/16"]), "it ends on 2026-12-28"),
    "ended": (NARROW, macaroon(caveats=[ending(-1), "iprange 10.1.0.0/16"]), "it ends on 2026-11-27"),
    "ends-too-late": (NARROW, macaroon(caveats=[ending(120, seconds=1), "iprange 10.1.0.0/16"]), "it is to end earlier"),
    "clocks-differ": (NARROW, macaroon(caveats=[ending(120), "iprange 10.1.0.0/16"]), ""),
}


@pytest.mark.parametrize("consumer, held, reason", REASONS.values(), ids=REASONS)
def test_why_a_new_macaroon_is_needed(consumer, held, reason):
    assert _consumers.why_new(consumer, held, NOW) == reason


CONSUMERS = strategies.builds(
    Consumer, strategies.just("shop"), strategies.just("lnd-consumer-shop"), strategies.just("ln"), strategies.just(permissions("invoices:read")),
    strategies.none() | strategies.integers(1, 3650), strategies.sampled_from(["", "iprange 10.1.0.0/16", "iprange fd00::/64"]))


@given(CONSUMERS, strategies.datetimes(datetime(2024, 1, 1), datetime(2060, 1, 1), timezones=strategies.just(timezone.utc)))
def test_a_new_macaroon_is_good_for_its_consumer_until_a_third_of_its_life_is_left(consumer, now):
    held = _consumers.constrained(consumer, macaroon(), now)
    assert _consumers.why_new(consumer, held, now) == ""
    life = timedelta(days=consumer.days or 1000)
    assert _consumers.why_new(consumer, held, now + life * 0.66) == ""
    assert bool(_consumers.why_new(consumer, held, now + life * 0.67)) == bool(consumer.days)


# --- what a macaroon is narrowed to ----------------------------------------------------------------------------------

@pytest.mark.parametrize("consumer, caveats", [
    (SHOP, ()), (NARROW, ("time-before 2027-02-26T12:00:00Z", "iprange 10.1.0.0/16"))], ids=["for-ever", "narrow"])
def test_what_lnd_baked_is_narrowed_as_the_entry_says(consumer, caveats):
    narrowed = _consumers.constrained(consumer, macaroon(), NOW)
    assert narrowed.caveats == caveats
    assert _macaroon.signed_with(narrowed, b"k" * 32)


# --- what its Secret holds -------------------------------------------------------------------------------------------

def test_a_program_finds_all_that_it_needs_in_its_secret():
    content = _consumers.content(SHOP, b"\x02raw", CERTIFICATE, "ln")
    del content["lndconnect"]
    assert content == {"macaroon": b"\x02raw", "cert": CERTIFICATE, "host": b"lnd.ln.svc.cluster.local", "grpc_port": b"10009", "rest_port": b"8080"}


@given(strategies.binary(min_size=1, max_size=300))
def test_an_app_reads_address_certificate_and_macaroon_from_the_link(raw):
    """As apps do: a URL, its query, and base64url to which the padding is put again."""
    link = urlsplit(_consumers.content(SHOP, raw, CERTIFICATE, "ln")["lndconnect"].decode())
    query = {key: base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)) for key, (value,) in parse_qs(link.query).items()}
    assert (link.scheme, link.hostname, link.port, link.path) == ("lndconnect", "lnd.ln.svc.cluster.local", 10009, "")
    assert query == {"cert": ssl.PEM_cert_to_DER_cert(CERTIFICATE.decode()), "macaroon": raw}
    assert "=" not in link.query.replace("cert=", "").replace("macaroon=", "")


def test_who_fetches_the_backups_gets_its_macaroon_alone():
    assert _consumers.content(_consumers.backup("ln"), b"raw", CERTIFICATE, "ln") == {"macaroon": b"raw"}


# --- what Secrets say ------------------------------------------------------------------------------------------------

OURS = {MANAGED_BY: "openlsp.node", _consumers.CONSUMER: "shop", _consumers.NODE: "ln"}


@pytest.mark.parametrize("labels, expected", [
    (OURS, True), ({**OURS, _consumers.NODE: "other"}, False), ({**OURS, MANAGED_BY: "Helm"}, False), ({MANAGED_BY: "openlsp.node"}, False)],
    ids=["ours", "of-another-node", "of-helm", "of-lnd-itself"])
def test_a_consumers_secret_is_known_by_its_labels(labels, expected):
    assert _consumers.of_node(Secret("s", {}, labels), "ln") is expected


@pytest.mark.parametrize("text, expected", [
    (str(OUR_IDS[0]), True), (str(OUR_IDS[-1]), True), (str(OUR_IDS[0] - 1), False), (str(OUR_IDS[-1] + 1), False), ("0", False), ("", False),
    ("x", False), ("-1795824000123456", False), ("²", False)])
def test_root_keys_of_the_collection_are_known_by_their_range(text, expected):
    assert _consumers.our_id(text) is expected


@pytest.mark.parametrize("value, annotations, expected", [
    (macaroon().raw, {}, {int(KEY)}),
    (macaroon(root_key_id="0").raw, {}, set()),
    (b"garbage", {_consumers.ROOT_KEY_ID: KEY}, {int(KEY)}),
    (b"garbage", {_consumers.ROOT_KEY_ID: "garbage"}, set()),
    (macaroon().raw, {_consumers.RETIRING: f"{10**15},0,x,{10**15 + 1}"}, {int(KEY), 10**15, 10**15 + 1}),
], ids=["macaroon", "lnds-own", "annotation", "nonsense", "retiring"])
def test_every_root_key_that_a_secret_names_is_found(value, annotations, expected):
    assert _consumers.root_key_ids(Secret("s", {"macaroon": value}, OURS, annotations)) == expected


@pytest.mark.parametrize("annotation, further, expected", [
    ("", [], []), ("shops", [], ["shops"]), ("b, a,", ["c", "a"], ["a", "b", "c"]), ("ns", ["ns"], [])], ids=["none", "one", "several", "its-own"])
def test_consumers_are_looked_for_where_they_may_be(annotation, further, expected):
    tls = Secret("lnd-tls", {}, {}, {"openlsp.org/consumer-namespaces": annotation})
    assert _consumers.other_namespaces(tls, further, "ns") == expected
