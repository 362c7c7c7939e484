"""How Tor is started: with the keys and the password that its Secrets hold, or not at all."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[3] / "roles/tor/files/start.sh"
SERVICE = "run/secrets/onion/lnd-p2p"
KEYS = ("hostname", "hs_ed25519_public_key", "hs_ed25519_secret_key")

# Tor's image may have either.
SHELLS = ["sh", *(["busybox"] if shutil.which("busybox") else [])]


@pytest.fixture
def root(tmp_path):
    """What the pod mounts, below another root."""
    for directory in ("data", "run/tor", "etc/tor", "run/secrets/control", SERVICE):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "etc/tor/torrc").write_text("SocksPort 9050\n")
    (tmp_path / "run/secrets/control/hashed").write_text("16:00")
    for name in KEYS:
        (tmp_path / SERVICE / name).write_text(name)
    return tmp_path


@pytest.fixture(params=SHELLS)
def start(request, root):
    """Start a Tor that finds every configuration good, and does no more than to tell that it runs; returns what was said, and how it ended."""
    programs = root / "bin"
    programs.mkdir()
    for name in ("cat", "rm", "date", "mkdir", "cp", "basename", "sleep"):
        (programs / name).symlink_to(shutil.which("busybox" if request.param == "busybox" else name))
    (programs / "sh").symlink_to(shutil.which(request.param))
    (programs / "tor").write_text('#!/bin/sh\necho "tor $*"\n')
    (programs / "tor").chmod(0o755)
    script = root / "start.sh"
    text = SCRIPT.read_text()
    for path in ("/data", "/run/", "/etc/tor"):
        text = text.replace(path, f"{root}{path}")
    script.write_text(text)

    def run() -> tuple[list[str], int]:
        done = subprocess.run([programs / "sh", script, "1"], env={"PATH": str(programs)}, stdout=subprocess.PIPE, text=True, timeout=30, check=False)
        return done.stdout.splitlines(), done.returncode
    return run


def test_tor_gets_its_configuration_the_hashed_password_and_the_keys(start, root):
    assert start() == ([f"tor -f {root}/run/tor/torrc"], 0)
    assert (root / "run/tor/torrc").read_text() == "HashedControlPassword 16:00\nSocksPort 9050\n"
    assert {each.name for each in (root / "run/tor/onion/lnd-p2p").iterdir()} == {*KEYS, "authorized_clients"}


def test_tor_without_an_onion_service_starts_too(start, root):
    shutil.rmtree(root / SERVICE)
    assert start()[1] == 0


@pytest.mark.parametrize("missing", [f"{SERVICE}/hs_ed25519_secret_key", "run/secrets/control/hashed", "etc/tor/torrc"])
def test_tor_does_not_start_without_what_it_needs(start, root, missing):
    """It would make a key of its own, and with it another address; or open its control port without a password."""
    (root / missing).unlink()
    said, code = start()
    assert (said, code != 0) == ([], True)
