# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod: its state, a command in it, a connection to one of its ports; all through the Kubernetes API."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible_collections.openlsp.node.plugins.module_utils._cluster import REQUEST_TIMEOUT, Cluster, ClusterError, explained

_STDOUT, _STDERR, _STATUS = 1, 2, 3


def run(cluster: Cluster, namespace: str, pod: str, container: str, command: list[str], timeout: float = 30) -> bytes:
    """The standard output of a command in a running container; at most ``timeout`` seconds.

    Raises ClusterError when the container is not running or the command fails; its standard error is part of the message.
    """
    where = f"{namespace}/{pod}"
    query = [("container", container), *(("command", word) for word in command), ("stdout", "true"), ("stderr", "true")]
    with explained(f"cannot run a command in {where}"):
        session = cluster.execute(f"/api/v1/namespaces/{namespace}/pods/{pod}/exec", query)
    try:
        deadline = time.monotonic() + timeout
        while session.is_open():
            left = deadline - time.monotonic()
            if left <= 0:
                raise ClusterError(f"{command[0]} in {where} did not end within {timeout:.0f} s")
            with explained(f"lost the connection to {where}"):
                session.update(timeout=left)
        # The client before 36 gives text, not bytes, where nothing came.
        output = session.read_channel(_STDOUT) or b""
        complaint = (session.read_channel(_STDERR) or b"").decode(errors="replace").strip()
        status = json.loads(session.read_channel(_STATUS) or b'{"status": "Failure", "message": "the connection broke"}')
    finally:
        session.close()
    if status["status"] != "Success":
        raise ClusterError(f"{command[0]} in {where} failed: {complaint or status.get('message')}")
    return output


def forward(cluster: Cluster, namespace: str, pod: str, port: int) -> Any:
    """A connected stream socket to a port of a pod's loopback interface. The caller closes it.

    Raises ClusterError when the pod does not run. Whether the port answers shows at the first read.
    """
    with explained(f"cannot connect to port {port} of {namespace}/{pod}"):
        connection = cluster.forward(f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward", port)
    sock = connection.socket(port)
    sock.settimeout(REQUEST_TIMEOUT[1])
    return sock


def statefulset(cluster: Cluster, namespace: str, name: str) -> dict | None:
    """The StatefulSet, or None where there is none. Raises ClusterError."""
    with explained(f"cannot read the StatefulSet {namespace}/{name}"):
        return cluster.find(f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}")


def pod(cluster: Cluster, namespace: str, name: str) -> dict | None:
    """The Pod, or None where there is none. Raises ClusterError."""
    with explained(f"cannot read the pod {namespace}/{name}"):
        return cluster.find(f"/api/v1/namespaces/{namespace}/pods/{name}")


def delete(cluster: Cluster, of_pod: dict) -> None:
    """Let a pod end in an orderly way; returns before it has. A newer pod of the same name is left alone. Raises ClusterError."""
    namespace, name, uid = (of_pod["metadata"][each] for each in ("namespace", "name", "uid"))
    with explained(f"cannot delete the pod {namespace}/{name}"):
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body={"preconditions": {"uid": uid}})


def claim(cluster: Cluster, namespace: str, name: str) -> dict | None:
    """The PersistentVolumeClaim, or None where there is none. Raises ClusterError."""
    with explained(f"cannot read the claim {namespace}/{name}"):
        return cluster.find(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")


def volumes(cluster: Cluster, of_pod: dict) -> list[str]:
    """The names of the PersistentVolumes that a pod's claims are bound to. Raises ClusterError."""
    namespace = of_pod["metadata"]["namespace"]
    names = [each["persistentVolumeClaim"]["claimName"] for each in of_pod["spec"].get("volumes", ()) if "persistentVolumeClaim" in each]
    claims = [claim(cluster, namespace, name) for name in names]
    return [each["spec"]["volumeName"] for each in claims if each and each["spec"].get("volumeName")]


def condition(of_pod: dict) -> str:
    """Why a pod does not run, in the words of the scheduler or the kubelet."""
    status = of_pod["status"]
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        ended, waiting = (container["state"].get(each, {}) for each in ("terminated", "waiting"))
        if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return f"{container['name']}: {waiting['reason']}: {waiting.get('message', 'no message')}"
        if ended.get("exitCode"):
            return f"{container['name']}: ended with {ended['exitCode']}: {ended.get('message') or ended.get('reason', 'no message')}"
    for each in status.get("conditions", ()):
        if each["type"] == "PodScheduled" and each["status"] == "False" and each.get("message"):
            return each["message"]
    return status["phase"]


def last_words(cluster: Cluster, namespace: str, name: str, container: str) -> str:
    """The end of a container's log as the end of a message; before there is one, what the kubelet complains of; empty where there is neither."""
    try:
        with explained("no log"):
            log = cluster.text(f"/api/v1/namespaces/{namespace}/pods/{name}/log", {"container": container, "tailLines": 5}).strip()
            return f". Its last words:\n{log}" if log else _last_warning(cluster, namespace, name)
    except ClusterError:
        return ""


def _last_warning(cluster: Cluster, namespace: str, name: str) -> str:
    """Such as that a volume's directory does not exist, which a pod's own status does not tell."""
    query = {"fieldSelector": f"involvedObject.name={name},type=Warning"}
    events = cluster.request("GET", f"/api/v1/namespaces/{namespace}/events", query)["items"]
    latest = max(events, key=lambda each: each.get("lastTimestamp") or each["metadata"]["creationTimestamp"], default=None)
    return f". Its last warning:\n{latest['reason']}: {latest['message']}" if latest else ""
