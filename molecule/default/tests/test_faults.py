"""Whatever goes wrong between the module and the Kubernetes API, no reader of the Secrets sees anything but whole credentials.

Each case begins with credentials that LND does not accept any more, so that all of them have to be replaced, and damages some requests of
one run. That run ends well after another try, or in one sentence; the next one, without a fault, ends well in any case.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _consumers, _credentials, _macaroon, _publication
from bare_lnd import OURS
from conftest import KUBECONFIG
from faulty_api import (
    Effect, Fault, FaultyApi, after, answered, cut_after, cut_before, cut_in_answer, held, output_cut, replaced, stream_cut, truncated)

LIST = r"^GET /api/v1/namespaces/bare/secrets(\?| )"
WRITE = r"^(POST|PUT|PATCH) /api/v1/namespaces/bare/secrets"
EXEC = r"^GET \S+/pods/lnd-0/exec\?"
FORWARD = r"^GET \S+/pods/lnd-0/portforward\?"

ALWAYS = 1000

# A run has more than enough of these; one that does not give up, or waits for ever, has not.
SECONDS = 40

# What the API server says: apiserver/pkg/admission/plugin/namespace/lifecycle, apiserver/pkg/util/flowcontrol, etcd3/store.go.
TERMINATING = 'secrets "lnd-router" is forbidden: unable to create new content in namespace bare because it is being terminated'
TOO_MANY = "The server is receiving too many requests, please try again later."
CONFLICT = 'Operation cannot be fulfilled on secrets "lnd-router": the object has been modified; please apply your changes to the latest version'


@dataclass(frozen=True)
class Case:
    """on, effect, times, skip: the fault. complaint: a regular expression for the message; None where the run has to end well."""

    on: str
    effect: Effect
    complaint: str | None = None
    times: int = 1
    skip: int = 0


CASES = {
    "a list that is never answered": Case(LIST, held(60), "list the Secrets .* does not answer", ALWAYS),
    "a write that is done and never answered": Case(WRITE, held(60), "write the Secret .* does not answer", ALWAYS, 3),
    "a write that is in conflict once": Case(WRITE, answered(409, "Conflict", CONFLICT), None, 1, 3),
    "writes that are always in conflict": Case(WRITE, answered(409, "Conflict", CONFLICT), "has been modified", ALWAYS, 3),
    "a list that is forbidden": Case(LIST, answered(403, "Forbidden"), "list the Secrets .* give this user that right", ALWAYS),
    "an exec that is forbidden": Case(EXEC, answered(403, "Forbidden"), "give this user that right", ALWAYS),
    "a port-forward that is forbidden": Case(FORWARD, answered(403, "Forbidden"), "give this user that right", ALWAYS),
    "writes that are forbidden half-way": Case(WRITE, answered(403, "Forbidden"), "write the Secret .* give this user that right", ALWAYS, 4),
    "a namespace that is being removed": Case(WRITE, answered(403, "Forbidden", TERMINATING), "because it is being terminated", ALWAYS, 2),
    "a pod that is not there": Case(EXEC, answered(404, "NotFound", 'pods "lnd-0" not found'), 'pods "lnd-0" not found', ALWAYS),
    "a pod that is not there once": Case(EXEC, answered(404, "NotFound", 'pods "lnd-0" not found')),
    "writes into a namespace that has gone": Case(WRITE, answered(404, "NotFound", 'namespaces "bare" not found'), "not found", ALWAYS, 2),
    "too many requests": Case(WRITE, answered(429, "TooManyRequests", TOO_MANY, "Retry-After: 1\r\n"), "too many requests", ALWAYS, 2),
    "a broken API server": Case(LIST, answered(500, "InternalError", "etcdserver: request timed out"), "list the Secrets .* etcdserver", ALWAYS),
    "an API server that breaks half-way": Case(WRITE, answered(500, "InternalError", "etcdserver: no leader"), "etcdserver", ALWAYS, 4),
    "an API server that starts": Case(".", answered(503, "ServiceUnavailable", "apiserver not ready"), None, 2),
    "an API server that does not start": Case(".", answered(503, "ServiceUnavailable", "apiserver not ready"), "apiserver not ready", ALWAYS),
    "a connection cut before a list": Case(LIST, cut_before, "list the Secrets .* does not answer", ALWAYS),
    "a connection cut in a list": Case(LIST, cut_in_answer, "list the Secrets .* does not answer", ALWAYS),
    "a connection cut before a write": Case(WRITE, cut_before, "write the Secret .* does not answer", ALWAYS, 3),
    "a connection cut after a write": Case(WRITE, cut_after, "write the Secret .* does not answer", ALWAYS, 3),
    "a connection cut before an exec": Case(EXEC, cut_before),
    "an exec stream cut at once": Case(EXEC, stream_cut(0)),
    "an exec stream cut in the archive": Case(EXEC, stream_cut(3000)),
    "an exec stream that is always cut": Case(EXEC, stream_cut(3000), "the connection", ALWAYS),
    "half of the archive": Case(EXEC, output_cut(5 * 512 + 100)),
    "half of the archive's files": Case(EXEC, output_cut(6 * 512)),
    "half of the archive, always": Case(EXEC, output_cut(5 * 512 + 100), "broke off|has not written", ALWAYS),
    "an empty archive": Case(EXEC, output_cut(0)),
    "a connection cut before a port-forward": Case(FORWARD, cut_before),
    "a port-forward stream cut in LND's handshake": Case(FORWARD, stream_cut(500)),
    "a port-forward stream cut in an answer": Case(FORWARD, stream_cut(2500)),
    "a port-forward stream that is always cut": Case(FORWARD, stream_cut(2500), "LND does not answer", ALWAYS),
    "garbage in the place of a list": Case(LIST, replaced(b"<html>captive portal</html>"), "no JSON", ALWAYS),
    "garbage in the place of a write's answer": Case(WRITE, replaced(b"\x00\xff\x13"), "no JSON", ALWAYS, 3),
    "half of a list": Case(LIST, truncated, "no JSON", ALWAYS),
    "JSON that is no list": Case(LIST, replaced(b'{"kind": "APIVersions", "versions": ["v1"]}'), "no list", ALWAYS),
}

# What shows the same as another at more expense.
LONG = {
    "an exec that is forbidden", "a port-forward that is forbidden", "a pod that is not there once", "writes into a namespace that has gone",
    "an API server that starts", "an API server that does not start", "a broken API server", "a connection cut in a list",
    "a connection cut before a list", "a connection cut before a write", "an exec stream cut at once", "an exec stream that is always cut",
    "half of the archive's files", "half of the archive, always", "a port-forward stream cut in LND's handshake",
    "garbage in the place of a write's answer"}


@pytest.fixture(scope="module")
def faulty_api(tmp_path_factory):
    with FaultyApi(KUBECONFIG, tmp_path_factory.mktemp("faulty-api")) as api:
        yield api


def ends_well(bare_lnd, reader) -> None:
    """A run without a fault leaves LND's own credentials, and nobody has seen anything else but the old ones."""
    healed = bare_lnd.publish()
    assert healed.code == 0, healed.complaint
    new = bare_lnd.secrets()
    assert new.items() >= bare_lnd.new.items()
    reader.catch_up()
    assert reader.torn(bare_lnd.old, new) == []


