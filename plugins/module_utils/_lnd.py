# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LND's REST API over any socket. Knows nothing of Ansible or Kubernetes.

The calls and their JSON: lnrpc/*.proto and lnrpc/*.yaml of LND; every ``bytes`` field is base64.
"""

from __future__ import annotations

import base64
import http.client
import io
import itertools
import json
import socket
import ssl
import time
from types import SimpleNamespace
from typing import Any, Callable, Iterable, Iterator

from ansible_collections.openlsp.node.plugins.module_utils._macaroon import Permission

REST_PORT = 8080

# States in which the RPC server takes macaroons. SERVER_ACTIVE follows RPC_ACTIVE once the wallet has caught up with
# the chain, which takes hours in an initial block download.
ACTIVE_STATES = ("RPC_ACTIVE", "SERVER_ACTIVE")

# In a refusal by ``accepts``: the macaroon is good, for a caller from another address. The signature was checked before its caveats
# (IPLockChecker and IPRangeLockChecker of lnd/macaroons/constraints.go).
OTHER_ADDRESS = "locked to different IP"

# Codes of gRPC that say nothing of the request: cancelled, deadline exceeded, unavailable.
_PASSING_CODES = (None, 1, 4, 14)

# What an LND says that is starting (lnd/rpcperms/interceptor.go), or has closed its database of root keys because it ends (bbolt/errors/errors.go,
# lnd/macaroons/store.go). All of it has the code of an ordinary refusal.
_PASSING_WORDS = ("waiting to start", "wallet locked", "in the process of starting", "database not open", "macaroon store is locked")

# Requests that are on their way at once. Between this and LND are half a dozen processes, each of which takes longer to wake than LND to answer;
# what lies in their buffers, a few kilobytes each, is far from filling them.
_IN_FLIGHT = 32

# Seconds for one answer.
_ANSWER_TIMEOUT = 60

# The same where LND stretches passwords by scrypt, 256 MiB a time: eight times for new root keys, which takes ten seconds on an idle computer and has
# taken more than a minute on a busy one. An answer that is lost is lost for good: LND hands over its macaroon once.
_WALLET_TIMEOUT = 600


class LndError(Exception):
    """LND refused a call, in its own words; ``code`` is the gRPC status code, or None where LND did not answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    @property
    def passes(self) -> bool:
        """Whether asking again may help: LND did not answer, is starting or is ending. Otherwise it has read the request and refused it."""
        return self.code in _PASSING_CODES or any(words in str(self) for words in _PASSING_WORDS)


class LndCertificateError(LndError):
    """Whoever answered does not hold the certificate that LND is known by: asking again with the same one will not help."""


class Lnd:
    """A client for one LND. Opens its connection at the first call and again after LND closed it."""

    def __init__(self, connect: Callable[[], Any], certificate: bytes, timeout: float | None = None) -> None:
        """connect: makes a connected stream socket to LND's REST port. certificate: LND's tls.cert, PEM; nothing else is trusted.

        timeout: seconds for one answer, if not a minute.
        """
        self._connect = connect
        self._timeout = timeout or _ANSWER_TIMEOUT
        self._certificate = certificate
        self._socket: ssl.SSLSocket | None = None

    def __enter__(self) -> Lnd:
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def call(self, method: str, path: str, body: dict | None = None, macaroon: bytes | None = None, timeout: float | None = None) -> dict:
        """One call, such as ``call("GET", "/v1/getinfo", macaroon=readonly)``; the answer's JSON. timeout: seconds for it, if not the client's.

        Raises LndError when LND refuses the call or is not reachable, LndCertificateError when it does not hold the pinned certificate.
        """
        answer, = self._calls([_request(method, path, body, macaroon)], timeout)
        if isinstance(answer, LndError):
            raise answer
        return answer

    def stream(self, method: str, path: str, body: dict, macaroon: bytes, seconds: float) -> Iterator[dict]:
        """The messages of a call that goes on, as they come, for so long; on a connection of its own. Ends when the time is up.

        Raises LndError as ``call`` does.
        """
        deadline = time.monotonic() + seconds
        try:
            with _pinned(self._connect(), self._certificate, self._timeout) as connection:
                connection.settimeout(seconds)
                connection.sendall(_request(method, path, body, macaroon))
                response = http.client.HTTPResponse(connection)
                response.begin()
                if response.status != 200:
                    raise _answer(response.status, response.read())
                while (left := deadline - time.monotonic()) > 0:
                    connection.settimeout(left)
                    yield _message(response.readline())
        except TimeoutError:
            return
        except (OSError, http.client.HTTPException) as error:
            raise LndError(f"LND does not answer: {_network_reason(error, seconds)}") from error

    def _calls(self, requests: Iterable[bytes], timeout: float | None = None) -> Iterator[dict | LndError]:
        """LND's answers, or refusals, in the order of the requests; they share a connection, and do not wait for each other (RFC 9112, 9.3.2).

        Raises LndError without a code where LND is not reachable.
        """
        requests, timeout = iter(requests), timeout or self._timeout
        while batch := list(itertools.islice(requests, _IN_FLIGHT)):
            try:
                connection = self._open()
                connection.settimeout(timeout)
                connection.sendall(b"".join(batch))
                for _each in batch:
                    response = http.client.HTTPResponse(self._answers)
                    response.begin()
                    content = response.read()
                    if response.will_close:
                        self.close()
                    yield _answer(response.status, content)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise LndError(f"LND does not answer: {_network_reason(error, timeout)}") from error

    def state(self) -> str:
        """WAITING_TO_START, NON_EXISTING, LOCKED, UNLOCKED, RPC_ACTIVE or SERVER_ACTIVE (lnrpc/stateservice.proto)."""
        return self.call("GET", "/v1/state")["state"]

    def generate_seed(self, passphrase: str = "") -> list[str]:
        """24 words of a new aezeed. LND keeps nothing of it."""
        query = f"?aezeed_passphrase={_url_base64(passphrase)}" if passphrase else ""
        return self.call("GET", f"/v1/genseed{query}")["cipher_seed_mnemonic"]

    def init_wallet(self, password: str, seed: list[str], passphrase: str, recovery_window: int, stateless: bool = False) -> bytes:
        """Create the wallet; the admin macaroon. recovery_window: addresses to look for on the chain, 0 for a seed that was never used.

        stateless: LND writes no macaroon files until it starts again.
        """
        body = {"wallet_password": _base64(password.encode()), "cipher_seed_mnemonic": seed, "recovery_window": recovery_window,
                "stateless_init": stateless}
        if passphrase:
            body["aezeed_passphrase"] = _base64(passphrase.encode())
        return base64.b64decode(self.call("POST", "/v1/initwallet", body, timeout=_WALLET_TIMEOUT)["admin_macaroon"])

    def unlock(self, password: str, stateless: bool = False) -> None:
        """Open the wallet of an LND in state LOCKED that waits for its password."""
        self.call("POST", "/v1/unlockwallet", {"wallet_password": _base64(password.encode()), "stateless_init": stateless}, timeout=_WALLET_TIMEOUT)

    def change_password(self, current: str, new: str, new_root_keys: bool, stateless: bool = False) -> bytes:
        """Open the wallet of an LND that waits for its password, and change this; the admin macaroon.

        new_root_keys: LND replaces the key of every root key id, so that no macaroon from before is worth anything. Not ``stateless``, it then insists
        on removing its files admin, readonly and invoice, writes them anew, and leaves the files of its sub-servers as they are.
        """
        body = {"current_password": _base64(current.encode()), "new_password": _base64(new.encode()),
                "new_macaroon_root_key": new_root_keys, "stateless_init": stateless}
        return base64.b64decode(self.call("POST", "/v1/changepassword", body, timeout=_WALLET_TIMEOUT)["admin_macaroon"])

    def accepts(self, macaroon: bytes, permissions: Iterable[Permission], asked_with: bytes) -> str | None:
        """None when LND lets this macaroon do all of that, otherwise LND's reason.

        asked_with: a macaroon that holds macaroon:read.
        """
        return self.accepts_each([(macaroon, permissions)], asked_with)[0]

    def accepts_each(self, macaroons: Iterable[tuple[bytes, Iterable[Permission]]], asked_with: bytes) -> list[str | None]:
        """The same for many macaroons, each with its permissions, in a fraction of the time that as many calls take."""
        bodies = ({"macaroon": _base64(macaroon), "permissions": _permissions(held)} for macaroon, held in macaroons)
        answers = list(self._calls(_request("POST", "/v1/macaroon/checkpermissions", body, asked_with) for body in bodies))
        for each in answers:
            if isinstance(each, LndError) and each.passes:
                raise each
        return [str(each) if isinstance(each, LndError) else None for each in answers]

    def known_permissions(self, asked_with: bytes) -> frozenset[Permission]:
        """Every permission that this LND can put into a macaroon: its entities and actions, and ``uri:`` with each of its calls."""
        calls = self.call("GET", "/v1/macaroon/permissions", macaroon=asked_with)["method_permissions"]
        pairs = {Permission(each["entity"], each["action"]) for call in calls.values() for each in call["permissions"]}
        return frozenset(pairs | {Permission("uri", name) for name in calls})

    def bake(self, permissions: Iterable[Permission], root_key_id: int, asked_with: bytes) -> bytes:
        """A new macaroon; its root key is made where there is none of that id. asked_with: one that holds macaroon:generate."""
        body = {"permissions": _permissions(permissions), "root_key_id": str(root_key_id)}
        return bytes.fromhex(self.call("POST", "/v1/macaroon", body, asked_with)["macaroon"])

    def root_key_ids(self, asked_with: bytes) -> frozenset[int]:
        """The ids of all root keys. asked_with: a macaroon that holds macaroon:read."""
        return frozenset(map(int, self.call("GET", "/v1/macaroon/ids", macaroon=asked_with)["root_key_ids"]))

    def delete_root_key(self, root_key_id: int, asked_with: bytes) -> None:
        """From now on every macaroon of this root key is refused. asked_with: one that holds macaroon:write."""
        self.call("DELETE", f"/v1/macaroon/{root_key_id}", macaroon=asked_with)

    def _open(self) -> ssl.SSLSocket:
        if self._socket is None:
            self._socket = _pinned(self._connect(), self._certificate, self._timeout)
            reader = _Reader(socket.SocketIO(self._socket, "r"))
            self._answers = SimpleNamespace(makefile=lambda _mode: reader)
        return self._socket


class _Reader(io.BufferedReader):
    """What one answer is read from holds the beginning of the next one, so it stays open."""

    def close(self) -> None:
        """Called by http.client at the end of each answer."""


def _request(method: str, path: str, body: dict | None, macaroon: bytes | None) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    if macaroon is not None:
        head.append(f"Grpc-Metadata-macaroon: {macaroon.hex()}")
    return "\r\n".join([*head, "", ""]).encode("ascii") + content


def _answer(status: int, content: bytes) -> dict | LndError:
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        return LndError(f"LND answered HTTP {status} with something that is not JSON")
    if status == 200:
        return answer
    # A streaming call wraps its error.
    error = answer.get("error", answer)
    return LndError(error.get("message", f"HTTP {status}"), error.get("code"))


def _message(line: bytes) -> dict:
    """One line of a streaming call. Raises LndError for the one with which LND ends it."""
    if not line:
        raise LndError("LND has ended the call")
    message = _answer(200, line)
    if isinstance(message, LndError):
        raise message
    if "result" not in message:
        raise _answer(0, line)
    return message["result"]


def _permissions(held: Iterable[Permission]) -> list[dict]:
    return [{"entity": each.entity, "action": each.action} for each in sorted(held)]


def _pinned(sock: Any, certificate: bytes, timeout: float) -> ssl.SSLSocket:
    """TLS to exactly the holder of this certificate: LND signs its own, so the certificate is its identity.

    Its names and dates are not looked at: an LND whose certificate has expired is still itself, and can be told to make a new one.
    """
    try:
        held = ssl.PEM_cert_to_DER_cert(certificate.decode("ascii").strip())
    except ValueError:
        sock.close()
        raise LndCertificateError("the certificate that LND is to be known by is no PEM") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sock.settimeout(timeout)
    tls = context.wrap_socket(sock, server_hostname="localhost")
    if tls.getpeercert(binary_form=True) != held:
        tls.close()
        raise LndCertificateError("LND holds another certificate than the one it is known by")
    return tls


def _network_reason(error: Exception, timeout: float) -> str:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return f"no answer within {timeout:.0f} s"
    return str(error) or type(error).__name__


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _url_base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()
