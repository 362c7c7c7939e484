"""Who reaches whom, on a real node: each pod of a Lightning node and each kind of stranger try every port of each other, and it is as docs/network.md says.

One machine is all that the test node has, so what a policy cannot refuse, the machine's own way to its pods, is not tried.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import kubernetes
import pytest
from ansible_collections.openlsp.node.plugins.module_utils._edges import EDGES, POLICIES, Node, policy_spec
from conftest import NODE, ROOT, eventually, on_node, running
from reach import Pod, cells, world

MERCHANT, STRANGER, HIDDEN = "reach-merchant", "reach-stranger", "reach-hidden"

# The world outside of the cluster is a network behind the machine, with a documentation address in it (RFC 5737, RFC 3849).
OUTSIDE = ("198.51.100.2", "2001:db8:5::2")
OUTSIDE_GATEWAYS = ("198.51.100.1/24", "2001:db8:5::1/64")

# The machine itself, and whatever listens on it. Nobody's pod.
MACHINE = Pod("machine", None, {})

# kube-router needs four seconds at most; on a machine that does other things as well, more.
PATIENCE = 30

CONNECTIONS = (pathlib.Path(__file__).parent / "connections.py").read_text()


@dataclass(frozen=True)
class Network:
    """Where a pod is: a process in its network, and its addresses."""

    process: int
    addresses: tuple[str, ...]


class Matrix:
    """A Lightning node's pods and those around it, on the real network."""

    def __init__(self, node: Node, networks: dict[Pod, Network]) -> None:
        self.node, self.networks = node, networks
        self._expected = {
            (source.name, target.name, address, *port): wanted
            for source, target, port, wanted in cells(EDGES, node, networks) if source is not MACHINE
            for address in networks[target].addresses if any((":" in each) == (":" in address) for each in networks[source].addresses)}

    def __len__(self) -> int:
        return len(self._expected)

    def families(self) -> set[str]:
        return {"IPv6" if ":" in address else "IPv4" for _source, _target, address, _protocol, _port in self._expected}

    def differences(self) -> list[str]:
        """Where the network does not do what the table says."""
        given = {"networks": {pod.name: network.process for pod, network in self.networks.items()}, "attempts": list(self._expected), "seconds": 2}
        done = subprocess.run(["podman", "exec", "-i", f"openlsp-{NODE}", "python3", "-c", CONNECTIONS], input=json.dumps(given), text=True,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return [f"{source} -> {target} {address} {protocol} {port}: {'passes' if answered else 'refused'}"
                for ((source, target, address, protocol, port), wanted), answered in zip(self._expected.items(), json.loads(done.stdout), strict=True)
                if answered != wanted]

    def settled(self) -> list[str]:
        """The differences that stay: a policy takes some seconds to be in force."""
        end = time.monotonic() + PATIENCE
        while (found := self.differences()) and time.monotonic() < end:
            pass
        return found


def processes_of(uids: Iterable[str]) -> dict[str, int]:
    """A process of each of these pods, on the machine."""
    found = {}
    for line in on_node("sh", "-c", "grep -H . /proc/[0-9]*/cgroup 2>/dev/null").stdout.splitlines():
        # With systemd's driver, a pod's id has underscores.
        uid = re.search(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})", line)
        if uid:
            found[uid[1].replace("_", "-")] = int(line.split("/")[2])
    return {uid: found[uid] for uid in uids}


@pytest.fixture(scope="module")
def namespaces(core) -> Iterator[None]:
    """Those of the strangers; the monitoring's may be there already."""
    there = {each.metadata.name for each in core.list_namespace().items}
    mine = [MERCHANT, STRANGER, HIDDEN, *{"observability"} - there]
    for name in mine:
        core.create_namespace({"metadata": {"name": name}})
    yield
    for name in mine:
        core.delete_namespace(name)
    eventually(lambda: not {each.metadata.name for each in core.list_namespace().items} & set(mine), "the namespaces stay")


@pytest.fixture(scope="module")
def around(core, namespaces) -> Iterator[dict[Pod, Network]]:
    """The networks of the pods around a node: real ones where there are any, else pods that do nothing but wear the labels.

    Of the node's own programs, which come with their policies, those that do not run are left out unless there is none at all.
    """
    made: list[tuple[str, str]] = []

    def networks(node: Node) -> dict[Pod, Network]:
        def name(pod: Pod) -> str:
            selector = ",".join(f"{label}={value}" for label, value in pod.labels.items())
            real = core.list_namespaced_pod(pod.namespace, label_selector=selector).items if pod.labels else []
            return real[0].metadata.name if real else f"reach-{pod.name}"

        pods = [pod for pod in world(node, MERCHANT, STRANGER) if pod.namespace]
        found = {pod: name(pod) for pod in pods}
        own = {pod for pod in pods if pod.namespace == node.namespace and "app.kubernetes.io/name" in pod.labels}
        if any(not found[pod].startswith("reach-") for pod in own):
            found = {pod: its for pod, its in found.items() if pod not in own or not its.startswith("reach-")}
        for pod, its in found.items():
            if its == f"reach-{pod.name}" and (pod.namespace, its) not in made:
                made.append((pod.namespace, its))
                core.create_namespaced_pod(pod.namespace, stand_in(its, pod.labels))
        ready = {pod: eventually(lambda: running(core, pod.namespace, its), f"{its} does not run") for pod, its in found.items()}
        processes = processes_of(each.metadata.uid for each in ready.values())
        return {pod: Network(processes[each.metadata.uid], tuple(ip.ip for ip in each.status.pod_ips)) for pod, each in ready.items()}

    yield networks
    for namespace, name in made:
        core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)


