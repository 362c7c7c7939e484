# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which workloads use a Secret, and their restart so that they read its new content."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _pod
from ansible_collections.openlsp.node.plugins.module_utils._cluster import FIELD_MANAGER, Cluster, ClusterError, explained

RESTARTED_FOR = "openlsp.org/restarted-for"

# Reasons that a workload remembers. One that uses more Secrets than this may be restarted once too often, which does no harm.
_REMEMBERED = 20

# The kinds whose controller replaces pods when their template changes, and their names in the API's paths.
_TEMPLATED = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


@dataclass(frozen=True)
class Workload:
    """What makes pods, or a pod that nothing makes.

    kind: Deployment, StatefulSet or DaemonSet; Pod; or what else controls pods, such as Job.
    secrets: the names of those that its template or one of its living pods uses.
    obstacle: why not every pod runs its newest template and is ready; empty where they do.
    by_hand: what the operator must do so that its older pods go; empty where Kubernetes does it, or there are none.
    made: when the oldest of its living pods was made, RFC 3339; empty for what makes new pods by itself.
    """

    kind: str
    name: str
    secrets: frozenset[str]
    obstacle: str = ""
    by_hand: str = ""
    made: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def ready(self) -> bool:
        """Whether every pod runs its newest template and is ready."""
        return not self.obstacle

    def made_before(self, when: str) -> bool:
        """Whether a pod of it is older. when: RFC 3339, UTC, in seconds, as Kubernetes writes it. What waits for its operator is."""
        return not self.made or self.made <= when


def of_namespace(cluster: Cluster, namespace: str) -> list[Workload]:
    """Every workload of a namespace by kind and name; four requests. A CronJob is not one: its next pod reads what is there then.

    Raises ClusterError that names the right that is missing.
    """
    templated = {kind: _listed(cluster, namespace, f"/apis/apps/v1/namespaces/{namespace}/{plural}", f"{kind}s")
                 for kind, plural in _TEMPLATED.items()}
    return survey(templated, _listed(cluster, namespace, f"/api/v1/namespaces/{namespace}/pods", "pods"))


def _listed(cluster: Cluster, namespace: str, path: str, what: str) -> list[dict]:
    with explained(f"cannot list the {what} of namespace {namespace}, which tells who uses a Secret"):
        return cluster.request("GET", path)["items"]


def survey(templated: Mapping[str, Iterable[dict]], pods: Iterable[dict]) -> list[Workload]:
    """The same from the API's objects: Deployments, StatefulSets and DaemonSets by their kind, and all pods."""
    items = {(kind, item["metadata"]["name"]): item for kind, listed in templated.items() for item in listed}
    of_owner: dict[tuple[str, str], list[dict]] = {owner: [] for owner in items}
    for pod in pods:
        # One that has ended uses nothing any more; a Deployment leaves its evicted pods there for ever.
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            of_owner.setdefault(_owner(pod), []).append(pod)
    return [_workload(*owner, items.get(owner), theirs) for owner, theirs in sorted(of_owner.items())]


def _owner(pod: dict) -> tuple[str, str]:
    """Kind and name of what makes a pod, which is the pod itself where nothing does."""
    metadata = pod["metadata"]
    controller = next((each for each in metadata.get("ownerReferences", ()) if each.get("controller")), None)
    if controller is None:
        return "Pod", metadata["name"]
    # A Deployment's ReplicaSet is named after both, so that there is no need to read it.
    of_deployment = f"-{metadata.get('labels', {}).get('pod-template-hash')}"
    if controller["kind"] == "ReplicaSet" and controller["name"].endswith(of_deployment):
        return "Deployment", controller["name"].removesuffix(of_deployment)
    return controller["kind"], controller["name"]


def _workload(kind: str, name: str, item: dict | None, pods: list[dict]) -> Workload:
    specs = [pod["spec"] for pod in pods] + ([item["spec"]["template"]["spec"]] if item else [])
    secrets = frozenset(secret for spec in specs for secret in _used(spec))
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    stopping = next((f"its old pod {_name(pod)} is still stopping" for pod in pods if pod not in living), "")
    if item is None:
        by_hand = "make the pod anew" if kind == "Pod" else "delete its pods"
        made = min((pod["metadata"]["creationTimestamp"] for pod in living), default="")
        return Workload(kind, name, secrets, _unready(living) or stopping, by_hand if living else "", made)
    stale = [pod for pod in living if _reasons(pod) != _reasons(item["spec"]["template"])]
    obstacle = _unready(pod for pod in living if pod not in stale) or _unfinished(kind, item, stale) or stopping
    return Workload(kind, name, secrets, obstacle, _by_hand(kind, name, item["spec"]) if stale else "")


