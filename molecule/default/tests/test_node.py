"""The state that the site leaves behind, as an operator would look at it."""

from __future__ import annotations

import json
import re

import kubernetes
import pytest
import testinfra
from conftest import KUBECONFIG

BITCOIN_CLI = "bitcoin-cli -datadir=/data -conf=/etc/bitcoin/bitcoin.conf"


@pytest.fixture
def bitcoind():
    return testinfra.get_host(f"kubectl://bitcoind-0?container=bitcoind&namespace=alice&kubeconfig={KUBECONFIG}")


@pytest.mark.parametrize("node", ["alice", "bob"])
def test_namespace_enforces_restricted(core, node):
    assert core.read_namespace(node).metadata.labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("node", ["alice", "bob"])
def test_no_pod_gets_a_service_account_token(core, node):
    for pod in core.list_namespaced_pod(node).items:
        assert not [v for v in pod.spec.volumes if v.projected], pod.metadata.name


@pytest.mark.parametrize("node", ["alice", "bob"])
def test_volumes_outlive_their_claims(core, node):
    claims = core.list_namespaced_persistent_volume_claim(node).items
    assert {claim.metadata.name for claim in claims} == {"data-bitcoind-0", "data-lnd-0", "data-tor-0"}
    for claim in claims:
        if claim.metadata.name == "data-tor-0":
            continue  # Its keys are in Secrets: with it, nothing is lost.
        assert core.read_persistent_volume(claim.spec.volume_name).spec.persistent_volume_reclaim_policy == "Retain"


@pytest.mark.parametrize("node", ["alice", "bob"])
def test_lnd_is_on_regtest_under_its_own_name(lnd, node):
    info = lnd(node).call("GET", "/v1/getinfo")
    assert info["alias"] == node
    assert info["chains"] == [{"chain": "bitcoin", "network": "regtest"}]


def test_certificate_names_every_service_name_and_no_address_of_a_pod(lnd, secret):
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(secret("alice", "lnd-tls")["cert"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "lnd", "lnd.alice", "lnd.alice.svc", "lnd.alice.svc.cluster.local"} <= set(names.get_values_for_type(x509.DNSName))
    assert {str(each) for each in names.get_values_for_type(x509.IPAddress)} <= {"127.0.0.1", "::1"}


def test_bitcoinds_are_peers(bitcoind):
    peers = json.loads(bitcoind.check_output(f"{BITCOIN_CLI} getpeerinfo"))
    assert [peer for peer in peers if peer["connection_type"] == "manual"]


def test_bitcoind_publishes_blocks_and_transactions(bitcoind, core):
    topics = {each["type"] for each in json.loads(bitcoind.check_output(f"{BITCOIN_CLI} getzmqnotifications"))}
    assert topics == {"pubrawblock", "pubrawtx", "pubhashblock", "pubhashtx"}
    addresses = core.read_namespaced_config_map("bitcoind-zmq", "alice").data
    assert addresses["zmqpubrawblock"] == "tcp://bitcoind.alice.svc.cluster.local:28332"


@pytest.mark.parametrize(("method", "allowed"), [
    ("getblockchaininfo", True), ("getmempoolinfo", True), ("stop", False), ("dumptxoutset", False), ("setban", False), ("invalidateblock", False)])
def test_lnds_rpc_user_may_only_call_what_lnd_calls(cluster, secret, method, allowed):
    import base64
    import http.client

    from ansible_collections.openlsp.node.plugins.module_utils import _pod
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = _pod.forward(cluster, "alice", "bitcoind-0", 18443)
    token = base64.b64encode(secret("alice", "bitcoind-rpc")["cookie"]).decode()
    connection.request("POST", "/", json.dumps({"method": method, "params": []}), {"Authorization": f"Basic {token}"})
    status = connection.getresponse().status
    connection.close()
    assert status == (200 if allowed else 403)


def test_foreign_pod_reaches_peers_but_neither_rpc_nor_lnds_api(foreign_pod):
    assert foreign_pod.reaches("alice", "lnd-p2p", 9735)
    assert foreign_pod.reaches("alice", "bitcoind-p2p", 18444)
    assert not foreign_pod.reaches("alice", "bitcoind", 18443)
    assert not foreign_pod.reaches("alice", "bitcoind", 28332)
    assert not foreign_pod.reaches("alice", "lnd", 8080)
    assert not foreign_pod.reaches("alice", "lnd", 10009)


def test_roles_caused_no_warning(core):
    """Run after everything else of this file, and before the tests that break things."""
    warnings = [f"{event.metadata.namespace}/{event.involved_object.name}: {event.reason}: {event.message}"
                for node in ("alice", "bob") for event in core.list_namespaced_event(node, field_selector="type=Warning").items]
    assert warnings == []


@pytest.fixture
def storage_class(api):
    """Make a StorageClass whose provisioner is, or is not, known as a CSI driver; its name."""
    storage, name = kubernetes.client.StorageV1Api(api), "csi.example.org"
    storage.create_storage_class({"metadata": {"name": name}, "provisioner": name})
    yield lambda csi: storage.create_csi_driver({"metadata": {"name": name}, "spec": {}}) if csi else None
    storage.delete_storage_class(name)
    if [each for each in storage.list_csi_driver().items if each.metadata.name == name]:
        storage.delete_csi_driver(name)


@pytest.mark.parametrize(("csi", "mode"), [(True, "ReadWriteOncePod"), (False, "ReadWriteOnce")])
def test_only_one_pod_may_have_a_new_wallets_volume_where_the_storage_can_see_to_it(site, storage_class, csi, mode):
    storage_class(csi)
    run = site("-e", "lnd_storage_class=csi.example.org", playbook="molecule/default/tests/access_mode.yml", KUBECONFIG=str(KUBECONFIG))
    # The whole word: one mode's name begins with the other's.
    assert re.search(rf"chosen: {mode}\b", run.output), run.output
