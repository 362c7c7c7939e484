"""From what LND announces to what it shall announce."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _announcement
from ansible_collections.openlsp.node.plugins.module_utils._announcement import Update, held, plan, split

KEY = "02" * 33
ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:9735"
NAMES = {"node.example.org": ["8.8.8.8", "2001:4860::8"]}


def update(wanted, found):
    return plan(wanted, found, lambda name: NAMES.get(name, []))


CASES = {
    "as-wanted": (["8.8.8.8:9735", ONION], ["8.8.8.8:9735", ONION], Update()),
    "nothing-and-nothing": ([], [], Update()),
    "one-is-gone": (["8.8.8.8:9735"], ["8.8.8.8:9735", "1.1.1.1:9735"], Update(remove=("1.1.1.1:9735",))),
    "all-are-gone": ([], ["8.8.8.8:9735", ONION], Update(remove=("8.8.8.8:9735", ONION))),
    "another-port": (["8.8.8.8:30735"], ["8.8.8.8:9735"], Update(add=("8.8.8.8:30735",), remove=("8.8.8.8:9735",))),
    "lost-and-back": (["8.8.8.8:9735"], [], Update(add=("8.8.8.8:9735",))),
    "ipv6-is-written-in-many-ways": (["[2001:4860:0::8]:9735"], ["[2001:4860::8]:9735"], Update()),
    "as-an-option-of-lnd-may-be-written": (["8.8.8.8", "2001:4860::8"], ["8.8.8.8:9735", "[2001:4860::8]:9735"], Update()),
    "of-a-name": (["node.example.org:9735"], ["8.8.8.8:9735", "[2001:4860::8]:9735"], Update()),
    "of-a-name-in-time": (["node.example.org:9735"], [], Update()),
    "of-a-name-before": (["node.example.org:9735"], ["8.8.8.8:9735", "1.1.1.1:9735"], Update(remove=("1.1.1.1:9735",))),
    "of-a-name-that-we-do-not-know": (["other.example.org:9735"], ["8.8.8.8:9735", "1.1.1.1:1"], Update(remove=("1.1.1.1:1",))),
    # Split DNS, or a load balancer's name that has other addresses each time.
    "of-a-name-that-lnd-resolves-otherwise": (["node.example.org:9735"], ["1.1.1.1:9735", "1.1.1.1:1"], Update(remove=("1.1.1.1:1",))),
    "of-two-names-that-lnd-resolves-otherwise": (["node.example.org:9735", "node.example.org:1"], ["8.8.8.8:9735", "1.1.1.1:1"], Update()),
}


@pytest.mark.parametrize("wanted, found, expected", CASES.values(), ids=CASES)
def test_the_update_leads_from_one_to_the_other(wanted, found, expected):
    assert update(wanted, found) == expected


def test_lnds_uris_have_a_key_and_an_address():
    assert held([f"{KEY}@8.8.8.8:9735", f"{KEY}@[2001:4860::8]:9735"]) == ("8.8.8.8:9735", "[2001:4860::8]:9735")


@pytest.mark.parametrize("address, parts", [
    ("[2001:4860::8]:1", ("2001:4860::8", 1)), ("8.8.8.8:1", ("8.8.8.8", 1)), ("node.example.org:1", ("node.example.org", 1)),
    ("[2001:4860::8]", ("2001:4860::8", 9735)), ("2001:4860::8", ("2001:4860::8", 9735)), ("::1", ("::1", 9735)), ("8.8.8.8", ("8.8.8.8", 9735)),
    ("node.example.org", ("node.example.org", 9735))])
def test_an_address_has_a_port_or_the_usual_one(address, parts):
    assert split(address) == parts


def test_the_call_takes_away_before_it_adds():
    assert Update(add=("a.example:1",), remove=("b.example:2",)).body == {"address_updates": [
        {"action": "REMOVE", "address": "b.example:2"}, {"action": "ADD", "address": "a.example:1"}]}


def test_a_name_that_nobody_knows_has_no_addresses(monkeypatch):
    def unknown(*_arguments, **_options):
        raise OSError
    monkeypatch.setattr(_announcement.socket, "getaddrinfo", unknown)
    assert _announcement.addresses_of("nowhere.example") == []
