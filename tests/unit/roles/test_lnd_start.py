"""How LND is started: with its password, or locked for once; with macaroon files, or without."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import time

import pytest

SCRIPT = pathlib.Path(__file__).parents[3] / "roles/lnd/files/start.sh"
KINDS = ("admin", "chainnotifier", "invoice", "invoices", "readonly", "router", "signer", "walletkit")

# LND's image has BusyBox, the test node's GNU programs and dash; here it is what this machine has.
SHELLS = ["sh", *(["busybox"] if shutil.which("busybox") else [])]

UNLOCKS_ITSELF = ["--wallet-unlock-password-file=/run/secrets/wallet/password", "--wallet-unlock-allow-create"]


@pytest.fixture(params=SHELLS)
def start(request, tmp_path):
    """Start an LND that does no more than to tell its arguments; returns those after the two that never change."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cat", "rm", "date", "ln"):
        (programs / name).symlink_to(shutil.which("busybox" if request.param == "busybox" else name))
    (programs / "sh").symlink_to(shutil.which(request.param))
    (programs / "lnd").write_text('#!/bin/sh\necho "pid $$"\nfor each; do echo "$each"; done\n')
    (programs / "lnd").chmod(0o755)

    def run(*stateless: str) -> list[str]:
        with subprocess.Popen([programs / "sh", SCRIPT, tmp_path / "lnd", "regtest", *stateless], env={"PATH": str(programs)},
                              stdout=subprocess.PIPE, text=True) as process:
            said = process.communicate(timeout=30)[0].splitlines()
        began = said.index(f"pid {process.pid}")  # LND itself gets the signals.
        assert process.returncode == 0
        assert said[began + 1:began + 3] == [f"--lnddir={tmp_path}/lnd", "--configfile=/etc/lnd/lnd.conf"]
        return said[began + 3:]
    return run


@pytest.fixture
def chain(tmp_path):
    """LND's directory for its network."""
    path = tmp_path / "lnd/data/chain/bitcoin/regtest"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def with_wallet(chain):
    """The same with a wallet and LND's macaroons in it."""
    (chain / "wallet.db").write_text("a wallet")
    for kind in KINDS:
        (chain / f"{kind}.macaroon").write_text(kind)
    return chain


def macaroons(chain) -> dict[str, str]:
    """What is in the place of each macaroon: a link's target or a file's content."""
    paths = sorted(chain.glob("*.macaroon"))
    return {path.stem: os.readlink(path) if path.is_symlink() else path.read_text() for path in paths}


def test_lnd_unlocks_itself(start, chain):
    del chain
    assert start() == UNLOCKS_ITSELF


def test_first_start_has_no_directory_yet(start):
    assert start("stateless") == UNLOCKS_ITSELF


def test_lnd_that_was_asked_for_waits_for_its_password_once(start, with_wallet, tmp_path):
    (tmp_path / "lnd/start-locked-until").write_text(f"{time.time() + 60:.0f}\n")
    assert start() == []
    assert start() == UNLOCKS_ITSELF
    assert macaroons(with_wallet) == {kind: kind for kind in KINDS}


@pytest.mark.parametrize("content", ["1700000000\n", "", "soon\n", "1 2\n", "$(reboot)\n"], ids=["long ago", "empty", "no number", "two", "a command"])
def test_what_was_asked_for_long_ago_or_not_in_full_does_not_count(start, chain, tmp_path, content):
    del chain
    (tmp_path / "lnd/start-locked-until").write_text(content)
    assert start() == UNLOCKS_ITSELF
    assert not (tmp_path / "lnd/start-locked-until").exists()


def test_stateless_lnd_finds_a_place_taken_for_each_macaroon(start, with_wallet):
    for _time in range(2):
        start("stateless")
        assert macaroons(with_wallet) == {kind: "/dev/null" for kind in KINDS}


def test_stateless_lnd_without_a_wallet_is_told_so_when_it_makes_one(start, chain):
    start("stateless")
    assert macaroons(chain) == {}


def test_stateless_lnd_that_waits_for_its_password_is_told_so_with_it(start, with_wallet, tmp_path):
    (tmp_path / "lnd/start-locked-until").write_text(f"{time.time() + 60:.0f}\n")
    start("stateless")
    assert macaroons(with_wallet) == {}


def test_lnd_that_is_stateless_no_more_writes_its_macaroons_anew(start, with_wallet):
    start("stateless")
    start()
    assert macaroons(with_wallet) == {}
    (with_wallet / "admin.macaroon").write_text("new")
    start()
    assert macaroons(with_wallet) == {"admin": "new"}
