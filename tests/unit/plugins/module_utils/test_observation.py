"""What the API's objects and the programs' answers say of a node."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _observation
from ansible_collections.openlsp.node.plugins.module_utils._observation import Bitcoind, Claim, Endpoint, Policy, Service, Tor
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth

CHAIN = {"chain": "test", "blocks": 7, "headers": 9, "initialblockdownload": True, "verificationprogress": 0.5}
ZMQ = [{"type": "pubrawblock", "address": "tcp://0.0.0.0:28332", "hwm": 1000}, {"type": "pubrawtx", "address": "tcp://[::]:28333", "hwm": 1000}]

STATEFULSET = {
    "metadata": {"name": "lnd", "labels": {"openlsp.org/network": "regtest"}},
    "spec": {
        "replicas": 1,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": "lnd"}},
            "spec": {
                "containers": [{
                    "name": "lnd", "image": "lnd:2", "ports": [{"name": "rest", "containerPort": 8080}, {"containerPort": 1}],
                    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "in-env", "key": "a"}}}, {"name": "B", "value": "b"}],
                    "envFrom": [{"secretRef": {"name": "in-env-from"}}, {"configMapRef": {"name": "map-in-env-from"}}]}],
                "volumes": [
                    {"name": "a", "secret": {"secretName": "in-volume"}},
                    {"name": "b", "secret": {"secretName": "not-needed", "optional": True}},
                    {"name": "c", "configMap": {"name": "lnd"}},
                    {"name": "d", "projected": {"sources": [{"secret": {"name": "in-projection"}}, {"configMap": {"name": "map", "optional": True}}]}},
                    {"name": "e", "persistentVolumeClaim": {"claimName": "given"}}],
            },
        },
    },
    "status": {"updateRevision": "lnd-2"},
}


def pod(state, revision="lnd-2", **of_status):
    return {"metadata": {"name": "lnd-0", "labels": {"controller-revision-hash": revision},
                         "annotations": {"openlsp.org/configuration": "aa", "openlsp.org/bitcoind-rpc": "bb"}},
            "spec": {"containers": [{"name": "lnd", "image": "lnd:1"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                       "containerStatuses": [{"name": "lnd", "state": state, "restartCount": 4, **of_status}]}}


def written(*, date="1000", **answers):
    """What the script in bitcoind's pod writes."""
    parts = {"date": date, "getblockchaininfo": json.dumps(CHAIN, indent=2), "getnetworkinfo": json.dumps({"connections": 3}),
             "getzmqnotifications": json.dumps(ZMQ), **answers}
    return "".join(f"{_observation.MARK}{name}\n{answer}\n" for name, answer in parts.items())


def test_a_running_pod_is_read():
    read = _observation.program(STATEFULSET, pod({"running": {"startedAt": "2026-11-28T12:00:00Z"}}, "lnd-1"))
    assert (read.running, read.ready, read.crashing, read.condition) == (True, True, False, "")
    assert read.since == datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
    assert (read.image, read.wanted_image, read.of_older_version) == ("lnd:1", "lnd:2", True)
    assert (read.network, read.configuration, read.rpc_digest, read.ports) == ("regtest", "aa", "bb", {"rest": 8080})
    assert read.secrets == {"in-env", "in-env-from", "in-volume", "in-projection"}
    assert read.configmaps == {"lnd", "map-in-env-from"}


