"""A command in a pod, a connection to its port, and what a pod says about itself.

Real WebSockets come from a Kubernetes API on this machine; a session that plays a script stands in for what only some clients and moments do.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import websocket
from ansible_collections.openlsp.node.plugins.module_utils import _pod
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from kube_api import STATUS, STDERR, STDOUT, SUCCESS, Frames, Refusal, failure

POD = "/api/v1/namespaces/ns/pods/lnd-0"


class Session:
    """kubernetes.stream.ws_client.WSClient. steps: what each update does; None lets the time pass, an exception is raised, a dict arrives."""

    def __init__(self, *steps, absent=b""):
        self.steps, self.absent, self.channels, self.closed = list(steps), absent, {}, False

    def is_open(self):
        return bool(self.steps)

    def update(self, timeout):
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        for channel, data in (step or {}).items():
            self.channels[channel] = self.channels.get(channel, b"") + data

    def read_channel(self, channel):
        return self.channels.pop(channel, self.absent)

    def close(self):
        self.closed = True


@pytest.fixture
def run():
    """Runs ``cat file`` in a session."""

    def ran(session, **arguments):
        return _pod.run(SimpleNamespace(execute=lambda _path, _query: session), "ns", "lnd-0", "lnd", ["cat", "file"], **arguments)

    return ran


@pytest.mark.parametrize("absent", [b"", ""], ids=["client-36", "client-31-to-35"])
def test_the_output_is_what_the_command_wrote(run, absent):
    assert run(Session({STDOUT: b"\x02\xff"}, {STDOUT: b"\n"}, {STATUS: SUCCESS}, absent=absent)) == b"\x02\xff\n"


@pytest.mark.parametrize("absent", [b"", ""], ids=["client-36", "client-31-to-35"])
def test_a_command_without_output_gives_no_bytes(run, absent):
    assert run(Session({STATUS: SUCCESS}, absent=absent)) == b""


def test_a_failed_command_speaks_for_itself(run):
    with pytest.raises(ClusterError, match="^cat in ns/lnd-0 failed: cat: file: No such file$"):
        run(Session({STDERR: b"cat: file: No such file\n"}, {STATUS: failure("exit code 1")}))


def test_a_failed_command_that_says_nothing_is_explained_by_the_kubelet(run):
    with pytest.raises(ClusterError, match="^cat in ns/lnd-0 failed: command terminated with exit code 137$"):
        run(Session({STATUS: failure("command terminated with exit code 137")}))


def test_half_an_output_is_no_output(run):
    with pytest.raises(ClusterError, match="the connection broke"):
        run(Session({STDOUT: b"half"}))


def test_a_lost_connection_is_an_error_of_the_cluster(run):
    with pytest.raises(ClusterError, match="lost the connection to ns/lnd-0"):
        run(Session({STDOUT: b"half"}, websocket.WebSocketConnectionClosedException("Connection to remote host was lost.")))


def test_a_command_that_does_not_end_is_left(run, monkeypatch):
    seconds = iter(range(0, 1000, 10))
    monkeypatch.setattr(_pod.time, "monotonic", lambda: next(seconds))
    with pytest.raises(ClusterError, match="cat in ns/lnd-0 did not end within 30 s"):
        run(Session(*[None] * 10))


@pytest.mark.parametrize("steps", [
    [{STATUS: SUCCESS}], [{STATUS: failure("no")}], [OSError(104, "reset")],
], ids=["success", "failure", "lost"])
def test_the_connection_is_closed_in_every_case(run, steps):
    session = Session(*steps)
    try:
        run(session)
    except ClusterError:
        pass
    assert session.closed


# --- the same through the client's own WebSocket -------------------------------------------------------------------

def frame(channel, data):
    return bytes([channel]) + data


def test_every_byte_of_an_output_comes_through(api, cluster):
    content = bytes(range(256)) * 4
    api.lay("GET", f"{POD}/exec", Frames((frame(STDOUT, content[:300]), frame(STDOUT, content[300:]), frame(STATUS, SUCCESS))))
    assert _pod.run(cluster, "ns", "lnd-0", "lnd", ["cat", "file"]) == content


def test_the_words_of_a_command_stay_apart(api, cluster):
    api.lay("GET", f"{POD}/exec", Frames((frame(STATUS, SUCCESS),)))
    _pod.run(cluster, "ns", "lnd-0", "lnd", ["sh", "-c", 'echo "$0" & true', "a b,c"])
    assert api.calls[0].query == [("container", "lnd"), ("command", "sh"), ("command", "-c"), ("command", 'echo "$0" & true'),
                                  ("command", "a b,c"), ("stdout", "true"), ("stderr", "true")]


def test_what_a_failed_command_wrote_is_its_reason(api, cluster):
    api.lay("GET", f"{POD}/exec", Frames((frame(STDERR, b"cat: file: No such file\n"), frame(STATUS, failure("exit code 1")))))
    with pytest.raises(ClusterError, match="^cat in ns/lnd-0 failed: cat: file: No such file$"):
        _pod.run(cluster, "ns", "lnd-0", "lnd", ["cat", "file"])


def test_a_command_that_hangs_is_left_when_its_time_is_up(api, cluster):
    api.lay("GET", f"{POD}/exec", Frames((frame(STDOUT, b"half"),), hangs=True))
    with pytest.raises(ClusterError, match="^cat in ns/lnd-0 did not end within 0 s$"):
        _pod.run(cluster, "ns", "lnd-0", "lnd", ["cat", "file"], timeout=0.2)


def test_a_pod_that_is_not_there_runs_no_command(api, cluster):
    api.lay("GET", f"{POD}/exec", Refusal(404, 'pods "lnd-0" not found'))
    with pytest.raises(ClusterError, match='^cannot run a command in ns/lnd-0: pods "lnd-0" not found$') as error:
        _pod.run(cluster, "ns", "lnd-0", "lnd", ["cat", "file"])
    assert error.value.status == 404


def test_a_refused_command_says_which_right_is_missing(api, cluster):
    api.lay("GET", f"{POD}/exec", Refusal(403, 'cannot create resource "pods/exec"'))
    with pytest.raises(ClusterError, match='^cannot run a command in ns/lnd-0: cannot create resource "pods/exec"; give this user that right$'):
        _pod.run(cluster, "ns", "lnd-0", "lnd", ["cat", "file"])


# --- a connection to a port ----------------------------------------------------------------------------------------

def test_a_socket_to_a_port_carries_bytes_both_ways(api, cluster):
    port = (8080).to_bytes(2, "little")  # Each channel begins with the port's number.
    api.lay("GET", f"{POD}/portforward", Frames((frame(0, port), frame(1, port), frame(0, b"hello \xff")), echo=True))
    sock = _pod.forward(cluster, "ns", "lnd-0", 8080)
    try:
        sock.sendall(b" and back")
        received = b""
        while len(received) < 16:
            received += sock.recv(100)
    finally:
        sock.close()
    assert received == b"hello \xff and back"
    assert api.calls[0].query == [("ports", "8080")]


def test_a_socket_does_not_wait_without_end(api, cluster):
    api.lay("GET", f"{POD}/portforward", Frames((), hangs=True))
    sock = _pod.forward(cluster, "ns", "lnd-0", 8080)
    assert sock.gettimeout() == 30
    sock.close()


def test_a_pod_that_is_not_there_has_no_port(api, cluster):
    api.lay("GET", f"{POD}/portforward", Refusal(404, 'pods "lnd-0" not found'))
    with pytest.raises(ClusterError, match='^cannot connect to port 8080 of ns/lnd-0: pods "lnd-0" not found$'):
        _pod.forward(cluster, "ns", "lnd-0", 8080)


# --- objects -------------------------------------------------------------------------------------------------------

OBJECTS = {
    "statefulset": (_pod.statefulset, "/apis/apps/v1/namespaces/ns/statefulsets/lnd", "cannot read the StatefulSet ns/lnd"),
    "pod": (_pod.pod, "/api/v1/namespaces/ns/pods/lnd", "cannot read the pod ns/lnd"),
    "claim": (_pod.claim, "/api/v1/namespaces/ns/persistentvolumeclaims/lnd", "cannot read the claim ns/lnd"),
}
every_object = pytest.mark.parametrize("read, path, complaint", OBJECTS.values(), ids=OBJECTS)


@every_object
def test_an_object_is_read_from_its_place(api, cluster, read, path, complaint):
    api.lay("GET", path, {"metadata": {"name": "lnd"}})
    assert read(cluster, "ns", "lnd") == {"metadata": {"name": "lnd"}}


@every_object
def test_an_object_that_is_not_there_is_none(cluster, read, path, complaint):
    assert read(cluster, "ns", "lnd") is None


@every_object
def test_an_object_that_may_not_be_read_is_named(api, cluster, read, path, complaint):
    api.lay("GET", path, Refusal(403, "no"))
    with pytest.raises(ClusterError, match=f"^{complaint}: no; give this user that right$"):
        read(cluster, "ns", "lnd")


def test_the_volumes_of_a_pod_are_those_its_claims_are_bound_to(api, cluster):
    for name, spec in {"bound": {"volumeName": "pvc-1"}, "pending": {}}.items():
        api.lay("GET", f"/api/v1/namespaces/ns/persistentvolumeclaims/{name}", {"spec": spec})
    volumes = [{"name": "tmp", "emptyDir": {}}, *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("bound", "pending", "gone"))]
    assert _pod.volumes(cluster, {"metadata": {"namespace": "ns"}, "spec": {"volumes": volumes}}) == ["pvc-1"]


def test_a_pod_without_volumes_has_none(cluster):
    assert _pod.volumes(cluster, {"metadata": {"namespace": "ns"}, "spec": {}}) == []


# --- the end of a log ----------------------------------------------------------------------------------------------

def test_the_last_words_are_the_end_of_the_containers_log(api, cluster):
    api.lay("GET", f"{POD}/log", "panic: no space left\n")
    assert _pod.last_words(cluster, "ns", "lnd-0", "lnd") == ". Its last words:\npanic: no space left"
    assert api.calls[0].query == [("container", "lnd"), ("tailLines", "5")]


@pytest.mark.parametrize("answer", ["", "\n", Refusal(400, "waiting to start"), Refusal(404)], ids=["empty", "blank", "not-started", "no-pod"])
def test_without_a_log_there_are_no_last_words(api, cluster, answer):
    api.lay("GET", f"{POD}/log", answer)
    assert _pod.last_words(cluster, "ns", "lnd-0", "lnd") == ""


def warning(message, at, reason="FailedMount"):
    return {"reason": reason, "message": message, "lastTimestamp": at, "metadata": {"creationTimestamp": "2026-11-22T15:00:00Z"}}


def test_a_pod_that_never_ran_leaves_the_kubelets_last_warning(api, cluster):
    """A local PersistentVolume whose directory is not mounted."""
    api.lay("GET", f"{POD}/log", Refusal(400, "ContainerCreating"))
    api.lay("GET", "/api/v1/namespaces/ns/events", {"items": [
        warning("0/1 nodes are available", None, "FailedScheduling"), warning('path "/srv/lightning/lnd" does not exist', "2026-11-22T15:03:00Z")]})
    assert _pod.last_words(cluster, "ns", "lnd-0", "lnd") == '. Its last warning:\nFailedMount: path "/srv/lightning/lnd" does not exist'
    assert api.calls[1].query == [("fieldSelector", "involvedObject.name=lnd-0,type=Warning")]


def test_without_a_warning_there_are_no_last_words(api, cluster):
    api.lay("GET", f"{POD}/log", "")
    api.lay("GET", "/api/v1/namespaces/ns/events", {"items": []})
    assert _pod.last_words(cluster, "ns", "lnd-0", "lnd") == ""


def test_an_api_that_is_gone_leaves_no_last_words(api, cluster):
    api.shutdown()
    api.server_close()
    assert _pod.last_words(cluster, "ns", "lnd-0", "lnd") == ""


# --- why a pod does not run ----------------------------------------------------------------------------------------

def container(name="lnd", **state):
    return {"name": name, "state": state}


def a_pod(*containers, init=(), phase="Pending", conditions=()):
    """A Pod's status as the API gives it: what is empty is left out."""
    status = {"phase": phase, "initContainerStatuses": list(init), "containerStatuses": list(containers), "conditions": list(conditions)}
    return {"status": {key: value for key, value in status.items() if value}}


