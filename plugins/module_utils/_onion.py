# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and addresses of onion services (version 3), in the forms of Tor's files and of LND; no I/O.

Formats: torspec, rend-spec/encoding-onion-addresses and rend-spec/client-authorization; control-spec, ADD_ONION; tor's src/lib/crypt_ops/crypto_ed25519.c.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import traceback
from dataclasses import dataclass, field

try:
    from nacl.bindings import crypto_scalarmult_base, crypto_scalarmult_ed25519_base_noclamp

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

SECRET_HEADER = b"== ed25519v1-secret: type0 ==\0\0\0"
PUBLIC_HEADER = b"== ed25519v1-public: type0 ==\0\0\0"
ADD_ONION_PREFIX = "ED25519-V3:"

_FILE = b"== ed25519v1-"
_SUFFIX = ".onion"
_VERSION = b"\x03"
_BASE32 = re.compile(r"[a-z2-7]+")


class OnionError(Exception):
    """A key or an address that cannot be used; the message says what it is instead, and never shows a key."""


@dataclass(frozen=True)
class OnionKey:
    """The expanded secret key of an onion service: 32 bytes of scalar, 32 of prefix. Its seed, if it ever had one, is not in Tor's files."""

    expanded: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The 32 bytes that the address is made of."""
        return crypto_scalarmult_ed25519_base_noclamp(self.expanded[:32])

    @property
    def address(self) -> str:
        """With its .onion."""
        return address(self.public)

    @property
    def secret_file(self) -> bytes:
        """The content of hs_ed25519_secret_key in a HiddenServiceDir: 96 bytes."""
        return SECRET_HEADER + self.expanded

    @property
    def public_file(self) -> bytes:
        """The content of hs_ed25519_public_key in a HiddenServiceDir: 64 bytes."""
        return PUBLIC_HEADER + self.public

    @property
    def hostname_file(self) -> bytes:
        """The content of hostname in a HiddenServiceDir."""
        return f"{self.address}\n".encode()

    @property
    def add_onion(self) -> str:
        """As in Tor's ADD_ONION and in LND's v3_onion_private_key."""
        return ADD_ONION_PREFIX + base64.b64encode(self.expanded).decode()


@dataclass(frozen=True)
class ClientKey:
    """An x25519 key that lets its owner read the descriptor of an onion service."""

    secret: bytes = field(repr=False)

    @property
    def authorized(self) -> bytes:
        """The content of a file in a HiddenServiceDir's authorized_clients: the public half."""
        return f"descriptor:x25519:{_base32(crypto_scalarmult_base(self.secret))}\n".encode()

    def private_file(self, of: str) -> bytes:
        """The content of a file in the client's ClientOnionAuthDir. of: the service's address."""
        return f"{of.removesuffix(_SUFFIX)}:descriptor:x25519:{_base32(self.secret)}\n".encode()


def new_key() -> OnionKey:
    """A random key, made as Tor makes it: the hash of 32 random bytes, clamped."""
    return _expanded(hashlib.sha512(secrets.token_bytes(32)).digest())


def new_client_key() -> ClientKey:
    """A random key."""
    return ClientKey(secrets.token_bytes(32))


def parse_client(private_file: bytes) -> ClientKey | None:
    """The key of a file of a ClientOnionAuthDir, or None where there is none in it."""
    try:
        secret = base64.b32decode(private_file.decode("ascii").strip().rpartition(":x25519:")[2].upper() + "====")
    except (UnicodeDecodeError, binascii.Error):
        return None
    return ClientKey(secret) if len(secret) == 32 else None


def address(public: bytes) -> str:
    """The address of a public key, with its .onion."""
    return _base32(public + _checksum(public) + _VERSION) + _SUFFIX


