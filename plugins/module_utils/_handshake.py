# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first words of a peer, over any connected stream socket: enough to know who answers there, and no more.

A TCP connection alone proves nothing: a router, a load balancer and Tor accept it for a node that is not there.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import struct
import time
from typing import Any

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    HAS_CRYPTOGRAPHY = True
except ImportError:  # ansible-core brings it wherever a playbook runs.
    HAS_CRYPTOGRAPHY = False

# chainparams.cpp of Bitcoin Core: what each message of a network begins with. Of signet, the default one's.
MAGIC = {
    "mainnet": bytes.fromhex("f9beb4d9"), "testnet3": bytes.fromhex("0b110907"), "testnet4": bytes.fromhex("1c163f28"),
    "signet": bytes.fromhex("0a03cf40"), "regtest": bytes.fromhex("fabfb5da"),
}

# A version message has about a hundred bytes; nobody may make us read more than this.
_MAX_VERSION_BYTES = 1024

_PROTOCOL_VERSION = 70016
_USER_AGENT = b"/openlsp.node/"

# secp256k1 (SEC 2, 2.4.1): the field, the group's order and its generator.
_P = 2**256 - 2**32 - 977
_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798, 0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)

_NOISE = b"Noise_XK_secp256k1_ChaChaPoly_SHA256"
_PROLOGUE = b"lightning"

# RFC 1928, and what Tor adds to it (tor's doc/socks-extensions): the answers that an owner can do something about.
_SOCKS_ERRORS = {
    1: "a general failure", 2: "not allowed by its rules", 3: "network unreachable", 4: "host unreachable", 5: "connection refused", 6: "the time ran out",
    0xF0: "there is no descriptor of this onion service", 0xF1: "the descriptor of this onion service is invalid",
    0xF2: "the introduction to this onion service failed", 0xF3: "the rendezvous with this onion service failed",
    0xF4: "this onion service wants a client key", 0xF5: "this onion service refuses the client key", 0xF6: "the onion address is invalid",
    0xF7: "the introduction to this onion service took too long",
}


class HandshakeError(Exception):
    """Nobody answers, or somebody else than was expected."""


# --- Bitcoin -----------------------------------------------------------------------------------------------------------

def bitcoin(sock: Any, network: str) -> str:
    """Exchange version messages (of the unencrypted protocol, which every node understands); the user agent of the node there.

    Raises HandshakeError, and OSError where the connection ends.
    """
    sock.sendall(_message(MAGIC[network], b"version", _version()))
    magic, command, length, _checksum = struct.unpack("<4s12sI4s", _exactly(sock, 24))
    if magic != MAGIC[network]:
        other = next((f"a node of {name}" for name, value in MAGIC.items() if value == magic), "something that is no Bitcoin node")
        raise HandshakeError(f"{other} answers there, not one of {network}")
    if command.rstrip(b"\0") != b"version" or length > _MAX_VERSION_BYTES:
        raise HandshakeError("a Bitcoin node answers there, but not with its version")
    payload = _exactly(sock, length)
    # Version, services, time, two addresses and a number come first; a length of one byte and the user agent follow.
    end = 81 + payload[80] if len(payload) > 80 else 0
    return payload[81:end].decode(errors="replace")


def _version() -> bytes:
    nobody = struct.pack("<Q16sH", 0, b"\0" * 16, 0)
    return (struct.pack("<iQq", _PROTOCOL_VERSION, 0, int(time.time())) + nobody * 2 + secrets.token_bytes(8)
            + bytes([len(_USER_AGENT)]) + _USER_AGENT + struct.pack("<i?", 0, False))


def _message(magic: bytes, command: bytes, payload: bytes) -> bytes:
    checksum = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    return struct.pack("<4s12sI4s", magic, command, len(payload), checksum) + payload


# --- Lightning ---------------------------------------------------------------------------------------------------------

def lightning(sock: Any, public_key: bytes) -> None:
    """Acts one and two of BOLT 8: who answers act two has the private key of ``public_key`` (33 bytes, compressed).

    Raises HandshakeError, and OSError where the connection ends. Nothing tells the node who asks: that would be act three.
    """
    if not HAS_CRYPTOGRAPHY:
        raise HandshakeError("the Python package cryptography is missing for this interpreter")
    noise = Noise(public_key, secrets.randbelow(_N - 1) + 1)
    sock.sendall(noise.act_one())
    try:
        answer = _exactly(sock, 50)
    except HandshakeError:
        raise HandshakeError("whoever answers there is not this node: he ended the connection at our first words") from None
    noise.check_act_two(answer)


