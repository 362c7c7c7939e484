"""A snapshot is loaded once, off the network, and only when bitcoind knows where it belongs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._snapshot import Snapshot, SnapshotError, parse
from ansible_collections.openlsp.node.plugins.modules import bitcoind_snapshot
from ansible_collections.openlsp.node.plugins.modules.bitcoind_snapshot import CLI

# What bitcoind 29.5 writes of its regtest chain of 110 blocks that chainparams.cpp knows.
HEAD = bytes.fromhex("7574786fff0200fabfb5da5c4250abc0aec098f2d94f3c7a640541aaeaeeceed34e17e9c54651f82926e69")
BLOCK = "696e92821f65549c7ee134edceeeeaaa4105647a3c4fd9f298c0aec0ab50425c"
UNKNOWN = ClusterError("bitcoin-cli in ns/bitcoind-0 failed: error code: -5\nerror message:\nBlock not found")


# --- the file ------------------------------------------------------------------------------------------------------

def test_a_snapshot_names_network_and_block():
    assert parse(HEAD) == Snapshot("regtest", BLOCK)


@pytest.mark.parametrize("head", [b"", HEAD[:-1], b"<html>" + HEAD[6:]], ids=["empty", "cut", "a-web-page"])
def test_what_is_no_snapshot_is_refused(head):
    with pytest.raises(SnapshotError, match="no snapshot that dumptxoutset writes"):
        parse(head)


def test_another_version_is_named():
    with pytest.raises(SnapshotError, match="of version 1, and bitcoind reads version 2"):
        parse(HEAD[:5] + b"\1\0" + HEAD[7:])


# --- the load ------------------------------------------------------------------------------------------------------

class Pod:
    """A bitcoind that knows the snapshot's header after so many questions, and where its block is in the chain."""

    def __init__(self, unknown=0, confirmations=-1, takes_it=True):
        self.unknown, self.confirmations, self.takes_it, self.loads = unknown, confirmations, takes_it, 0

    def run(self, _cluster, _namespace, _pod, _container, command, _timeout):
        if command[0] == "head":
            return HEAD[:int(command[2])]
        if command[0] == "sh":
            self.loads += 1
            return b""
        assert command[:3] == CLI.split()
        if command[3] == "getblockheader":
            self.unknown -= 1
            if self.unknown >= 0:
                raise UNKNOWN
            return json.dumps({"confirmations": self.confirmations}).encode()
        loaded = [{"snapshot_blockhash": BLOCK}] if self.loads and self.takes_it else []
        return json.dumps({"headers": 110, "chainstates": [{"blocks": 0}, *loaded]}).encode()


@pytest.fixture
def run(monkeypatch):
    """The module's run against a pod."""
    monkeypatch.setattr(bitcoind_snapshot._cluster, "connect", lambda *_arguments: None)
    monkeypatch.setattr(bitcoind_snapshot.time, "sleep", lambda _seconds: None)

    def ran(pod, check_mode=False, network="regtest", timeout=60):
        monkeypatch.setattr(bitcoind_snapshot._pod, "run", pod.run)
        monkeypatch.setattr(bitcoind_snapshot._pod, "pod", lambda *_arguments: {"metadata": {}})
        return bitcoind_snapshot.run(SimpleNamespace(check_mode=check_mode, params={
            "kubeconfig": None, "context": None, "namespace": "ns", "file": "/data/utxo.dat", "network": network, "timeout": timeout}))
    return ran


def test_a_snapshot_is_loaded_once(run):
    pod = Pod()
    assert run(pod) == {"changed": True, "block": BLOCK}
    assert run(pod) == {"changed": False, "block": BLOCK}
    assert pod.loads == 1


def test_the_load_waits_for_the_header(run):
    pod = Pod(unknown=3)
    assert run(pod)["changed"]
    assert pod.loads == 1


def test_a_header_that_does_not_come_is_given_up(run):
    pod = Pod(unknown=99)
    with pytest.raises(SnapshotError, match=f"does not know its block {BLOCK} after 0 s; has it peers"):
        run(pod, timeout=0)
    assert not pod.loads


def test_a_chain_that_has_the_block_needs_no_snapshot(run):
    pod = Pod(confirmations=1)
    assert run(pod) == {"changed": False, "block": BLOCK}
    assert not pod.loads


def test_check_mode_loads_nothing(run):
    pod = Pod(unknown=1)
    assert run(pod, check_mode=True)["changed"]
    assert not pod.loads


def test_another_network_is_refused(run):
    with pytest.raises(SnapshotError, match="it is of regtest, not of mainnet; name another one"):
        run(Pod(), network="mainnet")


def test_a_snapshot_that_is_not_used_is_told(run):
    with pytest.raises(SnapshotError, match=f"does not use it .getchainstates does not name {BLOCK}"):
        run(Pod(takes_it=False))
