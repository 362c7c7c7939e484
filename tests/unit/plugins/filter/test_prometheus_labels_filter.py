"""The filter openlsp.node.prometheus_labels."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.filter.prometheus_labels import FilterModule

prometheus_labels = FilterModule().filters()["prometheus_labels"]


def test_it_gives_the_labels_by_kind():
    everything = {"podMonitorSelector": {}, "ruleSelector": {"matchLabels": {"release": "stack"}}}
    found = [{"metadata": {"namespace": "alice", "name": "prometheus"}, "spec": everything}]
    assert prometheus_labels(found, "alice") == {"prometheus": "alice/prometheus", "pod_monitor": {}, "rule": {"release": "stack"}}


def test_its_error_is_ansible_s():
    with pytest.raises(AnsibleFilterError, match="kind Prometheus"):
        prometheus_labels([], "alice")
