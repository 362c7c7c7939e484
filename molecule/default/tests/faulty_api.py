"""A Kubernetes API with faults: a TLS proxy before the real one that damages the requests a test names, WebSockets included.

Everything that is not named passes unchanged, byte by byte.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import json
import pathlib
import re
import select
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Kubernetes' exec protocol v4.channel.k8s.io: the first byte of each binary message.
_STDOUT = b"\x01"

# The operation code of a WebSocket's binary message.
_BINARY = 2


class Cut(Exception):
    """The connection to the client ends here, without a word."""


@dataclass(frozen=True)
class Message:
    """A request or an answer. head: the lines with the empty one; body: whole, its chunks put together."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()


class Exchange:
    """One request on its way: what an effect can do with it."""

    def __init__(self, request: Message, client: _Stream, api: _Stream) -> None:
        self.request, self._client, self._api = request, client, api

    def forward(self) -> Message:
        """The API's answer."""
        self._api.socket.sendall(self.request.head + self.request.body)
        return _read(self._api)

    def reply(self, answer: Message, edit: Callable[[bytes], bytes] = bytes) -> None:
        """Hand over an answer; after one that opens a stream, what both sides say until one of them ends.

        edit: what the client gets of the next bytes from the API.
        """
        self._client.socket.sendall(answer.head + answer.body)
        if " 101 " in answer.line:
            # In one thread: an SSLSocket is none of two's.
            while True:
                for source, target, change in ((self._api, self._client, edit), (self._client, self._api, bytes)):
                    if source.has_more():
                        target.socket.sendall(change(source.some()))
                select.select([self._api.socket, self._client.socket], [], [], 0 if self._api.has_more() or self._client.has_more() else None)


Effect = Callable[[Exchange], None]


@dataclass(frozen=True)
class Fault:
    """What happens to some requests.

    on: a regular expression for "METHOD /path?query HTTP/1.1"; the first ``skip`` requests that match pass, the next ``times`` are hit.
    """

    on: str
    effect: Effect
    times: int = 1
    skip: int = 0


def passed(exchange: Exchange) -> None:
    """No fault."""
    exchange.reply(exchange.forward())


def answered(status: int, reason: str, message: str = "", headers: str = "") -> Effect:
    """The API refuses with a Status object, as it does; the request never reaches it."""
    body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message or reason, "reason": reason, "code": status})
    return replaced(body.encode(), status, reason, headers)


def replaced(body: bytes, status: int = 200, reason: str = "OK", headers: str = "") -> Effect:
    """Any answer instead of the API's."""
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"

    def effect(exchange: Exchange) -> None:
        exchange.reply(Message(head.encode(), body))
    return effect


def cut_before(_exchange: Exchange) -> None:
    """The connection breaks before the API has heard of the request."""
    raise Cut


def cut_after(exchange: Exchange) -> None:
    """The API has done what was asked, and the answer is lost."""
    exchange.forward()
    raise Cut