class Noise:
    """The initiator's half of the first two acts."""

    def __init__(self, public_key: bytes, ephemeral: int) -> None:
        """ephemeral: a private key that is used once."""
        self._remote, self._ephemeral = _point(public_key), ephemeral
        self._own = _compressed(_times(ephemeral, _G))
        self._chain = hashlib.sha256(_NOISE).digest()
        self._hash = self._chain
        self._mix(_PROLOGUE)
        self._mix(public_key)

    def act_one(self) -> bytes:
        """50 bytes: a version, the ephemeral public key, and a proof that its owner knows whom he speaks to."""
        self._mix(self._own)
        sealed = ChaCha20Poly1305(self._next_key(self._remote)).encrypt(bytes(12), b"", self._hash)
        self._mix(sealed)
        return b"\0" + self._own + sealed

    def check_act_two(self, act: bytes) -> None:
        """Raises HandshakeError where it is not the answer of whoever has the node's private key."""
        if act[0] != 0:
            raise HandshakeError("something that is no Lightning node answers there")
        theirs = act[1:34]
        self._mix(theirs)
        try:
            ChaCha20Poly1305(self._next_key(_point(theirs))).decrypt(bytes(12), act[34:], self._hash)
        except InvalidTag:
            raise HandshakeError("another node than this one answers there") from None

    def _mix(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def _next_key(self, point: tuple[int, int]) -> bytes:
        shared = hashlib.sha256(_compressed(_times(self._ephemeral, point))).digest()
        # HKDF (RFC 5869) with SHA-256, without info, of 64 bytes.
        key = hmac.digest(self._chain, shared, "sha256")
        self._chain = hmac.digest(key, b"\1", "sha256")
        return hmac.digest(key, self._chain + b"\2", "sha256")


def _point(key: bytes) -> tuple[int, int]:
    """A compressed public key's point. Raises HandshakeError."""
    x = int.from_bytes(key[1:], "big")
    y = pow(pow(x, 3, _P) + 7, (_P + 1) // 4, _P)
    if len(key) != 33 or key[0] not in (2, 3) or x >= _P or y * y % _P != (pow(x, 3, _P) + 7) % _P:
        raise HandshakeError("this is no public key of a node")
    return x, y if y % 2 == key[0] % 2 else _P - y


def _compressed(point: tuple[int, int]) -> bytes:
    return bytes([2 + point[1] % 2]) + point[0].to_bytes(32, "big")


def _times(factor: int, point: tuple[int, int]) -> tuple[int, int]:
    """Not in constant time: the private keys here live for one question that anybody may ask. cryptography's own gives the x alone."""
    total = None
    while factor:
        if factor & 1:
            total = _plus(total, point)
        point, factor = _plus(point, point), factor >> 1
    return total


def _plus(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % _P == 0:
        return None
    if one == other:
        slope = 3 * one[0] * one[0] * pow(2 * one[1], -1, _P) % _P
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P) % _P
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


# --- the way there -----------------------------------------------------------------------------------------------------

def socks(sock: Any, host: str, port: int) -> None:
    """Let a SOCKS 5 proxy connect to a host that it resolves itself. Raises HandshakeError in the proxy's words."""
    sock.sendall(b"\x05\x01\x00")
    if _exactly(sock, 2) != b"\x05\x00":
        raise HandshakeError("the SOCKS proxy wants a password, or is none")
    sock.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode("ascii") + struct.pack("!H", port))
    _five, code, _zero, kind = _exactly(sock, 4)
    if code:
        raise HandshakeError(f"the SOCKS proxy says: {_SOCKS_ERRORS.get(code, f'error {code}')}")
    _exactly(sock, {1: 4, 4: 16}.get(kind) or _exactly(sock, 1)[0])
    _exactly(sock, 2)


def _exactly(sock: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        try:
            more = sock.recv(count - len(data))
        except (TimeoutError, socket.timeout):
            raise HandshakeError("the connection stands, but no answer comes") from None
        except ConnectionResetError:
            more = b""
        if not more:
            raise HandshakeError("the connection was ended without an answer")
        data += more
    return data
