"""What the status tells an owner: who can do what, what LND accepts, who uses it, and what is wrong."""

from __future__ import annotations

import base64
import contextlib
import secrets
import time
from types import SimpleNamespace

import kubernetes
import pymacaroons
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _mounts, _secret
from ansible_collections.openlsp.node.plugins.module_utils._credentials import MACAROON_SECRETS
from ansible_collections.openlsp.node.plugins.modules import lnd_macaroon_info
from conftest import KUBECONFIG, eventually
from pymacaroons.serializers.binary_serializer import BinarySerializer

# Of the consumers of this file.
NAMESPACE = "info"

CONSUMERS = {
    "good": ["time-before 2100-01-01T00:00:00Z"],
    "late": ["time-before 2020-01-01T00:00:00Z"],
    "elsewhere": ["ipaddr 192.0.2.1"],
    "forged": [],
}


def status(namespace: str, *namespaces: str) -> dict:
    """What the module tells of a node."""
    return lnd_macaroon_info.run(SimpleNamespace(params={
        "kubeconfig": str(KUBECONFIG), "context": None, "namespace": namespace, "pod": "lnd-0", "namespaces": list(namespaces)}))


def restricted(raw: bytes, caveats: list[str]) -> bytes:
    """A macaroon with further caveats, for which nobody needs the root key."""
    macaroon = pymacaroons.Macaroon.deserialize(base64.urlsafe_b64encode(raw).decode())
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return BinarySerializer().serialize_raw(macaroon)


@pytest.fixture(scope="module")
def consumers(core, cluster):
    """Programs that use alice, in a namespace of their own; one of them runs."""
    with contextlib.suppress(kubernetes.client.ApiException):  # An earlier session was interrupted.
        core.delete_namespace(NAMESPACE)
    eventually(lambda: not core.list_namespace(field_selector=f"metadata.name={NAMESPACE}").items, "an earlier namespace stays")
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    alice = _secret.read_all(cluster, "alice")
    readonly, certificate = alice["lnd-readonly"].data["macaroon"], alice["lnd-tls"].data["cert"]
    macaroons = {name: restricted(readonly, caveats) for name, caveats in CONSUMERS.items()}
    macaroons |= {"forged": readonly[:-32] + secrets.token_bytes(32), "rubbish": readonly.hex().encode()}
    for name, macaroon in macaroons.items():
        labels = {_secret.MANAGED_BY: "openlsp.node", "openlsp.org/consumer": name, "openlsp.org/lightning-node": "alice"}
        data = {"macaroon": macaroon, "cert": certificate, "host": b"lnd.alice.svc.cluster.local"}
        _secret.create_once(cluster, _secret.Secret(f"lnd-consumer-{name}", data, labels, namespace=NAMESPACE))
    labels = {"app": "shop"}
    kubernetes.client.AppsV1Api(core.api_client).create_namespaced_deployment(NAMESPACE, {
        "metadata": {"name": "shop"}, "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "shop", "image": "localhost/openlsp/shell:testbed", "command": ["sleep", "infinity"],
                            "volumeMounts": [{"name": "lnd", "mountPath": "/lnd"}]}],
            "volumes": [{"name": "lnd", "secret": {"secretName": "lnd-consumer-good"}}]}}}})
    yield
    core.delete_namespace(NAMESPACE)


@pytest.fixture(scope="module")
def told(consumers):
    """What the status tells of alice's consumers, by their names."""
    return {each["consumer"]: each for each in status("alice", NAMESPACE)["secrets"] if each["consumer"]}


# --- what an owner sees ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", [(), ("--check",)], ids=["run", "check"])
def test_status_shows_every_secret_and_changes_nothing(cluster, settled, mode):
    before = cluster.request("GET", "/api/v1/namespaces/alice/secrets")["items"]
    run = settled("--limit", "alice", *mode, playbook="playbooks/status.yml")
    assert run.changed == {"alice": 0}
    assert cluster.request("GET", "/api/v1/namespaces/alice/secrets")["items"] == before
    shown = [name for name in MACAROON_SECRETS if f" {name} " in run.output]
    assert shown == list(MACAROON_SECRETS)
    assert run.output.count("LND accepts it; root key ") >= len(shown)
    for sentence in ("StatefulSet bitcoind: ready", "StatefulSet lnd: ready", "LND shows the same", "used by StatefulSet lnd",
                     "reads everything; writes everything; makes macaroon, signer", "days left, until 20"):
        assert sentence in run.output, sentence
    assert not [word for word in ("PROBLEM", "REFUSES", "MISSING", "INCOMPLETE") if word in run.output]


