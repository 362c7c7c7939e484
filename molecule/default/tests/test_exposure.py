"""Peers from outside of the cluster: this machine, which is in the node's network and no part of its Kubernetes."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _handshake
from ansible_collections.openlsp.node.plugins.module_utils._announcement import held, split
from conftest import NODE, on_node, site_call
from test_node import BITCOIN_CLI

ROLE = """
- hosts: lightning_nodes
  gather_facts: false
  roles: [openlsp.node.lnd]
"""


@pytest.fixture(scope="module")
def machine():
    """The machine's addresses by family."""
    inspected = subprocess.run(["podman", "inspect", f"openlsp-{NODE}"], text=True, capture_output=True, check=True)
    network, = json.loads(inspected.stdout)[0]["NetworkSettings"]["Networks"].values()
    return {"IPv4": network["IPAddress"], "IPv6": network["GlobalIPv6Address"]}


@pytest.fixture(scope="module")
def ports(core):
    """Families and node port of each of alice's Services for peers."""
    specs = {name: core.read_namespaced_service(f"{name}-p2p", "alice").spec for name in ("bitcoind", "lnd")}
    return {name: (spec.ip_families, spec.ports[0].node_port) for name, spec in specs.items()}


@pytest.fixture
def announced(lnd):
    """What alice's LND announces but for onion addresses, and her public key."""
    def ask():
        info = lnd("alice").call("GET", "/v1/getinfo")
        return {each for each in held(info["uris"]) if ".onion:" not in each}, bytes.fromhex(info["identity_pubkey"])
    return ask


def url(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def test_the_services_have_every_family_of_the_cluster(core, ports):
    families = core.read_namespaced_service("kube-dns", "kube-system").spec.ip_families
    assert {tuple(each) for each, _port in ports.values()} == {tuple(families)}
    for name in "bitcoind", "lnd":
        assert core.read_namespaced_service(name, "alice").spec.ip_families == families


def test_lnd_announces_exactly_what_is_reachable(announced, machine, ports):
    families, port = ports["lnd"]
    addresses, key = announced()
    assert addresses == {url(machine[family], port) for family in families}
    for each in addresses:
        with socket.create_connection(split(each), timeout=10) as sock:
            _handshake.lightning(sock, key)


def test_who_expects_another_node_there_is_not_deceived(announced, lnd):
    addresses, _key = announced()
    other = bytes.fromhex(lnd("bob").call("GET", "/v1/getinfo")["identity_pubkey"])
    with socket.create_connection(split(addresses.pop()), timeout=10) as sock, pytest.raises(_handshake.HandshakeError, match="is not this node"):
        _handshake.lightning(sock, other)


def test_bitcoind_answers_every_family_and_sees_each_peers_own_address(core, machine, ports):
    """Not the node's, as it would without externalTrafficPolicy Local."""
    families, port = ports["bitcoind"]
    for family in families:
        with socket.create_connection((machine[family], port), timeout=10) as sock:
            assert "Satoshi" in _handshake.bitcoin(sock, "regtest")
            said = on_pod(core, "getpeerinfo")
            assert url(*sock.getsockname()[:2]) in {peer["addr"] for peer in json.loads(said)}


def on_pod(core, command):
    from kubernetes.stream import stream
    asked = stream(core.connect_get_namespaced_pod_exec, "bitcoind-0", "alice", container="bitcoind", command=[*BITCOIN_CLI.split(), command],
                   stdout=True, stderr=False, stdin=False, tty=False, _preload_content=False)
    asked.run_forever(timeout=30)
    return asked.read_all()


@pytest.mark.parametrize(("name", "port"), [("bitcoind", 18443), ("bitcoind", 28332), ("lnd", 10009), ("lnd", 8080)])
def test_nothing_else_is_open_to_the_outside(core, machine, name, port):
    spec = core.read_namespaced_service(name, "alice").spec
    assert (spec.type, spec.external_ips, [each.node_port for each in spec.ports if each.node_port]) == ("ClusterIP", None, [])
    for address in machine.values():
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=3)


def test_inside_of_the_cluster_every_family_leads_to_every_port(core, ports):
    """LND's own half of the listeners is one a family; a Service's address of IPv6 that leads nowhere would show only when somebody prefers it."""
    for name, port in ("bitcoind", 18443), ("bitcoind", 28332), ("lnd", 10009), ("lnd", 8080):
        pod = core.read_namespaced_pod(f"{name}-0", "alice")
        processes = on_node("sh", "-c", f"grep -l {pod.metadata.uid} /proc/[0-9]*/cgroup").stdout.split()
        for address in (each.ip for each in pod.status.pod_ips):
            program = f"import socket; socket.create_connection(({address!r}, {port}), timeout=3)"
            done = on_node("nsenter", "-t", processes[0].split("/")[2], "-n", "python3", "-c", program)
            assert done.returncode == 0, (name, port, address, done.stderr)


@pytest.mark.long
def test_a_way_that_is_taken_off_is_no_longer_announced(announced, tmp_path):
    """LND itself would go on: it keeps what it announced."""
    playbook = tmp_path / "lnd.yml"
    playbook.write_text(ROLE)

    def run(*arguments):
        done = subprocess.run(**site_call("--limit", "alice", *arguments, playbook=str(playbook)), stdout=subprocess.PIPE, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout
    before, _key = announced()
    try:
        run("-e", json.dumps({"lnd_exposure": []}))
        assert announced()[0] == set()
        assert "changed=0" in run("-e", json.dumps({"lnd_exposure": []}))
    finally:
        run()
    # Under another port: the cluster gave the old one back.
    assert {split(each)[0] for each in announced()[0]} == {split(each)[0] for each in before}


def test_what_cannot_lead_to_the_node_is_refused_all_at_once(site):
    from test_wrong_input import MAINNET, refusal
    complaints = refusal(site, {**MAINNET, "openlsp_exposure": ["node_port"], "lnd_node_port": 9735,
                                "lnd_external_addresses": ["192.168.1.20", "expyuzz4wqqyqhjn.onion"], "openlsp_ip_families": ["ipv6"],
                                "lnd_wallet_file": "/tmp/unused.yml"})
    assert [each.split(":")[0] for each in complaints] == ["openlsp_ip_families", "lnd_node_port", "lnd_external_addresses", "lnd_external_addresses"]
