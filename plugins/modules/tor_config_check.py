#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tor_config_check
short_description: Let Tor read a configuration before the running Tor gets it
version_added: 0.2.0
description:
  - Runs C(tor --verify-config) in a pod of its own, which is removed afterwards, with the image that is about to run. Fails with Tor's own complaint.
  - A configuration that the StatefulSet runs already, with the same image, is not looked at again.
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  image:
    description: The image with Tor.
    type: str
    required: true
  torrc:
    description: The configuration, without a password. It may name neither a host nor a file that such a pod does not have.
    type: str
    required: true
  statefulset:
    description: The StatefulSet that will run it.
    type: str
    default: tor
  annotation:
    description: The annotation of that StatefulSet's pods in which the digest of the configuration is kept.
    type: str
    default: openlsp.org/configuration
  digest:
    description: The digest that its pods will be given.
    type: str
    required: true
  labels:
    description: Labels of the pod.
    type: dict
    default: {}
  timeout:
    description: Seconds for the whole check, from pulling the image on.
    type: int
    default: 300
attributes:
  check_mode:
    support: full
    description: Makes no pod, so nothing is checked.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Let Tor read its new configuration
  openlsp.node.tor_config_check:
    namespace: lightning
    image: localhost/openlsp/tor:0.4.9
    torrc: |
      SocksPort 0.0.0.0:9050
    digest: 5f0d1c9e
"""

RETURN = r"""
checked:
  description: Whether Tor read it; not where it runs with it already, nor in check mode.
  returned: success
  type: bool
  sample: true
"""

import re
import secrets
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _pod
from ansible_collections.openlsp.node.plugins.module_utils._arguments import labels_of

CONTAINER = "tor"


def runs_already(statefulset: dict | None, image: str, annotation: str, digest: str) -> bool:
    """Whether the StatefulSet's pods have this image and this configuration."""
    template = statefulset["spec"]["template"] if statefulset else {}
    found = [each["image"] for each in template.get("spec", {}).get("containers", ()) if each["name"] == CONTAINER]
    return found == [image] and template.get("metadata", {}).get("annotations", {}).get(annotation) == digest


def pod(name: str, image: str, torrc: str, labels: dict) -> dict:
    """The pod, which reads the configuration from its environment: it names hosts and bridges, and nothing that must not be seen."""
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False, "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": CONTAINER, "image": image, "imagePullPolicy": "IfNotPresent",
                # --hush: warnings and errors, and nothing else.
                "command": ["sh", "-c", 'printf "%s\\n" "$TORRC" | tor -f - --verify-config --hush'],
                "env": [{"name": "TORRC", "value": torrc}, {"name": "HOME", "value": "/tmp"}],
                "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "scratch", "mountPath": path} for path in ("/data", "/run/tor", "/tmp")]}],
            "volumes": [{"name": "scratch", "emptyDir": {}}]}}


def complaint(log: str) -> str:
    """What Tor has against a configuration, without its times and its repetitions of "it failed"."""
    lines = [re.sub(r"^\w{3} \d+ [\d:.]+ \[\w+\] ", "", line) for line in log.splitlines()]
    for line in lines:
        found = re.match(r"Failed to parse/validate config: (.*?)(?:\s*Failing\.)?$", line)
        if found and "See logs for details" not in found[1]:
            return found[1].strip().rstrip(".")
    kept = [line for line in lines if line and not line.startswith(("Failed to parse/validate", "Reading config failed", "You are running Tor as root"))]
    return " ".join(kept).rstrip(".") or "Tor gives no reason"


def run(module: AnsibleModule) -> dict:
    """Look whether it is new; if so let Tor read it. Raises ClusterError with Tor's complaint."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    namespace = given["namespace"]
    statefulset = _pod.statefulset(cluster, namespace, given["statefulset"])
    if module.check_mode or runs_already(statefulset, given["image"], given["annotation"], given["digest"]):
        return {"changed": False, "checked": False}
    # A name of its own: what an interrupted run left would be another configuration's.
    name = f"{given['statefulset']}-check-{secrets.token_hex(4)}"
    with _cluster.explained(f"cannot create the pod {name} in namespace {namespace}"):
        cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods", {"fieldManager": _cluster.FIELD_MANAGER},
                        pod(name, given["image"], given["torrc"], labels_of(given)))
    try:
        _wait(cluster, namespace, name, given["timeout"])
    finally:
        made = _pod.pod(cluster, namespace, name)
        if made:
            _pod.delete(cluster, made)
    return {"changed": False, "checked": True}


def _wait(cluster: _cluster.Cluster, namespace: str, name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        found = _pod.pod(cluster, namespace, name)
        phase = found["status"]["phase"] if found else "Gone"
        if phase == "Succeeded":
            return
        if phase == "Failed":
            with _cluster.explained(f"cannot read what Tor says in {namespace}/{name}"):
                log = cluster.text(f"/api/v1/namespaces/{namespace}/pods/{name}/log", {"container": CONTAINER})
            raise _cluster.ClusterError(f"Tor refuses its new configuration: {complaint(log)}; look at tor_options and tor_bridges. What runs was not touched")
        if time.monotonic() > deadline:
            raise _cluster.ClusterError(f"{namespace}/{name}: Tor has not read its new configuration within {timeout} s: "
                                        f"{_pod.condition(found) if found else 'somebody removed the pod'}; what runs was not touched")
        time.sleep(0.5)


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "image": {"type": "str", "required": True},
            "torrc": {"type": "str", "required": True},
            "statefulset": {"type": "str", "default": "tor"},
            "annotation": {"type": "str", "default": "openlsp.org/configuration"},
            "digest": {"type": "str", "required": True},
            "labels": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True)
    try:
        result = run(module)
    except _cluster.ClusterError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
