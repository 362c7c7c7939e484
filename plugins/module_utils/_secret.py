# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes Secrets: what is wanted, what is there, and the plan from one to the other."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Mapping

from ansible_collections.openlsp.node.plugins.module_utils._cluster import (
    FIELD_MANAGER, Cluster, ClusterError, explained)

MANAGED_BY = "app.kubernetes.io/managed-by"

# What the names of this collection's annotations begin with.
ANNOTATIONS = "openlsp.org/"


class ForeignSecretError(ClusterError):
    """A Secret of that name is somebody else's: asking again will not help."""


@dataclass(frozen=True)
class Secret:
    """A Secret's content as this collection sees it. ``data`` is what must not be shown.

    created: RFC 3339. version: the API's resourceVersion. Both are empty before it is there.
    """

    name: str
    data: Mapping[str, bytes] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    created: str = ""
    version: str = ""

    @property
    def ours(self) -> bool:
        """Whether it carries the label of this collection."""
        return self.labels.get(MANAGED_BY) == FIELD_MANAGER


@dataclass(frozen=True)
class Change:
    """One line of the plan: ``action`` is create, update or keep."""

    action: str
    wanted: Secret
    found: Secret | None

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.wanted.namespace, self.wanted.name


def digest(value: bytes) -> str:
    """The first 8 hexadecimal digits of the SHA-256: enough to see a change, too little to use."""
    return hashlib.sha256(value).hexdigest()[:8]


def change(wanted: Secret, found: Secret | None, adopt: bool) -> Change:
    """What has to happen so that the wanted Secret is there.

    Keys, labels and annotations that nobody wants here are left alone, but for annotations of this collection. Raises ForeignSecretError for a
    Secret that is somebody else's, unless ``adopt``.
    """
    if found is None:
        return Change("create", wanted, None)
    if not found.ours and not adopt:
        raise ForeignSecretError(f"the Secret {wanted.name} of namespace {wanted.namespace} exists and is not managed by {FIELD_MANAGER}; "
                                 "set adopt to take it over, or remove or rename it")
    same = (wanted.data.items() <= found.data.items() and wanted.labels.items() <= found.labels.items()
            and wanted.annotations == {name: value for name, value in found.annotations.items() if name.startswith(ANNOTATIONS)})
    return Change("keep" if same else "update", wanted, found)


def read_all(cluster: Cluster, namespace: str) -> dict[str, Secret]:
    """Every Secret of a namespace by its name; one request. Raises ClusterError."""
    with explained(f"cannot list the Secrets of namespace {namespace}"):
        listed = cluster.request("GET", _path(namespace))
    if "items" not in listed:
        raise ClusterError(f"cannot list the Secrets of namespace {namespace}: the answer is no list; is the kubeconfig's server a Kubernetes API?")
    return {item["metadata"]["name"]: _from_api(item) for item in listed["items"]}


def read(cluster: Cluster, namespace: str, name: str) -> Secret | None:
    """One Secret, or None where it, or its namespace, does not exist. Raises ClusterError."""
    with explained(f"cannot read the Secret {name} of namespace {namespace}"):
        found = cluster.find(_path(namespace, name))
    return _from_api(found) if found else None


def write(cluster: Cluster, planned: Change) -> Secret:
    """Carry out one change, if nothing has happened to the Secret since it was read; what is there now.

    Raises ClusterError, with status 409 where somebody else came first: then it is to be planned anew.
    """
    if planned.found is None:
        return _create(cluster, planned.wanted)
    body = _to_api(planned.wanted)
    body["metadata"]["resourceVersion"] = planned.found.version
    with explained(f"cannot write the Secret {planned.wanted.name} of namespace {planned.wanted.namespace}"):
        return _from_api(cluster.request("PATCH", _path(planned.wanted.namespace, planned.wanted.name),
                                         {"fieldManager": FIELD_MANAGER, "force": "true"}, body, "application/apply-patch+yaml"))


def remove_annotation(cluster: Cluster, secret: Secret, name: str) -> None:
    """Take an annotation off, whoever put it there. Raises ClusterError, with status 409 where something has happened to the Secret since it was read."""
    with explained(f"cannot write the Secret {secret.name} of namespace {secret.namespace}"):
        cluster.request("PATCH", _path(secret.namespace, secret.name), {"fieldManager": FIELD_MANAGER},
                        {"metadata": {"resourceVersion": secret.version, "annotations": {name: None}}}, "application/merge-patch+json")


def create_once(cluster: Cluster, secret: Secret) -> bool:
    """Create a Secret that must never be replaced; False where one of that name came first. Raises ClusterError."""
    try:
        _create(cluster, secret)
    except ClusterError as error:
        if error.status == 409:
            return False
        raise
    return True


def delete(cluster: Cluster, secret: Secret) -> None:
    """Remove a Secret, if nothing has happened to it since it was read. Raises ClusterError, with status 409 where something has."""
    with explained(f"cannot delete the Secret {secret.name} of namespace {secret.namespace}"):
        # Gone already is as good.
        cluster.delete(_path(secret.namespace, secret.name), secret.version)


def _create(cluster: Cluster, secret: Secret) -> Secret:
    """A plain POST, because server-side apply would overwrite the values of whoever was faster."""
    with explained(f"cannot create the Secret {secret.name} in namespace {secret.namespace}"):
        return _from_api(cluster.request("POST", _path(secret.namespace), {"fieldManager": FIELD_MANAGER}, _to_api(secret)))


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")


def _to_api(secret: Secret) -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": secret.name, "labels": dict(secret.labels), "annotations": dict(secret.annotations)},
            "data": {key: base64.b64encode(value).decode() for key, value in secret.data.items()}}


def _from_api(item: dict) -> Secret:
    data = {key: base64.b64decode(value) for key, value in item.get("data", {}).items()}
    metadata = item["metadata"]
    return Secret(metadata["name"], data, metadata.get("labels", {}), metadata.get("annotations", {}), metadata["namespace"],
                  metadata.get("creationTimestamp", ""), metadata.get("resourceVersion", ""))