SCHEDULED = {"type": "PodScheduled", "status": "True"}
UNSCHEDULED = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient memory."}
CONDITIONS = {
    "no-image": (a_pod(container(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling image"})),
                 "lnd: ImagePullBackOff: Back-off pulling image"),
    "waiting-without-words": (a_pod(container(waiting={"reason": "CreateContainerError"})), "lnd: CreateContainerError: no message"),
    "killed": (a_pod(container(terminated={"exitCode": 137, "reason": "OOMKilled"})), "lnd: ended with 137: OOMKilled"),
    "ended-with-words": (a_pod(container(terminated={"exitCode": 1, "reason": "Error", "message": "bad flag"})), "lnd: ended with 1: bad flag"),
    "init-container-failed": (a_pod(container(waiting={"reason": "PodInitializing"}),
                                    init=[container("set-aside", terminated={"exitCode": 1, "reason": "Error"})]),
                              "set-aside: ended with 1: Error"),
    "init-container-done": (a_pod(container(waiting={"reason": "ContainerCreating"}),
                                  init=[container("set-aside", terminated={"exitCode": 0})], conditions=[SCHEDULED]), "Pending"),
    "no-room": (a_pod(conditions=[UNSCHEDULED]), "0/1 nodes are available: 1 Insufficient memory."),
    "nothing-known": (a_pod(phase="Unknown"), "Unknown"),
}


@pytest.mark.parametrize("of_pod, sentence", CONDITIONS.values(), ids=CONDITIONS)
def test_a_pod_says_why_it_does_not_run(of_pod, sentence):
    assert _pod.condition(of_pod) == sentence