def _used(spec: dict) -> Iterator[str]:
    """The Secrets of a pod's volumes and variables. Not those that pull its images, which the program never sees."""
    for volume in spec.get("volumes", ()):
        if "secret" in volume:
            yield volume["secret"]["secretName"]
        for source in volume.get("projected", {}).get("sources", ()):
            if "secret" in source:
                yield source["secret"]["name"]
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ()), *spec.get("ephemeralContainers", ())):
        for source in container.get("envFrom", ()):
            if "secretRef" in source:
                yield source["secretRef"]["name"]
        for variable in container.get("env", ()):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                yield reference["name"]


def _unready(pods: Iterable[dict]) -> str:
    for pod in pods:
        if not any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())):
            return f"its pod {_name(pod)} is not ready ({_pod.condition(pod)})"
    return ""


def _unfinished(kind: str, item: dict, stale: list[dict]) -> str:
    """What its controller has yet to do. Where the numbers are: kubectl's rollout_status.go, in k8s.io/kubectl/pkg/polymorphichelpers."""
    status = item.get("status", {})
    if status.get("observedGeneration", 0) < item["metadata"]["generation"]:
        return "its controller has not looked at its newest version"
    for condition in status.get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return condition.get("message", condition.get("reason", "it cannot make its pods"))
    if stale:
        return f"its pod {_name(stale[0])} is of an older version"
    if kind == "DaemonSet":
        names = "updatedNumberScheduled", "numberAvailable"
        wanted = status.get("desiredNumberScheduled", 0)
    else:
        names = "updatedReplicas", "availableReplicas"
        wanted = max(item["spec"].get("replicas", 1), status.get("replicas", 0))
    for name, what in zip(names, ("of its newest version", "available")):
        if status.get(name, 0) < wanted:
            return f"{status.get(name, 0)} of its {wanted} pods are {what}"
    return ""


def _by_hand(kind: str, name: str, spec: dict) -> str:
    strategy = spec.get("updateStrategy", {})
    if spec.get("paused"):
        return f"resume it: kubectl rollout resume {kind.lower()}/{name}"
    if strategy.get("type") == "OnDelete":
        return "delete its pods, which its update strategy OnDelete leaves to you"
    if (strategy.get("rollingUpdate") or {}).get("partition"):
        return "lower the partition of its update strategy, which keeps older pods"
    return ""


def restart(cluster: Cluster, namespace: str, workload: Workload, reason: str) -> bool:
    """Let a workload's controller replace its pods, once for each reason; whether that had to be said.

    reason: what tells the Secret's new content from all others, such as the digest of its macaroon.
    A Pod, a Job and the like are left alone; ``wait_ready`` names them. Raises ClusterError.
    """
    if workload.kind not in _TEMPLATED:
        return False
    path = f"/apis/apps/v1/namespaces/{namespace}/{_TEMPLATED[workload.kind]}/{workload.name}"
    with explained(f"cannot restart the {workload} of namespace {namespace}"):
        # Read anew: another of its Secrets may have been a reason since it was listed.
        found = cluster.find(path)
        if found is None or reason in _reasons(found["spec"]["template"]):
            return False
        reasons = [*_reasons(found["spec"]["template"]), reason][-_REMEMBERED:]
        cluster.request("PATCH", path, {"fieldManager": FIELD_MANAGER},
                        {"spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: ",".join(reasons)}}}}},
                        "application/merge-patch+json")
    return True


def wait_ready(cluster: Cluster, namespace: str, workloads: Iterable[Workload], timeout: float) -> list[Workload]:
    """Wait until no older pod of these workloads is left and the new ones are ready; those that wait for the operator, see ``by_hand``.

    Raises ClusterError that names each workload that is not ready after ``timeout`` seconds, and why.
    """
    names = {(each.kind, each.name) for each in workloads}
    deadline = time.monotonic() + timeout
    while names:
        now = [each for each in of_namespace(cluster, namespace) if (each.kind, each.name) in names]
        waiting = [each for each in now if each.obstacle and not each.by_hand]
        if not waiting:
            return [each for each in now if each.by_hand]
        if time.monotonic() > deadline:
            reasons = "; ".join(f"{each}: {each.obstacle}" for each in waiting)
            raise ClusterError(f"not ready again in namespace {namespace} after {timeout:.0f} s: {reasons}")
        time.sleep(1)
    return []


def _reasons(of: dict[str, Any]) -> list[str]:
    """What a pod, or a pod template, was restarted for; a pod has what its template had when it was made."""
    value = (of.get("metadata", {}).get("annotations") or {}).get(RESTARTED_FOR, "")
    return value.split(",") if value else []


def _name(pod: dict) -> str:
    return pod["metadata"]["name"]
