"""What Prometheus sees of a healthy node, and who is told of a broken one: each fault is made, arrives at the owner's receiver, and is repaired."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import certificates
import pytest
from conftest import NAME, ROOT, eventually, on_node, playbook


@pytest.fixture(scope="module", autouse=True)
def fresh_block(node):
    """A chain whose newest block is old counts as one that is being downloaded."""
    node.mine()


# --- a healthy node ------------------------------------------------------------------------------------------------

def test_every_target_is_up(prometheus):
    wanted = {"exporter": {"up"}, "lnd": {"up"}, "tor": {"up"}, "node-exporter": {"up"}, "kubelet": {"up"}}
    eventually(lambda: wanted.items() <= prometheus.targets().items(), "not every target is up", 240)
    assert set().union(*prometheus.targets().values()) == {"up"}


def test_the_node_says_that_it_is_well(prometheus):
    selector = f'{{namespace="{NAME}"}}'
    for metric in ("bitcoind_up", "lnd_up", "lnd_synced_to_chain", "openlsp_certificate_matches", "min(openlsp_credential_accepted%s)"):
        query = metric % selector if "%s" in metric else metric + selector
        eventually(lambda query=query: prometheus.value(query) == 1, f"{query} is not 1")
    assert prometheus.value("openlsp_exporter_part_success == 0") is None


def test_the_volume_of_lnd_is_measured(prometheus):
    query = f'kubelet_volume_stats_available_bytes{{namespace="{NAME}",persistentvolumeclaim="data-lnd-0"}}'
    assert eventually(lambda: prometheus.value(query), "the kubelet measures nothing") < 400 * 2**20


def test_a_healthy_node_has_no_alert(prometheus):
    eventually(lambda: prometheus.alerts() == {"Watchdog"}, f"these alerts fire, or are about to: {prometheus.alerts()}", 180)


def test_every_rule_works(prometheus):
    groups = eventually(lambda: prometheus.get("rules")["groups"], "Prometheus has no rules")
    rules = [rule for group in groups if group["name"].startswith("lightning-node") for rule in group["rules"]]
    assert len(rules) >= 40
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}


def test_the_owner_hears_the_watchdog(receiver, impatient):
    eventually(lambda: receiver.received("Watchdog", "firing", {"namespace": NAME, "severity": "none"}), "the Watchdog did not arrive", 240)


# --- a broken one --------------------------------------------------------------------------------------------------

@contextmanager
def stopped(node, program):
    node.scale(program, 0)
    try:
        yield
    finally:
        node.scale(program, 1)


@contextmanager
def bitcoind_stopped(node):
    with stopped(node, "bitcoind"):
        yield


@contextmanager
def exporter_stopped(node):
    with stopped(node, "exporter"):
        yield


@contextmanager
def tor_stopped(node):
    with stopped(node, "tor"):
        yield


@contextmanager
def lnd_stopped(node):
    with stopped(node, "lnd"):
        yield


@contextmanager
def wallet_locked(node):
    """As when the password does not reach LND: files/start.sh of role lnd."""
    node.run("lnd", "sh", "-c", "echo $(($(date +%s) + 3600)) > /data/start-locked-until")
    try:
        node.restart("lnd")
        yield
    finally:
        node.restart("lnd")


@contextmanager
def disk_filled(node):
    """LND ends itself at 10 % left."""
    size, free = map(int, on_node("stat", "--file-system", "--format", "%b %a", "/srv/lightning").split())
    on_node("fallocate", "--length", str((free - size * 15 // 100) * 4096), "/srv/lightning/filler")
    try:
        yield
    finally:
        on_node("rm", "/srv/lightning/filler")


@contextmanager
def other_certificate(node):
    """What the clients are given is not what LND serves, and ends within a day."""
    before = node.secret("lnd-consumer-exporter")["cert"]
    node.set_secret("lnd-consumer-exporter", cert=certificates.made(datetime.now(timezone.utc), timedelta(hours=12))[0])
    try:
        yield
    finally:
        node.set_secret("lnd-consumer-exporter", cert=before)


@contextmanager
def zmq_cut(node):
    path = f"/api/v1/namespaces/{NAME}/configmaps/bitcoind"
    before = node.cluster.request("GET", path)["data"]["bitcoin.conf"]
    node.patch(path, {"data": {"bitcoin.conf": "\n".join(line for line in before.splitlines() if not line.startswith("zmqpubraw")) + "\n"}})
    try:
        node.restart("bitcoind")
        eventually(lambda: can_mine(node), "bitcoind does not answer")
        yield
    finally:
        node.patch(path, {"data": {"bitcoin.conf": before}})
        node.restart("bitcoind")
        eventually(lambda: can_mine(node), "bitcoind does not answer")
        eventually(lambda: has_heard(node), "LND does not hear of new blocks")


def can_mine(node):
    try:
        node.mine()
    except Exception:  # It is starting.  # pylint: disable=broad-except
        return False
    return True


def has_heard(node):
    """LND connects again by itself, and reads what it missed with the first block that it hears of. Its height is bitcoind's own and says nothing."""
    if json.loads(node.lncli("getinfo"))["synced_to_chain"]:
        return True
    node.mine()
    return False


