"""What the role observability does with the Prometheus and the Grafana that it finds, and what it leaves alone."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = pathlib.Path(__file__).parents[3] / "roles/observability"


def tasks(file: str) -> dict[str, dict]:
    """Those of a file by their names, with those in its blocks."""
    def named(listed: list[dict]):
        for task in listed:
            yield task["name"], task
            yield from named(task.get("block", []))
    return dict(named(yaml.safe_load((ROLE / "tasks" / file).read_text())))


def holds(conditions: str | list[str], **variables) -> bool:
    templar = Templar(loader=DataLoader(), variables=variables)
    return all(templar.evaluate_conditional(trust_as_template(each)) for each in ([conditions] if isinstance(conditions, str) else conditions))


def pod(namespace: str) -> dict:
    return {"metadata": {"namespace": namespace, "name": "prometheus-0"}}


@pytest.mark.parametrize("found, namespace, in_reach", [
    pytest.param({"__observability_operator": {"prometheus": "observability/stack"}}, "observability", True, id="the add-on"),
    pytest.param({"__observability_operator": {"prometheus": "monitoring/stack"}}, "observability", False, id="elsewhere"),
    pytest.param({"__observability_operator": {"prometheus": "monitoring/stack"}}, "monitoring", True, id="where the owner says"),
    pytest.param({"__observability_operator": {}, "__observability_prometheus": {"resources": [pod("default"), pod("observability")]}},
                 "observability", True, id="no operator"),
    pytest.param({"__observability_operator": {}, "__observability_prometheus": {"resources": [pod("default")]}},
                 "observability", False, id="no operator, elsewhere"),
])
def test_a_prometheus_that_the_policies_keep_out_is_refused(found, namespace, in_reach):
    task = tasks("prometheus.yml")["Refuse a Prometheus that the node's network policies keep out"]
    variables = {**{name: trust_as_template(text) for name, text in task["vars"].items()}, **found, "_observability_monitoring_namespace": namespace}
    refusal = task["ansible.builtin.assert"]
    assert holds(refusal["that"], **variables) == in_reach
    said = Templar(loader=DataLoader(), variables=variables).template(trust_as_template(refusal["fail_msg"]))
    assert said.startswith("openlsp_monitoring_namespace: ") and namespace in said


OF_THE_ADD_ON = {"prometheus": "observability/stack"}


@pytest.mark.parametrize("operator, stack, bounded", [
    pytest.param(OF_THE_ADD_ON, "observability", True, id="the add-on"),
    pytest.param({"prometheus": "monitoring/stack"}, "observability", False, id="another's"),
    pytest.param(OF_THE_ADD_ON, "", False, id="the add-on, to be left alone"),
    pytest.param({}, "observability", False, id="no operator"),
    pytest.param({}, "", False, id="no operator, to be left alone"),
])
def test_the_prometheus_of_the_named_stack_is_bounded_and_no_other(operator, stack, bounded):
    when = tasks("main.yml")["Bound what Prometheus takes of the machine"]["when"]
    assert holds(when, __observability_operator=operator, observability_stack_namespace=stack) == bounded


def shown(stack: str, **found) -> str:
    template = trust_as_template((ROLE / "templates/grafana.txt.j2").read_text())
    return Templar(loader=DataLoader(), variables={"observability_stack_namespace": stack, **found}).template(template)


def test_of_a_stack_to_be_left_alone_no_grafana_is_looked_for():
    steps = tasks("grafana.yml")
    assert not holds(steps["Find Grafana"]["when"], observability_stack_namespace="")
    skipped = {"skipped": True, "changed": False}
    assert not holds(steps["Read its password"]["when"], __observability_grafana=skipped)
    assert "observability_stack_namespace is empty" in shown("", __observability_grafana=skipped)


def test_the_password_of_grafana_is_shown_with_the_way_to_it():
    secret = {"resources": [{"data": {"admin-password": "c2VjcmV0"}}]}
    text = shown("observability", __observability_grafana={"secret": "grafana", "key": "admin-password", "deployment": "grafana"},
                 __observability_grafana_secret=secret)
    assert "-n observability port-forward deployment/grafana" in text and "secret\n" in text
    assert "none in namespace observability" in shown("observability", __observability_grafana={"secret": ""})