def test_a_crashing_pod_is_read():
    last = {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": "2026-11-28T12:00:00Z"}}
    read = _observation.program(STATEFULSET, pod({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, lastState=last))
    assert (read.running, read.crashing, read.restarts, read.last_reason) == (False, True, 4, "Error, exit code 1")
    assert read.condition == "lnd: CrashLoopBackOff: back-off"


def test_a_pod_whose_container_is_made_is_no_crash():
    read = _observation.program(STATEFULSET, pod({"waiting": {"reason": "ContainerCreating"}}))
    assert (read.running, read.crashing) == (False, False)


def test_a_pod_that_is_not_there_is_read():
    read = _observation.program(STATEFULSET, None)
    assert (read.pod, read.running, read.ready, read.wanted_image) == (False, False, False, "lnd:2")


def test_the_claims_of_a_pod_are_those_it_names_and_those_it_makes():
    assert _observation.claim_names(STATEFULSET) == ["given", "data-lnd-0"]


@pytest.mark.parametrize("found, volume, seen, read", [
    (None, None, True, Claim("c", "")),
    ({"metadata": {"uid": "1"}, "spec": {}, "status": {"phase": "Pending"}}, None, True, Claim("c", "Pending")),
    ({"metadata": {"uid": "1"}, "spec": {"volumeName": "pv"}, "status": {"phase": "Lost"}}, None, True, Claim("c", "Lost", "pv", foreign=True)),
    ({"metadata": {"uid": "1", "deletionTimestamp": "now"}, "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}, None, False,
     Claim("c", "Bound", "pv", going=True)),
    ({"metadata": {"uid": "1"}, "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}},
     {"spec": {"claimRef": {"uid": "1"}, "local": {"path": "/srv"}, "persistentVolumeReclaimPolicy": "Delete"}}, True,
     Claim("c", "Bound", "pv", path="/srv", kept=False)),
    ({"metadata": {"uid": "1"}, "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}},
     {"spec": {"claimRef": {"uid": "2"}, "hostPath": {"path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}}, True,
     Claim("c", "Bound", "pv", foreign=True, path="/x", kept=True)),
], ids=["none", "pending", "lost", "unseen volume", "local", "another's"])
def test_a_claim_is_read(found, volume, seen, read):
    assert _observation.claim("c", found, volume, seen) == read


def test_a_service_is_read_with_what_is_behind_it():
    item = {"metadata": {"name": "lnd"}, "spec": {"clusterIPs": ["10.0.0.1", "fd00::1"], "selector": {"a": "b"},
                                                  "ports": [{"port": 8080, "targetPort": "rest"}, {"port": 1}]}}
    slices = [{"metadata": {"labels": {"kubernetes.io/service-name": name}}, "endpoints": endpoints}
              for name, endpoints in (("lnd", [{}]), ("lnd", None), ("other", [{}, {}]))]
    assert _observation.service(item, slices) == Service("lnd", frozenset({"10.0.0.1", "fd00::1"}), {"a": "b"}, {8080: "rest", 1: 1}, 1)


@pytest.mark.parametrize("spec, read", [
    ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, Policy("p", {}, frozenset({"Ingress", "Egress"}))),
    ({"podSelector": {"matchLabels": {"a": "b"}}}, Policy("p", {"a": "b"}, frozenset({"Ingress"}))),
    ({"podSelector": {"matchExpressions": [{}]}}, Policy("p", None, frozenset({"Ingress"}))),
])
def test_a_policy_is_read(spec, read):
    assert _observation.policy({"metadata": {"name": "p"}, "spec": spec}) == read


# --- bitcoind --------------------------------------------------------------------------------------------------------

def test_bitcoinds_answers_are_read():
    assert _observation.bitcoind(written(), 1000, 1000.4) == Bitcoind(
        network="testnet3", blocks=7, headers=9, initial_download=True, progress=0.5, peers=3,
        zmq=(Endpoint("rawblock", "0.0.0.0", 28332), Endpoint("rawtx", "::", 28333)))


@pytest.mark.parametrize("date, offset", [("999", -0.5), ("1000", 0), ("1001", 0), ("1002", 0), ("1003", 0.5), ("1102", 99.5), ("", 0), ("x", 0)])
def test_the_clock_is_off_by_no_more_than_what_cannot_be_the_way(date, offset):
    assert _observation.bitcoind(written(date=date), 1000.5, 1002.5).clock_offset == offset


def test_a_mined_block_is_seen():
    assert _observation.bitcoind(written(generatetodescriptor='[\n  "0f"\n]'), 0, 0).mined
    assert not _observation.bitcoind(written(generatetodescriptor="error code: -32601"), 0, 0).mined


@pytest.mark.parametrize("answer, loading, obstacle", [
    ("error code: -28\nerror message:\nLoading block index…", True, "error code: -28 error message: Loading block index…"),
    ("error: timeout on transient error: Could not connect", False, "error: timeout on transient error: Could not connect"),
    ("", False, "it says nothing"),
])
def test_what_bitcoind_complains_of_is_its_obstacle(answer, loading, obstacle):
    read = _observation.bitcoind(written(getblockchaininfo=answer), 1000, 1000)
    assert (read.obstacle, read.loading) == (obstacle, loading)


def test_a_bitcoind_that_answers_what_needs_no_lock_is_busy():
    answers = {"getblockchaininfo": "error: timeout on transient error", "getrpcinfo": '{\n  "active_commands": []\n}'}
    assert _observation.bitcoind(written(**answers), 1000, 1000).busy
    assert not _observation.bitcoind(written(getblockchaininfo="error: timeout"), 1000, 1000).busy


@pytest.mark.parametrize("lines, fits", [
    ([], False), ([rpcauth("lnd", "secret", "00")], True), ([rpcauth("app", "secret", "00")], False), ([rpcauth("lnd", "other", "00")], False),
    (["rubbish", rpcauth("app", "x", "1"), rpcauth("lnd", "secret", "11")], True),
])
def test_a_password_fits_a_line_of_its_user(lines, fits):
    assert _observation.rpcauth_fits(lines, "lnd", "secret") is fits


# --- configurations --------------------------------------------------------------------------------------------------

def test_options_of_bitcoind_are_those_of_its_network():
    text = "# a comment\nchain=regtest\nrpcuser=all\n[main]\nrpcport=1\n[regtest]\nrpcport = 2\naddnode=a\naddnode=b=c\n"
    assert _observation.options(text) == {"chain": ["regtest"], "rpcuser": ["all"], "rpcport": ["2"], "addnode": ["a", "b=c"]}


def test_options_of_lnd_are_all_in_force():
    assert _observation.options("; no\n[Application Options]\nalias=a # b\n[Bitcoin]\nbitcoin.regtest=true\n") == {
        "alias": ["a # b"], "bitcoin.regtest": ["true"]}


@pytest.mark.parametrize("address, read", [
    ("tcp://0.0.0.0:28332", Endpoint("t", "0.0.0.0", 28332)), ("tcp://[::1]:28332", Endpoint("t", "::1", 28332)),
    ("unix:/run/zmq", Endpoint("t", "unix", 0)), ("tcp://host", Endpoint("t", "host", 0)), ("tcp://host:rubbish", Endpoint("t", "host:rubbish", 0)),
])
def test_an_address_of_zmq_is_read(address, read):
    assert _observation.endpoint("t", address) == read


def test_a_configuration_is_the_same_whatever_yaml_did_to_its_last_line_break():
    assert _observation.configuration_hashes("a\nb\n") == _observation.configuration_hashes("a\nb")
    assert not _observation.configuration_hashes("a\nb") & _observation.configuration_hashes("a\nc")


# --- Tor -------------------------------------------------------------------------------------------------------------

def test_tor_is_read():
    log = "Nov 28 [notice] Bootstrapped 5% (conn): Connecting\nNov 28 [notice] Bootstrapped 100% (done): Done\nNov 28 [notice] other\n"
    torrc = ("HiddenServiceDir /var/lib/tor/onions/lnd-p2p/\nHiddenServicePort 9735 lnd:9735\nHiddenServicePort 9736 lnd:9736\n"
             'HiddenServiceDir "/var/lib/tor/onions/bitcoind-p2p"\n')
    assert _observation.tor(log, torrc, {"lnd-p2p": "a.onion"}) == Tor(100, {"lnd-p2p": 9735, "bitcoind-p2p": 0}, {"lnd-p2p": "a.onion"})


def test_tor_that_says_nothing_is_read():
    assert _observation.tor("", "", {}) == Tor(None, {}, {})


def test_the_hostname_of_an_onion_is_read():
    assert _observation.onion_of({"hostname": b"a.onion\n"}) == "a.onion"
    assert _observation.onion_of({}) == ""
