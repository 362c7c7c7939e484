"""The objects of a Kubernetes API in memory, for the tests that need one that remembers: Secrets with versions, and controllers that replace pods."""

from __future__ import annotations

import copy
import re

from kube_api import Refusal

_SECRETS = re.compile(r"/api/v1/namespaces/([^/]+)/secrets(?:/([^/]+))?")
_PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods")
_WORKLOADS = re.compile(r"/apis/apps/v1/namespaces/([^/]+)/(deployments|statefulsets|daemonsets)(?:/([^/]+))?")

READY = [{"type": "Ready", "status": "True"}]
KINDS = {"deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}


class KubeStore:
    """``secrets[namespace, name]``: as the API has them. ``workloads[namespace, plural, name]`` and ``pods[namespace, name]`` likewise."""

    def __init__(self):
        self.secrets, self.workloads, self.pods, self.version = {}, {}, {}, 0
        # By Secret, what server-side apply has set: it removes that where it is left out later, and nothing that came in another way.
        self.applied = {}
        self.now = "2026-11-28T12:00:00Z"

    def answer(self, call):
        """What the API answers."""
        for pattern, handler in ((_SECRETS, self._secret), (_WORKLOADS, self._workload)):
            found = pattern.fullmatch(call.path)
            if found:
                return copy.deepcopy(handler(call, *found.groups()))
        found = _PODS.fullmatch(call.path)
        return {"items": [pod for (namespace, _name), pod in self.pods.items() if namespace == found[1]]} if found else Refusal(404)

    def put(self, namespace, name, data, labels=None, annotations=None):
        """A Secret, from outside. data: base64."""
        return self._keep(namespace, {"metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}}, "data": data})

    def copy(self, namespace, name, new):
        """Another Secret of the same content, labels and annotations."""
        item = self.secrets[namespace, name]
        self.put(namespace, new, item["data"], item["metadata"]["labels"], item["metadata"]["annotations"])

    def deploy(self, namespace, name, *secrets, plural="deployments", **of_spec):
        """A workload with one pod that uses these Secrets."""
        spec = {"containers": [], "volumes": [{"name": each, "secret": {"secretName": each}} for each in secrets]}
        self.workloads[namespace, plural, name] = {
            "metadata": {"name": name, "generation": 1}, "spec": {"replicas": 1, "template": {"spec": spec}, **of_spec},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}}
        self.renew_pod(namespace, plural, name)

    def bare_pod(self, namespace, name, *secrets, made):
        """A pod that nothing makes anew. made: RFC 3339."""
        spec = {"containers": [], "volumes": [{"name": each, "secret": {"secretName": each}} for each in secrets]}
        self.pods[namespace, name] = {"metadata": {"name": name, "creationTimestamp": made}, "spec": spec,
                                      "status": {"phase": "Running", "conditions": READY}}

    def renew_pod(self, namespace, plural, name):
        """What the controller does: one pod of the newest template."""
        template = self.workloads[namespace, plural, name]["spec"]["template"]
        owner = {"kind": "ReplicaSet" if plural == "deployments" else KINDS[plural], "name": f"{name}-6d4" if plural == "deployments" else name,
                 "controller": True}
        self.pods[namespace, f"{name}-0"] = {
            "metadata": {"name": f"{name}-0", "labels": {"pod-template-hash": "6d4"}, "ownerReferences": [owner],
                         "creationTimestamp": self.now, **template.get("metadata", {})},
            "spec": template["spec"], "status": {"phase": "Running", "conditions": READY}}

    def _keep(self, namespace, item):
        self.version += 1
        item["metadata"] |= {"namespace": namespace, "resourceVersion": str(self.version)}
        item["metadata"].setdefault("creationTimestamp", self.now)
        self.secrets[namespace, item["metadata"]["name"]] = item
        return item

    def _secret(self, call, namespace, name):
        if call.method == "GET" and not name:
            return {"items": [item for place, item in sorted(self.secrets.items()) if place[0] == namespace]}
        if call.method == "POST":
            if (namespace, call.body["metadata"]["name"]) in self.secrets:
                return Refusal(409, "it is there already")
            return self._keep(namespace, call.body)
        item = self.secrets.get((namespace, name))
        if item is None:
            return Refusal(404)
        if call.method == "GET":
            return item
        version = (call.body.get("preconditions") or call.body["metadata"])["resourceVersion"]
        if version != item["metadata"]["resourceVersion"]:
            return Refusal(409, "the object has been modified")
        if call.method == "DELETE":
            del self.secrets[namespace, name]
            return {}
        if call.headers["Content-Type"] == "application/merge-patch+json":
            return self._keep(namespace, _merged(item, call.body))
        assert call.headers["Content-Type"] == "application/apply-patch+yaml"
        return self._keep(namespace, self._applied(namespace, name, item, call.body))

    def _applied(self, namespace, name, item, wanted):
        sections = {"data": wanted["data"], "labels": wanted["metadata"]["labels"], "annotations": wanted["metadata"]["annotations"]}
        before = self.applied.get((namespace, name), set())
        now = {(section, key) for section, pairs in sections.items() for key in pairs}
        self.applied[namespace, name] = now
        metadata = {section: {**{key: None for part, key in before - now if part == section}, **sections[section]}
                    for section in ("labels", "annotations")}
        return _merged(item, {"data": {**{key: None for part, key in before - now if part == "data"}, **sections["data"]}, "metadata": metadata})

    def _workload(self, call, namespace, plural, name):
        if not name:
            return {"items": [item for place, item in self.workloads.items() if place[:2] == (namespace, plural)]}
        item = self.workloads.get((namespace, plural, name))
        if item is None:
            return Refusal(404)
        if call.method == "PATCH":
            self.workloads[namespace, plural, name] = item = _merged(item, call.body)
            if item["spec"].get("updateStrategy", {}).get("type") != "OnDelete":
                self.renew_pod(namespace, plural, name)
        return item


def _merged(item, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    base = dict(item) if isinstance(item, dict) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = _merged(base.get(key), value)
    return base
