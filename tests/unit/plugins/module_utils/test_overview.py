"""What is told of the Secrets that open one LND. LND is played here; molecule/default/tests/test_status.py asks a real one."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _overview
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._credentials import MACAROON_SECRETS
from ansible_collections.openlsp.node.plugins.module_utils._lnd import LndCertificateError, LndError
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import KINDS, permissions
from ansible_collections.openlsp.node.plugins.module_utils._mounts import Workload
from ansible_collections.openlsp.node.plugins.module_utils._overview import Answers
from ansible_collections.openlsp.node.plugins.module_utils._secret import Secret

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
TEN_DAYS_AGO = "1795000000000000"  # 2026-11-18 11:06:40 UTC
OURS = {"app.kubernetes.io/managed-by": "openlsp.node"}
CERTIFICATE = b"PEM of LND"


@pytest.fixture
def own(bake):
    """The Secrets of a node whose LND has written all of its files."""
    macaroons = {name: Secret(name, {"macaroon": bake(*map(str, sorted(KINDS[kind])))}, OURS) for name, kind in MACAROON_SECRETS.items()}
    return {"lnd-tls": Secret("lnd-tls", {"cert": CERTIFICATE}, OURS), **macaroons}


@pytest.fixture
def consumer(bake):
    """A consumer's Secret."""
    def made(*words, name="shop", annotations=None, node="ns", labels=None, data=None, **of_macaroon):
        macaroon = bake(*(words or ["info:read"]), **{"root_key_id": TEN_DAYS_AGO, **of_macaroon})
        return Secret(f"lnd-consumer-{name}", {"macaroon": macaroon, "cert": CERTIFICATE, "host": f"lnd.{node}.svc.cluster.local".encode(), **(data or {})},
                      {**OURS, "openlsp.org/consumer": name, "openlsp.org/lightning-node": node} if labels is None else labels, annotations or {},
                      created="2026-11-20T12:00:00Z")
    return made


class Node:
    """An LND that plays: it knows some root keys, refuses some macaroons, and notes what it was asked."""

    def __init__(self, state="RPC_ACTIVE", ids=(0,), refused=None, dies_at=None):
        self.state_or_error, self.ids, self.refused, self.dies_at, self.asked, self.connections = state, ids, refused or {}, dies_at, [], 0

    def connect(self, certificate):
        assert certificate == CERTIFICATE
        self.connections += 1
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def state(self):
        if isinstance(self.state_or_error, Exception):
            raise self.state_or_error
        return self.state_or_error

    def root_key_ids(self, admin):
        if admin in self.refused:
            raise LndError(self.refused[admin], 2)
        return frozenset(self.ids)

    def accepts(self, macaroon, held, asked_with):
        assert asked_with not in self.refused
        self.asked.append((macaroon, held))
        if len(self.asked) == self.dies_at:
            raise LndError("LND does not answer: it is gone")
        return self.refused.get(macaroon)


def told(node, found, now=NOW, workloads=(), certificate=CERTIFICATE):
    """What is shown of each Secret, by name."""
    listed = _overview.credentials("ns", {"ns": found})
    answers = _overview.ask(node.connect, certificate, listed)
    return {each.secret.name: _overview.shown(each, answers, certificate, workloads, now) for each in listed}


# --- which Secrets --------------------------------------------------------------------------------------------------

def test_a_consumer_of_this_node_is_found_in_another_namespace(own, consumer):
    listed = _overview.credentials("ns", {"ns": own, "shops": {"x": consumer(), "y": consumer(name="strange", node="other")}})
    assert [(each.namespace, each.secret.name) for each in listed] == [
        *(("ns", name) for name in MACAROON_SECRETS), ("shops", "lnd-consumer-shop")]


@pytest.mark.parametrize("labels", [{"openlsp.org/consumer": "shop"}, OURS], ids=["somebody-elses", "no-consumers"])
def test_no_other_secret_is_taken_for_a_consumers(own, consumer, labels):
    assert set(told(Node(), {**own, "lnd-consumer-shop": consumer(labels=labels)})) == set(MACAROON_SECRETS)


def test_a_node_without_any_secret_is_shown(consumer):
    rows = told(Node(), {}, certificate=None)
    assert {row["problems"][0] for row in rows.values()} == {"there is no such Secret; run the site, which makes it"}
    assert {row["accepted"] for row in rows.values()} == {None}


# --- what a Secret says ---------------------------------------------------------------------------------------------

