"""When the blockchain of another node may be taken over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._bootstrap import (
    MAGICS, BootstrapError, Source, Step, Target, explained, left_the_chain, login_and_path, next_step, progress, refuse)

CORE = "Bitcoin Core version v31.1.0"
SOURCE = Source(directory="/home/bitcoin/.bitcoin", parts=["blocks", "chainstate", "indexes"], running=False, magic="f9beb4d9",
                first_block_file="blk00000.dat", programs=[CORE], size=700_000_000_000)
TARGET = Target("/srv/blockchain/bitcoind", exists=True, free=900_000_000_000)


def refusal(*, network="mainnet", pruned=False, target=TARGET, **source):
    with pytest.raises(BootstrapError) as refused:
        refuse(replace(SOURCE, **source), target, network, pruned)
    return str(refused.value)


# --- what is left to do --------------------------------------------------------------------------------------------

STEPS = {
    "nothing-has-come": ({}, Step.COPY),
    "a-part-has-come": ({"staged": 5}, Step.COPY),
    "all-has-come": ({"complete": True}, Step.MOVE),
    "all-has-come-and-half-of-it-is-in-place": ({"complete": True, "parts": ("blocks",)}, Step.MOVE),
    "it-was-copied-before": ({"marked": True, "parts": ("blocks", "chainstate")}, Step.NOTHING),
}


@pytest.mark.parametrize("there, step", STEPS.values(), ids=STEPS)
def test_the_next_step_follows_from_what_is_there(there, step):
    assert next_step(replace(TARGET, **there)) is step


@pytest.mark.parametrize("parts", [("chainstate",), ("blocks",), ("blocks", "chainstate", "indexes")])
def test_a_blockchain_that_is_there_stays(parts):
    with pytest.raises(BootstrapError, match="has a blockchain already .* which stays as it is; empty bitcoind_bootstrap_from"):
        next_step(replace(TARGET, parts=parts))


def test_a_blockchain_that_came_by_itself_meanwhile_stays():
    with pytest.raises(BootstrapError, match="has a blockchain already"):
        next_step(replace(TARGET, staged=5, parts=("blocks", "chainstate")))


def test_a_copy_that_was_removed_is_not_made_again_unasked():
    with pytest.raises(BootstrapError, match="copied to /srv/blockchain/bitcoind before, and is gone; remove bootstrap.json there to copy it again"):
        next_step(replace(TARGET, marked=True))


def test_a_directory_that_is_not_mounted_is_not_made():
    with pytest.raises(BootstrapError, match="^/srv/blockchain/bitcoind does not exist here; is its volume mounted"):
        next_step(replace(TARGET, exists=False))


# --- what is refused -----------------------------------------------------------------------------------------------

GOOD = {
    "mainnet": {},
    "no-indexes": {"parts": ["blocks", "chainstate"]},
    "knots-before-it-left": {"programs": ["Bitcoin Knots version v29.3.0.knots20260507"]},
    "core-after-a-knots-before-it-left": {"programs": ["Bitcoin Knots version v28.1.0.knots20250305", CORE]},
    "pruned-for-a-pruned-one": {"first_block_file": "blk04711.dat", "pruned": True},
    "whole-for-a-pruned-one": {"pruned": True},
    "only-settings.json-tells": {"programs": ["Bitcoin Core"]},
    "knots-on-regtest": {"network": "regtest", "magic": "fabfb5da", "programs": ["Bitcoin Knots version v29.5.0.knots20260508"]},
    "nothing-tells-on-regtest": {"network": "regtest", "magic": "fabfb5da", "programs": []},
    "most-of-it-has-come": {"target": replace(TARGET, free=5_000_000_000, staged=699_000_000_000)},
}


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_a_good_source_is_not_refused(case):
    target, network, pruned = case.get("target", TARGET), case.get("network", "mainnet"), case.get("pruned", False)
    refuse(replace(SOURCE, **{key: value for key, value in case.items() if key not in ("target", "network", "pruned")}), target, network, pruned)


REFUSED = {
    "no-chain": ({"parts": [], "first_block_file": ""}, "no blockchain that this user can read is there (blocks or chainstate is missing)"),
    "no-chainstate": ({"parts": ["blocks"]}, "(chainstate is missing)"),
    "no-block-files": ({"first_block_file": ""}, "(blk*.dat is missing)"),
    "it-runs": ({"running": True}, "a bitcoind runs there; stop it until the copy is here"),
    "other-network": ({"magic": "fabfb5da"}, "this is regtest, not mainnet"),
    "other-coin": ({"magic": "e3e1f3e8"}, "this is a network that is not known, not mainnet"),
    "knots-that-left": ({"programs": ["Bitcoin Knots version v29.3.0.knots20260508"]}, "Bitcoin Knots version v29.3.0.knots20260508 wrote it"),
    "knots-that-left-before-core": ({"programs": ["Bitcoin Knots version v29.4.1.knots20260508", CORE]}, "v29.4.1.knots20260508 wrote it"),
    "knots-of-unknown-version": ({"programs": ["Bitcoin Knots"]}, "Bitcoin Knots wrote it"),
    "nothing-tells": ({"programs": []}, "nothing there tells which program wrote it"),
    "pruned": ({"first_block_file": "blk04711.dat"}, "its oldest blocks are pruned (it begins with blk04711.dat); set bitcoind_prune_mib"),
    "too-large": ({"target": replace(TARGET, free=500_000_000_000)}, "/srv/blockchain/bitcoind lacks 201.0 GB for its 700.0 GB"),
}


@pytest.mark.parametrize("case, sentence", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_named(case, sentence):
    assert sentence in refusal(**case)


@pytest.mark.parametrize("magic, network", MAGICS.items())
def test_a_network_is_refused_as_every_other(magic, network):
    for other in set(MAGICS.values()) - {network}:
        assert refusal(magic=magic, network=other).startswith(f"this is {network}, not {other}")


@pytest.mark.parametrize("program, left", {
    "Bitcoin Core version v31.1.0": False,
    "Bitcoin Core version v32.1.0": False,
    "Bitcoin Knots version v27.1.0.knots20240801": False,
    "Bitcoin Knots version v29.3.0.knots20260507": False,
    "Bitcoin Knots version v29.3.0.knots20260508": True,
    "Bitcoin Knots version v29.5.0.knots20260508": True,
    "Bitcoin Knots version v30.0.0.knots20270101": True,
    "Bitcoin Knots version v29.5.0": True,
    "Bitcoin Unlimited version v2.1.0": True,
}.items())
def test_who_left_the_chain_is_known(program, left):
    assert left_the_chain(program) is left


# --- addresses and progress ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("source, parts", {
    "bitcoin@umbrel.local:/home/bitcoin/.bitcoin": ("bitcoin@umbrel.local", "/home/bitcoin/.bitcoin"),
    "pi@10.0.0.7:/mnt/a path": ("pi@10.0.0.7", "/mnt/a path"),
    "pi@[fd00::7]:/data": ("pi@[fd00::7]", "/data"),
}.items())
def test_an_address_is_login_and_path(source, parts):
    assert login_and_path(source) == parts


@pytest.mark.parametrize("source", ["umbrel:/data", "pi@umbrel", "pi@umbrel:data", "-oProxyCommand=x@y:/data", "pi@-oProxyCommand=x:/data", "pi@a:/b\nc",
                                    "pi@a b:/data", "rsync://pi@umbrel/data", ""])
def test_what_is_no_address_is_refused(source):
    with pytest.raises(BootstrapError, match="no address such as bitcoin@umbrel.local:/home/bitcoin/.bitcoin"):
        login_and_path(source)


def test_progress_tells_share_and_speed():
    assert progress(700_000_000_000, 100_000_000_000, 103_000_000_000, 60) == "14 % of 700.0 GB, 50.0 MB/s"


def test_progress_of_what_became_less_is_no_negative_speed():
    assert progress(0, 5, 0, 60) == "0 % of 0.0 MB, 0.0 MB/s"


@pytest.mark.parametrize(("said", "told"), [
    ("", "the connection ended"),
    ("pi@umbrel: Permission denied (publickey).", "pi@umbrel: Permission denied (publickey); forward an agent whose key may log in there"),
    ("bash: line 1: rsync: command not found\nrsync: connection unexpectedly closed (0 bytes received so far) [Receiver]\n"
     "rsync error: error in rsync protocol data stream (code 12) at io.c(232) [Receiver=3.2.7]", "bash: line 1: rsync: command not found; install rsync there"),
    ("rsync: [receiver] write failed: No space left on device (28)\nrsync error: error in file IO (code 11) at receiver.c(381)",
     "rsync: [receiver] write failed: No space left on device (28)"),
    ("rsync error: timeout in data send/receive (code 30)", "rsync error: timeout in data send/receive (code 30)")],
    ids=["nothing", "ssh", "no-rsync-there", "full", "its-own-words-alone"])
def test_the_cause_is_told_and_not_that_rsync_ended(said, told):
    assert explained(said).startswith(told)
