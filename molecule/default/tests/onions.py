"""What reaches an onion service: a Tor's SOCKS port, and the first words of Bitcoin's and Lightning's protocols."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator

from ansible_collections.openlsp.node.plugins.module_utils import _pod
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

SOCKS, CONTROL = 9050, 9051
REGTEST = bytes.fromhex("fabfb5da")

# The public key of the secret key 1: whoever uses that needs no curve to agree with another, whose public key is what both share.
GENERATOR = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")

# RFC 1928, and what Tor makes of it.
REPLIES = {0: "reached", 1: "general failure", 2: "not allowed", 3: "network unreachable", 4: "host unreachable", 5: "connection refused", 6: "time is up"}


class Unreached(Exception):
    """Tor's own word for why."""


def received(connection: socket.socket, count: int) -> bytes:
    """So many bytes, no fewer."""
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise Unreached(f"the connection ended after {len(data)} of {count} bytes")
        data += more
    return data


@contextlib.contextmanager
def through_tor(cluster, namespace: str, address: str, port: int, seconds: float = 60) -> Iterator[socket.socket]:
    """A connection to an onion service by the Tor of a namespace. Raises Unreached."""
    connection = _pod.forward(cluster, namespace, "tor-0", SOCKS)
    try:
        connection.settimeout(seconds)
        connection.sendall(b"\x05\x01\x00")
        received(connection, 2)
        connection.sendall(b"\x05\x01\x00\x03" + bytes([len(address)]) + address.encode() + struct.pack("!H", port))
        answer = received(connection, 10)
        if answer[1]:
            raise Unreached(f"{address}:{port}: {REPLIES.get(answer[1], hex(answer[1]))}")
        yield connection
    except (OSError, ssl.SSLError) as error:
        raise Unreached(f"{address}:{port}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def speaks_bitcoin(connection: socket.socket) -> bool:
    """Whether a bitcoind of regtest answers to our version with its own."""
    nobody = struct.pack("<Q16sH", 0, b"", 0)
    payload = struct.pack("<iQq", 70016, 0, int(time.time())) + nobody + nobody + os.urandom(8) + b"\x06/test/" + struct.pack("<i?", 0, False)
    checksum = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    connection.sendall(REGTEST + b"version".ljust(12, b"\0") + struct.pack("<I", len(payload)) + checksum + payload)
    header = received(connection, 24)
    return header.startswith(REGTEST + b"version")


def speaks_lightning(connection: socket.socket, public_key: str) -> bool:
    """Whether the LND of that public key answers to the first act of a handshake, which is for it alone. BOLT 8."""
    theirs = bytes.fromhex(public_key)
    chaining = state = hashlib.sha256(b"Noise_XK_secp256k1_ChaChaPoly_SHA256").digest()
    for each in (b"lightning", theirs, GENERATOR):
        state = hashlib.sha256(state + each).digest()
    # HKDF's second output, of what both share: with the secret key 1 it is the other's public key.
    pseudorandom = hmac.digest(chaining, hashlib.sha256(theirs).digest(), "sha256")
    first = hmac.digest(pseudorandom, b"\x01", "sha256")
    key = hmac.digest(pseudorandom, first + b"\x02", "sha256")
    connection.sendall(b"\0" + GENERATOR + ChaCha20Poly1305(key).encrypt(bytes(12), b"", state))
    return received(connection, 50)[0] == 0


class Control:
    """The control port of a namespace's Tor, with the password of its Secret."""

    def __init__(self, cluster, namespace: str, password: bytes) -> None:
        self._connection = _pod.forward(cluster, namespace, "tor-0", CONTROL)
        self._lines = self._connection.makefile("r", encoding="ascii")
        self.say(f'AUTHENTICATE "{password.decode()}"')

    def say(self, command: str) -> list[str]:
        """Tor's answer without its last line, which says OK."""
        self._connection.sendall(f"{command}\r\n".encode())
        lines = []
        for line in self._lines:
            lines.append(line.rstrip())
            if line[3:4] == " ":
                break
        assert lines and lines[-1].startswith("25"), f"{command.split()[0]}: {lines}"
        return lines[:-1]

    def know(self, private_file: bytes) -> None:
        """Take a client's key, as a file of ClientOnionAuthDir would give it."""
        address, _kind, _curve, secret = private_file.decode().strip().split(":")
        key = base64.b64encode(base64.b32decode(secret.upper() + "====")).decode()
        self.say(f"ONION_CLIENT_AUTH_ADD {address} x25519:{key}")

    def forget(self, address: str) -> None:
        """The same key."""
        self.say(f"ONION_CLIENT_AUTH_REMOVE {address.removesuffix('.onion')}")

    def close(self) -> None:
        self._lines.close()
        self._connection.close()
