"""The filter openlsp.node.network_policy."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.filter.network_policy import FilterModule
from ansible_collections.openlsp.node.plugins.module_utils._edges import POLICIES, Node, policy_spec

DESCRIBED = pathlib.Path(__file__).parents[4] / "plugins/filter/network_policy.yml"

network_policy = FilterModule().filters()["network_policy"]


def test_what_a_role_says_of_its_node_is_what_counts():
    assert network_policy("bitcoind", "alice", "regtest", tor=True, tor_only=True, bitcoind_exposure=["onion"]) \
        == policy_spec("bitcoind", Node("alice", "regtest", True, True, frozenset({"onion"})))
    assert network_policy("lnd", "alice", "regtest", lnd_exposure=["node_port"], onion_apis=["lnd-grpc"], client_namespaces=["shop", "shop"]) \
        == policy_spec("lnd", Node("alice", "regtest", lnd_exposure=frozenset({"node_port"}), onion_apis=frozenset({"lnd-grpc"}),
                                   client_namespaces=("shop", "shop")))
    assert network_policy("exporter", "alice", "regtest", monitoring=True, monitoring_namespace="metrics") \
        == policy_spec("exporter", Node("alice", "regtest", monitoring=True, monitoring_namespace="metrics"))


def test_a_policy_that_there_is_not_is_an_error_of_the_filter():
    with pytest.raises(AnsibleFilterError, match="network_policy: there is no network policy postgres"):
        network_policy("postgres", "alice")


def test_its_documentation_names_every_policy():
    assert yaml.safe_load(DESCRIBED.read_text().split("EXAMPLES")[0])["DOCUMENTATION"]["options"]["_input"]["choices"] == list(POLICIES)
