"""LND is asked what it announces, and told what to drop."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._lnd import LndError
from ansible_collections.openlsp.node.plugins.modules import lnd_announcement

KEY = "02" * 33


class Announcer:
    """An LND that answers these two calls; ``failures`` come before the first answer."""

    def __init__(self, *addresses, failures=()):
        self.addresses, self.posted, self.failures = list(addresses), [], list(failures)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def call(self, method, path, body=None, macaroon=None):
        if self.failures:
            raise self.failures.pop(0)
        assert macaroon == b"admin"
        if (method, path) == ("GET", "/v1/getinfo"):
            return {"identity_pubkey": KEY, "uris": [f"{KEY}@{each}" for each in self.addresses]}
        assert (method, path) == ("POST", "/v2/peers/nodeannouncement")
        self.posted.append(body)
        for each in body["address_updates"]:
            {"ADD": self.addresses.append, "REMOVE": self.addresses.remove}[each["action"]](each["address"])
        return {}


@pytest.fixture
def announce(api, kubeconfig, monkeypatch):
    """The module's run against an Announcer, without a pause."""
    monkeypatch.setattr(lnd_announcement.time, "sleep", lambda _seconds: None)
    for name, key, value in ("lnd-tls", "cert", b"certificate"), ("lnd-admin", "macaroon", b"admin"):
        api.lay("GET", f"/api/v1/namespaces/ns/secrets/{name}", {
            "metadata": {"name": name, "namespace": "ns"}, "data": {key: base64.b64encode(value).decode()}})

    def announced(lnd, *addresses, check_mode=False, timeout=60):
        monkeypatch.setattr(lnd_announcement._lnd, "Lnd", lambda _connect, _certificate: lnd)
        return lnd_announcement.run({"kubeconfig": str(kubeconfig), "context": None, "namespace": "ns", "pod": "lnd-0", "timeout": timeout,
                                     "addresses": list(addresses)}, check_mode)
    return announced


def test_what_is_as_it_should_be_is_left_alone(announce):
    lnd = Announcer("8.8.8.8:9735")
    assert announce(lnd, "8.8.8.8:9735") == {"changed": False, "announced": ["8.8.8.8:9735"], "public_key": KEY, "obstacle": ""}
    assert not lnd.posted


def test_an_address_that_is_not_wanted_any_more_is_dropped_once(announce):
    lnd = Announcer("8.8.8.8:9735", "1.1.1.1:9735")
    done = announce(lnd, "8.8.8.8:9735")
    assert (done["changed"], done["announced"]) == (True, ["8.8.8.8:9735"])
    assert done["diff"] == {"before": "8.8.8.8:9735\n1.1.1.1:9735\n", "after": "8.8.8.8:9735\n"}
    assert not announce(lnd, "8.8.8.8:9735")["changed"]


def test_check_mode_says_it_and_does_nothing(announce):
    lnd = Announcer("1.1.1.1:9735")
    assert announce(lnd, check_mode=True)["changed"]
    assert (lnd.posted, lnd.addresses) == ([], ["1.1.1.1:9735"])


STARTING = LndError("the RPC server is in the process of starting", 2)


def test_an_lnd_that_starts_is_waited_for(announce):
    lnd = Announcer("1.1.1.1:9735", failures=[LndError("LND does not answer"), STARTING])
    assert announce(lnd)["changed"]


def test_an_lnd_without_its_chain_is_not_waited_for_for_ever(announce):
    lnd = Announcer("1.1.1.1:9735", failures=[STARTING] * 3)
    done = announce(lnd, timeout=-1)
    assert (done["changed"], done["obstacle"]) == (False, str(STARTING))


def test_an_lnd_that_never_answers_is_an_error(announce):
    with pytest.raises(LndError, match="does not answer"):
        announce(Announcer(failures=[LndError("LND does not answer")]), timeout=-1)


def test_a_refusal_is_an_error_at_once(announce):
    with pytest.raises(LndError, match="permission denied"):
        announce(Announcer(failures=[LndError("permission denied", 7)]))


def test_credentials_that_are_not_there_are_an_error_but_in_check_mode(announce, api):
    del api.answers["GET", "/api/v1/namespaces/ns/secrets/lnd-admin"]
    with pytest.raises(ClusterError, match="namespace ns has no Secret lnd-admin"):
        announce(Announcer())
    assert announce(Announcer(), check_mode=True)["obstacle"].startswith("namespace ns has no Secret lnd-admin")


@pytest.mark.parametrize("failure", [LndError("LND does not answer"), LndError("permission denied", 7), STARTING])
def test_check_mode_never_fails_for_an_lnd_that_cannot_be_asked(announce, failure):
    assert announce(Announcer(failures=[failure]), check_mode=True) == {"changed": False, "announced": [], "public_key": "", "obstacle": str(failure)}
