"""Macaroons for the tests: LND's identifier built by hand, the rest by pymacaroons."""

from __future__ import annotations

import pymacaroons
from pymacaroons.serializers.binary_serializer import BinarySerializer

NONCE = bytes.fromhex("00112233445566778899aabbccddeeff")


def uvarint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + uvarint(rest) if rest else bytes([low])


def field(number, value):
    """A length-delimited field of a protobuf message."""
    return bytes([number << 3 | 2]) + uvarint(len(value)) + value


def identifier(operations, root_key_id="0", nonce=NONCE):
    """LND's identifier: byte 3 and the protobuf MacaroonId. operations: pairs of entity and action."""
    by_entity = {}
    for entity, action in operations:
        by_entity.setdefault(entity, []).append(action)
    message = field(1, nonce) + field(2, root_key_id.encode())
    for entity, actions in by_entity.items():
        message += field(3, field(1, entity.encode()) + b"".join(field(2, action.encode()) for action in actions))
    return b"\x03" + message


def serialized(of_identifier, caveats=(), version=pymacaroons.MACAROON_V2):
    """A macaroon's bytes as pymacaroons makes them, an implementation that knows nothing of ours."""
    macaroon = pymacaroons.Macaroon(location="lnd", identifier=of_identifier, key="root key of a test", version=version)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return BinarySerializer().serialize_raw(macaroon)
