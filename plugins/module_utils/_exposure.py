# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the ways in which peers shall reach a node to what they reach, and to what the node tells them. Pure; no input or output.

A way is open for the peers' ports alone: RPC, ZMQ, gRPC and REST have Services of their own, which none of this touches.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Mapping

HOST_PORT, NODE_PORT, LOAD_BALANCER, ONION = WAYS = ("host_port", "node_port", "load_balancer", "onion")
IPV4, IPV6 = FAMILIES = ("IPv4", "IPv6")

# What the router, or whatever else is in front of the cluster, forwards: no way of ours, but an address like the others.
FORWARDED = "forwarded"

# Kubernetes' own range for node ports, which an administrator may change (kube-apiserver --service-node-port-range).
NODE_PORTS = range(30000, 32768)

# Version 3: the key, a checksum and the version in base32. Those of version 2 had 16 letters and ended in 2021.
_ONION = re.compile(r"[a-z2-7]{56}\.onion")
_OLD_ONION = re.compile(r"[a-z2-7]{16}\.onion")
_LABEL = r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?!.{{254}})({_LABEL}\.)+(?![0-9]+$){_LABEL}", re.IGNORECASE | re.ASCII)


class ExposureError(Exception):
    """What keeps peers from reaching the node, in words for its owner."""


@dataclass(frozen=True)
class Address:
    """Where a peer connects to. way: one of WAYS, or FORWARDED."""

    host: str
    port: int
    way: str = FORWARDED

    @property
    def kind(self) -> str:
        """IPv4, IPv6, onion or name."""
        address = _ip(self.host)
        if address:
            return f"IPv{address.version}"
        return "onion" if self.host.endswith(".onion") else "name"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.kind == IPV6 else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Wanted:
    """port: of the Service. families: of openlsp_ip_families. external: what is forwarded from outside, as the owner writes it.

    private: whether addresses that are of no use on the Internet are announced too, as on a regtest network.
    """

    ways: tuple[str, ...]
    port: int
    families: tuple[str, ...] = FAMILIES
    external: tuple[str, ...] = ()
    node_port: int = 0
    private: bool = False

    @property
    def needs_nodes(self) -> bool:
        """Whether something depends on the addresses of the cluster's nodes, which not everybody may read."""
        return HOST_PORT in self.ways or (NODE_PORT in self.ways and not self.external)


@dataclass(frozen=True)
class Facts:
    """families: what a new Service gets. nodes: the addresses of each node on which the pod may run. onion: the service's address.

    service_type, node_port, load_balancer: of the Service as it is; empty where there is none.
    """

    families: tuple[str, ...]
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    service_type: str = ""
    node_port: int = 0
    load_balancer: tuple[str, ...] = ()
    onion: str = ""


@dataclass(frozen=True)
class Exposure:
    """families: of the Services and listeners. external_ips: of the Service. pending: what has no address so far, and why."""

    families: tuple[str, ...]
    external_ips: tuple[str, ...] = ()
    reachable: tuple[Address, ...] = ()
    announced: tuple[Address, ...] = ()
    pending: tuple[str, ...] = ()


def parse(text: str, port: int) -> Address:
    """An address or name as an owner writes it, with or without a port; an address of IPv6 with a port is in brackets. Raises ExposureError."""
    found = re.fullmatch(r"(?:\[(?P<six>[^]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?", text)
    if found:
        host, port = found["six"] or found["host"] or "", int(found["port"] or port)
    else:
        host = text
    address = _ip(host)
    if found and found["six"] is not None and not (address and address.version == 6):
        raise ExposureError(f"{text}: what is in brackets is no address of IPv6")
    if not 0 < port < 65536:
        raise ExposureError(f"{text}: {port} is no port")
    if address:
        return Address(str(address), port)
    if _ONION.fullmatch(host) or _OLD_ONION.fullmatch(host):
        old = " (and one of version 2, which Tor no longer knows)" if _OLD_ONION.fullmatch(host) else ""
        raise ExposureError(f"{text}: this is an onion address{old}; add onion to the exposure, which makes and announces one")
    if not _HOST_NAME.fullmatch(host):
        raise ExposureError(f"{text}: this is no address such as 8.8.8.8, [2001:4860::8]:{port} or node.example.org, with or without a port")
    return Address(host, port)


def is_public(host: str) -> bool:
    """Whether the Internet routes packets to this address. A name or an onion address is somebody's word: it counts as public."""
    address = _ip(host)
    if address is None:
        return True
    # Of IPv6, a mapped address of IPv4 is not what a peer would connect to.
    return address.is_global and not address.is_multicast and getattr(address, "ipv4_mapped", None) is None


def service_type(ways: Iterable[str]) -> str:
    """Of the Service for peers. One of type LoadBalancer has a node port too."""
    ways = set(ways)
    return "LoadBalancer" if LOAD_BALANCER in ways else "NodePort" if NODE_PORT in ways else "ClusterIP"


