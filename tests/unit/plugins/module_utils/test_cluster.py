"""What is asked of a Kubernetes API, and what it and the client say, as one sentence for the operator."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from urllib.parse import unquote

import pytest
import websocket
from ansible_collections.openlsp.node.plugins.module_utils import _cluster
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError, connect, explained
from certificates import made
from kube_api import HANG_UP, NO_ANSWER, TOKEN, Frames, Refusal
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import ws_client
from urllib3.exceptions import MaxRetryError, NewConnectionError

NOT_FOUND = 'pods "lnd-0" not found'
BODY = json.dumps({"kind": "Status", "status": "Failure", "message": NOT_FOUND, "code": 404}) + "\n"
HEADERS = "{'content-type': 'application/json', 'content-length': '134'}"


def refused(status, reason, body=None):
    error = ApiException(status=status, reason=reason)
    error.body = body
    return error


def handshake(answer, body):
    """A refused exec or port-forward: kubernetes.stream knows no status and folds what websocket-client says into the reason."""
    return refused(0, f"Handshake status {answer} -+-+- {HEADERS} -+-+- {body}")


def sentence(error):
    with pytest.raises(ClusterError) as explanation, explained("cannot look"):
        raise error
    return str(explanation.value), explanation.value.status


ANSWERS = {
    "a-sentence-of-the-api-server": (refused(404, "Not Found", BODY), f"cannot look: {NOT_FOUND}", 404),
    "no-body": (refused(503, "Service Unavailable"), "cannot look: Service Unavailable", 503),
    "a-proxys-page": (refused(502, "Bad Gateway", "<html>Bad Gateway</html>"), "cannot look: Bad Gateway", 502),
    "json-without-a-message": (refused(500, "Internal Server Error", '{"kind": "Status"}'), "cannot look: Internal Server Error", 500),
    "json-that-is-a-list": (refused(500, "Internal Server Error", "[1]"), "cannot look: Internal Server Error", 500),
    "nothing-at-all": (refused(None, None), "cannot look: no reason given", None),
    "handshake": (handshake("404 Not Found", BODY), f"cannot look: {NOT_FOUND}", 404),
    "handshake-as-bytes": (handshake("404 Not Found", BODY.encode()), f"cannot look: {NOT_FOUND}", 404),  # websocket-client 1.8
    "handshake-without-a-body": (handshake("403 Forbidden", None), "cannot look: Forbidden; give this user that right", 403),
    "handshake-with-a-page": (handshake("500 Internal Server Error", b"it's broken"), "cannot look: Internal Server Error", 500),
    "handshake-without-parts": (refused(0, "Handshake status 400 Bad Request"), "cannot look: Bad Request", 400),
    "no-handshake": (refused(0, "[Errno 111] Connection refused"), "cannot look: [Errno 111] Connection refused", None),
}


@pytest.mark.parametrize("error, message, status", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_becomes_a_sentence_and_a_status(error, message, status):
    assert sentence(error) == (message, status)


def test_a_refused_right_says_what_to_do():
    message = 'secrets is forbidden: User "app" cannot list resource "secrets"'
    assert sentence(refused(403, "Forbidden", json.dumps({"message": message})))[0] == f"cannot look: {message}; give this user that right"


@pytest.mark.parametrize("error", [
    ConnectionResetError(104, "Connection reset by peer"),
    TimeoutError("timed out"),
    MaxRetryError(None, "/api/v1/namespaces/ns/secrets?token=sesame-open", NewConnectionError(None, "sesame-open")),
    websocket.WebSocketConnectionClosedException("Connection to remote host was lost."),
    websocket.WebSocketTimeoutException("timed out"),
], ids=lambda error: type(error).__name__)
def test_an_api_that_does_not_answer_is_named_without_the_request(error):
    assert sentence(error) == (f"cannot look: the Kubernetes API does not answer ({type(error).__name__})", None)


def test_what_is_a_mistake_of_ours_keeps_its_trace():
    with pytest.raises(KeyError), explained("cannot look"):
        raise KeyError("metadata")


def test_an_error_of_a_layer_below_keeps_its_words():
    with pytest.raises(ClusterError, match="^as it was$"), explained("cannot look"):
        raise ClusterError("as it was", 404)


# --- a request -----------------------------------------------------------------------------------------------------

POD = "/api/v1/namespaces/ns/pods/lnd-0"


def test_an_answer_is_its_json(api, cluster):
    api.lay("GET", POD, {"metadata": {"name": "lnd-0"}})
    assert cluster.request("GET", POD) == {"metadata": {"name": "lnd-0"}}


def test_a_body_arrives_as_json_with_its_query_and_its_type(api, cluster):
    api.lay("PATCH", POD, {})
    cluster.request("PATCH", POD, {"fieldManager": "a b", "force": "true"}, {"spec": {"word": "ü"}}, "application/apply-patch+yaml")
    call, = api.calls
    assert (call.query, call.body) == ([("fieldManager", "a b"), ("force", "true")], {"spec": {"word": "ü"}})
    assert call.headers["Content-Type"] == "application/apply-patch+yaml"


def test_the_kubeconfigs_token_goes_with_every_request(api, cluster):
    api.lay("GET", POD, {})
    cluster.request("GET", POD)
    cluster.text(POD, {})
    for connection in (cluster.execute, cluster.forward):
        with pytest.raises(ApiException):  # Refused, but asked for.
            connection(POD, 80 if connection == cluster.forward else [])
    assert [call.headers["Authorization"] for call in api.calls] == [f"Bearer {TOKEN}"] * 4


def test_a_token_that_expires_is_renewed(api, kubeconfig, tmp_path):
    """By the command that a cloud's kubeconfig names; here each token is too old at once, and holds one letter more than the last."""
    program = tmp_path / "credential"
    program.write_text(f"""#!/bin/sh
printf x >> '{tmp_path}/times'
echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status":'
echo '{{"expirationTimestamp": "2020-01-01T00:00:00Z", "token": "'$(cat '{tmp_path}/times')'"}}}}'
""")
    program.chmod(0o700)
    kubeconfig.write_text(kubeconfig.read_text().replace(
        f"token: {TOKEN}", f"exec: {{apiVersion: client.authentication.k8s.io/v1, command: {program}, interactiveMode: Never}}"))
    api.lay("GET", POD, {})
    cluster = connect(str(kubeconfig), None)
    for _request in range(2):
        cluster.request("GET", POD)
    first, second = (call.headers["Authorization"] for call in api.calls)
    assert len(second) > len(first) > len("Bearer ")


