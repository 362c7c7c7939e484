"""What survives what: each test breaks something of alice and looks at what the owner would miss."""

from __future__ import annotations

import base64

import kubernetes
import pytest
from conftest import eventually

GETINFO = ("GET", "/v1/getinfo")


def identity(lnd) -> str:
    """alice's public key, as soon as she answers."""
    def ask() -> str | None:
        try:
            return lnd("alice").call(*GETINFO)["identity_pubkey"]
        except Exception:  # pylint: disable=broad-except  # She is restarting: anything may go wrong on the way.
            return None
    return eventually(ask, "alice does not answer", 180)


@pytest.fixture
def before(lnd) -> str:
    """alice's public key before the test breaks anything."""
    return identity(lnd)


def versions(core, namespace: str = "alice") -> dict[str, str]:
    """The resource version of each of a node's Secrets: it changes with every write."""
    return {item.metadata.name: item.metadata.resource_version for item in core.list_namespaced_secret(namespace).items}


def test_second_run_in_check_mode_with_diff_changes_nothing(core, settled):
    secrets = versions(core)
    run = settled("--check", "--diff", "--limit", "pi,alice")
    assert run.changed == {"pi": 0, "alice": 0}, run.changed_tasks
    assert versions(core) == secrets


def test_check_mode_does_not_wait_for_an_lnd_that_is_down(core, carol):
    """Of what it would publish then it knows nothing; the run itself waits until LND is there."""
    node = core.list_node().items[0].metadata.name
    core.patch_node(node, {"spec": {"unschedulable": True}})
    try:
        carol.restart_lnd()
        eventually(lambda: not carol.answers(), "LND goes on")
        assert carol.settle("--check").changed == {carol.name: 1}
    finally:
        core.patch_node(node, {"spec": {"unschedulable": False}})
    assert carol.identity()


def test_deleted_pod_comes_back_unlocked_with_the_same_identity(core, lnd, before):
    old = core.read_namespaced_pod("lnd-0", "alice").metadata.uid
    core.delete_namespaced_pod("lnd-0", "alice")
    eventually(lambda: old not in {p.metadata.uid for p in core.list_namespaced_pod("alice").items}, "the pod stays")
    assert identity(lnd) == before


@pytest.mark.long
def test_deleted_statefulset_comes_back_with_the_same_identity_and_channels(api, core, lnd, settled, before):
    channels = lnd("alice").call("GET", "/v1/channels")["channels"]
    kubernetes.client.AppsV1Api(api).delete_namespaced_stateful_set("lnd", "alice", propagation_policy="Foreground")
    eventually(lambda: not [p for p in core.list_namespaced_pod("alice").items if p.metadata.name == "lnd-0"], "the pod stays", 330)
    run = settled()
    assert run.changed == {"pi": 0, "alice": 1, "bob": 0}
    assert run.changed_tasks == ["openlsp.node.lnd : Apply the manifests of LND"]
    assert identity(lnd) == before
    assert {c["channel_point"] for c in lnd("alice").call("GET", "/v1/channels")["channels"]} == {c["channel_point"] for c in channels}


def test_damaged_secrets_alone_are_written_again(core, lnd, secret, carol):
    core.delete_namespaced_secret("lnd-walletkit", carol.name)
    for name, damage in {"lnd-signer": "", "lnd-router": "cnViYmlzaA==",
                         "lnd-readonly": base64.b64encode(secret(carol.name, "lnd-invoice")["macaroon"]).decode()}.items():
        core.patch_namespaced_secret(name, carol.name, {"data": {"macaroon": damage, "note": "bWluZQ=="}})
    secrets = versions(core, carol.name)
    run = carol.settle("--diff")
    assert run.changed_tasks == ["openlsp.node.lnd : Publish certificate and macaroons as Secrets"]
    after = versions(core, carol.name)
    assert {each for each in after if after[each] != secrets.get(each)} == {"lnd-walletkit", "lnd-signer", "lnd-router", "lnd-readonly"}
    assert lnd(carol.name, "lnd-readonly").call(*GETINFO)["alias"] == carol.name
    assert lnd(carol.name, "lnd-walletkit").call("POST", "/v2/wallet/address/next", {})
    # A key that somebody else put into the Secret is none of our business.
    assert secret(carol.name, "lnd-router")["note"] == b"mine"


@pytest.mark.long
def test_foreign_secret_is_refused_until_adopted(core, site, settled, secret):
    core.delete_namespaced_secret("lnd-signer", "alice")
    core.create_namespaced_secret("alice", {"metadata": {"name": "lnd-signer"}, "data": {"macaroon": "Zm9yZWlnbg=="}})
    secrets = versions(core)
    run = site("--limit", "alice")
    assert run.code != 0
    assert "lnd-signer of namespace alice exists and is not managed by openlsp.node" in run.output
    assert versions(core) == secrets
    settled("--limit", "alice", "-e", "lnd_adopt_secrets=true")
    assert secret("alice", "lnd-signer")["macaroon"] != b"foreign"


@pytest.mark.long
def test_lost_rpc_credentials_are_made_anew_and_everybody_gets_them(core, lnd, settled, before):
    core.delete_namespaced_secret("bitcoind-rpc", "alice")
    settled("--limit", "alice")
    assert identity(lnd) == before
    eventually(lambda: lnd("alice").call(*GETINFO)["synced_to_chain"], "LND lost its bitcoind")


@pytest.mark.long
def test_lost_wallet_password_comes_back_from_the_wallet_file(core, lnd, secret, settled, before):
    password = secret("alice", "lnd-wallet-password")["password"]
    core.delete_namespaced_secret("lnd-wallet-password", "alice")
    settled("--limit", "alice")
    assert secret("alice", "lnd-wallet-password")["password"] == password
    assert identity(lnd) == before
