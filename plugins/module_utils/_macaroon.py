# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LND's macaroons: bytes to permissions and back. Pure; no input or output."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Iterable, Iterator

MAX_BYTES = 64 * 1024

# The location that LND gives its bakery (config_builder.go, macaroons.NewService) and so writes into every macaroon.
_LND = b"lnd"

# libmacaroons, format 2: https://github.com/rescrv/libmacaroons/blob/master/doc/format.txt
_VERSION_2 = 2
_END, _LOCATION, _IDENTIFIER, _VERIFICATION_ID, _SIGNATURE = 0, 1, 2, 4, 6
_SIGNATURE_BYTES = 32
# gopkg.in/macaroon.v2 takes no larger number.
_LARGEST_NUMBER = 0x7FFFFFFF
# What libmacaroons and gopkg.in/macaroon.v2 stretch a root key with.
_KEY_GENERATOR = b"macaroons-key-generator"

# The version byte before the protobuf MacaroonId of macaroon-bakery, the library that LND uses.
_BAKERY_VERSION_3 = 3

_WRITE = ("onchain", "offchain", "address", "message", "peers", "info", "invoices", "macaroon")
_READ = (*_WRITE, "signer")


class MacaroonError(ValueError):
    """The bytes are no macaroon that LND would write; the message says where and why."""


@dataclass(frozen=True, order=True)
class Permission:
    """One operation that LND checks, such as ``invoices:write`` or ``uri:/lnrpc.Lightning/GetInfo``."""

    entity: str
    action: str

    def __str__(self) -> str:
        return f"{self.entity}:{self.action}"


def permissions(*words: str) -> frozenset[Permission]:
    """``permissions("info:read")`` is the set of one permission; an action may itself contain colons."""
    return frozenset(Permission(*word.split(":", 1)) for word in words)


# What LND puts into each file: rpcserver.go (read, write and invoice permissions) and the macaroonOps of each
# sub-server in lnrpc/*/*_server.go, unchanged from 0.18 to 0.21.
KINDS: dict[str, frozenset[Permission]] = {
    "admin": permissions(*(f"{entity}:read" for entity in _READ), *(f"{entity}:write" for entity in _WRITE),
                         "signer:generate", "macaroon:generate"),
    "readonly": permissions(*(f"{entity}:read" for entity in _READ)),
    "invoice": permissions("invoices:read", "invoices:write", "address:read", "address:write", "onchain:read"),
    "router": permissions("offchain:read", "offchain:write"),
    "signer": permissions("signer:generate", "signer:read"),
    "walletkit": permissions("address:read", "address:write", "onchain:read", "onchain:write"),
    "chainnotifier": permissions("onchain:read"),
    "invoices": permissions("invoices:read", "invoices:write"),
}


@dataclass(frozen=True)
class Macaroon:
    """A macaroon of LND, parsed. ``raw`` and ``signature`` open the wallet: they never belong into a message.

    identifier: what LND signed, with the nonce, the root key's id and the permissions in it.
    caveats: first-party conditions in their order, each of which narrows what the macaroon opens.
    expires: the earliest of its time-before caveats, in UTC, or None.
    """

    root_key_id: str
    permissions: frozenset[Permission]
    caveats: tuple[str, ...]
    raw: bytes
    nonce: bytes
    identifier: bytes
    signature: bytes
    expires: datetime | None

    def __repr__(self) -> str:
        return f"Macaroon(root_key_id={self.root_key_id!r}, {self.digest})"

    @property
    def digest(self) -> str:
        """The first 8 hexadecimal digits of the SHA-256: enough to tell two apart, too little to use."""
        return hashlib.sha256(self.raw).hexdigest()[:8]

    @property
    def kind(self) -> str | None:
        """The name of LND's file that holds exactly these permissions, or None."""
        return next((kind for kind, promised in KINDS.items() if promised == self.permissions), None)


def words(held: Iterable[Permission]) -> str:
    """Permissions in one deterministic line: ``address:read, address:write``."""
    return ", ".join(sorted(map(str, held))) or "no permission"


def summary(held: Iterable[Permission]) -> str:
    """Permissions for a reader in a hurry: ``reads everything; writes address, invoices``."""
    by_action: dict[str, list[str]] = {}
    for permission in sorted(held):
        by_action.setdefault(permission.action, []).append(permission.entity)
    parts = []
    for verb, action, everything in (("reads", "read", _READ), ("writes", "write", _WRITE), ("makes", "generate", None)):
        entities = by_action.pop(action, [])
        if entities:
            parts.append(f"{verb} {'everything' if everything and set(entities) >= set(everything) else ', '.join(entities)}")
    parts.extend(f"{entity}:{action}" for action, entities in sorted(by_action.items()) for entity in entities)
    return "; ".join(parts) or "nothing"