def test_an_object_that_is_there_is_found(api, cluster):
    api.lay("GET", POD, {"kind": "Pod"})
    assert cluster.find(POD) == {"kind": "Pod"}


def test_an_object_that_is_not_there_is_none(cluster):
    assert cluster.find(POD) is None


@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_object_that_may_not_be_seen_is_not_taken_for_missing(api, cluster, status):
    api.lay("GET", POD, Refusal(status, "no"))
    with pytest.raises(ClusterError, match="cannot look: no") as error, explained("cannot look"):
        cluster.find(POD)
    assert error.value.status == status


def test_a_log_comes_as_it_is(api, cluster):
    api.lay("GET", f"{POD}/log", "{not json}\n")
    assert cluster.text(f"{POD}/log", {"container": "lnd", "tailLines": 5}) == "{not json}\n"
    assert api.calls[0].query == [("container", "lnd"), ("tailLines", "5")]


def test_a_log_that_is_refused_is_empty(api, cluster):
    api.lay("GET", f"{POD}/log", Refusal(400, "container is waiting to start"))
    assert cluster.text(f"{POD}/log", {}) == ""


def test_an_answer_without_words_is_named_by_its_status(api, cluster):
    api.lay("GET", POD, Refusal(503, message=None))
    with pytest.raises(ClusterError, match="^cannot look: Service Unavailable$"), explained("cannot look"):
        cluster.request("GET", POD)