def is_one_sentence(run) -> None:
    assert run.code == 1 and run.result["failed"]
    assert "Traceback" not in run.complaint
    assert 20 < len(run.complaint) < 500 and "\n" not in run.complaint


@pytest.mark.parametrize("case", [pytest.param(case, id=name, marks=[pytest.mark.long] * (name in LONG)) for name, case in CASES.items()])
def test_fault_ends_well_or_in_one_sentence(bare_lnd, faulty_api, case):
    bare_lnd.forget()
    faulty_api.arm(Fault(case.on, case.effect, case.times, case.skip))
    with bare_lnd.reader() as reader:
        run = bare_lnd.publish(faulty_api.kubeconfig, timeout=20 if case.complaint is None else 2)
        assert faulty_api.hits, f"no fault: {run.complaint or run.result}, {faulty_api.requests}"
        assert run.seconds < SECONDS
        if case.complaint is None:
            assert run.code == 0, run.complaint
            assert run.changed
        else:
            is_one_sentence(run)
            assert re.search(case.complaint, run.complaint), run.complaint
        ends_well(bare_lnd, reader)


@pytest.mark.parametrize("moment", [
    pytest.param(EXEC, marks=pytest.mark.long, id="before its files are read"),
    pytest.param(FORWARD, id="before it is asked"),
    pytest.param(WRITE, marks=pytest.mark.long, id="before the Secrets are written")])
def test_restart_of_lnd_in_the_middle_ends_well(bare_lnd, faulty_api, moment):
    bare_lnd.forget()
    faulty_api.arm(Fault(moment, after(bare_lnd.restart)))
    with bare_lnd.reader() as reader:
        run = bare_lnd.publish(faulty_api.kubeconfig)
        assert faulty_api.hits == 1
        assert run.code == 0, run.complaint
        ends_well(bare_lnd, reader)


def test_immutable_secret_is_named(bare_lnd):
    """422: the API server itself refuses."""
    bare_lnd.forget()
    bare_lnd.put("lnd-router", immutable=True)
    with bare_lnd.reader() as reader:
        run = bare_lnd.publish()
        is_one_sentence(run)
        assert re.search("write the Secret lnd-router .*immutable", run.complaint)
        reader.catch_up()
        assert reader.torn(bare_lnd.old, {**bare_lnd.secrets(), "lnd-router": {}}) == []
    bare_lnd.put("lnd-router")
    with bare_lnd.reader() as reader:
        ends_well(bare_lnd, reader)


def test_refusal_of_lnd_to_make_a_macaroon_is_told_at_once(bare_lnd, cluster, monkeypatch):
    """Of a permission that has slipped through the comparison with LND's own list."""
    monkeypatch.setattr(_consumers, "refuse_unknown", lambda *_given: None)
    node = _credentials.Node(cluster, bare_lnd.namespace, "lnd-0", "lnd", "/data", "regtest")
    odd = _consumers.Consumer("odd", "lnd-consumer-odd", bare_lnd.namespace, _macaroon.permissions("nonsense:read"))
    before, start = bare_lnd.secrets(), time.monotonic()
    with pytest.raises(_credentials.CredentialError, match="^lnd-consumer-odd: LND refuses to make a macaroon with the permissions nonsense:read: "
                                                           "invalid permission entity.*; does this version of LND have all of them"):
        _publication.publish(node, _publication.Wanted((odd,), OURS), 300, False)
    assert time.monotonic() - start < 60
    assert bare_lnd.secrets() == before
