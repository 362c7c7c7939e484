"""The network policies let through what the table of edges says, and nothing else, whatever an operator chooses."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib

import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils import _edges
from ansible_collections.openlsp.node.plugins.module_utils._edges import EDGES, POLICIES, EdgeError, Node, policy_spec
from network_table import table
from reach import Pod, cells, ports, world

ROOT = pathlib.Path(__file__).parents[4]

EXPOSURES = [frozenset(), frozenset({"onion"}), frozenset({"host_port", "onion"})]
CHOICES = [
    Node("alice", "mainnet" if tor_only else "regtest", tor, tor_only, bitcoind, lnd, frozenset(),
         ("alice",) if tor_only else ("merchant",), monitoring=tor)
    for tor, tor_only in [(False, False), (True, False), (True, True)] for bitcoind, lnd in itertools.product(EXPOSURES, EXPOSURES)]


def selects(selector: dict, labels: dict[str, str]) -> bool:
    """A label selector of Kubernetes, as far as the policies use it."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ()))


def fits(peer: dict, pod: Pod, node: Node) -> bool:
    """Whether a pod is the peer of a rule."""
    assert peer and set(peer) <= {"namespaceSelector", "podSelector"}
    if pod.namespace is None:
        return False
    of_namespace = selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod.namespace}) if "namespaceSelector" in peer \
        else pod.namespace == node.namespace
    return of_namespace and selects(peer.get("podSelector", {}), pod.labels)


def passes(policies: dict[str, dict], node: Node, source: Pod, target: Pod, port: tuple[str, int]) -> bool:
    """What a cluster does with a connection, by the definition of networking.k8s.io/v1."""
    def side(kind: str, direction: str, pod: Pod, other: Pod) -> bool:
        mine = [spec for spec in policies.values()
                if pod.namespace == node.namespace and kind in spec["policyTypes"] and selects(spec["podSelector"], pod.labels)]
        return not mine or any(
            (direction not in rule or any(fits(peer, other, node) for peer in rule[direction]))
            and any(each["protocol"] == port[0] and each.get("port", port[1]) == port[1] for each in rule["ports"])
            for spec in mine for rule in spec[kind.lower()])

    return side("Egress", "to", source, target) and side("Ingress", "from", target, source)


def policies_of(node: Node) -> dict[str, dict]:
    return {name: policy_spec(name, node) for name in POLICIES}


def differences(policies: dict[str, dict], node: Node) -> list[str]:
    """Where policies and table disagree."""
    return [f"{source.name} -> {target.name} {port}: {'refused' if wanted else 'passes'}"
            for source, target, port, wanted in cells(EDGES, node, world(node)) if passes(policies, node, source, target, port) != wanted]


def ways(node: Node) -> set[tuple[str, str, int]]:
    """The connections that pass."""
    policies = policies_of(node)
    return {(source.name, target.name, port[1]) for source, target, port, _wanted in cells(EDGES, node, world(node))
            if passes(policies, node, source, target, port)}


def title(node: Node) -> str:
    how = "tor_only" if node.tor_only else "tor" if node.tor else "plain"
    return f"{how}-{'+'.join(sorted(node.bitcoind_exposure)) or 'none'}-{'+'.join(sorted(node.lnd_exposure)) or 'none'}"


@pytest.mark.parametrize("node", CHOICES, ids=title)
def test_the_policies_let_through_what_the_table_says(node):
    assert differences(policies_of(node), node) == []


ALICE = Node("alice", "regtest", True, False, frozenset({"onion"}), frozenset({"onion"}), client_namespaces=("merchant",), monitoring=True)
HIDDEN = dataclasses.replace(ALICE, tor_only=True, onion_apis=frozenset({"lnd-rest", "lnd-grpc"}))


@pytest.mark.parametrize("name", POLICIES)
def test_without_one_policy_they_do_not(name):
    policies = policies_of(HIDDEN)
    del policies[name]
    assert differences(policies, HIDDEN) != []


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.source.title} to {edge.target.title} {edge.ports[0].title}")
def test_without_one_edge_neither(edge, monkeypatch):
    """Where it is the only way: under tor_only, or where peers may come from anywhere, or with nothing of both."""
    nodes = [HIDDEN, ALICE, dataclasses.replace(ALICE, bitcoind_exposure=EXPOSURES[2], lnd_exposure=EXPOSURES[2])]
    monkeypatch.setattr(_edges, "EDGES", tuple(each for each in EDGES if each is not edge))
    assert any(differences(policies_of(node), node) for node in nodes)


