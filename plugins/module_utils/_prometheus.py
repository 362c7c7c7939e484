# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PodMonitor and a PrometheusRule need for a Prometheus of the operator to see them. Pure; no input or output."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

KINDS = {"podMonitor": "PodMonitor", "rule": "PrometheusRule"}


class PrometheusError(ValueError):
    """No Prometheus would look; the message says of each why."""


def labels(found: Sequence[Mapping[str, Any]], namespace: str, namespace_labels: Mapping[str, str] | None, preferred: str = "") -> dict[str, Any]:
    """The labels that make the first Prometheus that can see objects in the namespace see them.

    found: objects of kind Prometheus, as the API gives them. namespace_labels: None where the namespace does not exist yet.
    preferred: the namespace of those that come first, because the node's policies let them in.
    Returns the name of the Prometheus, and labels by kind: ``prometheus``, ``pod_monitor``, ``rule``. Raises PrometheusError.
    Meaning of the selectors: PrometheusSpec in the operator's API reference. A selector that is absent selects nothing, one that is empty everything;
    a namespace selector that is absent selects the namespace of the Prometheus alone.
    """
    reasons = []
    for prometheus in sorted(found, key=lambda each: each["metadata"]["namespace"] != preferred):
        name = f"{prometheus['metadata']['namespace']}/{prometheus['metadata']['name']}"
        spec, chosen = prometheus.get("spec", {}), {}
        for prefix, kind in KINDS.items():
            selector, where = spec.get(f"{prefix}Selector"), spec.get(f"{prefix}NamespaceSelector")
            if selector is None:
                reasons.append(f"{name} looks for no {kind} ({prefix}Selector is not set)")
            elif where is None and prometheus["metadata"]["namespace"] != namespace:
                reasons.append(f"{name} looks for a {kind} in its own namespace only ({prefix}NamespaceSelector is not set)")
            elif where and namespace_labels is not None and not matches(where, namespace_labels):
                reasons.append(f"{name} looks for a {kind} only in namespaces that match {words(where)}, which {namespace} does not")
            else:
                chosen[prefix] = wanted(selector)
        if len(chosen) == len(KINDS):
            return {"prometheus": name, "pod_monitor": chosen["podMonitor"], "rule": chosen["rule"]}
    raise PrometheusError("; ".join(reasons) or "the Prometheus operator is here, but no Prometheus of it: there is no object of kind Prometheus")


def wanted(selector: Mapping[str, Any]) -> dict[str, str]:
    """Labels that a label selector matches; those that it must not match are not ours anyway."""
    result = dict(selector.get("matchLabels") or {})
    for each in selector.get("matchExpressions") or ():
        if each["operator"] in ("In", "Exists"):
            result.setdefault(each["key"], (each.get("values") or ["true"])[0])
    return result


def matches(selector: Mapping[str, Any], present: Mapping[str, str]) -> bool:
    """Whether a label selector matches these labels."""
    tests = {"In": lambda value, values: value in values, "NotIn": lambda value, values: value not in values,
             "Exists": lambda value, values: value is not None, "DoesNotExist": lambda value, values: value is None}
    return (all(present.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
            and all(tests[each["operator"]](present.get(each["key"]), each.get("values") or ()) for each in selector.get("matchExpressions") or ()))


def words(selector: Mapping[str, Any]) -> str:
    """A selector as kubectl writes it."""
    expressions = [f"{each['key']} {each['operator']} {','.join(each.get('values') or ())}".strip() for each in selector.get("matchExpressions") or ()]
    return ", ".join([f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()] + expressions)