def stand_in(name: str, labels: dict[str, str]) -> dict:
    """A pod that waits, as the Pod Security Standard `restricted` wants it."""
    return {"metadata": {"name": name, "labels": labels}, "spec": {
        "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "pause", "image": "localhost/openlsp/pause:testbed", "imagePullPolicy": "IfNotPresent",
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}]}}


@pytest.fixture(scope="module")
def outside() -> Iterator[Network]:
    """A host that the cluster knows nothing of."""
    script = f"""
        setsid unshare --net sleep infinity >/dev/null 2>&1 & process=$!
        until [ "$(readlink /proc/$process/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
        ip link add reach type veth peer name eth0 netns $process
        echo 0 >/proc/sys/net/ipv6/conf/reach/disable_ipv6
        ip link set reach up
        nsenter -t $process -n sh -c 'ip link set lo up; ip link set eth0 up'
        ip address add {OUTSIDE_GATEWAYS[0]} dev reach
        ip address add {OUTSIDE_GATEWAYS[1]} dev reach nodad
        nsenter -t $process -n ip address add {OUTSIDE[0]}/24 dev eth0
        nsenter -t $process -n ip address add {OUTSIDE[1]}/64 dev eth0 nodad
        for each in {' '.join(OUTSIDE_GATEWAYS)}; do nsenter -t $process -n ip route add default via ${{each%/*}}; done
        echo $process"""
    done = on_node("sh", "-euc", script)
    assert done.returncode == 0, done.stderr
    process = int(done.stdout)
    yield Network(process, OUTSIDE)
    on_node("kill", str(process))


@pytest.fixture(scope="module")
def machine(outside) -> Network:
    """The machine, by the address that it has towards the world."""
    return Network(1, tuple(each.partition("/")[0] for each in OUTSIDE_GATEWAYS))


def matrix(node: Node, networks: dict[Pod, Network], outside: Network, machine: Network) -> Matrix:
    return Matrix(node, {**networks, next(pod for pod in world(node) if pod.name == "outside"): outside, MACHINE: machine})


@pytest.fixture(scope="module")
def alice(around, outside, machine) -> Matrix:
    """The node of the demo, with what its inventory says."""
    done = subprocess.run(["ansible-inventory", "-i", "inventories/demo", "--host", "alice"], cwd=ROOT, text=True, capture_output=True, check=True)
    said = json.loads(done.stdout)
    exposure = said.get("openlsp_exposure", [])
    node = Node("alice", "regtest", said.get("openlsp_tor", False), said.get("openlsp_tor_only", False),
                frozenset(said.get("bitcoind_exposure", exposure)), frozenset(said.get("lnd_exposure", exposure)),
                frozenset(said.get("tor_onion_apis", [])), tuple(each["namespace"] for each in said.get("lnd_consumers", []) if "namespace" in each),
                said.get("openlsp_monitoring", False))
    return matrix(node, around(node), outside, machine)


@pytest.fixture(scope="module")
def hidden(api, around, outside, machine) -> Matrix:
    """A node of which nothing but stand-ins and policies exist; its packets may leave through Tor alone."""
    node = Node(HIDDEN, "regtest", True, True, frozenset({"onion"}), frozenset({"onion"}), frozenset({"lnd-rest"}), (MERCHANT,), monitoring=True)
    for name in POLICIES:
        apply_policy(api, name, node)
    return matrix(node, around(node), outside, machine)


def apply_policy(api, name: str, node: Node) -> None:
    body = {"metadata": {"name": name}, "spec": policy_spec(name, node)}
    kubernetes.client.NetworkingV1Api(api).create_namespaced_network_policy(node.namespace, body)


def test_everybody_reaches_what_the_table_says_and_nothing_else(alice):
    assert alice.settled() == []
    assert len(alice) >= 100


def test_every_address_family_of_the_pods_was_tried(core, alice):
    of_lnd = core.read_namespaced_pod("lnd-0", "alice").status.pod_ips
    assert alice.families() == {"IPv6" if ":" in each.ip else "IPv4" for each in of_lnd}


def test_with_tor_only_nothing_but_tor_leaves(hidden):
    assert hidden.settled() == []


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name not in {"default", "lnd-clients"})) for name in POLICIES])
def test_without_one_policy_it_is_not_so(api, hidden, name):
    kubernetes.client.NetworkingV1Api(api).delete_namespaced_network_policy(name, HIDDEN)
    try:
        eventually(hidden.differences, f"nobody misses the policy {name}", PATIENCE)
    finally:
        apply_policy(api, name, hidden.node)
    assert hidden.settled() == []