def test_a_consumer_is_described(own, consumer):
    secret = consumer("info:read", "uri:/lnrpc.State/GetState", caveats=["ipaddr 10.1.2.3", "time-before 2026-11-29T12:00:00.000000001Z"])
    row = told(Node(), {**own, "s": secret}, workloads=[Workload("Deployment", "shop", frozenset({"lnd-consumer-shop"})),
                                                        Workload("Pod", "debug", frozenset({"lnd-admin"}))])["lnd-consumer-shop"]
    assert {key: row[key] for key in row if key not in ("digest", "reason")} == {
        "name": "lnd-consumer-shop", "namespace": "ns", "consumer": "shop", "kind": "",
        "summary": "reads info; calls GetState", "permissions": ["info:read", "uri:/lnrpc.State/GetState"],
        "root_key_id": TEN_DAYS_AGO, "retiring_root_key_ids": [], "made": "2026-11-18T11:06:40Z", "age_days": 10,
        "caveats": ["ipaddr 10.1.2.3", "time-before 2026-11-29T12:00:00.000000001Z"], "expires": "2026-11-29T12:00:00Z", "expired": False,
        "accepted": True, "problems": [], "used_by": ["Deployment shop"]}


def test_lnds_own_macaroon_is_as_old_as_its_secret(own, bake):
    own["lnd-invoices"] = Secret("lnd-invoices", own["lnd-invoices"].data, OURS, created="2026-11-27T11:00:00Z")
    row = told(Node(), own)["lnd-invoices"]
    assert (row["kind"], row["root_key_id"], row["made"], row["age_days"], row["expires"]) == ("invoices", "0", "", 1, "")


@pytest.mark.parametrize("root_key_id", ["7", "9007199254740992", "1", "a name"], ids=["by-hand", "beyond-json", "small", "words"])
def test_an_id_of_somebody_else_has_no_date(own, consumer, root_key_id):
    assert told(Node(), {**own, "s": consumer(root_key_id=root_key_id)})["lnd-consumer-shop"]["made"] == ""


@pytest.mark.parametrize("now, expired", [(NOW.replace(day=29, second=1), True), (NOW, False)], ids=["after", "before"])
def test_the_earliest_end_counts(own, consumer, now, expired):
    secret = consumer(caveats=["time-before 2027-01-01T00:00:00Z", "time-before 2026-11-29T12:00:00Z"])
    row = told(Node(), {**own, "s": secret}, now)["lnd-consumer-shop"]
    assert (row["expires"], row["expired"]) == ("2026-11-29T12:00:00Z", expired)


def test_a_caveat_that_is_no_time_is_only_shown(own, consumer):
    row = told(Node(), {**own, "s": consumer(caveats=["lnd-custom account 1"])})["lnd-consumer-shop"]
    assert (row["expires"], row["caveats"]) == ("", ["lnd-custom account 1"])


@pytest.mark.parametrize("caveat", ["time-before tomorrow", "time-before 2026-11-29T12:00:00", "time-before"])
def test_a_time_that_lnd_cannot_read_is_a_problem(own, consumer, caveat):
    row = told(Node(), {**own, "s": consumer(caveats=[caveat])})["lnd-consumer-shop"]
    assert row["problems"][0] == "no macaroon: the time at which it expires is none that LND can read"


PROBLEMS = {
    "empty": ({"macaroon": b""}, "no macaroon: "),
    "hexadecimal": ({"macaroon": b"0201036c6e6402"}, "no macaroon: "),
    "cut-short": ({"macaroon": b"\x02\x01\x03lnd\x02\xff"}, "no macaroon: "),
    "no-key": ({}, "it has no key macaroon"),
}


@pytest.mark.parametrize("data, problem", PROBLEMS.values(), ids=PROBLEMS)
def test_rubbish_is_shown_with_what_is_wrong(own, data, problem):
    own["lnd-router"] = Secret("lnd-router", data, OURS)
    rows = told(Node(), own)
    assert (rows["lnd-router"]["accepted"], rows["lnd-router"]["digest"]) == (None, "")
    assert rows["lnd-router"]["problems"][0].startswith(problem)
    assert {row["accepted"] for name, row in rows.items() if name != "lnd-router"} == {True}


def test_a_macaroon_that_may_more_than_its_name_says_is_a_problem(own):
    own["lnd-readonly"] = Secret("lnd-readonly", own["lnd-admin"].data, OURS)
    row = told(Node(), own)["lnd-readonly"]
    assert (row["problems"], row["accepted"]) == (["it does not hold what LND's readonly.macaroon may do"], True)


def test_a_consumer_with_an_old_certificate_is_a_problem(own, consumer):
    row = told(Node(), {**own, "s": consumer(data={"cert": b"of last year"})})["lnd-consumer-shop"]
    assert row["problems"] == ["its certificate is not that of lnd-tls"]


