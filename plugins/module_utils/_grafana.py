# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The password of a Grafana that a chart installed, and a better one in its place."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _weak
from ansible_collections.openlsp.node.plugins.module_utils._cluster import Cluster, ClusterError, explained
from ansible_collections.openlsp.node.plugins.module_utils._secret import ANNOTATIONS, digest

# On the Secret: the digest of the password that this collection made. On the Deployment's pods: of the one that they were started with.
MARK = ANNOTATIONS + "grafana-password"

# The variable by which Grafana takes its administrator's first password: its documentation, and grafana-community's chart.
VARIABLE = "GF_SECURITY_ADMIN_PASSWORD"


@dataclass(frozen=True)
class Grafana:
    """One Deployment, and the Secret and the key that hold its password. made: the mark on the Secret. runs_with: the mark on the pods."""

    namespace: str
    deployment: str
    secret: str
    key: str
    password: bytes = field(repr=False)
    version: str = ""
    made: str = ""
    runs_with: str = ""

    @property
    def whose(self) -> str | None:
        """Whose published default its password is."""
        return _weak.weak_password(self.password.decode(errors="replace"))


def find(cluster: Cluster, namespace: str) -> Grafana | None:
    """The Grafana of a namespace, None without one. Raises ClusterError."""
    with explained(f"cannot look for Grafana in namespace {namespace}"):
        listed = cluster.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments", {"labelSelector": "app.kubernetes.io/name=grafana"})["items"]
        for deployment in listed:
            template = deployment["spec"]["template"]
            for reference in references(template["spec"]):
                secret = cluster.find(f"/api/v1/namespaces/{namespace}/secrets/{reference['name']}")
                if secret is None:
                    raise ClusterError(f"Grafana's Secret {reference['name']} of namespace {namespace} is not there")
                metadata = secret["metadata"]
                return Grafana(namespace, deployment["metadata"]["name"], reference["name"], reference["key"],
                               base64.b64decode(secret.get("data", {}).get(reference["key"], "")), metadata["resourceVersion"],
                               (metadata.get("annotations") or {}).get(MARK, ""), (template["metadata"].get("annotations") or {}).get(MARK, ""))
    return None


def references(pod: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Where a pod's containers take the password from."""
    for container in pod["containers"]:
        for variable in container.get("env", ()):
            if variable["name"] == VARIABLE and "secretKeyRef" in variable.get("valueFrom", {}):
                yield variable["valueFrom"]["secretKeyRef"]


def replace(cluster: Cluster, found: Grafana) -> str:
    """Give it a random password in place of a published one; the mark of the new one. Raises ClusterError."""
    password = secrets.token_urlsafe(24).encode()
    body = {"metadata": {"resourceVersion": found.version, "annotations": {MARK: digest(password)}},
            "data": {found.key: base64.b64encode(password).decode()}}
    with explained(f"cannot write Grafana's Secret {found.secret} of namespace {found.namespace}"):
        cluster.request("PATCH", f"/api/v1/namespaces/{found.namespace}/secrets/{found.secret}", {"fieldManager": "openlsp.node"}, body,
                        "application/merge-patch+json")
    return digest(password)


def restart(cluster: Cluster, found: Grafana, mark: str) -> None:
    """Start Grafana again, which reads its password at its first start and keeps no volume in the add-on. Raises ClusterError."""
    body = {"spec": {"template": {"metadata": {"annotations": {MARK: mark}}}}}
    with explained(f"cannot restart Grafana {found.deployment} of namespace {found.namespace}"):
        cluster.request("PATCH", f"/apis/apps/v1/namespaces/{found.namespace}/deployments/{found.deployment}", {"fieldManager": "openlsp.node"}, body,
                        "application/merge-patch+json")
