"""What the script before each start of LND clears away, and above all what it leaves alone."""

from __future__ import annotations

import pathlib
import shutil
import struct
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[3] / "roles/lnd/files/clear-interrupted-writes.sh"

# LND's image has BusyBox, the test node's GNU programs and dash; here it is what this machine has.
SHELLS = {"sh": [], **({"busybox": ["busybox"]} if shutil.which("busybox") else {})}
TOOLS = ("od", "tr", "mv", "rm", "date")


def bolt(*transactions: int, page: int = 4096, magic: int = 0xED0CDAED) -> bytes:
    """The four pages that bbolt makes a file of: two meta pages with these transaction ids, an empty free list, an empty leaf.

    Offsets as in bbolt's internal/common, page.go and meta.go. With 0 and 1 it is byte for byte what a killed LND left.
    """
    metas = [struct.pack("<IIIIQQQQQ", magic, 2, page, 0, 3, 0, 2, 4, transaction) for transaction in transactions]
    pages = [struct.pack("<QHHI", number, 0x04, 0, 0) + meta + struct.pack("<Q", fnv(meta)) for number, meta in enumerate(metas)]
    pages += [struct.pack("<QHHI", 2, 0x10, 0, 0), struct.pack("<QHHI", 3, 0x02, 0, 0)]
    return b"".join(each.ljust(page, b"\0") for each in pages)


def fnv(data: bytes) -> int:
    """FNV-1a with 64 bits, bbolt's checksum."""
    result = 0xCBF29CE484222325
    for byte in data:
        result = (result ^ byte) * 0x100000001B3 % 2**64
    return result


@pytest.fixture(params=SHELLS)
def start(request, tmp_path):
    """Run the script over a directory of LND's; without=... hides a program."""
    def run(*, without: str = "") -> str:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        for name in ("sh", *TOOLS):
            if name != without:
                shell = SHELLS[request.param]
                (programs / name).unlink(missing_ok=True)
                (programs / name).symlink_to(shutil.which((shell or [name])[0]))
        done = subprocess.run([programs / "sh", SCRIPT, tmp_path / "lnd", "regtest"], env={"PATH": str(programs)},
                              stdout=subprocess.PIPE, text=True, timeout=30, check=True)
        return done.stdout
    return run


@pytest.fixture
def chain(tmp_path):
    """LND's directory for its network."""
    path = tmp_path / "lnd/data/chain/bitcoin/regtest"
    path.mkdir(parents=True)
    return path


HOLDS_NO_WALLET = {
    "empty": b"",
    "made, nothing written": bolt(0, 1),
    "grown for the first write": bolt(0, 1) + bytes(16384),
    "made on a Raspberry Pi 5": bolt(0, 1, page=16384),
}
MAY_HOLD_A_WALLET = {
    "written once": bolt(2, 1) + bytes(65536),
    "written twice": bolt(2, 3),
    "written often": bolt(70000, 69999),
    "written once on a Raspberry Pi 5": bolt(2, 1, page=16384),
    "number of the second page unreadable": bolt(0, 1)[:4096],
    "not bbolt's": bolt(0, 1, magic=1),
    "a text": b"I am a wallet in a format of the future",
    "one byte": b"\0",
}


@pytest.mark.parametrize("content", HOLDS_NO_WALLET.values(), ids=HOLDS_NO_WALLET)
def test_file_without_a_wallet_is_set_aside(start, chain, content):
    (chain / "wallet.db").write_bytes(content)
    assert "The creation of the wallet was interrupted" in start()
    aside, = chain.iterdir()
    assert aside.name.startswith("wallet.db.interrupted-")
    assert aside.read_bytes() == content


@pytest.mark.parametrize("content", MAY_HOLD_A_WALLET.values(), ids=MAY_HOLD_A_WALLET)
def test_file_that_may_hold_a_wallet_is_left_alone(start, chain, content):
    (chain / "wallet.db").write_bytes(content)
    assert start() == ""
    assert [each.name for each in chain.iterdir()] == ["wallet.db"]
    assert (chain / "wallet.db").read_bytes() == content


@pytest.mark.parametrize("tool", ["od", "tr"])
def test_without_the_means_to_look_the_file_is_left_alone(start, chain, tool):
    (chain / "wallet.db").write_bytes(bolt(0, 1))
    start(without=tool)
    assert [each.name for each in chain.iterdir()] == ["wallet.db"]


def test_first_start_finds_nothing_to_do(start):
    assert start() == ""


def test_empty_files_that_lnd_makes_anew_are_removed(start, chain, tmp_path):
    for name in ("tls.cert", "tls.key", "data/chain/bitcoin/regtest/admin.macaroon", "data/chain/bitcoin/regtest/router.macaroon"):
        (tmp_path / "lnd" / name).touch()
    assert start().count("was interrupted") == 4
    assert list(chain.iterdir()) == []
    assert [each.name for each in (tmp_path / "lnd").iterdir()] == ["data"]


def test_whole_files_and_empty_databases_are_left_alone(start, chain, tmp_path):
    for path in (tmp_path / "lnd/tls.cert", tmp_path / "lnd/tls.key", chain / "admin.macaroon"):
        path.write_text("whole")
    (chain / "macaroons.db").touch()
    assert start() == ""
    assert {each.name for each in chain.iterdir()} == {"admin.macaroon", "macaroons.db"}
    assert {each.name for each in (tmp_path / "lnd").iterdir()} == {"tls.cert", "tls.key", "data"}
