"""What the cluster is asked for the ways that lead to peers, and what is made of its answers."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError, service_families
from ansible_collections.openlsp.node.plugins.modules import exposure_info
from kube_api import Refusal

SERVICES = "/api/v1/namespaces/ns/services"
SERVICE = f"{SERVICES}/lnd-p2p"
ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"


def node(name, *addresses, hostname=""):
    listed = [{"type": "InternalIP", "address": each} for each in addresses]
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": hostname or name}},
            "status": {"addresses": [*listed, {"type": "Hostname", "address": name}]}}


def service(kind="NodePort", node_port=31000, ingress=()):
    port = {"name": "p2p", "port": 9735, **({"nodePort": node_port} if node_port else {})}
    return {"spec": {"type": kind, "ports": [port]}, "status": {"loadBalancer": {"ingress": list(ingress)} if ingress else {}}}


@pytest.fixture
def look(api, kubeconfig, monkeypatch):
    """The module's run in a cluster of both families and one node, without a pause between its questions."""
    monkeypatch.setattr(exposure_info.time, "sleep", lambda _seconds: None)
    api.lay("POST", SERVICES, {"spec": {"ipFamilies": ["IPv4", "IPv6"]}})
    api.lay("GET", "/api/v1/nodes", {"items": [node("pi", "192.168.1.20", "2a01:4f8::20")]})

    def looked(*ways, check_mode=False, **given):
        return exposure_info.run({
            "kubeconfig": str(kubeconfig), "context": None, "namespace": "ns", "service": "lnd-p2p", "port": 9735, "ways": list(ways),
            "families": ["IPv4", "IPv6"], "external_addresses": [], "node_port": 0, "node": "", "announce_private": False, "timeout": 0, **given}, check_mode)
    return looked


def test_the_families_are_asked_for_by_a_service_that_is_never_made(api, look):
    assert look()["families"] == ["IPv4", "IPv6"]
    asked, = api.asked("POST")
    assert asked.query == [("dryRun", "All")]


def test_who_needs_no_nodes_does_not_ask_for_them(api, look):
    look()
    look("load_balancer", "onion")
    look("node_port", external_addresses=["8.8.8.8"])
    assert not api.asked("GET", "/nodes")


def test_the_hosts_addresses_become_the_services(look):
    found = look("host_port")
    assert found["external_ips"] == ["192.168.1.20", "2a01:4f8::20"]
    assert found["announced"] == ["[2a01:4f8::20]:9735"]


@pytest.mark.parametrize("name", ["two", "second"], ids=["name", "label"])
def test_the_node_of_the_volume_is_found_by_name_and_by_label(api, look, name):
    api.lay("GET", "/api/v1/nodes", {"items": [node("one", "10.0.0.1"), node("two", "10.0.0.2", hostname="second")]})
    assert look("host_port", node=name)["external_ips"] == ["10.0.0.2"]


def test_a_refused_look_at_the_nodes_says_what_it_is_for(api, look):
    api.lay("GET", "/api/v1/nodes", Refusal(403, "no"))
    with pytest.raises(ClusterError, match="whose addresses host_port and node_port need: no; give this user that right"):
        look("host_port")


def test_a_node_port_is_waited_for(api, look):
    api.lay("GET", SERVICE, Refusal(404), service(kind="ClusterIP", node_port=0), service())
    found = look("node_port", timeout=60, announce_private=True)
    assert (found["announced"], found["pending"]) == (["192.168.1.20:31000", "[2a01:4f8::20]:31000"], [])
    assert len(api.asked("GET", SERVICE)) == 3


def test_without_a_wait_what_is_pending_is_said(look):
    assert look("node_port")["pending"] == ["the cluster has given the Service no node port yet"]


def test_check_mode_does_not_wait(api, look):
    assert look("node_port", timeout=60, check_mode=True)["pending"]
    assert len(api.asked("GET", SERVICE)) == 1


def test_a_load_balancer_that_does_not_come_in_time_is_pending(api, look, monkeypatch):
    """On k3s it does not before the Service has a pod."""
    clock = iter(range(10000))
    monkeypatch.setattr(exposure_info.time, "monotonic", lambda: next(clock))
    api.lay("GET", SERVICE, service("LoadBalancer"))
    pending, = look("load_balancer", timeout=120)["pending"]
    assert pending.startswith("nothing in the cluster has given the Service the address of a load balancer yet; ")
    assert len(api.asked("GET", SERVICE)) > 1


def test_a_load_balancers_name_is_announced_as_a_name(api, look):
    api.lay("GET", SERVICE, service("LoadBalancer", ingress=[{"hostname": "lb.example.org"}, {"ip": "8.8.4.4"}]))
    found = look("load_balancer")
    assert (found["announced"], found["announced_names"]) == (["lb.example.org:9735", "8.8.4.4:9735"], ["lb.example.org:9735"])


def test_the_onion_address_comes_from_its_secret(api, look):
    data = {"hostname": base64.b64encode(f"{ONION}\n".encode()).decode()}
    api.lay("GET", "/api/v1/namespaces/ns/secrets/tor-onion-lnd-p2p", {"metadata": {"name": "tor-onion-lnd-p2p", "namespace": "ns"}, "data": data})
    assert look("onion")["announced"] == [f"{ONION}:9735"]
    assert look()["announced"] == []


# --- the families of a cluster -------------------------------------------------------------------------------------

def test_a_namespace_that_is_not_there_yet_is_no_obstacle(api, cluster):
    api.lay("POST", "/api/v1/namespaces/default/services", {"spec": {"ipFamilies": ["IPv6"]}})
    assert service_families(cluster, "ns") == ("IPv6",)


def test_who_may_make_no_service_learns_nothing(api, cluster):
    api.lay("POST", SERVICES, Refusal(403))
    assert service_families(cluster, "ns") == ()


def test_another_refusal_is_an_error(api, cluster):
    api.lay("POST", SERVICES, Refusal(500, "broken"))
    with pytest.raises(ClusterError, match="cannot ask the cluster for its families of addresses: broken"):
        service_families(cluster, "ns")