def public_of(text: str) -> bytes:
    """The public key that an address is made of. Raises OnionError, which names an address of version 2 and a mistyped one."""
    name = text.strip().lower().removesuffix(_SUFFIX)
    if len(name) == 16 and _BASE32.fullmatch(name):
        raise OnionError(f"{text.strip()!r} is an onion address of version 2, which Tor dropped in 2021; it needs one of 56 characters")
    if len(name) != 56 or not _BASE32.fullmatch(name):
        raise OnionError(f"{text.strip()!r} is no onion address, which has 56 characters out of a-z and 2-7 before its .onion")
    raw = base64.b32decode(name.upper())
    public, checksum, version = raw[:32], raw[32:34], raw[34:]
    if version != _VERSION:
        raise OnionError(f"{text.strip()!r} is an onion address of version {version[0]}; 3 is the only one there is")
    if checksum != _checksum(public):
        raise OnionError(f"{text.strip()!r} is mistyped: its checksum is wrong")
    return public


def parse(key: str | bytes) -> OnionKey:
    """A secret key in any of its forms: hs_ed25519_secret_key as bytes or as base64, or LND's v3_onion_private_key.

    Raises OnionError, which names what is another kind of key.
    """
    if isinstance(key, bytes) and key.startswith(_FILE):
        return _from_file(key)
    text = (key.decode("utf-8", "replace") if isinstance(key, bytes) else key).strip()
    if text.startswith(("RSA1024:", "-----BEGIN RSA")):
        raise OnionError("it is an RSA key, of an onion service of version 2, which Tor dropped in 2021")
    if text.startswith("== ed25519v1-secret"):
        raise OnionError("it is hs_ed25519_secret_key read as text, which damages it; give it as base64: base64 -w0 hs_ed25519_secret_key")
    encoded = text.removeprefix(ADD_ONION_PREFIX)
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise OnionError("it is neither LND's v3_onion_private_key (ED25519-V3:...) nor hs_ed25519_secret_key as base64") from None
    if encoded == text:
        return _from_file(raw)
    if len(raw) != 64:
        raise OnionError(f"after {ADD_ONION_PREFIX} come {len(raw)} bytes as base64; a key has 64")
    return _expanded(raw)


def checked(secret_file: bytes, hostname: bytes, public_file: bytes | None = None) -> OnionKey:
    """The key of a HiddenServiceDir whose files belong together. Raises OnionError where they do not."""
    key, recorded = parse(secret_file), hostname.decode("ascii", "replace").strip()
    if public_of(recorded) != key.public:
        raise OnionError(f"its key is that of {key.address}, but its recorded address is {recorded}")
    if public_file is not None and public_file != key.public_file:
        raise OnionError(f"its public key does not belong to {recorded}")
    return key


def hashed_password(password: str, salt: bytes) -> str:
    """A value for Tor's HashedControlPassword. salt: 8 bytes.

    Format: RFC 2440, 3.6.1.3, iterated and salted S2K with SHA-1; ``16:``, salt, the count's byte and the hash in hexadecimal.
    """
    indicator = 96  # What `tor --hash-password` takes: 65,536 bytes are hashed.
    count = (16 + (indicator & 15)) << ((indicator >> 4) + 6)
    unit = salt + password.encode()
    digest = hashlib.sha1((unit * (count // len(unit) + 1))[:count], usedforsecurity=False).digest()
    return f"16:{salt.hex()}{indicator:02x}{digest.hex()}".upper()


def _from_file(raw: bytes) -> OnionKey:
    if raw.startswith(PUBLIC_HEADER[:29]):
        raise OnionError("it is hs_ed25519_public_key, the public half; the key is in hs_ed25519_secret_key")
    if not raw.startswith(SECRET_HEADER) or len(raw) != 96:
        raise OnionError(f"it has {len(raw)} bytes and is no hs_ed25519_secret_key, which has 96 and begins with its name")
    return _expanded(raw[32:])


def _expanded(raw: bytes) -> OnionKey:
    """Clamped: Tor takes a key whose bits are set otherwise for another one than its own signatures use."""
    return OnionKey(bytes([raw[0] & 248]) + raw[1:31] + bytes([raw[31] & 63 | 64]) + raw[32:])


def _checksum(public: bytes) -> bytes:
    return hashlib.sha3_256(b".onion checksum" + public + _VERSION).digest()[:2]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
