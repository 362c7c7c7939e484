"""The pods around a Lightning node, and what the table of edges says of each two of them: for the unit tests, and for those on a real node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.openlsp.node.plugins.module_utils import _edges
from ansible_collections.openlsp.node.plugins.module_utils._edges import Edge, Node, Party

# A port that nobody has.
STRANGE = 22222

CLIENT = {"openlsp.org/lnd-client": "true"}
TOR_CLIENT = {"openlsp.org/tor-client": "true"}


@dataclass(frozen=True, eq=False)
class Pod:
    """namespace: None is outside of the cluster. parties: those that the table means by it; anywhere goes without saying."""

    name: str
    namespace: str | None
    labels: dict[str, str]
    parties: tuple[Party, ...] = ()


def world(node: Node, elsewhere: str = "merchant", foreign: str = "stranger") -> list[Pod]:
    """One of each kind. elsewhere: a namespace that may be one with programs that use LND."""
    def own(name: str, *parties: Party, **labels: str) -> Pod:
        return Pod(name, node.namespace, labels, (*parties, _edges.EVERY_POD, _edges.CLUSTER))

    def workload(name: str, party: Party) -> Pod:
        return own(name, party, **{"app.kubernetes.io/name": name, "app.kubernetes.io/instance": node.namespace})

    known = (_edges.CLIENTS,) if elsewhere in node.client_namespaces else ()
    return [
        workload("bitcoind", _edges.BITCOIND), workload("lnd", _edges.LND), workload("tor", _edges.TOR), workload("exporter", _edges.EXPORTER),
        own("client", _edges.CLIENTS, **CLIENT), own("tor-client", _edges.TOR_CLIENTS, **TOR_CLIENT), own("nobody"),
        Pod("client-elsewhere", elsewhere, CLIENT, (*known, _edges.CLUSTER)),
        Pod("nobody-elsewhere", elsewhere, {}, (_edges.CLUSTER,)),
        # Nobody made its namespace one of a consumer, and it is not of this node.
        Pod("pretender", foreign, {**CLIENT, **TOR_CLIENT}, (_edges.CLUSTER,)),
        Pod(f"lnd-of-{node.namespace}", foreign, {"app.kubernetes.io/name": "lnd", "app.kubernetes.io/instance": node.namespace}, (_edges.CLUSTER,)),
        Pod("prometheus", node.monitoring_namespace, {}, (_edges.MONITORING, _edges.CLUSTER)),
        Pod("dns", "kube-system", {"k8s-app": "kube-dns"}, (_edges.DNS, _edges.CLUSTER)),
        Pod("outside", None, {}),
    ]


def ports(edges: Iterable[Edge], node: Node) -> list[tuple[str, int]]:
    """Every port that the edges name, and one that they do not."""
    return sorted({(rule["protocol"], rule.get("port", STRANGE)) for edge in edges for port in edge.ports for rule in port.rules(node)})


def cells(edges: Iterable[Edge], node: Node, pods: Iterable[Pod]) -> Iterator[tuple[Pod, Pod, tuple[str, int], bool]]:
    """The whole matrix, and what the table says of it: each pod of the node to each other pod, and back, at every port."""
    pods, edges = list(pods), list(edges)
    for port in ports(edges, node):
        fitting = [edge for edge in edges if edge.when.holds(node) and any(
            rule["protocol"] == port[0] and rule.get("port", port[1]) == port[1] for each in edge.ports for rule in each.rules(node))]
        for source in pods:
            for target in pods:
                if source is not target and node.namespace in (source.namespace, target.namespace):
                    yield source, target, port, _in_table(fitting, node, source, target)


def _in_table(edges: list[Edge], node: Node, source: Pod, target: Pod) -> bool:
    """Whether some of these edges lead out of the source and into the target, as far as the two are of the node."""
    def found(its: Pod, end: str, other: Pod, other_end: str) -> bool:
        # Those without labels are nobody's own end.
        return its.namespace != node.namespace or any(
            getattr(edge, end) in its.parties and getattr(edge, end).labels and getattr(edge, other_end) in (*other.parties, _edges.ANYWHERE)
            for edge in edges)

    return found(source, "source", target, "target") and found(target, "target", source, "source")