def test_an_interrupted_rotation_is_a_problem(own, consumer):
    interrupted = consumer(annotations={"openlsp.org/retiring-root-key-ids": "1790000000000000,1790000000000001"})
    row = told(Node(), {**own, "s": interrupted})["lnd-consumer-shop"]
    assert row["retiring_root_key_ids"] == ["1790000000000000", "1790000000000001"]
    assert row["problems"] == ["its rotation was interrupted: LND still has root key 1790000000000000, 1790000000000001"]


def test_what_is_shown_gives_no_macaroon_away(own, consumer, shows):
    secret = consumer("onchain:write", "offchain:write")
    rows = json.dumps(told(Node(), {**own, "s": secret}))
    assert "onchain:write" in rows
    # The rest of a macaroon is its permissions and its root key id, which are shown.
    assert not any(shows(rows, each.data["macaroon"][-32:]) for each in (secret, own["lnd-admin"]))


@pytest.mark.parametrize("words, sentence", [
    (["info:read"], "reads info"),
    (["uri:/lnrpc.Lightning/GetInfo", "uri:/lnrpc.Lightning/AddInvoice"], "calls AddInvoice, GetInfo"),
    ([], "nothing"),
], ids=["entities", "calls", "nothing"])
def test_permissions_are_told_in_words(words, sentence):
    assert _overview.summary(permissions(*words)) == sentence


# --- what LND says --------------------------------------------------------------------------------------------------

def test_every_macaroon_is_asked_about_on_one_connection(own, consumer):
    node = Node()
    rows = told(node, {**own, "s": consumer()})
    assert {row["accepted"] for row in rows.values()} == {True}
    assert (node.connections, len(node.asked)) == (1, 9)
    assert all(held for _macaroon, held in node.asked)


def test_a_macaroon_that_lnd_refuses_is_shown_with_its_reason(own, consumer):
    secret = consumer()
    row = told(Node(refused={secret.data["macaroon"]: "signature mismatch"}), {**own, "s": secret})["lnd-consumer-shop"]
    assert (row["accepted"], row["reason"]) == (False, "signature mismatch")


@pytest.mark.parametrize("reason", ["caveat \"ipaddr 10.1.2.3\" not satisfied: macaroon locked to different IP address",
                                    "caveat \"iprange 10.1.0.0/16\" not satisfied: macaroon locked to different IP range"], ids=["address", "range"])
def test_a_macaroon_for_another_address_cannot_be_decided_from_here(own, consumer, reason):
    secret = consumer()
    row = told(Node(refused={secret.data["macaroon"]: reason}), {**own, "s": secret})["lnd-consumer-shop"]
    assert (row["accepted"], row["reason"]) == (None, "its caveat wants another address than the one from which this was asked")


def test_lnd_accepts_anything_for_no_permission_so_it_is_not_asked(own, bake):
    node = Node()
    empty = Secret("lnd-consumer-none", {"macaroon": bake()}, {**OURS, "openlsp.org/consumer": "none", "openlsp.org/lightning-node": "ns"})
    row = told(node, {**own, "s": empty})["lnd-consumer-none"]
    assert (row["accepted"], row["summary"]) == (None, "nothing")
    assert empty.data["macaroon"] not in [macaroon for macaroon, _held in node.asked]


def test_a_refused_admin_macaroon_does_not_make_the_others_look_refused(own):
    node = Node(refused={own["lnd-admin"].data["macaroon"]: "root key with id 0 doesn't exist"})
    rows = told(node, own)
    assert len(node.asked) == 7
    assert (rows["lnd-admin"]["accepted"], rows["lnd-admin"]["reason"]) == (False, "root key with id 0 doesn't exist")
    assert {row["accepted"] for name, row in rows.items() if name != "lnd-admin"} == {True}


def test_without_one_that_may_ask_the_others_are_not_known(own):
    rows = told(Node(refused={own[name].data["macaroon"]: "no" for name in ("lnd-admin", "lnd-readonly")}), own)
    assert [name for name, row in rows.items() if row["accepted"] is False] == ["lnd-admin", "lnd-readonly"]
    assert rows["lnd-router"]["accepted"] is None
    assert rows["lnd-router"]["reason"] == "LND answers, but refuses lnd-admin and lnd-readonly, with which it could be asked about the others"


DOWN = {
    "no-pod": (ClusterError("cannot connect to port 8080 of ns/lnd-0: pods not found", 404), "cannot connect to port 8080 of ns/lnd-0: pods not found", None),
    "no-answer": (LndError("LND does not answer: refused"), "LND does not answer: refused", None),
    "locked": ("LOCKED", "LND is in state LOCKED", True),
    "another-certificate": (LndCertificateError("LND holds another certificate"),
                            "LND holds another certificate, which the Secret lnd-tls holds; run the site, which publishes the new one", False),
}