@pytest.mark.parametrize("node", CHOICES, ids=title)
def test_what_is_worth_money_is_open_to_those_who_need_it_alone(node):
    rpc, p2p = _edges.RPC[node.network], _edges.P2P[node.network]
    clients = {"client", *(["client-elsewhere"] if "merchant" in node.client_namespaces else [])}
    assert {way for way in ways(node) if way[1] in ("bitcoind", "lnd") and way[2] not in (p2p, p2p + 1, 9735)} == {
        *(("lnd", "bitcoind", port) for port in (rpc, 28332, 28333, 28334, 28335)),
        *([("exporter", "bitcoind", rpc), ("exporter", "lnd", 8080), ("prometheus", "lnd", 8989)] if node.monitoring else []),
        *((who, "lnd", port) for who in clients for port in (8080, 10009))}


def test_with_tor_only_nothing_but_tor_leaves():
    mine = {"bitcoind", "lnd", "exporter", "client", "tor-client", "nobody"}
    assert {way for way in ways(HIDDEN) if way[0] in mine and way[1] not in mine} \
        == {*((who, "dns", 53) for who in mine), *((who, "tor", 9050) for who in ("bitcoind", "lnd", "tor-client"))}
    assert ("tor", "outside", 22222) in ways(HIDDEN)


def test_with_tor_only_peers_come_through_tor():
    assert {way for way in ways(HIDDEN) if way[2] in (18444, 18445, 9735) and way[1] in ("bitcoind", "lnd")} \
        == {("tor", "bitcoind", 18445), ("tor", "lnd", 9735)}


@pytest.mark.parametrize("node", [ALICE, HIDDEN], ids=["alice", "hidden"])
def test_the_port_of_bitcoinds_onion_service_is_tors_alone(node):
    assert {way[0] for way in ways(node) if way[1:] == ("bitcoind", 18445)} == {"tor"}


@pytest.mark.parametrize(("name", "port"), [("lnd-rest", 8080), ("lnd-grpc", 10009)])
def test_tor_reaches_of_lnds_interfaces_those_that_it_is_asked_to_publish(name, port):
    assert {way[2] for way in ways(dataclasses.replace(HIDDEN, onion_apis=frozenset({name}))) if way[:2] == ("tor", "lnd")} == {9735, port}


def test_a_node_that_is_not_exposed_has_peers_in_the_cluster_alone():
    plain = ways(dataclasses.replace(ALICE, tor=False))
    for program, port in ("bitcoind", 18444), ("lnd", 9735):
        assert {"nobody-elsewhere", "lnd-of-alice"} <= {way[0] for way in plain if way[1:] == (program, port)}
        assert ("outside", program, port) not in plain


def test_exposure_is_of_each_program_apart():
    one = ways(dataclasses.replace(ALICE, lnd_exposure=frozenset({"load_balancer"})))
    assert ("outside", "lnd", 9735) in one
    assert ("outside", "bitcoind", 18444) not in one


def test_the_policy_of_tor_is_the_same_whatever_is_exposed():
    """The role that has it does not know what the others expose."""
    assert {str(policy_spec("tor", node)) for node in CHOICES if node.tor} == {str(policy_spec("tor", Node("alice", tor=True, monitoring=True)))}


def test_prometheus_gets_in_from_its_own_namespace_alone():
    watched = dataclasses.replace(ALICE, monitoring_namespace="metrics")
    assert differences(policies_of(watched), watched) == []
    assert set(differences(policies_of(watched), ALICE)) == {
        f"prometheus -> {name} ('TCP', {port}): refused" for name, port in (("lnd", 8989), ("tor", 9035), ("exporter", 9797))}


def test_every_policy_closes_both_directions():
    assert {tuple(policy_spec(name, Node("alice", "signet"))["policyTypes"]) for name in POLICIES} == {("Ingress", "Egress")}


@pytest.mark.parametrize(("name", "network", "message"), [
    ("postgres", "regtest", "there is no network policy postgres; choose one of default, bitcoind"),
    ("bitcoind", "simnet", "there is no network 'simnet'; choose one of mainnet")])
def test_what_there_is_not_is_named(name, network, message):
    with pytest.raises(EdgeError, match=message):
        policy_spec(name, Node("alice", network))


def test_the_ports_are_those_of_the_roles():
    chains = yaml.safe_load((ROOT / "roles/bitcoind/vars/main.yml").read_text())
    assert _edges.RPC == {network: chain["rpc"] for network, chain in chains["_bitcoind_chains"].items()}
    assert _edges.P2P == {network: chain["p2p"] for network, chain in chains["_bitcoind_chains"].items()}
    assert not set(_edges.ONION_P2P.values()) & {*_edges.RPC.values(), *_edges.P2P.values(), *_edges.BITCOIND_ZMQ.numbers}
    assert set(_edges.BITCOIND_ZMQ.numbers) == set(chains["_bitcoind_zmq_ports"].values())


def test_the_matrix_is_large_enough_to_mean_something():
    assert len(ports(EDGES, ALICE)) >= 14
    assert len(list(cells(EDGES, ALICE, world(ALICE)))) > 1500


def test_the_documentation_has_the_same_table():
    assert table() in (ROOT / "docs/network.md").read_text()
