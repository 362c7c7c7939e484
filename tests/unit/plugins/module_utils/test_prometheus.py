"""Which labels the operator's Prometheus selects, by what its own object says."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._prometheus import PrometheusError, labels

# As helm installs kube-prometheus-stack for MicroK8s' add-on.
RELEASE = {"matchLabels": {"release": "kube-prom-stack"}}
MICROK8S = {"podMonitorSelector": RELEASE, "podMonitorNamespaceSelector": {}, "ruleSelector": RELEASE, "ruleNamespaceSelector": {}}


def prometheus(name="stack", namespace="observability", **spec):
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_the_add_on_of_microk8s_wants_its_release():
    assert labels([prometheus(**MICROK8S)], "alice", {}) == {
        "prometheus": "observability/stack", "pod_monitor": {"release": "kube-prom-stack"}, "rule": {"release": "kube-prom-stack"}}


def test_a_prometheus_that_takes_everything_wants_no_label():
    found = labels([prometheus(podMonitorSelector={}, podMonitorNamespaceSelector={}, ruleSelector={}, ruleNamespaceSelector={})], "alice", {})
    assert (found["pod_monitor"], found["rule"]) == ({}, {})


def test_expressions_are_met():
    selector = {"matchLabels": {"team": "a"}, "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["gold", "silver"]}, {"key": "watched", "operator": "Exists"},
        {"key": "team", "operator": "In", "values": ["a", "b"]}, {"key": "ignored", "operator": "DoesNotExist"}]}
    found = labels([prometheus(**{**MICROK8S, "ruleSelector": selector})], "alice", {})
    assert found["rule"] == {"team": "a", "tier": "gold", "watched": "true"}


@pytest.mark.parametrize("spec, reason", [
    ({"podMonitorSelector": None}, "observability/stack looks for no PodMonitor"),
    ({"ruleSelector": None}, "observability/stack looks for no PrometheusRule"),
    ({"ruleNamespaceSelector": None}, "looks for a PrometheusRule in its own namespace only"),
    ({"podMonitorNamespaceSelector": {"matchLabels": {"watch": "yes"}}}, "only in namespaces that match watch=yes, which alice does not"),
    ({"podMonitorNamespaceSelector": {"matchExpressions": [{"key": "watch", "operator": "Exists"}]}}, "match watch Exists, which alice does not"),
    ({"podMonitorNamespaceSelector": {"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["test"]}]}}, "match env NotIn test, which"),
])
def test_a_prometheus_that_would_not_look_is_named_with_the_reason(spec, reason):
    with pytest.raises(PrometheusError, match=reason):
        labels([prometheus(**{**MICROK8S, **spec})], "alice", {"env": "test"})


def test_the_first_that_would_look_is_taken():
    found = labels([prometheus("blind"), prometheus("seeing", **MICROK8S)], "alice", {})
    assert found["prometheus"] == "observability/seeing"


def test_one_that_the_policies_let_in_comes_first():
    found = [prometheus("other", "default", **MICROK8S), prometheus("ours", "monitoring", **MICROK8S)]
    assert labels(found, "alice", {}, "monitoring")["prometheus"] == "monitoring/ours"
    assert labels(found, "alice", {}, "observability")["prometheus"] == "default/other"


def test_a_namespace_of_its_own_needs_no_selector():
    found = labels([prometheus(namespace="alice", podMonitorSelector={}, ruleSelector={})], "alice", {})
    assert found["prometheus"] == "alice/stack"


def test_a_namespace_that_is_not_there_yet_is_not_held_against_it():
    assert labels([prometheus(**{**MICROK8S, "ruleNamespaceSelector": {"matchLabels": {"watch": "yes"}}})], "alice", None)["rule"] == RELEASE["matchLabels"]


def test_an_operator_without_a_prometheus_is_said_to_be_one():
    with pytest.raises(PrometheusError, match="no object of kind Prometheus"):
        labels([], "alice", {})
