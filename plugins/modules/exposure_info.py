#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: exposure_info
short_description: Where peers reach a node, and what it shall announce
version_added: 0.1.0
description:
  - Looks at what the cluster gives a Service for peers - families of addresses, the node's own addresses, a node port, a load balancer - and at the
    onion address that is kept in a Secret.
  - Whether anybody answers there is the subject of M(openlsp.node.reachability_info).
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  service:
    description: The Service for peers, such as C(lnd-p2p); the onion address is in the Secret C(tor-onion-<service>).
    type: str
    required: true
  port:
    description: Its port.
    type: int
    required: true
  ways:
    description: The ways in which peers shall reach it.
    type: list
    elements: str
    choices: [host_port, node_port, load_balancer, onion]
    default: []
  families:
    description: The families of addresses that are wanted, of those that the cluster has.
    type: list
    elements: str
    choices: [IPv4, IPv6]
    default: [IPv4, IPv6]
  external_addresses:
    description: Addresses and names, with or without a port, from which something in front of the cluster forwards to the Service.
    type: list
    elements: str
    default: []
  node_port:
    description: The node port that the Service shall have; 0 for the one that the cluster gives it.
    type: int
    default: 0
  node:
    description: The node on which the pod runs, as Kubernetes names it; empty where the cluster has one node only.
    type: str
    default: ""
  announce_private:
    description: Whether the cluster's own addresses are announced where they are of private networks. On the Internet nobody could use them.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for a node port or the address of a load balancer. What is missing then is in RV(pending).
    type: int
    default: 0
attributes:
  check_mode:
    support: full
    description: Reads only, and does not wait.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Find out how peers reach LND
  openlsp.node.exposure_info:
    namespace: lightning
    service: lnd-p2p
    port: 9735
    ways: [node_port, onion]
  register: lnd_exposure
"""

RETURN = r"""
families:
  description: Those of the wanted families that a new Service gets.
  returned: always
  type: list
  elements: str
  sample: [IPv4, IPv6]
external_ips:
  description:
    - The node's addresses, for C(externalIPs) of the Service, and those of IPv6 that O(external_addresses) names at the same port; empty without
      V(host_port).
  returned: always
  type: list
  elements: str
reachable:
  description: Where peers should reach the node.
  returned: always
  type: list
  elements: str
  sample: ["192.168.1.20:9735"]
announced:
  description: What of it the node should announce.
  returned: always
  type: list
  elements: str
  sample: ["8.8.8.8:9735", "[2001:4860::8]:9735", "node.example.org:9735"]
announced_names:
  description: Those of RV(announced) that are names of hosts.
  returned: always
  type: list
  elements: str
  sample: ["node.example.org:9735"]
pending:
  description: What has no address yet, and why.
  returned: always
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _exposure, _secret


def nodes(cluster: _cluster.Cluster, name: str) -> dict[str, tuple[str, ...]]:
    """The addresses of the cluster's nodes, or of the one of that name. Raises ClusterError."""
    with _cluster.explained("cannot list the nodes of the cluster, whose addresses host_port and node_port need"):
        listed = cluster.request("GET", "/api/v1/nodes")["items"]
    found = {each["metadata"]["name"]: each for each in listed}
    if name:
        # A local volume names its node by this label, which need not be the node's name.
        found = {key: each for key, each in found.items() if name in (key, each["metadata"].get("labels", {}).get("kubernetes.io/hostname"))}
    return {key: tuple(address["address"] for address in each["status"].get("addresses", ()) if address["type"] in ("InternalIP", "ExternalIP"))
            for key, each in found.items()}


def facts(cluster: _cluster.Cluster, given: dict, wanted: _exposure.Wanted) -> _exposure.Facts:
    """What the cluster says. Raises ClusterError."""
    namespace, name = given["namespace"], given["service"]
    families = _cluster.service_families(cluster, namespace) or wanted.families
    with _cluster.explained(f"cannot read the Service {name} of namespace {namespace}"):
        service = cluster.find(f"/api/v1/namespaces/{namespace}/services/{name}") or {"spec": {}, "status": {}}
    ports = [port.get("nodePort", 0) for port in service["spec"].get("ports", ()) if port["port"] == wanted.port]
    balanced = [each.get("ip") or each.get("hostname") for each in service["status"].get("loadBalancer", {}).get("ingress", ())]
    onion = _secret.read(cluster, namespace, f"tor-onion-{name}") if _exposure.ONION in wanted.ways else None
    return _exposure.Facts(
        tuple(families), nodes(cluster, given["node"]) if wanted.needs_nodes else {}, service["spec"].get("type", ""), ports[0] if ports else 0,
        tuple(filter(None, balanced)), onion.data.get("hostname", b"").decode("ascii", "replace").strip() if onion else "")


def run(given: dict, check_mode: bool) -> dict:
    """Look, and look again while something is pending. Raises ClusterError and ExposureError."""
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    wanted = _exposure.Wanted(tuple(given["ways"]), given["port"], tuple(given["families"]), tuple(given["external_addresses"]), given["node_port"],
                              given["announce_private"])
    deadline = time.monotonic() + given["timeout"]
    while True:
        found = _exposure.resolve(wanted, facts(cluster, given, wanted))
        if not found.pending or check_mode or time.monotonic() >= deadline:
            return {
                "changed": False, "families": list(found.families), "external_ips": list(found.external_ips),
                "reachable": list(map(str, found.reachable)), "announced": list(map(str, found.announced)),
                "announced_names": [str(each) for each in found.announced if each.kind == "name"], "pending": list(found.pending)}
        time.sleep(1)


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "service": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "ways": {"type": "list", "elements": "str", "choices": list(_exposure.WAYS), "default": []},
            "families": {"type": "list", "elements": "str", "choices": list(_exposure.FAMILIES), "default": list(_exposure.FAMILIES)},
            "external_addresses": {"type": "list", "elements": "str", "default": []},
            "node_port": {"type": "int", "default": 0},
            "node": {"type": "str", "default": ""},
            "announce_private": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except (_cluster.ClusterError, _exposure.ExposureError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
