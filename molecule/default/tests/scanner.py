"""Finds credentials where they do not belong, however they are written."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Of the keys of all Secrets, the ones whose values are no secret.
PUBLIC_KEYS = {"cert", "username", "hostname", "hs_ed25519_public_key", "client.auth"}

SIGNATURE_BYTES = 32


@dataclass(frozen=True)
class Needle:
    """One credential: what of it must not be seen, by the view of a haystack in which to look for it. pytest prints the name alone."""

    name: str
    raw: frozenset[bytes] = field(default=frozenset(), repr=False)
    dense: frozenset[bytes] = field(default=frozenset(), repr=False)
    hexadecimal: frozenset[bytes] = field(default=frozenset(), repr=False)
    base64: frozenset[bytes] = field(default=frozenset(), repr=False)
    prose: frozenset[bytes] = field(default=frozenset(), repr=False)


def of_value(name: str, value: bytes) -> Needle:
    """A password, or a macaroon. Either half of a password counts; of a macaroon the signature, without which it is worthless."""
    if value.startswith(b"\x02\x01\x03lnd"):
        parts = [value[-SIGNATURE_BYTES:]]
    else:
        assert len(value) >= 16, f"{name} is too short to be looked for"
        parts = [value[:len(value) // 2], value[len(value) // 2:]]
    return Needle(
        name,
        raw=frozenset(form for part in parts for form in (part, repr(part)[2:-1].encode(), b" ".join(b"%d" % byte for byte in part))),
        dense=frozenset(form for part in parts for form in (part, b",".join(b"%d" % byte for byte in part))),
        hexadecimal=frozenset(part.hex().encode() for part in parts),
        base64=frozenset(form for part in parts for form in _base64(part)))


def of_seed(name: str, words: Iterable[str]) -> Needle:
    """The words of an aezeed; any four in a row count."""
    words = list(words)
    return Needle(name, prose=frozenset(f" {' '.join(words[i:i + 4])} ".encode() for i in range(len(words) - 3)))


def leaks(needles: Iterable[Needle], haystack: bytes) -> list[str]:
    """The names of the needles that are in there: in the clear, as Python, Go or YAML write bytes, in hexadecimal, in base64."""
    # Without what breaks a long value into lines, as it is or as JSON writes it.
    dense = re.sub(rb"\\[nrt]|\s+", b"", haystack)
    prose = re.sub(rb"(?:\\[nrt]|[^a-z])+", b" ", haystack.lower())
    views = {"raw": haystack, "dense": dense, "hexadecimal": dense.lower(), "base64": dense.translate(bytes.maketrans(b"-_", b"+/")),
             "prose": b" " + prose + b" "}
    return [needle.name for needle in needles
            if any(form in content for view, content in views.items() for form in getattr(needle, view))]


def found(needles: Iterable[Needle], haystacks: Mapping[str, bytes]) -> list[str]:
    """What was found where: ``carol/lnd-admin/macaroon in the log of lnd-0``."""
    return [f"{name} in {source}" for source, content in haystacks.items() for name in leaks(needles, content)]


def _base64(part: bytes) -> list[bytes]:
    """What stays the same of its base64 wherever it begins in a longer value."""
    forms = []
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + part)
        forms.append(encoded[(0, 2, 3)[shift]:(len(part) + shift) * 8 // 6])
    return forms