@pytest.mark.parametrize("state, obstacle, served", DOWN.values(), ids=DOWN)
def test_while_lnd_is_down_the_secrets_say_what_they_can(own, consumer, state, obstacle, served):
    listed = _overview.credentials("ns", {"ns": {**own, "s": consumer()}})
    answers = _overview.ask(Node(state).connect, CERTIFICATE, listed)
    assert answers == Answers(obstacle, served)
    row = _overview.shown(listed[-1], answers, CERTIFICATE, (), NOW)
    assert (row["accepted"], row["reason"], row["summary"]) == (None, obstacle, "reads info")


def test_an_lnd_that_dies_on_the_way_is_not_a_refusal(own):
    rows = told(Node(dies_at=3), own)
    assert [row["accepted"] for row in rows.values()] == [True, True, None, None, None, None, None, None]
    assert rows["lnd-walletkit"]["reason"] == "LND does not answer: it is gone"


def test_lnd_is_known_by_its_certificate_alone(own):
    node = Node()
    del own["lnd-tls"]
    rows = told(node, own, certificate=None)
    assert (node.connections, rows["lnd-admin"]["accepted"]) == (0, None)


# --- root keys ------------------------------------------------------------------------------------------------------

def test_root_keys_that_no_secret_names_are_told_apart(own, consumer):
    secret = consumer(annotations={"openlsp.org/root-key-id": TEN_DAYS_AGO, "openlsp.org/retiring-root-key-ids": "1790000000000000"})
    listed = _overview.credentials("ns", {"ns": {**own, "s": secret}})
    ids = {0, 1, 42, int(TEN_DAYS_AGO), 1790000000000000, 1790000000000001, 2**60}
    assert _overview.unnamed_root_keys(Answers(root_key_ids=frozenset(ids)), listed) == {
        "orphaned_root_key_ids": ["1790000000000001"], "other_root_key_ids": ["1", "42", str(2**60)]}


def test_lnds_own_root_key_needs_no_secret():
    assert _overview.unnamed_root_keys(Answers(root_key_ids=frozenset({0})), []) == {"orphaned_root_key_ids": [], "other_root_key_ids": []}


def test_a_broken_secret_still_names_its_root_key(own, consumer):
    secret = consumer(annotations={"openlsp.org/root-key-id": TEN_DAYS_AGO}, data={"macaroon": b"rubbish"})
    listed = _overview.credentials("ns", {"ns": {**own, "s": secret}})
    assert _overview.unnamed_root_keys(Answers(root_key_ids=frozenset({int(TEN_DAYS_AGO)})), listed)["orphaned_root_key_ids"] == []


def test_lnd_lists_its_root_keys_as_text(monkeypatch):
    lnd = _lnd.Lnd(None, b"")
    monkeypatch.setattr(lnd, "call", lambda method, path, macaroon: {"root_key_ids": ["0", "18446744073709551615"]})
    assert lnd.root_key_ids(b"admin") == {0, 2**64 - 1}


# --- certificate and bitcoind ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("secret, problem", [
    (None, "there is no such Secret; run the site, which makes it"),
    (Secret("lnd-tls", {"cert": b""}), "no certificate: it is empty"),
    (Secret("lnd-tls", {}), "no certificate: it is empty"),
], ids=["missing", "empty", "no-key"])
def test_a_certificate_that_is_none_is_shown_with_what_is_wrong(secret, problem):
    row = _overview.shown_certificate(secret, Answers("", None), (), NOW)
    assert (row["problems"], row["days_left"], row["names"]) == ([problem], None, [])


@pytest.mark.parametrize("data, complete", [
    ({"username": b"lnd", "password": b"p", "cookie": b"lnd:p"}, True),
    ({"username": b"lnd", "password": b"p", "cookie": b"lnd:p\n"}, False),
    ({"username": b"lnd", "password": b"", "cookie": b"lnd:"}, False),
    ({"username": b"lnd", "password": b"p"}, False),
], ids=["complete", "another-cookie", "no-password", "no-cookie"])
def test_bitcoinds_credentials_are_complete_or_not(data, complete):
    row = _overview.shown_bitcoind(Secret("bitcoind-rpc", data), [Workload("StatefulSet", "lnd", frozenset({"bitcoind-rpc"}))])
    assert row == {"present": True, "username": "lnd", "complete": complete, "used_by": ["StatefulSet lnd"]}


def test_bitcoinds_credentials_are_missing():
    assert _overview.shown_bitcoind(None, ()) == {"present": False, "username": "", "complete": False, "used_by": []}