@contextmanager
def network_off(node):
    node.bitcoin_cli("setnetworkactive", "false")
    try:
        yield
    finally:
        node.bitcoin_cli("setnetworkactive", "true")


@contextmanager
def macaroon_revoked(node):
    """By somebody with the admin macaroon; the repair is the owner's."""
    found = node.cluster.request("GET", f"/api/v1/namespaces/{NAME}/secrets/lnd-consumer-exporter")
    node.lncli("deletemacaroonid", found["metadata"]["annotations"]["openlsp.org/root-key-id"])
    try:
        yield
    finally:
        playbook("playbooks/rotate.yml", "--limit", NAME, "-e", "lnd_rotate=exporter")


@contextmanager
def password_changed(node):
    before = node.secret("bitcoind-rpc-exporter")["password"]
    node.set_secret("bitcoind-rpc-exporter", password=b"another")
    try:
        yield
    finally:
        node.set_secret("bitcoind-rpc-exporter", password=before)


@contextmanager
def backup_old(node):
    copy = json.loads(node.lncli("exportchanbackup", "--all"))["multi_chan_backup"]["multi_chan_backup"]
    # lncli writes bytes in hexadecimal.
    node.set_secret("lnd-channel-backup", channel__backup=bytes.fromhex(copy), timestamp=b"%d" % (time.time() - 9 * 86400))
    try:
        yield
    finally:
        node.set_secret("lnd-channel-backup", timestamp=b"%d" % time.time())


FAULTS = {
    "bitcoind stopped": (bitcoind_stopped, "BitcoindDown", {}),
    "bitcoind's network switched off": (network_off, "BitcoindNetworkOff", {}),
    "ZMQ cut": (zmq_cut, "LndBehindBitcoind", {}),
    "LND stopped": (lnd_stopped, "LndDown", {}),
    "LND locked": (wallet_locked, "LndWalletLocked", {}),
    "LND's disk filled": (disk_filled, "LndVolumeAlmostFull", {"persistentvolumeclaim": "data-lnd-0"}),
    "certificate near its end": (other_certificate, "LndCertificateExpired", {}),
    "macaroon revoked": (macaroon_revoked, "CredentialRefused", {"credential": "lnd-macaroon"}),
    "RPC password changed": (password_changed, "CredentialRefused", {"credential": "bitcoind-rpc"}),
    "backup too old": (backup_old, "BackupOld", {}),
    "exporter stopped": (exporter_stopped, "ExporterDown", {}),
    "Tor stopped": (tor_stopped, "TorDown", {}),
}


@pytest.mark.parametrize("fault, alert, labels", FAULTS.values(), ids=FAULTS.keys())
def test_the_owner_is_told_of_a_fault_and_of_its_repair(node, prometheus, receiver, impatient, fault, alert, labels):
    # Others may still tell of the fault before: of an onion for five minutes, of a program that started again for an hour.
    eventually(lambda: alert not in prometheus.alerts(), f"{alert} fires before its fault", 240)
    receiver.forget()
    with fault(node):
        told = eventually(lambda: receiver.received(alert, "firing", labels), f"{alert} did not arrive; there are {prometheus.alerts()}", 240)
    assert told["labels"]["namespace"] == NAME
    assert told["labels"]["severity"] in ("critical", "warning")
    assert "error" not in told["annotations"]["summary"] + told["annotations"]["description"]
    assert (ROOT / "docs/runbooks" / told["annotations"]["runbook_url"].rsplit("/", 1)[1]).exists()
    eventually(lambda: receiver.received(alert, "resolved", labels), f"{alert} was not resolved", 240)