@pytest.mark.parametrize("page", ["<html>Log in</html>", ""], ids=["a-login-page", "empty"])
def test_a_server_that_is_no_kubernetes_api_is_named(api, cluster, page):
    api.lay("GET", POD, page)
    with pytest.raises(ClusterError, match="^cannot look: the answer is no JSON; is the kubeconfig's server a Kubernetes API?"), explained("cannot look"):
        cluster.find(POD)


@pytest.mark.parametrize("name", ["a?b", "a#b", "a b", "ü"])
def test_an_odd_name_does_not_lead_to_another_object(api, cluster, name):
    cluster.find(f"/api/v1/namespaces/{name}/pods/lnd-0")
    assert unquote(api.calls[0].path) == f"/api/v1/namespaces/{name}/pods/lnd-0"


REQUESTS = {
    "request": lambda cluster: cluster.request("POST", POD, body={"data": {"password": "sesame"}}),
    "log": lambda cluster: cluster.text(POD, {"container": "sesame"}),
    "exec": lambda cluster: cluster.execute(POD, [("command", "sesame")]),
    "port-forward": lambda cluster: cluster.forward(POD, 80),
}
every_request = pytest.mark.parametrize("send", REQUESTS.values(), ids=REQUESTS)


@every_request
def test_an_api_that_is_silent_is_not_waited_for_without_end(api, cluster, monkeypatch, send):
    monkeypatch.setattr(_cluster, "REQUEST_TIMEOUT", (0.2, 0.2))
    for method in ("GET", "POST"):
        api.lay(method, POD, NO_ANSWER)
    with pytest.raises(ClusterError, match="^cannot look: (the Kubernetes API does not answer|Connection timed out)") as error, \
            explained("cannot look"):
        send(cluster)
    assert "sesame" not in str(error.value)


@every_request
def test_a_request_whose_answer_got_lost_is_not_sent_again(api, cluster, send):
    for method in ("GET", "POST"):
        api.lay(method, POD, HANG_UP)
    with pytest.raises(ClusterError) as error, explained("cannot look"):
        send(cluster)
    assert len(api.calls) == 1
    assert "sesame" not in str(error.value)


def test_an_api_that_is_not_there_is_named(api, cluster):
    api.shutdown()
    api.server_close()
    with pytest.raises(ClusterError, match=r"^cannot look: the Kubernetes API does not answer \(NewConnectionError\)$"), explained("cannot look"):
        cluster.request("GET", POD)


def test_the_time_limit_of_a_handshake_ends_with_it(api, cluster):
    api.lay("GET", POD, Frames((), hangs=True))
    session = cluster.execute(POD, [])
    assert session.sock.gettimeout() is None
    session.close()


@pytest.mark.parametrize("kind", ["exec", "port-forward"])
def test_a_refused_handshake_leaves_the_clients_websockets_as_they_were(cluster, kind):
    with pytest.raises(ApiException):
        REQUESTS[kind](cluster)
    assert ws_client.WebSocket is websocket.WebSocket


# --- TLS -----------------------------------------------------------------------------------------------------------

CERTIFICATE, KEY = made(datetime.now(timezone.utc))


@pytest.fixture
def inlined(api, kubeconfig, tmp_path, monkeypatch):
    """A kubeconfig with certificates and a key in it, as most are, of an API that wants the client's; and the directory for temporary files."""
    for name, content in (("cert", CERTIFICATE), ("key", KEY)):
        (tmp_path / name).write_bytes(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "cert")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    api.socket = context.wrap_socket(api.socket, server_side=True)
    certificate, key = (base64.b64encode(each).decode() for each in (CERTIFICATE, KEY))
    kubeconfig.write_text(kubeconfig.read_text()
                          .replace(f'{{server: "{api.url}"}}', f'{{server: "https://127.0.0.1:{api.server_port}", certificate-authority-data: {certificate}}}')
                          .replace(f"{{token: {TOKEN}}}", f"{{client-certificate-data: {certificate}, client-key-data: {key}}}"))
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return kubeconfig, directory


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_kubeconfigs_key_does_not_stay_on_the_disk(inlined, times):
    """Ansible's processes end without cleaning up behind the client."""
    kubeconfig, directory = inlined
    for _time in range(times):
        connect(str(kubeconfig), None)
        assert list(directory.iterdir()) == []