# A run looks at each of its macaroons several times.
@functools.lru_cache(maxsize=1024)
def parse(data: bytes) -> Macaroon:
    """Read one binary V2 macaroon as LND writes it.

    data: the file's bytes, at most 64 KiB; any other form of a macaroon, and what else lands in such files, is refused by name.
    Raises MacaroonError with the offset of what does not fit.
    Format: packets of uvarint type, uvarint length, data (libmacaroons, format 2). LND's identifier is byte 3 and a
    protobuf MacaroonId{bytes nonce=1, bytes storageId=2, repeated Op ops=3{string entity=1, repeated string actions=2}}
    (go-macaroon-bakery, bakery/internal/macaroonpb/id.proto).
    """
    _refuse_what_is_not_binary(data)
    reader = _Reader(data, 1)
    location = reader.optional(_LOCATION) or b""
    if location != _LND:
        raise MacaroonError(f"its location is {_text(location, 'its location')[:40]!r} instead of 'lnd': another program made it")
    identifier = reader.required(_IDENTIFIER, "the identifier")
    reader.end("the header")
    caveats = []
    while not reader.at_end():
        foreign = reader.optional(_LOCATION) is not None
        caveat = reader.required(_IDENTIFIER, "a caveat")
        if foreign or reader.optional(_VERIFICATION_ID) is not None:
            raise MacaroonError("it has a third-party caveat, which LND does not accept")
        reader.end("a caveat")
        caveats.append(_text(caveat, "a caveat"))
    signature = reader.required(_SIGNATURE, "the signature")
    if len(signature) != _SIGNATURE_BYTES:
        raise MacaroonError(f"its signature has {len(signature)} bytes instead of {_SIGNATURE_BYTES}")
    if reader.offset != len(data):
        raise MacaroonError(f"{len(data) - reader.offset} bytes follow the signature at offset {reader.offset}")
    root_key_id, held, nonce = _identity(identifier)
    return Macaroon(root_key_id, held, tuple(caveats), bytes(data), nonce, identifier, signature, _earliest(caveats))


def mint(root_key: bytes, root_key_id: str, held: Iterable[Permission], nonce: bytes, caveats: Iterable[str] = ()) -> Macaroon:
    """Make the macaroon that LND would make, byte for byte.

    root_key: 32 bytes in LND; nonce: 16 bytes in LND, random.
    Raises MacaroonError for what LND would not make, or ``parse`` not read.
    Format: as in ``parse``; the order of the operations is CanonicalOps' of macaroon-bakery (bakery/oven.go).
    """
    by_entity: dict[str, list[str]] = {}
    for permission in sorted(set(held)):
        by_entity.setdefault(permission.entity, []).append(permission.action)
    if not by_entity:
        raise MacaroonError("a macaroon needs at least one permission")
    if not root_key_id:
        raise MacaroonError("a macaroon needs the id of its root key")
    message = _fields(1, nonce) + _fields(2, _bytes(root_key_id, "the root key id"))
    for entity, actions in by_entity.items():
        operation = _fields(1, _bytes(entity, "an entity")) + b"".join(_field(2, _bytes(action, "an action")) for action in actions)
        message += _field(3, operation)
    identifier = bytes([_BAKERY_VERSION_3]) + message
    return _extended(identifier, (), _hmac(_hmac(_KEY_GENERATOR, root_key), identifier), caveats)


def constrain(macaroon: Macaroon, caveats: Iterable[str]) -> Macaroon:
    """The macaroon with further first-party caveats, such as ``ipaddr 10.1.2.3``; whoever holds a macaroon can narrow it.

    Raises MacaroonError for a caveat that is empty or no text, or where the result is too large.
    """
    return _extended(macaroon.identifier, macaroon.caveats, macaroon.signature, caveats)


def signed_with(macaroon: Macaroon, root_key: bytes) -> bool:
    """Whether this root key, and no other, made the macaroon."""
    signature = _hmac(_hmac(_KEY_GENERATOR, root_key), macaroon.identifier)
    for caveat in macaroon.caveats:
        signature = _hmac(signature, caveat.encode())
    return hmac.compare_digest(signature, macaroon.signature)


def time_before(when: datetime) -> str:
    """The caveat that ends a macaroon's life. when: with a time zone. Raises MacaroonError.

    Format: RFC 3339 in UTC, without zeros at the end of the fraction (TimeBeforeCaveat of macaroon-bakery, bakery/checkers/time.go).
    """
    if when.tzinfo is None:
        raise MacaroonError("the time at which a macaroon expires needs a time zone")
    try:
        text = when.astimezone(timezone.utc).replace(tzinfo=None).isoformat()
    except OverflowError:
        raise MacaroonError(f"{when.isoformat()} is no time that LND understands") from None
    return f"time-before {text.rstrip('0') if '.' in text else text}Z"


