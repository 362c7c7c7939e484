"""What the module asks for, what it makes of it, and that it changes and shows nothing."""

from __future__ import annotations

import base64
import json
import pathlib
import socket
import threading
from types import SimpleNamespace

import jinja2
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _observation, _observer, _pod
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.modules import node_verify
from kube_api import STATUS, STDOUT, SUCCESS, Frames, Refusal

CORE, APPS = "/api/v1/namespaces/ns", "/apis/apps/v1/namespaces/ns"
EXEC = f"{CORE}/pods/bitcoind-0/exec"
PASSWORD = b"V3ry-secret-password-of-lnd"


def statefulset(name):
    return {"metadata": {"name": name, "labels": {"openlsp.org/network": "regtest"}},
            "spec": {"template": {"metadata": {"labels": {"app.kubernetes.io/name": name}},
                                  "spec": {"containers": [{"name": name, "image": "i", "ports": []}]}}}}


def pod(name, running=True):
    return {"metadata": {"name": f"{name}-0"}, "spec": {"containers": [{"name": name, "image": "i"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(running)}],
                       "containerStatuses": [{"name": name, "restartCount": 0,
                                              "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}} if running else
                                              {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]}}


def said(**changes):
    """bitcoind's answers."""
    answers = {"date": str(int(_observer.time.time())), "getblockchaininfo": json.dumps({
        "chain": "regtest", "blocks": 5, "headers": 5, "initialblockdownload": False, "verificationprogress": 1}),
        "getnetworkinfo": '{"connections": 0}', "getzmqnotifications": "[]", **changes}
    output = "".join(f"{_observation.MARK}{name}\n{answer}\n" for name, answer in answers.items())
    return Frames((bytes([STDOUT]) + output.encode(), bytes([STATUS]) + SUCCESS))


@pytest.fixture
def verify(api, kubeconfig):
    """The module's run on a node whose bitcoind answers and whose LND does not run."""
    api.lay("GET", "/api/v1/namespaces/ns", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    secret = {"metadata": {"name": "bitcoind-rpc", "namespace": "ns"},
              "data": {"cookie": base64.b64encode(b"lnd:" + PASSWORD).decode()}}
    for path, items in {
            f"{CORE}/pods": [pod("bitcoind"), pod("lnd", running=False)], f"{CORE}/secrets": [secret], f"{CORE}/services": [],
            f"{CORE}/persistentvolumeclaims": [], f"{APPS}/statefulsets": [statefulset("bitcoind"), statefulset("lnd"), statefulset("shop")],
            f"{CORE}/configmaps": [{"metadata": {"name": "bitcoind"}, "data": {"bitcoin.conf": "chain=regtest\nrpcauth=lnd:0$0\n"}}],
            "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies": [{"metadata": {"name": "all"}, "spec": {"podSelector": {}}}],
            "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices": []}.items():
        api.lay("GET", path, {"items": items})
    api.lay("GET", f"{CORE}/pods/lnd-0/log", "one\ntwo")
    api.lay("GET", EXEC, said())

    def run(check_mode=False, **options):
        return node_verify.run(SimpleNamespace(check_mode=check_mode, params={
            "kubeconfig": str(kubeconfig), "context": None, "namespace": "ns", "network": "regtest", "mine": True, "local_paths": {}, **options}))
    return run


def names(told):
    return [each["name"] for each in told["findings"]]


def test_it_reads_only(api, verify):
    told = verify()
    assert {call.method for call in api.calls} == {"GET"}
    assert told["changed"] is False


def test_findings_are_told_with_all_that_an_operator_needs(verify):
    told = verify()
    missing = next(each for each in told["findings"] if each["name"] == "not-running")
    assert missing["severity"] == "error"
    assert missing["evidence"] == "lnd-0: lnd: ErrImagePull: no such image. Its last words: | one | two"
    assert missing["what"] and missing["remedy"]
    assert told["errors"] == len([each for each in told["findings"] if each["severity"] == "error"]) > 0
    assert (told["block"], told["peers"], told["reached"]) == (5, None, [])


def test_other_statefulsets_are_none_of_its_business(verify):
    assert not [each for each in verify()["findings"] if "shop" in each["evidence"]]


def test_a_password_that_does_not_fit_is_found_and_not_shown(verify, shows):
    told = verify()
    assert "rpc-refused" in names(told)
    assert not shows(json.dumps(told), PASSWORD)


def test_nothing_is_mined_where_lnd_does_not_listen(api, verify):
    verify()
    assert ("command", "mine") not in api.asked("GET", "/exec")[0].query


@pytest.mark.parametrize("path, what", [
    ("/api/v1/namespaces/ns", "the namespace ns"), ("/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies", "the NetworkPolicies"),
    ("/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices", "the EndpointSlices")])
def test_what_this_user_may_not_see_is_said_and_not_guessed_at(api, verify, path, what):
    api.lay("GET", path, Refusal(403, "User me cannot"))
    told = verify()
    assert [each["evidence"] for each in told["findings"] if each["name"] == "not-seen"] == [f"cannot read {what}: User me cannot; give this user that right"]
    assert not {"pod-security", "open-pod", "service-without-pod"} & set(names(told))


def test_without_the_secrets_there_is_nothing_to_verify_with(api, verify):
    api.lay("GET", f"{CORE}/secrets", Refusal(403, "User me cannot"))
    with pytest.raises(ClusterError, match="^cannot list the Secrets of namespace ns: User me cannot; give this user that right$"):
        verify()


def test_a_bitcoind_that_does_not_answer_is_found(api, verify):
    api.lay("GET", EXEC, Refusal(500, "container not found"))
    told = verify()
    assert "bitcoind-silent" in names(told) and told["block"] is None


def test_an_empty_namespace_is_not_in_order(api, verify):
    api.otherwise = lambda call: {"items": []} if not call.path.endswith("/ns") else Refusal(404)
    api.answers.clear()
    assert names(verify())[:2] == ["program-missing", "program-missing"]


# --- what has to be waited for ---------------------------------------------------------------------------------------

class Told:
    """An LND whose notifier tells these heights, and which calls itself synced after so many questions."""

    def __init__(self, heights, questions=0, states=("SERVER_ACTIVE",)):
        self._heights, self._questions, self._states = heights, questions, list(states)

    def state(self):
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    def stream(self, _method, path, _body, _macaroon, _seconds):
        assert path == "/v2/chainnotifier/register/blocks"
        yield from ({"height": each} for each in self._heights)

    def call(self, _method, path, macaroon):
        assert (path, macaroon) == ("/v1/getinfo", b"readonly")
        self._questions -= 1
        return {"chains": [{"network": "regtest"}], "synced_to_chain": self._questions < 0, "synced_to_graph": True, "num_peers": 1}


@pytest.mark.parametrize("lnd, block, synced", [
    (Told([5]), 5, True), (Told([3, 4, 5]), 5, True), (Told([6]), 6, True), (Told([5], 2), 5, True), (Told([5], 99), 5, False), (Told([3]), 3, True),
    (Told([5], states=["RPC_ACTIVE", "SERVER_ACTIVE"]), 5, True)],
    ids=["there", "coming", "newer", "synced later", "never synced", "stays away", "starting"])
def test_a_block_has_its_time_to_reach_lnd(monkeypatch, lnd, block, synced):
    monkeypatch.setattr(_observer, "BLOCK_LIMIT", 0.6)
    seen = _observer._followed(lnd, _observation.Lnd(state=lnd.state()), b"readonly", 5)
    assert (seen.block, seen.synced_to_chain, seen.obstacle) == (block, synced, "")


def test_what_keeps_lnd_from_answering_is_forgotten_when_it_answers(monkeypatch):
    monkeypatch.setattr(_observer, "BLOCK_LIMIT", 0.6)
    assert _observer._followed(Told([5]), _observation.Lnd("still starting", "SERVER_ACTIVE"), b"readonly", 5).obstacle == ""


def test_a_block_has_all_its_time_from_when_lnd_is_ready(monkeypatch):
    """Otherwise an LND that became ready at the last moment would have no block for no fault of its own."""
    monkeypatch.setattr(_observer, "BLOCK_LIMIT", 0.6)
    lnd, given = Told([5], states=["RPC_ACTIVE", "RPC_ACTIVE", "SERVER_ACTIVE"]), []
    stream = lnd.stream
    monkeypatch.setattr(lnd, "stream", lambda *call: (given.append(call[-1]), stream(*call))[1])
    assert _observer._followed(lnd, _observation.Lnd(state="RPC_ACTIVE"), b"readonly", 5).block == 5
    assert given[0] > 0.5


def test_a_refused_question_ends_the_wait(monkeypatch):
    def refuse(*_given, **_options):
        raise _lnd.LndError("permission denied", 7)
    lnd = Told([5])
    monkeypatch.setattr(lnd, "stream", refuse)
    assert _observer._followed(lnd, _observation.Lnd(state="SERVER_ACTIVE"), b"readonly", 5).obstacle == "permission denied"


@pytest.mark.parametrize("lnd_block, said_of_it", [(5, ", which LND has too"), (None, "")], ids=["known", "not known"])
def test_the_verdict_says_of_lnd_s_block_what_is_known(lnd_block, said_of_it):
    template = pathlib.Path(__file__).resolve().parents[4].joinpath("roles/lnd/templates/verified.txt.j2").read_text()
    told = {"findings": [], "errors": 0, "seconds": 1.0, "block": 5, "lnd_block": lnd_block, "peers": None, "reached": []}
    text = jinja2.Environment(trim_blocks=True).from_string(template).render(inventory_hostname="alice", __lnd_verified=told)
    assert text == f"alice is in order (1.0 s)\n  bitcoind   block 5{said_of_it}\n"


# --- addresses -------------------------------------------------------------------------------------------------------

def test_an_address_that_answers_is_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert _observer._address(address) == _observation.Reach(address, True)


def test_a_closed_port_is_not_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert _observer._address(address).answers is False


def test_no_way_to_an_address_says_nothing_of_it(monkeypatch):
    def unreachable(*_given):
        raise OSError(_observer.errno.ENETUNREACH, "Network is unreachable")
    monkeypatch.setattr(socket, "create_connection", unreachable)
    assert _observer._address("[2001:db8::1]:9735").answers is None


NO_PASSWORD = b"\x05\x00"
REQUEST = b"\x05\x01\x00" + b"\x05\x01\x00\x03\x07a.onion" + (9735).to_bytes(2, "big")


@pytest.mark.parametrize("answers, reason", [
    ([NO_PASSWORD + b"\x05\x00\x00\x01"], ""),
    ([NO_PASSWORD + b"\x05\x04\x00\x01"], "lnd-p2p: Tor answers host unreachable"),
    ([b"\x05\xff"], "lnd-p2p: Tor's SOCKS port wants a password"),
    ([NO_PASSWORD + b"\x05"], "lnd-p2p: the connection to Tor's SOCKS port broke"),
    # A circuit that broke is followed by another one.
    ([NO_PASSWORD + b"\x05\x01\x00\x01", NO_PASSWORD + b"\x05\xf3\x00\x01", NO_PASSWORD + b"\x05\x00\x00\x01"], ""),
    ([NO_PASSWORD + b"\x05\x01\x00\x01"] * 4, "lnd-p2p: Tor answers general failure"),
])
def test_an_onion_is_asked_of_tor(monkeypatch, answers, reason):
    monkeypatch.setattr(_observer, "ONION_LIMIT", 0.35)
    monkeypatch.setattr(_observer, "ONION_PAUSE", 0.1)
    asked, tors = [], []

    def forwarded(_cluster, namespace, name, port):
        ours, theirs = socket.socketpair()
        theirs.sendall(answers[len(tors)])
        theirs.shutdown(socket.SHUT_WR)
        asked.append((namespace, name, port))
        tors.append(theirs)
        # As the kubernetes client's socket is: no context manager.
        return SimpleNamespace(**{name: getattr(ours, name) for name in ("settimeout", "sendall", "recv", "close")})

    monkeypatch.setattr(_pod, "forward", forwarded)
    reach = _observer._onion(SimpleNamespace(cluster=None, namespace="ns"), "lnd-p2p", "a.onion", 9735)
    assert (reach.address, reach.answers, reach.reason) == ("a.onion:9735", not reason, reason)
    assert set(asked) == {("ns", "tor-0", 9050)}
    assert len(asked) == len(answers)
    if not reason:
        assert tors[-1].recv(100) == REQUEST


def test_bitcoind_is_asked_with_what_lnd_has(monkeypatch):
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(_pod, "forward", lambda *_given: ours)
    asked = []

    def answer():
        asked.append(theirs.recv(10000))
        theirs.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    secret = SimpleNamespace(data={"cookie": b"lnd:secret"})
    given = SimpleNamespace(cluster=None, namespace="ns", network="regtest")
    seen = SimpleNamespace(rpc_port=18443)
    assert _observer._rpc_status(given, seen, {"bitcoind-rpc": secret}) == 401
    thread.join()
    assert b"Authorization: Basic bG5kOnNlY3JldA==" in asked[0]
