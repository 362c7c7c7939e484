#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: statefulset_wait
short_description: Wait for the pod of a StatefulSet and say what keeps it
version_added: 0.1.0
description:
  - Waits until the first pod of a StatefulSet runs its newest template. Not until it is ready, which a bitcoind in its initial block download is not for days.
  - On a time-out the message says what the kubelet, the scheduler and the container themselves say.
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  name:
    description: The StatefulSet, whose container has the same name.
    type: str
    required: true
  until:
    description:
      - V(running) is enough to talk to the container.
      - V(started) means that its startup probe has passed.
    type: str
    choices: [running, started]
    default: started
  timeout:
    description: Seconds to wait.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description: Does not wait.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Wait until bitcoind answers
  openlsp.node.statefulset_wait:
    namespace: lightning
    name: bitcoind
    timeout: 1800
"""

RETURN = r"""
volumes:
  description: The PersistentVolumes that the pod's claims are bound to.
  returned: always
  type: list
  elements: str
  sample: [pvc-8d2f0a40-6c0b-4f43-a20c-0f24f0c4f1d4]
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _pod


def obstacle(statefulset: dict | None, pod: dict | None, until: str) -> str | None:
    """What is missing, or None when the wait is over."""
    if statefulset is None:
        return "the StatefulSet does not exist"
    if statefulset["status"].get("observedGeneration") != statefulset["metadata"]["generation"]:
        return "the controller has not looked at its newest version"
    if pod is None:
        return "its pod does not exist"
    if "deletionTimestamp" in pod["metadata"]:
        return "its old pod is still stopping"
    if pod["metadata"]["labels"].get("controller-revision-hash") != statefulset["status"]["updateRevision"]:
        return "its pod is of an older version"
    name = statefulset["metadata"]["name"]
    container = next((each for each in pod["status"].get("containerStatuses", ()) if each["name"] == name), None)
    if container is None or "running" not in container["state"]:
        return f"its container does not run ({_pod.condition(pod)})"
    if until == "started" and not container.get("started"):
        return "it runs, but does not answer yet"
    return None


def run(module: AnsibleModule) -> dict:
    """Poll until nothing is in the way. Raises ClusterError with the reason when the time is up."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    namespace, name = given["namespace"], given["name"]
    deadline = time.monotonic() + given["timeout"]
    while True:
        statefulset = _pod.statefulset(cluster, namespace, name)
        pod = _pod.pod(cluster, namespace, f"{name}-0")
        missing = obstacle(statefulset, pod, given["until"])
        if missing is None or module.check_mode:
            return {"changed": False, "volumes": _pod.volumes(cluster, pod) if pod else []}
        if time.monotonic() > deadline:
            raise _cluster.ClusterError(
                f"{namespace}/{name}: {missing}; waited {given['timeout']} s{_pod.last_words(cluster, namespace, f'{name}-0', name)}")
        time.sleep(1)


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "name": {"type": "str", "required": True},
            "until": {"type": "str", "choices": ["running", "started"], "default": "started"},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True)
    try:
        result = run(module)
    except _cluster.ClusterError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