def ip_range(network: str) -> str:
    """The caveat that ties a macaroon to callers of one network, such as ``10.1.0.0/16``. Raises MacaroonError.

    Format: as Go prints a net.IPNet, with the host's bits cleared (IPRangeLockConstraint, lnd/macaroons/constraints.go).
    """
    try:
        if "%" in network:
            raise ValueError("a zone has a meaning on one machine only")
        parsed = ipaddress.ip_network(network, strict=False)
    except ValueError:
        raise MacaroonError(f"{network!r} is no range of addresses such as 10.1.0.0/16 or fd00::/64") from None
    if parsed.version == 6 and parsed.network_address.ipv4_mapped:
        raise MacaroonError(f"{network!r} is a range of IPv4 addresses in the form of IPv6; write it as IPv4")
    return f"iprange {parsed.compressed}"


def _extended(identifier: bytes, caveats: Iterable[str], signature: bytes, further: Iterable[str]) -> Macaroon:
    """Sign further caveats, encode the whole and read it back: what comes out is what ``parse`` accepts."""
    texts = [caveat.encode() for caveat in caveats]
    for caveat in further:
        text = _bytes(caveat, "a caveat")
        if not text:
            raise MacaroonError("a caveat is empty")
        texts.append(text)
        signature = _hmac(signature, text)
    header = _packet(_LOCATION, _LND) + _packet(_IDENTIFIER, identifier) + b"\0"
    return parse(bytes([_VERSION_2]) + header + b"".join(_packet(_IDENTIFIER, text) + b"\0" for text in texts)
                 + b"\0" + _packet(_SIGNATURE, signature))


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _packet(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + _uvarint(len(data)) + data


def _field(number: int, data: bytes) -> bytes:
    """One length-delimited field of a protobuf message."""
    return _packet(number << 3 | 2, data)


def _fields(number: int, data: bytes) -> bytes:
    """The same for a field that is not repeated: protobuf leaves an empty one out."""
    return _field(number, data) if data else b""


def _uvarint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes([number])


def _bytes(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MacaroonError(f"{what} has characters that UTF-8 cannot hold") from None


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _earliest(caveats: Iterable[str]) -> datetime | None:
    """When the first time-before caveat ends the macaroon's life. Nanoseconds are cut off."""
    times = []
    for caveat in caveats:
        name, _space, text = caveat.partition(" ")
        if name != "time-before":
            continue
        found = _TIME.fullmatch(text)
        try:
            whole = datetime.strptime(found[1] + found[3].replace("Z", "+00:00"), "%Y-%m-%dT%H:%M:%S%z")
            times.append(whole.replace(microsecond=int((found[2] or "0").ljust(6, "0")[:6])).astimezone(timezone.utc))
        except (TypeError, ValueError, OverflowError):
            raise MacaroonError("the time at which it expires is none that LND can read") from None
    return min(times, default=None)


# What else lands in a file called *.macaroon, by its first bytes.
_FOREIGN = (
    (re.compile(rb"-----BEGIN "), "PEM text, such as a certificate"),
    (re.compile(rb"\s*\[?\s*{"), "JSON text"),
    (re.compile(rb"lndconnect:"), "an lndconnect address"),
    (re.compile(rb"[0-9a-f]{4}(location|identifier) "), "a version 1 macaroon"),
    (re.compile(rb"\x1f\x8b"), "a gzip archive"),
    (re.compile(rb"PK\x03\x04"), "a zip archive"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "UTF-16 text"),
    # A file whose blocks were not written before a power cut.
    (re.compile(rb"\0+\Z"), "a file of zero bytes"),
)


def _refuse_what_is_not_binary(data: bytes) -> None:
    if not data:
        raise MacaroonError("it is empty")
    if len(data) > MAX_BYTES:
        raise MacaroonError(f"it has {len(data)} bytes; no macaroon is larger than {MAX_BYTES}")
    if data[0] == _VERSION_2:
        return
    what = _unwrapped(data)
    if what and what.endswith(" of a macaroon"):
        raise MacaroonError(f"it is {what}; the binary form is needed")
    if what:
        raise MacaroonError(f"it is {what}, not a version 2 macaroon")
    if _is_text(data):
        raise MacaroonError("it is text, not a version 2 macaroon")
    raise MacaroonError(f"it starts with byte {data[0]} instead of {_VERSION_2}: not a version 2 macaroon")


def _is_text(data: bytes) -> bool:
    try:
        return all(character.isprintable() or character.isspace() for character in data.decode())
    except UnicodeDecodeError:
        return False


def _unwrapped(data: bytes, layers: int = 3) -> str | None:
    """What a text turns out to be, such as ``base64 text of hexadecimal text``; None where nothing sensible is in it.

    A text that was cut off is taken for what it was.
    """
    what = next((what for pattern, what in _FOREIGN if pattern.match(data)), None)
    if what or not layers:
        return what
    for name, decode in (("hexadecimal text", _from_hexadecimal), ("base64 text", _from_base64)):
        inner = decode(b"".join(data.split()))
        if inner and inner[0] == _VERSION_2:
            return f"{name} of a macaroon"
        deeper = _unwrapped(inner, layers - 1)
        if deeper:
            return f"{name} of {deeper}"
    return None


def _from_hexadecimal(text: bytes) -> bytes:
    whole = text[:len(text) // 2 * 2]
    return bytes.fromhex(whole.decode()) if re.fullmatch(rb"[0-9a-fA-F]+", whole) else b""


def _from_base64(text: bytes) -> bytes:
    text = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    whole = text[:len(text) // 4 * 4]
    return base64.b64decode(whole) if re.fullmatch(rb"[A-Za-z0-9+/]+", whole) else b""


def _identity(identifier: bytes) -> tuple[str, frozenset[Permission], bytes]:
    """The root key's id, the permissions and the nonce."""
    if not identifier:
        raise MacaroonError("its identifier is empty")
    if identifier[0] != _BAKERY_VERSION_3:
        raise MacaroonError("its identifier was not made by LND (no bakery version 3)")
    root_key_id, held, nonce = None, set(), b""
    for field, value in _protobuf(identifier[1:]):
        if field == 1:
            nonce = value
        elif field == 2:
            if root_key_id is not None:
                raise MacaroonError("its identifier names two root keys")
            root_key_id = _text(value, "the root key id")
        elif field == 3:
            held |= set(_operation(value))
    if root_key_id is None:
        raise MacaroonError("its identifier names no root key")
    return root_key_id, frozenset(held), nonce


def _operation(data: bytes) -> Iterator[Permission]:
    entity, actions = "", []
    for field, value in _protobuf(data):
        if field == 1:
            entity = _text(value, "an entity")
        elif field == 2:
            actions.append(_text(value, "an action"))
    for action in actions:
        yield Permission(entity, action)


def _protobuf(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of one protobuf message: (number, bytes). MacaroonId and Op have no other kind."""
    reader = _Reader(data, 0, "its identifier")
    while reader.offset < len(data):
        key = reader.uvarint()
        if key & 7 != 2:
            raise MacaroonError(f"its identifier has a field of wire type {key & 7}, which LND does not write")
        if not key >> 3:
            raise MacaroonError("its identifier has a field with the number 0, which no protobuf message has")
        yield key >> 3, reader.take(reader.uvarint())


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MacaroonError(f"{what} is not UTF-8 text") from None


class _Reader:
    """Walks over packets and keeps the offset for messages."""

    def __init__(self, data: bytes, offset: int, what: str = "it") -> None:
        self._data, self.offset, self._what = data, offset, what

    def uvarint(self) -> int:
        start, value, shift = self.offset, 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise MacaroonError(f"a number at offset {start} is too long")
        if value > _LARGEST_NUMBER:
            raise MacaroonError(f"a number at offset {start} is larger than {_LARGEST_NUMBER}")
        return value

    def take(self, length: int) -> bytes:
        piece = self._data[self.offset:self.offset + length]
        if len(piece) < length:
            raise MacaroonError(f"{self._what} is cut short: {length} bytes wanted at offset {self.offset}, {len(piece)} there")
        self.offset += length
        return piece

    def at_end(self) -> bool:
        """Consume the packet that ends a list, if it is next."""
        if self._next() != _END:
            return False
        self.offset += 1
        return True

    def end(self, what: str) -> None:
        if not self.at_end():
            raise MacaroonError(f"{what} is not closed at offset {self.offset}")

    def optional(self, kind: int) -> bytes | None:
        if self._next() != kind:
            return None
        self.offset += 1
        return self.take(self.uvarint())

    def required(self, kind: int, what: str) -> bytes:
        data = self.optional(kind)
        if data is None:
            raise MacaroonError(f"{what} is missing at offset {self.offset}")
        return data

    def _next(self) -> int:
        if self.offset >= len(self._data):
            raise MacaroonError(f"it is cut short at offset {self.offset}")
        return self._data[self.offset]