def variable_mistakes(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a host's variables, however well formed each of them is. What needs Tor is the business of whoever looks at Tor's."""
    families = values.get("openlsp_ip_families", list(FAMILIES))
    if not families or len(set(families)) != len(families) or not set(families) <= set(FAMILIES):
        yield f"openlsp_ip_families: {families}; write [IPv4, IPv6], [IPv4] or [IPv6]"
        families = list(FAMILIES)
    for role in ("bitcoind", "lnd"):
        yield from _role_mistakes(role, values, families)


def _role_mistakes(role: str, values: Mapping[str, Any], families: Iterable[str]) -> Iterator[str]:
    ways, external, node_port = (values[f"{role}_{what}"] for what in ("exposure", "external_addresses", "node_port"))
    clear = [way for way in ways if way != ONION]
    if node_port and not {NODE_PORT, LOAD_BALANCER} & set(ways):
        yield f"{role}_node_port: {node_port}, but {role}_exposure has no node_port; add it or set this to 0"
    if node_port and node_port not in NODE_PORTS:
        yield f"{role}_node_port: {node_port} is none of Kubernetes' node ports, {NODE_PORTS[0]} to {NODE_PORTS[-1]}; 0 lets the cluster choose one"
    if external and not clear:
        yield (f"{role}_external_addresses: {', '.join(map(str, external))}, but nothing leads peers from there into the cluster; add host_port, "
               f"node_port or load_balancer to {role}_exposure")
    for text in map(str, external):
        try:
            address = parse(text, 1)
        except ExposureError as error:
            yield f"{role}_external_addresses: {error}"
            continue
        if role == "bitcoind" and address.kind == "name":
            yield (f"{role}_external_addresses: {text} is a name, and bitcoind would resolve it at its start alone, and not start without an answer; give its "
                   "address, or leave it out (LND takes names: lnd_external_addresses)")
        if not is_public(address.host) and values[f"{role}_network"] != "regtest":
            yield (f"{role}_external_addresses: {text} is of a private or reserved range, where no peer on the Internet gets to; give the router's own "
                   f"address{' or name' if role == 'lnd' else ''} (whoever means it sets externalip in {role}_options)")
        if address.kind == IPV6 and IPV6 not in families or address.kind == IPV4 and IPV4 not in families:
            yield f"{role}_external_addresses: {text} is of {address.kind}, and openlsp_ip_families has none; add it there or remove the address"


def family_mistakes(wanted: Iterable[str] | None, cluster: Iterable[str]) -> Iterator[str]:
    """wanted: openlsp_ip_families as somebody set it; None where it takes what there is. cluster: what a new Service gets."""
    cluster = tuple(cluster)
    for family in wanted or ():
        # What is no family at all is a mistake of its own.
        if family in FAMILIES and family not in cluster:
            yield (f"openlsp_ip_families: {family} is asked for, and this cluster's Services have {' and '.join(cluster)} only; remove {family}, or "
                   "let the cluster have both (a new installation of MicroK8s: microk8s_ip_families)")


def resolve(wanted: Wanted, facts: Facts) -> Exposure:
    """Where peers reach the node, and what of it they are told. Raises ExposureError where a way cannot lead anywhere."""
    families = tuple(family for family in wanted.families if family in facts.families)
    if not families:
        raise ExposureError(next(family_mistakes(wanted.families, facts.families)))
    external = tuple(parse(text, wanted.port) for text in wanted.external)
    for address in external:
        if address.kind in FAMILIES and address.kind not in families:
            raise ExposureError(f"external address {address}: it is of {address.kind}, and this cluster's Services have {' and '.join(families)} only")
    nodes = _node_addresses(wanted, facts, families)
    found, pending = list(external), []
    if HOST_PORT in wanted.ways:
        found += [Address(host, wanted.port, HOST_PORT) for host in nodes]
    if NODE_PORT in wanted.ways:
        port = wanted.node_port or (facts.node_port if facts.service_type != "ClusterIP" else 0)
        if port:
            found += [Address(host, port, NODE_PORT) for host in nodes]
        elif wanted.needs_nodes:
            pending.append("the cluster has given the Service no node port yet")
    if LOAD_BALANCER in wanted.ways:
        balanced = facts.load_balancer if facts.service_type == "LoadBalancer" else ()
        found += [Address(host, wanted.port, LOAD_BALANCER) for host in balanced if Address(host, 1).kind not in FAMILIES or Address(host, 1).kind in families]
        if not balanced and not external:
            pending.append("nothing in the cluster has given the Service the address of a load balancer yet; on hardware of your own MetalLB does")
    if ONION in wanted.ways and facts.onion:
        found.append(Address(facts.onion, wanted.port, ONION))
    reachable = tuple({str(each): each for each in found}.values())
    return Exposure(families, _external_ips(wanted, nodes, external), reachable, tuple(_announced(wanted, reachable)), tuple(pending))


def _announced(wanted: Wanted, reachable: Iterable[Address]) -> Iterator[Address]:
    """What an owner gives is what he wants announced; only without it do the cluster's own addresses count, if they are of use to a stranger."""
    for address in reachable:
        if address.way in (FORWARDED, ONION) or (not wanted.external and (wanted.private or is_public(address.host))):
            yield address


def _external_ips(wanted: Wanted, nodes: Iterable[str], external: Iterable[Address]) -> tuple[str, ...]:
    """A kubelet without --node-ip reports IPv4 alone. What the owner names of IPv6 is the machine's own: at the same port nothing forwards it."""
    if HOST_PORT not in wanted.ways:
        return ()
    named = [address.host for address in external if address.kind == IPV6 and address.port == wanted.port]
    return tuple(dict.fromkeys([*nodes, *named]))


def _node_addresses(wanted: Wanted, facts: Facts, families: Iterable[str]) -> list[str]:
    if not wanted.needs_nodes:
        return []
    # The Service hands a peer to a pod of the same node alone, or it would hide the peer's address from it.
    if len(facts.nodes) != 1:
        way = HOST_PORT if HOST_PORT in wanted.ways else NODE_PORT
        count = f"one of {len(facts.nodes)} nodes" if facts.nodes else "no node"
        raise ExposureError(f"{way}: the pod may run on {count} of this cluster, and peers need one address; name its node in "
                            "..._storage_local_node, take load_balancer, or with node_port give ..._external_addresses")
    listed = dict.fromkeys(host for hosts in facts.nodes.values() for host in hosts)
    return [host for host in listed if Address(host, 1).kind in families]


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None
