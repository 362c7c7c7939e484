# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LND's macaroons: bytes to permissions. Pure; no input or output."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Iterable, Iterator

MAX_BYTES = 64 * 1024

# libmacaroons, format 2: https://github.com/rescrv/libmacaroons/blob/master/doc/format.txt
_VERSION_2 = 2
_END, _LOCATION, _IDENTIFIER, _VERIFICATION_ID, _SIGNATURE = 0, 1, 2, 4, 6
_SIGNATURE_BYTES = 32

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
    """A macaroon of LND, parsed. ``raw`` opens the wallet: it never belongs into a message."""

    root_key_id: str
    permissions: frozenset[Permission]
    caveats: tuple[str, ...]
    raw: bytes

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


def parse(data: bytes) -> Macaroon:
    """Read one binary V2 macaroon as LND writes it.

    data: the file's bytes, at most 64 KiB; hexadecimal or base64 text is refused by name.
    Raises MacaroonError with the offset of what does not fit.
    Format: packets of uvarint type, uvarint length, data (libmacaroons, format 2). LND's identifier is byte 3 and a
    protobuf MacaroonId{bytes nonce=1, bytes storageId=2, repeated Op ops=3{string entity=1, repeated string actions=2}}
    (go-macaroon-bakery, bakery/internal/macaroonpb/id.proto).
    """
    _refuse_what_is_not_binary(data)
    reader = _Reader(data, 1)
    reader.optional(_LOCATION)
    identifier = reader.required(_IDENTIFIER, "the identifier")
    reader.end("the header")
    caveats = []
    while not reader.at_end():
        reader.optional(_LOCATION)
        caveat = reader.required(_IDENTIFIER, "a caveat")
        if reader.optional(_VERIFICATION_ID) is not None:
            raise MacaroonError("it has a third-party caveat, which LND does not accept")
        reader.end("a caveat")
        caveats.append(_text(caveat, "a caveat"))
    signature = reader.required(_SIGNATURE, "the signature")
    if len(signature) != _SIGNATURE_BYTES:
        raise MacaroonError(f"its signature has {len(signature)} bytes instead of {_SIGNATURE_BYTES}")
    if reader.offset != len(data):
        raise MacaroonError(f"{len(data) - reader.offset} bytes follow the signature at offset {reader.offset}")
    root_key_id, held = _identity(identifier)
    return Macaroon(root_key_id, held, tuple(caveats), bytes(data))


def _refuse_what_is_not_binary(data: bytes) -> None:
    if not data:
        raise MacaroonError("it is empty")
    if len(data) > MAX_BYTES:
        raise MacaroonError(f"it has {len(data)} bytes; no macaroon is larger than {MAX_BYTES}")
    if data[:12].lower() == b"0201036c6e64":
        raise MacaroonError("it is hexadecimal text; the binary form is needed")
    if data[:4] in (b"AgED", b"MDIw", b"QWdF"):  # Of the bytes, of hexadecimal text, of base64 text.
        raise MacaroonError("it is base64 text; the binary form is needed")
    if data[0] != _VERSION_2:
        raise MacaroonError(f"it starts with byte {data[0]} instead of {_VERSION_2}: not a version 2 macaroon")


def _identity(identifier: bytes) -> tuple[str, frozenset[Permission]]:
    if not identifier or identifier[0] != _BAKERY_VERSION_3:
        raise MacaroonError("its identifier was not made by LND (no bakery version 3)")
    root_key_id, held = None, set()
    for field, value in _protobuf(identifier[1:]):
        if field == 2:
            root_key_id = _text(value, "the root key id")
        elif field == 3:
            held |= set(_operation(value))
    if root_key_id is None:
        raise MacaroonError("its identifier names no root key")
    return root_key_id, frozenset(held)


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
    reader = _Reader(data, 0)
    while reader.offset < len(data):
        key = reader.uvarint()
        if key & 7 != 2:
            raise MacaroonError(f"its identifier has a field of wire type {key & 7}, which LND does not write")
        yield key >> 3, reader.take(reader.uvarint())


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MacaroonError(f"{what} is not UTF-8 text") from None


class _Reader:
    """Walks over packets and keeps the offset for messages."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data, self.offset = data, offset

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise MacaroonError(f"a number at offset {self.offset} is too long")

    def take(self, length: int) -> bytes:
        piece = self._data[self.offset:self.offset + length]
        if len(piece) < length:
            raise MacaroonError(f"it is cut short: {length} bytes wanted at offset {self.offset}, {len(piece)} there")
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
