"""From the ways and what the cluster says to where peers reach a node, and to what it announces."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._exposure import (
    Address, ExposureError, Facts, Wanted, family_mistakes, is_public, parse, resolve, service_type)

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

# A Pi at home, which has a private address of IPv4 and a public one of IPv6.
HOME = Facts(("IPv4", "IPv6"), {"pi": ("192.168.1.20", "2a01:4f8::20")})
RENTED = Facts(("IPv4", "IPv6"), {"vps": ("88.99.1.1", "2a01:4f8::1")})
MANY = Facts(("IPv4",), {"one": ("10.0.0.1",), "two": ("10.0.0.2",)})


def wanted(*ways, **more):
    return Wanted(ways, 9735, **more)


def reached(of_wanted, facts):
    return [str(each) for each in resolve(of_wanted, facts).reachable]


def announced(of_wanted, facts):
    return [str(each) for each in resolve(of_wanted, facts).announced]


# --- what an owner writes ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, address", [
    ("8.8.8.8", "8.8.8.8:9735"), ("8.8.8.8:1", "8.8.8.8:1"), ("2001:4860:0::8", "[2001:4860::8]:9735"), ("[2001:4860::8]", "[2001:4860::8]:9735"),
    ("[2001:4860::8]:65535", "[2001:4860::8]:65535"), ("node.example.org", "node.example.org:9735"), ("Node.example.org:80", "Node.example.org:80")])
def test_an_address_is_read_with_and_without_its_port(text, address):
    assert str(parse(text, 9735)) == address


@pytest.mark.parametrize("host, kind", [("8.8.8.8", "IPv4"), ("::1", "IPv6"), (ONION, "onion"), ("a.example", "name")])
def test_an_address_knows_its_kind(host, kind):
    assert Address(host, 1).kind == kind


@pytest.mark.parametrize("host, public", [("8.8.8.8", True), ("2a01:4f8::1", True), ("node.example.org", True), ("10.0.0.1", False), ("100.64.0.1", False),
                                          ("169.254.1.1", False), ("fd00::1", False), ("fe80::1", False), ("2001:db8::1", False), ("::ffff:8.8.8.8", False)])
def test_public_is_what_the_internet_routes(host, public):
    assert is_public(host) is public


# --- the ways ------------------------------------------------------------------------------------------------------

def test_without_a_way_nobody_gets_in_and_nothing_is_announced():
    found = resolve(wanted(), Facts(("IPv4",)))
    assert (found.reachable, found.announced, found.external_ips, found.pending) == ((), (), (), ())


def test_the_hosts_own_addresses_are_the_services_too():
    found = resolve(wanted("host_port"), HOME)
    assert found.external_ips == ("192.168.1.20", "2a01:4f8::20")
    assert list(map(str, found.reachable)) == ["192.168.1.20:9735", "[2a01:4f8::20]:9735"]


@pytest.mark.parametrize("external, ips", [
    (("2a01:4f8::20",), ("192.168.1.20", "2a01:4f8::20")), (("[2a01:4f8::20]:9735", "node.example.org"), ("192.168.1.20", "2a01:4f8::20")),
    # The router's, or of somebody in front: they forward to the machine.
    (("8.8.8.8",), ("192.168.1.20",)), (("[2a01:4f8::20]:19735",), ("192.168.1.20",))])
def test_an_ipv6_address_that_the_owner_names_is_the_hosts_own_where_the_kubelet_reports_none(external, ips):
    facts = Facts(("IPv4", "IPv6"), {"pi": ("192.168.1.20",)})
    assert resolve(wanted("host_port", external=external), facts).external_ips == ips


def test_an_address_in_front_of_a_node_port_is_not_the_hosts_own():
    assert resolve(wanted("node_port", external=("2a01:4f8::20",)), HOME).external_ips == ()


def test_a_private_address_is_reached_but_not_announced():
    assert announced(wanted("host_port"), HOME) == ["[2a01:4f8::20]:9735"]


def test_on_a_private_network_it_is_announced():
    assert announced(wanted("host_port", private=True), HOME) == ["192.168.1.20:9735", "[2a01:4f8::20]:9735"]


def test_what_the_owner_names_is_announced_and_nothing_beside_it():
    given = wanted("host_port", external=("8.8.8.8:19735", "node.example.org"))
    assert announced(given, HOME) == ["8.8.8.8:19735", "node.example.org:9735"]
    assert "192.168.1.20:9735" in reached(given, HOME)


def test_a_node_port_is_the_clusters_until_somebody_wants_one():
    with_port = replace(RENTED, service_type="NodePort", node_port=31000)
    assert announced(wanted("node_port"), with_port) == ["88.99.1.1:31000", "[2a01:4f8::1]:31000"]
    assert announced(wanted("node_port", node_port=30735), RENTED) == ["88.99.1.1:30735", "[2a01:4f8::1]:30735"]


def test_a_node_port_that_is_not_there_yet_is_pending():
    found = resolve(wanted("node_port"), RENTED)
    assert (found.reachable, found.pending) == ((), ("the cluster has given the Service no node port yet",))


def test_a_load_balancers_addresses_and_names_are_announced():
    facts = Facts(("IPv4",), service_type="LoadBalancer", load_balancer=("8.8.4.4", "2a01::1", "lb.example.org"))
    assert announced(wanted("load_balancer"), facts) == ["8.8.4.4:9735", "lb.example.org:9735"]


def test_a_load_balancer_without_an_address_is_pending():
    assert "the address of a load balancer yet" in resolve(wanted("load_balancer"), Facts(("IPv4",), service_type="LoadBalancer")).pending[0]


def test_the_onion_address_is_announced_beside_the_others():
    given = wanted("host_port", "onion", external=("8.8.8.8",))
    assert announced(given, replace(HOME, onion=ONION)) == ["8.8.8.8:9735", f"{ONION}:9735"]
    assert announced(given, HOME) == ["8.8.8.8:9735"]


def test_an_onion_address_that_is_not_wanted_any_more_is_not_announced():
    assert announced(wanted(), replace(HOME, onion=ONION)) == []


@pytest.mark.parametrize("ways, kind", [((), "ClusterIP"), (("host_port", "onion"), "ClusterIP"), (("node_port",), "NodePort"),
                                        (("node_port", "load_balancer"), "LoadBalancer")])
def test_the_service_is_of_the_type_that_the_ways_need(ways, kind):
    assert service_type(ways) == kind


# --- families ------------------------------------------------------------------------------------------------------

def test_one_family_leaves_the_other_out():
    found = resolve(wanted("host_port", families=("IPv6",), private=True), HOME)
    assert (found.families, [str(each) for each in found.announced]) == (("IPv6",), ["[2a01:4f8::20]:9735"])


def test_of_both_the_cluster_may_have_one():
    assert resolve(wanted(), Facts(("IPv4",))).families == ("IPv4",)


@pytest.mark.parametrize("family, cluster", [("IPv6", "IPv4"), ("IPv4", "IPv6")])
def test_a_family_that_the_cluster_lacks_is_refused(family, cluster):
    with pytest.raises(ExposureError, match=f"{family} is asked for, and this cluster's Services have {cluster} only"):
        resolve(wanted(families=(family,)), Facts((cluster,)))


def test_an_address_of_a_family_that_the_cluster_lacks_is_refused():
    with pytest.raises(ExposureError, match="it is of IPv6, and this cluster's Services have IPv4 only"):
        resolve(wanted("load_balancer", external=("2a01:4f8::9",)), Facts(("IPv4",)))


@pytest.mark.parametrize("asked, cluster, count", [
    (None, ["IPv4"], 0), (["IPv4"], ["IPv4", "IPv6"], 0), (["IPv4", "IPv6"], ["IPv4"], 1), (["IPv6"], ["IPv4"], 1)])
def test_only_who_asks_for_a_family_has_to_get_it(asked, cluster, count):
    assert len(list(family_mistakes(asked, cluster))) == count


# --- which node ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", ["host_port", "node_port"])
@pytest.mark.parametrize("facts, words", [(MANY, "one of 2 nodes"), (Facts(("IPv4",)), "on no node")], ids=["many", "none"])
def test_peers_need_to_know_the_one_node(way, facts, words):
    with pytest.raises(ExposureError, match=f"{way}: the pod may run {'on ' if 'one' in words else ''}{words}"):
        resolve(wanted(way), facts)


def test_where_something_is_in_front_of_many_nodes_its_address_counts():
    given = wanted("node_port", external=("8.8.8.8",), node_port=30735)
    assert not given.needs_nodes
    assert announced(given, replace(MANY, nodes={})) == ["8.8.8.8:9735"]