def test_a_client_that_somebody_else_made_keeps_its_files(inlined):
    kubeconfig, directory = inlined
    _cluster.kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=_cluster.Configuration())
    files = set(directory.iterdir())
    connect(str(kubeconfig), None)
    assert set(directory.iterdir()) == files != set()


def test_every_connection_shows_the_kubeconfigs_certificate(api, inlined):
    """The API talks to nobody else."""
    cluster = connect(str(inlined[0]), None)
    api.lay("GET", POD, {"kind": "Pod"}, "log", Frames(()), Frames(()))
    assert cluster.find(POD) == {"kind": "Pod"}
    assert cluster.text(POD, {}) == "log"
    cluster.execute(POD, []).close()
    cluster.forward(POD, 80).close()


def test_threads_open_their_connections_at_the_same_time(api, inlined):
    """What the client makes of a WebSocket is replaced meanwhile: without the certificate, in the place of which another thread's would be."""
    cluster = connect(str(inlined[0]), None)
    api.lay("GET", POD, *[Frames(()) for _number in range(64)])
    with ThreadPoolExecutor(16) as threads:
        for opened in list(threads.map(lambda number: cluster.forward(POD, 80) if number % 2 else cluster.execute(POD, []), range(64))):
            opened.close()
    assert ws_client.WebSocket is websocket.WebSocket


@every_request
def test_an_api_with_another_certificate_is_told_nothing(api, inlined, send):
    kubeconfig, _directory = inlined
    other = base64.b64encode(made(datetime.now(timezone.utc))[0]).decode()
    kubeconfig.write_text(kubeconfig.read_text().replace(f"certificate-authority-data: {base64.b64encode(CERTIFICATE).decode()}",
                                                         f"certificate-authority-data: {other}"))
    with pytest.raises(ClusterError, match="^cannot look: "), explained("cannot look"):
        send(connect(str(kubeconfig), None))
    assert api.calls == []


# --- the kubeconfig ------------------------------------------------------------------------------------------------

def reached(api, *arguments):
    """The path of a request through this connection: the contexts differ in it."""
    connect(*arguments).find("/version")
    return api.calls[0].path


def test_the_current_context_is_used(api, kubeconfig):
    assert reached(api, str(kubeconfig), None) == "/version"


def test_another_context_is_used_on_demand(api, kubeconfig):
    assert reached(api, str(kubeconfig), "two") == "/two/version"


def test_the_variable_of_kubernetes_core_names_the_kubeconfig(api, kubeconfig, monkeypatch):
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", str(kubeconfig))
    assert reached(api, None, "two") == "/two/version"


def test_the_argument_wins_over_the_variable(api, kubeconfig, monkeypatch):
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", "/nowhere")
    assert reached(api, str(kubeconfig), None) == "/version"


def test_connecting_asks_nothing(api, cluster):
    assert api.calls == []


@pytest.mark.parametrize("content", ["", "contexts: 1", "{", "- a list", "\x00"],
                         ids=["empty", "no-contexts", "not-yaml", "a-list", "binary"])
def test_a_kubeconfig_that_is_none_is_named(kubeconfig, content):
    kubeconfig.write_text(content)
    with pytest.raises(ClusterError, match=f"^the kubeconfig {kubeconfig} cannot be used: "):
        connect(str(kubeconfig), None)


def test_a_missing_kubeconfig_is_named(tmp_path):
    with pytest.raises(ClusterError, match="the kubeconfig .*/nowhere does not exist"):
        connect(str(tmp_path / "nowhere"), None)


def test_an_unknown_context_is_named(kubeconfig):
    with pytest.raises(ClusterError, match="the kubeconfig .* cannot be used: .*three"):
        connect(str(kubeconfig), "three")


def test_a_missing_python_package_is_named(monkeypatch):
    monkeypatch.setattr(_cluster, "IMPORT_ERROR", "Traceback ...")
    with pytest.raises(ClusterError, match="the Python package kubernetes is missing .* pip install"):
        connect(None, None)
