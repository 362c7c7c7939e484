"""A Kubernetes API on this machine: it answers what a test lays in it, and notes what it was asked. The collection's own client talks to it."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "sesame-open"
STDOUT, STDERR, STATUS = 1, 2, 3
SUCCESS = json.dumps({"metadata": {}, "status": "Success"}).encode()


def failure(message):
    """What a command's status channel says when the command failed."""
    return json.dumps({"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode"}).encode()


@dataclass(frozen=True)
class Call:
    """One request; ``query`` is the list of its pairs, ``body`` what its JSON says or None."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Any
    body: Any


@dataclass(frozen=True)
class Refusal:
    """A Status of the API server; without a ``message`` it says nothing but the HTTP status."""

    status: int
    message: str | None = "it is so"


@dataclass(frozen=True)
class Frames:
    """An upgrade to a WebSocket on which these binary messages arrive; with ``echo`` one of the caller's then comes back.

    The API then closes it; with ``hangs`` only after the caller.
    """

    frames: tuple[bytes, ...]
    echo: bool = False
    hangs: bool = False


NO_ANSWER, HANG_UP = object(), object()


class KubeApi(ThreadingHTTPServer):
    """``answers[method, path]`` is a list of answers, the last of which stays: a dict, a str (no JSON), a Refusal, Frames,
    NO_ANSWER, HANG_UP, or a function from the Call to one of these. ``otherwise`` answers what nothing was laid for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.calls, self.closing = {}, [], threading.Event()
        self.otherwise = lambda call: Refusal(404, f"nothing at {call.path}")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def lay(self, method, path, *answers):
        self.answers[method, path] = list(answers)

    def asked(self, method="", path=""):
        """The calls with this method whose path ends so."""
        return [call for call in self.calls if call.method.startswith(method) and call.path.endswith(path)]

    def answer(self, call):
        self.calls.append(call)
        laid = self.answers.get((call.method, call.path), [self.otherwise])
        answer = laid.pop(0) if len(laid) > 1 else laid[0]
        return answer(call) if callable(answer) else answer


@contextmanager
def serving():
    """A KubeApi that runs."""
    api = KubeApi()
    thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.closing.set()
        api.shutdown()
        thread.join()
        api.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        self.close_connection = True
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.answer(Call(self.command, url.path, parse_qsl(url.query), self.headers, json.loads(body) if body else None))
        if answer is NO_ANSWER:
            self.server.closing.wait(30)
        elif isinstance(answer, Frames):
            self._upgrade(answer)
        elif isinstance(answer, Refusal):
            self._send(answer.status, json.dumps({"kind": "Status", "message": answer.message}) if answer.message else "")
        elif answer is not HANG_UP:
            self._send(200, answer if isinstance(answer, str) else json.dumps(answer))

    do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

    def _send(self, status, text):
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _upgrade(self, answer):
        # RFC 6455, 1.3: the answer to a key proves that the server speaks WebSocket.
        accepted = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accepted).decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        for data in answer.frames:
            self._frame(2, data)
        if answer.echo:
            self._frame(2, self._received())
        if answer.hangs:
            self.rfile.read(1)
        self._frame(8, struct.pack("!H", 1000))

    def _frame(self, opcode, data):
        length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack("!H", len(data))
        self.wfile.write(bytes([0x80 | opcode]) + length + data)
        self.wfile.flush()

    def _received(self):
        """One short message; a client masks what it sends."""
        length = self.rfile.read(2)[1] & 0x7F
        mask = self.rfile.read(4)
        return bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(length)))

    def log_message(self, *_args):
        """Nothing: pytest would show it."""