def test_status_of_all_nodes_shows_each(settled):
    run = settled(playbook="playbooks/status.yml")
    assert run.changed == {"alice": 0, "bob": 0}


# --- what LND accepts -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, accepted, reason", [
    ("good", True, ""), ("late", False, "macaroon has expired"), ("forged", False, "signature mismatch"),
    ("elsewhere", None, "its caveat wants another address than the one from which this was asked"), ("rubbish", None, ""),
])
def test_lnd_itself_is_asked(told, name, accepted, reason):
    assert told[name]["accepted"] is accepted
    assert reason in told[name]["reason"]


def test_expiry_is_told(told):
    assert {name: (each["expires"], each["expired"]) for name, each in told.items() if each["expires"]} == {
        "good": ("2100-01-01T00:00:00Z", False), "late": ("2020-01-01T00:00:00Z", True)}


def test_rubbish_is_a_problem_of_its_secret_alone(told):
    assert [name for name, each in told.items() if each["problems"]] == ["rubbish"]
    assert "hexadecimal" in told["rubbish"]["problems"][0]


def test_who_uses_a_secret_is_told(told):
    assert {name: each["used_by"] for name, each in told.items()} == {**{name: [] for name in told}, "good": ["Deployment shop"]}


# --- the restart of who uses it -------------------------------------------------------------------------------------

def test_a_workload_is_restarted_once_and_waited_for(consumers, cluster, core):
    """The means of a rotation: when the wait is over, no pod with the Secret's old content is left."""
    def pods():
        # One that has ended stays in the list for a moment.
        listed = core.list_namespaced_pod(NAMESPACE).items
        return {each.metadata.name for each in listed if each.status.phase not in ("Succeeded", "Failed")}

    shop = eventually(lambda: [each for each in _mounts.of_namespace(cluster, NAMESPACE) if each.ready], "the shop does not run")
    before = pods()
    assert _mounts.restart(cluster, NAMESPACE, shop[0], "5f0d1c9e")
    assert _mounts.wait_ready(cluster, NAMESPACE, shop, 120) == []
    after = pods()
    assert len(after) == 1 and not after & before
    assert not _mounts.restart(cluster, NAMESPACE, shop[0], "5f0d1c9e")
    assert _mounts.wait_ready(cluster, NAMESPACE, shop, 120) == []
    assert pods() == after


# --- what is wrong --------------------------------------------------------------------------------------------------

def test_root_keys_that_no_secret_names_are_told_apart(carol, lnd):
    admin = lnd("carol", "lnd-admin")
    orphan, by_hand = str(time.time_ns() // 1000), "12345"
    try:
        for each in (orphan, by_hand):
            admin.call("POST", "/v1/macaroon", {"permissions": [{"entity": "info", "action": "read"}], "root_key_id": each})
        told = status("carol")
        assert (told["orphaned_root_key_ids"], told["other_root_key_ids"]) == ([orphan], [by_hand])
    finally:
        for each in (orphan, by_hand):
            admin.call("DELETE", f"/v1/macaroon/{each}")


def test_while_lnd_is_down_its_secrets_are_shown(carol, core, site):
    apps = kubernetes.client.AppsV1Api(core.api_client)
    apps.patch_namespaced_stateful_set("lnd", "carol", {"spec": {"replicas": 0}})
    try:
        eventually(lambda: "lnd-0" not in {each.metadata.name for each in core.list_namespaced_pod("carol").items}, "the pod stays")
        run = site(*carol.arguments, playbook="playbooks/status.yml")
        assert run.code == 0 and run.changed["carol"] == 0, run.output[-4000:]
        assert "cannot connect to port 8080 of carol/lnd-0" in run.output
        assert "reads everything; writes everything; makes macaroon, signer" in run.output
        assert "LND accepts it;" not in run.output and "REFUSES" not in run.output
    finally:
        apps.patch_namespaced_stateful_set("lnd", "carol", {"spec": {"replicas": 1}})
        assert carol.identity()
