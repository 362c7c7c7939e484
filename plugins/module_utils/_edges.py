# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may talk to whom in the namespace of a Lightning node: one table, and the NetworkPolicies that follow from it. Pure; no input or output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable

# Of bitcoind, for each network: chainparamsbase.cpp and chainparams.cpp.
RPC = {"mainnet": 8332, "testnet3": 18332, "testnet4": 48332, "signet": 38332, "regtest": 18443}
P2P = {"mainnet": 8333, "testnet3": 18333, "testnet4": 48333, "signet": 38333, "regtest": 18444}

# Where the onion service of bitcoind leads to: roles/bitcoind, _bitcoind_onion_port.
ONION_P2P = {network: port + 1 for network, port in P2P.items()}

# The ways by which a peer comes in that do not go through Tor.
CLEARNET = frozenset({"host_port", "node_port", "load_balancer"})


class EdgeError(ValueError):
    """There is no such policy or network; the message says what there is."""


@dataclass(frozen=True)
class Node:
    """What of one Lightning node decides about its edges.

    network: may be empty where no port of bitcoind is asked for. bitcoind_exposure, lnd_exposure: how peers reach the two.
    onion_apis: LND's interfaces that have onion services, lnd-rest and lnd-grpc. client_namespaces: the namespaces with programs that talk to LND.
    monitoring_namespace: the one with Prometheus.
    """

    namespace: str
    network: str = ""
    tor: bool = False
    tor_only: bool = False
    bitcoind_exposure: frozenset[str] = frozenset()
    lnd_exposure: frozenset[str] = frozenset()
    onion_apis: frozenset[str] = frozenset()
    client_namespaces: tuple[str, ...] = ()
    monitoring: bool = False
    monitoring_namespace: str = "observability"


@dataclass(frozen=True)
class Party:
    """One end of an edge.

    title: its name for people. labels: of its pods in the node's namespace, where it has some there.
    peers: the NetworkPolicyPeers that select it; none at all means anybody, of both address families.
    """

    title: str
    labels: Callable[[Node], dict[str, str]] | None
    peers: Callable[[Node], list[dict[str, Any]]]


def _workload(name: str, title: str) -> Party:
    def labels(node: Node) -> dict[str, str]:
        return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": node.namespace}

    return Party(title, labels, lambda node: [{"podSelector": {"matchLabels": labels(node)}}])


def _of_namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


_CLIENT = {"openlsp.org/lnd-client": "true"}
_TOR_CLIENT = {"openlsp.org/tor-client": "true"}


def _clients(node: Node) -> list[dict[str, Any]]:
    pods = {"podSelector": {"matchLabels": _CLIENT}}
    return [pods, *({**_of_namespace(name), **pods} for name in sorted(set(node.client_namespaces) - {node.namespace}))]


BITCOIND = _workload("bitcoind", "bitcoind")
LND = _workload("lnd", "LND")
TOR = _workload("tor", "Tor")
EXPORTER = _workload("exporter", "the exporter")
CLIENTS = Party("pods with the label `openlsp.org/lnd-client`, here and in the namespaces of `lnd_consumers`", lambda node: _CLIENT, _clients)
TOR_CLIENTS = Party("pods of the namespace with the label `openlsp.org/tor-client`", lambda node: _TOR_CLIENT,
                    lambda node: [{"podSelector": {"matchLabels": _TOR_CLIENT}}])
EVERY_POD = Party("every pod of the namespace", lambda node: {}, lambda node: [{"podSelector": {}}])
CLUSTER = Party("every pod of the cluster", None, lambda node: [{"namespaceSelector": {}}])
MONITORING = Party("the namespace of `openlsp_monitoring_namespace`", None, lambda node: [_of_namespace(node.monitoring_namespace)])
# Every distribution gives its DNS one of these two.
DNS = Party("the cluster's DNS", None, lambda node: [{
    **_of_namespace("kube-system"), "podSelector": {"matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns", "coredns"]}]}}])
# Not 0.0.0.0/0 and ::/0: kube-router makes 2000::/3 and fd00::/8 of the latter, which leaves out the addresses of NAT64.
ANYWHERE = Party("anywhere", None, lambda node: [])


