"""Throws bytes at the macaroon parser, led by the branches that they reach: what comes out is a Macaroon or a MacaroonError.

    python tests/fuzz/macaroon.py SECONDS

What the parser accepts must be the same after a round trip, and stay readable with one caveat more. The statistics at the end count the
executions. atheris has wheels for Linux on x86-64 only; elsewhere this says so and succeeds.
"""

from __future__ import annotations

import base64
import importlib
import os
import pathlib
import sys
import tempfile

try:
    import atheris
except ImportError:
    print("atheris is not installed here: nothing was tried")
    sys.exit()

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / ".ansible/collections"))
with atheris.instrument_imports(include=["ansible_collections.openlsp"]):
    _macaroon = importlib.import_module("ansible_collections.openlsp.node.plugins.module_utils._macaroon")

# The largest file is of no interest: length only slows the search.
MAX_BYTES = 1024


def check(data: bytes) -> None:
    """One execution."""
    try:
        macaroon = _macaroon.parse(data)
    except _macaroon.MacaroonError as error:
        assert str(error)
        return
    repr(macaroon), macaroon.kind, _macaroon.summary(macaroon.permissions)
    again = _macaroon.constrain(macaroon, [])
    assert (again.identifier, again.caveats, again.signature) == (macaroon.identifier, macaroon.caveats, macaroon.signature)
    narrower = _macaroon.constrain(macaroon, ["ipaddr 10.1.2.3"])
    assert (narrower.permissions, narrower.caveats) == (macaroon.permissions, (*macaroon.caveats, "ipaddr 10.1.2.3"))


def seeds() -> list[bytes]:
    """Where the search begins: what LND writes, and the wrong forms of it that have messages of their own."""
    raw = _macaroon.mint(b"fake root key of a fuzz test", "0", _macaroon.permissions("info:read", "uri:/lnrpc.State/GetState"), bytes(16), [
        "time-before 2026-12-01T00:00:00.5Z", "ipaddr 10.1.2.3", "iprange fd00::/64", "lnd-custom account 0123"]).raw
    return [raw, raw.hex().encode(), base64.b64encode(raw), base64.b64encode(raw.hex().encode()), raw[:-40],
            b"0013location lnd\n", b'{"v":2}', b"-----BEGIN CERTIFICATE-----\n", "text".encode("utf-16")]


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        for number, seed in enumerate(seeds()):
            (pathlib.Path(directory) / f"seed{number}").write_bytes(seed)
        # libFuzzer ends its process by itself; this one is left to clean up.
        child = os.fork()
        if not child:
            atheris.Setup([sys.argv[0], f"-max_total_time={int(sys.argv[1])}", f"-max_len={MAX_BYTES}", "-timeout=10", "-print_final_stats=1",
                           f"-artifact_prefix={tempfile.gettempdir()}/openlsp-macaroon-", directory], check)
            atheris.Fuzz()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
