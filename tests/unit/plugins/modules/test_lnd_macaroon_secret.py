"""What a play learns of the Secrets that were published."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _consumers, _macaroon
from ansible_collections.openlsp.node.plugins.module_utils._publication import CERTIFICATE_EXPIRES, Need, Outcome, described
from ansible_collections.openlsp.node.plugins.module_utils._secret import Change, Secret, digest
from ansible_collections.openlsp.node.plugins.modules.lnd_macaroon_secret import difference, published, revoked

PLACE = "ln", "lnd-consumer-shop"
KEY = "1795824000123456"


@pytest.fixture
def value(bake):
    return bake("invoices:write", "invoices:read", root_key_id=KEY)


def secret(value, **annotations):
    return Secret(PLACE[1], {"macaroon": value}, {}, annotations, PLACE[0])


def need(value=None, **given):
    macaroon = _macaroon.parse(value) if value else None
    return Need(PLACE, _macaroon.permissions("invoices:read", "invoices:write"), macaroon=macaroon, **given)


# --- the result ------------------------------------------------------------------------------------------------------

def test_a_macaroon_is_described_by_its_permissions_and_its_root_key(value):
    assert published(Change("update", secret(value), None), need(value, why="it is to be rotated")) == {
        "name": "lnd-consumer-shop", "namespace": "ln", "action": "update", "why": "it is to be rotated", "digest": digest(value),
        "root_key_id": KEY, "permissions": ["invoices:read", "invoices:write"]}


def test_what_is_still_to_be_made_has_permissions_only():
    told = published(Change("create", Secret(PLACE[1], {}, {}, {}, "ln"), None), need(why="there is none"))
    assert (told["digest"], told["root_key_id"], told["permissions"]) == ("", "", ["invoices:read", "invoices:write"])


def test_a_certificate_permits_nothing():
    told = published(Change("keep", Secret("lnd-tls", {"cert": b"PEM"}, {}, {}, "ln"), None), Need(("ln", "lnd-tls")))
    assert (told["digest"], told["permissions"]) == (digest(b"PEM"), [])


def test_what_is_gone_is_named_with_its_root_key(value):
    assert revoked(secret(value, **{_consumers.ROOT_KEY_ID: KEY})) == {
        "name": "lnd-consumer-shop", "namespace": "ln", "action": "revoke", "why": "", "digest": "", "root_key_id": KEY, "permissions": []}


def test_the_result_does_not_give_the_macaroon_away(value, shows):
    assert not shows(published(Change("create", secret(value), None), need(value)), value[-32:])


# --- the diff --------------------------------------------------------------------------------------------------------

def test_a_diff_has_each_permission_on_a_line_of_its_own(value):
    assert described(secret(value, **{CERTIFICATE_EXPIRES: "2027-01-01T00:00:00Z", _consumers.ROOT_KEY_ID: KEY})) == (
        "ln/lnd-consumer-shop\n"
        f"  macaroon: {len(value)} bytes, sha256 {digest(value)}, root key {KEY}\n"
        "  may invoices:read\n"
        "  may invoices:write\n"
        "  certificate-expires: 2027-01-01T00:00:00Z\n")


def test_a_diff_shows_what_narrows_a_macaroon(bake):
    assert "  only iprange 10.0.0.0/8\n" in described(secret(bake("info:read", caveats=["iprange 10.0.0.0/8"])))


def test_a_diff_says_that_a_macaroon_is_still_to_be_made():
    assert described(Secret(PLACE[1], {}, {}, {}, "ln"), need(why="there is none")) == (
        "ln/lnd-consumer-shop\n  macaroon: a new one\n  may invoices:read\n  may invoices:write\n")


def test_a_diff_of_nothing_is_empty():
    assert described(None) == ""


def test_a_secret_that_holds_no_macaroon_is_still_described():
    assert "no macaroon: it is empty" in described(secret(b""))


@pytest.mark.parametrize("form", [bytes, lambda raw: raw.hex().encode()], ids=["binary", "hexadecimal"])
def test_a_diff_shows_no_value(value, shows, form):
    found = Secret(PLACE[1], {"macaroon": form(value), "password": b"sesame, open yourself"}, {}, {}, "ln")
    outcome = Outcome({PLACE: Change("update", secret(value), found)}, {PLACE: need(value)}, {("ln", "gone"): found})
    assert not shows(difference(outcome), value[-32:]) and "sesame" not in str(difference(outcome))


def test_what_is_kept_is_in_no_diff(value):
    assert difference(Outcome({PLACE: Change("keep", secret(value), secret(value))}, {PLACE: need(value)})) == {"before": "", "after": ""}


def test_what_is_revoked_is_in_the_diff_before(value):
    told = difference(Outcome(revoked={PLACE: secret(value)}))
    assert told["before"].startswith("ln/lnd-consumer-shop\n") and told["after"] == ""


# --- more than one try -----------------------------------------------------------------------------------------------

def test_a_secret_that_is_planned_again_is_told_by_what_was_first_done_and_what_it_holds_in_the_end(bake):
    first, last = (bake("info:read", nonce=bytes([number]) * 16) for number in (1, 2))
    outcome = Outcome()
    for action, value, found in (("create", first, None), ("keep", last, secret(last))):
        outcome.note(Change(action, secret(value), found))
    assert outcome.changes == {PLACE: Change("create", secret(last), None)}


def test_the_first_reason_for_a_new_macaroon_stays(value):
    outcome = Outcome()
    outcome.note_needs([need(why="there is none")])
    outcome.note_needs([need(value)])
    assert outcome.needs[PLACE] == need(value, why="there is none")


@pytest.mark.parametrize("outcome, changed", [
    (Outcome(), False), (Outcome(revoked={PLACE: None}), True), (Outcome(deleted_root_keys={1}), True), (Outcome(restarted=["Pod x"]), True),
    (Outcome(renewed="it expired"), True), (Outcome(warnings=["x"]), False)], ids=["nothing", "revoked", "root-key", "restart", "renewal", "warning"])
def test_what_counts_as_a_change(outcome, changed):
    assert outcome.changed is changed