@dataclass(frozen=True)
class Port:
    """TCP ports, or with udp ones of both protocols. numbers: none stands for every port; of some the node's network decides."""

    title: str
    numbers: tuple[int, ...] | dict[str, int] = ()
    udp: bool = False

    def rules(self, node: Node) -> list[dict[str, Any]]:
        """As NetworkPolicyPorts. Numbers, not the names that containers give to ports: a policy must hold for whatever wears a pod's labels.

        Raises EdgeError.
        """
        numbers = self.numbers
        if isinstance(numbers, dict):
            if node.network not in numbers:
                raise EdgeError(f"there is no network {node.network!r}; choose one of {', '.join(numbers)}")
            numbers = (numbers[node.network],)
        where = [{"port": number} for number in numbers] or [{}]
        return [{"protocol": protocol, **each} for protocol in (("UDP", "TCP") if self.udp else ("TCP",)) for each in where]


EVERY_PORT = Port("every TCP port")
DNS_PORT = Port("53, UDP and TCP", (53,), udp=True)
BITCOIND_P2P = Port("p2p, 8333", P2P)
BITCOIND_ONION_P2P = Port("p2p of the onion service, 8334", ONION_P2P)
BITCOIND_RPC = Port("RPC, 8332", RPC)
BITCOIND_ZMQ = Port("ZMQ, 28332 to 28335", (28332, 28333, 28334, 28335))
LND_P2P = Port("p2p, 9735", (9735,))
LND_GRPC = Port("gRPC, 10009", (10009,))
LND_REST = Port("REST, 8080", (8080,))
LND_METRICS = Port("metrics, 8989", (8989,))
TOR_SOCKS = Port("SOCKS, 9050", (9050,))
TOR_METRICS = Port("metrics, 9035", (9035,))
EXPORTER_METRICS = Port("metrics, 9797", (9797,))


@dataclass(frozen=True)
class When:
    """A condition: in words, and for a node."""

    title: str
    holds: Callable[[Node], bool]


ALWAYS = When("always", lambda node: True)
WITH_TOR = When("`openlsp_tor`", lambda node: node.tor)
WATCHED = When("`openlsp_monitoring`", lambda node: node.monitoring)
WATCHED_WITH_TOR = When("`openlsp_monitoring` and `openlsp_tor`", lambda node: node.monitoring and node.tor)
NOT_TOR_ONLY = When("not `openlsp_tor_only`", lambda node: not node.tor_only)
BITCOIND_EXPOSED = When("`bitcoind_exposure` names a way other than onion", lambda node: bool(node.bitcoind_exposure & CLEARNET))
BITCOIND_ONION = When("`bitcoind_exposure` names onion", lambda node: node.tor and "onion" in node.bitcoind_exposure)
LND_EXPOSED = When("`lnd_exposure` names a way other than onion", lambda node: bool(node.lnd_exposure & CLEARNET))
REST_ONION = When("`tor_onion_apis` names lnd-rest", lambda node: node.tor and "lnd-rest" in node.onion_apis)
GRPC_ONION = When("`tor_onion_apis` names lnd-grpc", lambda node: node.tor and "lnd-grpc" in node.onion_apis)
LND_ONION = When("`lnd_exposure` names onion", lambda node: node.tor and "onion" in node.lnd_exposure)


@dataclass(frozen=True)
class Edge:
    """One way that packets may take, and their answers back."""

    source: Party
    target: Party
    ports: tuple[Port, ...]
    why: str
    when: When = ALWAYS


