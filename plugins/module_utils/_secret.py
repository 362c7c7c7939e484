# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes Secrets: what is wanted, what is there, and the plan from one to the other."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Iterable, Mapping

from ansible_collections.openlsp.node.plugins.module_utils._cluster import (
    FIELD_MANAGER, Cluster, ClusterError, explained)

MANAGED_BY = "app.kubernetes.io/managed-by"

# A write that meets somebody else's write is tried again: server-side apply merges, so the second try sees the other's result.
_TRIES = 3


@dataclass(frozen=True)
class Secret:
    """A Secret's content as this collection sees it. ``data`` is what must not be shown."""

    name: str
    data: Mapping[str, bytes] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)

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


def digest(value: bytes) -> str:
    """The first 8 hexadecimal digits of the SHA-256: enough to see a change, too little to use."""
    return hashlib.sha256(value).hexdigest()[:8]


def plan(wanted: Iterable[Secret], found: Mapping[str, Secret], adopt: bool) -> list[Change]:
    """What has to happen so that every wanted Secret is there, in the order of their names.

    Keys and labels that nobody wants here are left alone. Raises ClusterError for a Secret that is somebody else's,
    unless ``adopt``.
    """
    changes = []
    for secret in sorted(wanted, key=lambda each: each.name):
        there = found.get(secret.name)
        if there is None:
            action = "create"
        elif not there.ours and not adopt:
            raise ClusterError(
                f"the Secret {secret.name} exists and is not managed by {FIELD_MANAGER}; "
                "set adopt to take it over, or remove or rename it")
        else:
            same = (secret.data.items() <= there.data.items()) and (secret.labels.items() <= there.labels.items())
            action = "keep" if same else "update"
        changes.append(Change(action, secret, there))
    return changes


def read_all(cluster: Cluster, namespace: str) -> dict[str, Secret]:
    """Every Secret of a namespace by its name; one request. Raises ClusterError."""
    with explained(f"cannot list the Secrets of namespace {namespace}"):
        listed = cluster.request("GET", _path(namespace))
    return {item["metadata"]["name"]: _from_api(item) for item in listed["items"]}


def read(cluster: Cluster, namespace: str, name: str) -> Secret | None:
    """One Secret, or None where it, or its namespace, does not exist. Raises ClusterError."""
    with explained(f"cannot read the Secret {name} of namespace {namespace}"):
        found = cluster.find(_path(namespace, name))
    return _from_api(found) if found else None


def write(cluster: Cluster, namespace: str, change: Change) -> None:
    """Carry out one change by server-side apply. Raises ClusterError."""
    name = change.wanted.name
    for attempt in range(1, _TRIES + 1):
        try:
            with explained(f"cannot write the Secret {name} of namespace {namespace}"):
                cluster.request("PATCH", _path(namespace, name), {"fieldManager": FIELD_MANAGER, "force": "true"},
                                _to_api(change.wanted), "application/apply-patch+yaml")
            return
        except ClusterError as error:
            if error.status != 409 or attempt == _TRIES:
                raise


def create_once(cluster: Cluster, namespace: str, secret: Secret) -> bool:
    """Create a Secret that must never be replaced; False where one of that name came first. Raises ClusterError.

    A plain POST, because server-side apply would overwrite the values of whoever was faster.
    """
    try:
        with explained(f"cannot create the Secret {secret.name} in namespace {namespace}"):
            cluster.request("POST", _path(namespace), {"fieldManager": FIELD_MANAGER}, _to_api(secret))
    except ClusterError as error:
        if error.status == 409:
            return False
        raise
    return True


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")


def _to_api(secret: Secret) -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": secret.name, "labels": dict(secret.labels)},
            "data": {key: base64.b64encode(value).decode() for key, value in secret.data.items()}}


def _from_api(item: dict) -> Secret:
    data = {key: base64.b64decode(value) for key, value in item.get("data", {}).items()}
    return Secret(item["metadata"]["name"], data, item["metadata"].get("labels", {}))