def cut_in_answer(exchange: Exchange) -> None:
    """Half of the answer comes."""
    answer = exchange.forward()
    exchange.reply(Message(answer.head, answer.body[:len(answer.body) // 2]))
    raise Cut


def truncated(exchange: Exchange) -> None:
    """Half of the answer comes, and its head says that this is all."""
    answer = exchange.forward()
    half = answer.body[:len(answer.body) // 2]
    exchange.reply(Message(_with_length(answer.head, len(half)), half))


def held(seconds: float) -> Effect:
    """The API has done what was asked, and keeps the answer back."""
    def effect(exchange: Exchange) -> None:
        exchange.forward()
        time.sleep(seconds)
        raise Cut
    return effect


def stream_cut(after: int) -> Effect:
    """A WebSocket breaks after so many bytes from the API."""
    def effect(exchange: Exchange) -> None:
        left = after

        def edit(piece: bytes) -> bytes:
            nonlocal left
            if left <= 0:
                raise Cut
            piece = piece[:left]
            left -= len(piece)
            return piece
        exchange.reply(exchange.forward(), edit)
    return effect


def output_cut(after: int) -> Effect:
    """A command in a pod says only so many bytes, and is said to have ended well."""
    def effect(exchange: Exchange) -> None:
        left, rest = after, b""

        def edit(piece: bytes) -> bytes:
            nonlocal left, rest
            frames, rest = _frames(rest + piece)
            answer = b""
            for code, message in frames:
                if code == _BINARY and message[:1] == _STDOUT:
                    message = message[:1 + left]
                    left -= len(message) - 1
                answer += _framed(code, message)
            return answer
        exchange.reply(exchange.forward(), edit)
    return effect


def after(event: Callable[[], object]) -> Effect:
    """Something happens elsewhere before the API gets the request."""
    def effect(exchange: Exchange) -> None:
        event()
        passed(exchange)
    return effect


@dataclass
class FaultyApi:
    """The proxy while it runs. ``requests`` are those that came, ``hits`` counts those with a fault.

    api: the real one's kubeconfig. token: who the client is; without it, the kubeconfig's user.
    directory: where the kubeconfig for the client goes.
    """

    api: pathlib.Path
    directory: pathlib.Path
    token: str | None = None
    faults: tuple[Fault, ...] = ()
    requests: list[str] = field(default_factory=list)
    hits: int = 0

    def __enter__(self) -> FaultyApi:
        settings = yaml.safe_load(self.api.read_text())
        self._server = settings["clusters"][0]["cluster"]["server"].removeprefix("https://")
        self._to_api = ssl.create_default_context(
            cadata=base64.b64decode(settings["clusters"][0]["cluster"]["certificate-authority-data"]).decode())
        if not self.token:
            user = settings["users"][0]["user"]
            pair = self.directory / "client.pem"
            pair.write_bytes(b"".join(base64.b64decode(user[f"client-{each}-data"]) for each in ("certificate", "key")))
            self._to_api.load_cert_chain(pair)
        certificate, key = _self_signed()
        (self.directory / "proxy.pem").write_bytes(certificate + key)
        self._from_client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._from_client.load_cert_chain(self.directory / "proxy.pem")
        self._lock = threading.Lock()
        self._listener = _Listener(("127.0.0.1", 0), self._serve)
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()
        self.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "faulty",
            "clusters": [{"name": "faulty", "cluster": {
                "server": f"https://127.0.0.1:{self._listener.server_address[1]}",
                "certificate-authority-data": base64.b64encode(certificate).decode()}}],
            "users": [{"name": "faulty", "user": {"token": self.token} if self.token else {}}],
            "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "faulty"}}]}))
        return self

    def __exit__(self, *_error) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    @property
    def kubeconfig(self) -> pathlib.Path:
        return self.directory / "faulty-kubeconfig"

    def arm(self, *faults: Fault) -> None:
        """Forget what was before, and do this from now on."""
        with self._lock:
            self.faults, self.requests, self.hits, self._counts = faults, [], 0, [0] * len(faults)

    def _effect(self, line: str) -> Effect:
        with self._lock:
            self.requests.append(line)
            for index, fault in enumerate(self.faults):
                if re.search(fault.on, line):
                    self._counts[index] += 1
                    if fault.skip < self._counts[index] <= fault.skip + fault.times:
                        self.hits += 1
                        return fault.effect
        return passed

    def _serve(self, plain: socket.socket, _address: object, _server: object) -> None:
        host, port = self._server.split(":")
        with contextlib.suppress(OSError, Cut), contextlib.ExitStack() as opened:
            # Dropped, not closed: a cut has no farewell.
            client = opened.enter_context(self._from_client.wrap_socket(plain, server_side=True))
            api = opened.enter_context(self._to_api.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host))
            ends = _Stream(client), _Stream(api)
            while True:
                request = _read(ends[0])
                self._effect(request.line)(Exchange(request, *ends))


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # Threads that still hold an answer back are not waited for.
    block_on_close = False


class _Stream:
    """A socket with what was read of it too early."""

    def __init__(self, of: ssl.SSLSocket) -> None:
        self.socket, self._early = of, b""

    def has_more(self) -> bool:
        """Whether ``some`` need not wait."""
        return bool(self._early or self.socket.pending() or select.select([self.socket], [], [], 0)[0])

    def some(self) -> bytes:
        """What is there next. Raises Cut at the end."""
        piece, self._early = self._early or self.socket.recv(65536), b""
        if not piece:
            raise Cut
        return piece

    def until(self, end: bytes) -> bytes:
        """Everything up to these bytes, and them."""
        while end not in self._early:
            self._early += self.socket.recv(65536) or _cut()
        return self.exactly(self._early.index(end) + len(end))

    def exactly(self, count: int) -> bytes:
        while len(self._early) < count:
            self._early += self.socket.recv(65536) or _cut()
        piece, self._early = self._early[:count], self._early[count:]
        return piece


def _cut() -> NoReturn:
    raise Cut


def _read(stream: _Stream) -> Message:
    """The next request or answer."""
    head = stream.until(b"\r\n\r\n")
    if re.search(rb"\r\nTransfer-Encoding: chunked\r\n", head, re.I):
        body = b""
        while size := int(stream.until(b"\r\n"), 16):
            body += stream.exactly(size)
            stream.until(b"\r\n")
        stream.until(b"\r\n")
        return Message(_with_length(head, len(body)), body)
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head, re.I)
    return Message(head, stream.exactly(int(length[1])) if length else b"")


def _with_length(head: bytes, length: int) -> bytes:
    rest = re.sub(rb"\r\n(Content-Length|Transfer-Encoding): [^\r]*", b"", head, flags=re.I)
    return rest[:-2] + f"Content-Length: {length}\r\n\r\n".encode()


def _frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames of a WebSocket's server (RFC 6455, section 5.2; it does not mask) as operation code and message; and what is left."""
    frames = []
    while len(data) >= 10 or (len(data) >= 2 and len(data) >= 2 + data[1]):
        begin, length = {126: (4, int.from_bytes(data[2:4])), 127: (10, int.from_bytes(data[2:10]))}.get(data[1], (2, data[1]))
        if len(data) < begin + length:
            break
        frames.append((data[0] & 0x0F, data[begin:begin + length]))
        data = data[begin + length:]
    return frames, data


def _framed(code: int, message: bytes) -> bytes:
    # The longest form is right for every length.
    return struct.pack(">BBQ", 0x80 | code, 127, len(message)) + message


def _self_signed() -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 that is its own authority, and its key; PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "faulty API")])
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = {each: each in ("digital_signature", "key_cert_sign") for each in (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
        "encipher_only", "decipher_only")}
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - datetime.timedelta(hours=1),
                                now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256()))
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
