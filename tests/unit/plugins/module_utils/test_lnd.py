"""LND's REST API as its client uses it: many calls at once, in their order, on one connection that may break anywhere."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from datetime import datetime, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _lnd
from ansible_collections.openlsp.node.plugins.module_utils._lnd import Lnd, LndError
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import permissions
from certificates import made

CERTIFICATE, KEY = made(datetime.now(timezone.utc))
READ = permissions("info:read")


class Server:
    """LND's port. ``answer``: a function from the number of a request, and its bytes, to the bytes that go back; None hangs up.

    gathers: so many requests are read before the first of them is answered. ``requests``: those of each connection.
    """

    def __init__(self, directory, answer, gathers=1):
        (directory / "cert").write_bytes(CERTIFICATE)
        (directory / "key").write_bytes(KEY)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(directory / "cert", directory / "key")
        self._answer, self._gathers, self.requests = answer, gathers, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def client(self):
        return Lnd(lambda: socket.create_connection(self._listener.getsockname()), CERTIFICATE)

    def close(self):
        self._listener.close()

    def _serve(self):
        try:
            while True:
                with self._context.wrap_socket(self._listener.accept()[0], server_side=True) as client, client.makefile("rb") as reader:
                    self.requests.append([])
                    self._talk(client, reader, self.requests[-1])
        except OSError:
            return

    def _talk(self, client, reader, requests):
        waiting = []
        while first := reader.readline():
            head = first + b"".join(iter(reader.readline, b"\r\n")) + b"\r\n"
            requests.append(head + reader.read(int(re.search(rb"Content-Length: (\d+)", head)[1])))
            waiting.append(requests[-1])
            if len(waiting) < self._gathers:
                continue
            for number, request in enumerate(waiting, len(requests) - len(waiting)):
                answer = self._answer(number, request)
                if answer is None:
                    return
                client.sendall(answer)
            waiting.clear()


@pytest.fixture
def serving(tmp_path):
    """Starts a Server and gives its client."""
    servers = []

    def started(*given, **named):
        servers.append(Server(tmp_path, *given, **named))
        return servers[-1]

    yield started
    for each in servers:
        each.close()


def said(content, status="200 OK", *headers):
    body = json.dumps(content).encode()
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def refused(message, code):
    return said({"message": message, "code": code}, "400 Bad Request")


VALID = said({"valid": True})


def test_each_of_many_macaroons_has_its_own_answer_on_one_connection(serving):
    server = serving(lambda number, _request: VALID if number % 3 else refused(f"no {number}", 3))
    with server.client() as lnd:
        assert lnd.accepts_each([(b"%d" % number, READ) for number in range(100)], b"admin") == [
            None if number % 3 else f"no {number}" for number in range(100)]
    requests, = server.requests
    assert [json.loads(each.partition(b"\r\n\r\n")[2])["macaroon"] for each in requests] == [_lnd._base64(b"%d" % number) for number in range(100)]


def test_requests_do_not_wait_for_each_other_s_answers(serving):
    """The server says nothing before it has so many of them."""
    server = serving(lambda _number, _request: VALID, gathers=16)
    with server.client() as lnd:
        assert lnd.accepts_each([(b"x", READ)] * 64, b"admin") == [None] * 64


def test_no_more_are_on_their_way_than_buffers_hold(serving, monkeypatch):
    """The server waits for one more in vain."""
    monkeypatch.setattr(_lnd, "_ANSWER_TIMEOUT", 0.3)
    server = serving(lambda _number, _request: VALID, gathers=33)
    with server.client() as lnd, pytest.raises(LndError, match="no answer"):
        lnd.accepts_each([(b"x", READ)] * 200, b"admin")
    assert len(server.requests[0]) == 32


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"v\r\nb\r\nalid\": true\r\n1\r\n}\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nGrpc-Metadata-Content-Type: application/grpc\r\n\r\n{}",
], ids=["chunked", "with-a-length"])
def test_an_answer_ends_where_it_says_so(serving, answer):
    with serving(lambda _number, _request: answer).client() as lnd:
        assert lnd.accepts_each([(b"x", READ)] * 5, b"admin") == [None] * 5


@pytest.mark.parametrize("last", [None, VALID[:-5], VALID[:10], b""], ids=["before-it", "in-its-body", "in-its-head", "never-answered"])
def test_a_connection_that_breaks_between_two_answers_is_no_refusal(serving, monkeypatch, last):
    monkeypatch.setattr(_lnd, "_ANSWER_TIMEOUT", 0.3)
    with serving(lambda number, _request: VALID if number < 3 else last).client() as lnd:
        with pytest.raises(LndError, match="LND does not answer: ") as broken:
            lnd.accepts_each([(b"x", READ)] * 10, b"admin")
    assert broken.value.passes


def test_the_next_call_opens_a_new_connection_where_lnd_closed_the_last(serving):
    server = serving(lambda _number, _request: said({"state": "LOCKED"}, "200 OK", "Connection: close"))
    with server.client() as lnd:
        assert [lnd.state(), lnd.state()] == ["LOCKED"] * 2
    assert [len(each) for each in server.requests] == [1, 1]


def test_an_lnd_that_ends_between_two_answers_has_refused_nothing(serving):
    with serving(lambda number, _request: VALID if number < 3 else refused("cannot get macaroon: database not open", 3)).client() as lnd:
        with pytest.raises(LndError, match="database not open") as ending:
            lnd.accepts_each([(b"x", READ)] * 10, b"admin")
    assert ending.value.passes


def test_what_is_no_json_is_named(serving):
    with serving(lambda _number, _request: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>").client() as lnd:
        with pytest.raises(LndError, match="LND answered HTTP 502 with something that is not JSON"):
            lnd.state()


@pytest.mark.parametrize("call, answers", [
    (lambda lnd: lnd.change_password("a", "b", True), True), (lambda lnd: lnd.init_wallet("a", [], "", 0), True), (lambda lnd: lnd.unlock("a"), True),
    (lambda lnd: lnd.state(), False),
], ids=["change-password", "init-wallet", "unlock", "any-other"])
def test_a_call_that_stretches_passwords_may_take_longer_than_others(serving, monkeypatch, call, answers):
    """Its answer, an admin macaroon, comes once."""
    monkeypatch.setattr(_lnd, "_ANSWER_TIMEOUT", 0.2)
    with serving(lambda _number, _request: time.sleep(0.6) or said({"admin_macaroon": "YQ==", "state": "LOCKED"})).client() as lnd:
        if answers:
            call(lnd)
        else:
            with pytest.raises(LndError, match="no answer within 0 s"):
                call(lnd)


# --- a call that goes on ---------------------------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text):
    return f"{len(text):x}\r\n{text}\r\n".encode()


def streamed(server, seconds=0.5):
    return list(server.client().stream("POST", "/v2/blocks", {}, b"macaroon", seconds))


def test_messages_come_one_by_one_until_the_time_is_up(serving):
    server = serving(lambda *_request: CHUNKED + chunk('{"result": {"height": 1}}\n') + chunk('{"result":{"height"') + chunk(': 2}}\n'))
    begin = time.monotonic()
    assert streamed(server) == [{"height": 1}, {"height": 2}]
    assert 0.3 < time.monotonic() - begin < 5
    assert b"Grpc-Metadata-macaroon: 6d616361726f6f6e" in server.requests[0][0]


def test_what_answers_nothing_ends_when_the_time_is_up(serving):
    assert streamed(serving(lambda *_request: b"")) == []


@pytest.mark.parametrize("answer, code, words", [
    (b'HTTP/1.1 500 X\r\nContent-Length: 41\r\n\r\n{"code": 7, "message": "it is forbidden"}', 7, "it is forbidden"),
    (CHUNKED + chunk('{"error": {"code": 14, "message": "it ends"}}\n'), 14, "it ends"),
    (CHUNKED + b"0\r\n\r\n", None, "LND has ended the call"),
    (CHUNKED + chunk("rubbish\n"), None, "not JSON"),
    (None, None, "LND does not answer"),
], ids=["refused", "error on the way", "ended", "rubbish", "cut"])
def test_a_call_that_goes_on_may_be_refused(serving, answer, code, words):
    with pytest.raises(LndError, match=words) as refused:
        streamed(serving(lambda *_request: answer))
    assert refused.value.code == code