EDGES = (
    Edge(EVERY_POD, DNS, (DNS_PORT,), "names of the cluster, and of the world"),

    Edge(LND, BITCOIND, (BITCOIND_RPC, BITCOIND_ZMQ), "LND's view of the chain"),
    Edge(EXPORTER, BITCOIND, (BITCOIND_RPC,), "figures of the chain", WATCHED),
    Edge(EXPORTER, LND, (LND_REST,), "figures of the channels", WATCHED),

    # A peer is a stranger by profession, so that every pod of the cluster may be one: another node's, or an Electrum server beside this one.
    Edge(CLUSTER, BITCOIND, (BITCOIND_P2P,), "peers in the cluster", NOT_TOR_ONLY),
    Edge(CLUSTER, LND, (LND_P2P,), "peers in the cluster", NOT_TOR_ONLY),
    # From anywhere, since the peer's address is often lost on its way through a node.
    Edge(ANYWHERE, BITCOIND, (BITCOIND_P2P,), "peers", BITCOIND_EXPOSED),
    Edge(ANYWHERE, LND, (LND_P2P,), "peers", LND_EXPOSED),
    Edge(BITCOIND, ANYWHERE, (EVERY_PORT,), "peers, which choose their port", NOT_TOR_ONLY),
    Edge(LND, ANYWHERE, (EVERY_PORT,), "peers, which choose their port", NOT_TOR_ONLY),

    Edge(BITCOIND, TOR, (TOR_SOCKS,), "peers, through Tor", WITH_TOR),
    Edge(LND, TOR, (TOR_SOCKS,), "peers, through Tor", WITH_TOR),
    Edge(TOR_CLIENTS, TOR, (TOR_SOCKS,), "programs that use Tor", WITH_TOR),
    Edge(TOR, ANYWHERE, (EVERY_PORT,), "relays, which choose their port", WITH_TOR),
    Edge(TOR, BITCOIND, (BITCOIND_ONION_P2P,), "the onion service for peers", BITCOIND_ONION),
    Edge(TOR, LND, (LND_P2P,), "the onion service for peers", LND_ONION),
    Edge(TOR, LND, (LND_REST,), "an onion service for those who have its key", REST_ONION),
    Edge(TOR, LND, (LND_GRPC,), "an onion service for those who have its key", GRPC_ONION),

    Edge(CLIENTS, LND, (LND_GRPC, LND_REST), "programs that use LND"),

    Edge(MONITORING, LND, (LND_METRICS,), "metrics", WATCHED),
    Edge(MONITORING, TOR, (TOR_METRICS,), "metrics", WATCHED_WITH_TOR),
    Edge(MONITORING, EXPORTER, (EXPORTER_METRICS,), "metrics", WATCHED),
)

# A policy for each kind of pod, by its name. The first is the namespace's: with it, what the others do not allow is refused.
POLICIES = {"default": EVERY_POD, "bitcoind": BITCOIND, "lnd": LND, "lnd-clients": CLIENTS, "tor": TOR, "tor-clients": TOR_CLIENTS,
            "exporter": EXPORTER}


def policy_spec(name: str, node: Node) -> dict[str, Any]:
    """The spec of the NetworkPolicy of that name: networking.k8s.io/v1 and nothing beyond it. Raises EdgeError."""
    if name not in POLICIES:
        raise EdgeError(f"there is no network policy {name}; choose one of {', '.join(POLICIES)}")
    party, edges = POLICIES[name], [edge for edge in EDGES if edge.when.holds(node)]
    labels = party.labels(node) if party.labels else {}
    return {
        "podSelector": {"matchLabels": labels} if labels else {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": _rules("from", ((edge.source, edge.ports) for edge in edges if edge.target is party), node),
        "egress": _rules("to", ((edge.target, edge.ports) for edge in edges if edge.source is party), node),
    }


def _rules(direction: str, allowed: Iterable[tuple[Party, tuple[Port, ...]]], node: Node) -> list[dict[str, Any]]:
    """A rule for each; without those that another one, for anywhere, has in it already: what reads well is what counts."""
    allowed = list(allowed)
    anywhere = [port for party, ports in allowed if party is ANYWHERE for port in ports]
    rules = []
    for party, ports in allowed:
        if party is not ANYWHERE and (EVERY_PORT in anywhere or all(port in anywhere for port in ports)):
            continue
        peers = party.peers(node)
        rules.append({**({direction: peers} if peers else {}), "ports": [rule for port in ports for rule in port.rules(node)]})
    return rules


def rows() -> list[tuple[str, str, str, str, str]]:
    """The table for people: from, to, ports, why, when."""
    return [(edge.source.title, edge.target.title, "; ".join(port.title for port in edge.ports), edge.why, edge.when.title) for edge in EDGES]
