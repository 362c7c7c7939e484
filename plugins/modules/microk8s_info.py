#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: microk8s_info
short_description: Look at MicroK8s on a machine, and say what is missing
version_added: 0.1.0
description:
  - Reads what C(snap list), C(microk8s status), MicroK8s's settings and its API say, and holds it against what is wanted.
  - Refuses what MicroK8s cannot do - a downgrade, more than one minor version at a time, IPv6 on a cluster that was installed without it.
  - Waits for a MicroK8s that is installed and not stopped until it is ready.
options:
  channel:
    description: The channel of the snap that is wanted, as track and risk.
    type: str
    required: true
  allow_end_of_life:
    description: Whether the channel's Kubernetes may be one that gets no more fixes.
    type: bool
    default: false
  addons:
    description: Add-ons that are wanted beside dns, hostpath-storage and rbac.
    type: list
    elements: str
    choices: [ingress, observability, cert-manager]
    default: []
  dual_stack:
    description: Whether the cluster has to have IPv6 beside IPv4.
    type: bool
    default: false
  user:
    description: A user of the machine who shall be in the group microk8s; empty for nobody.
    type: str
    default: ""
  timeout:
    description: Seconds to wait until MicroK8s is ready.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Look at MicroK8s
  openlsp.node.microk8s_info:
    channel: 1.36/stable
    addons: [ingress]
    user: pi
  register: microk8s
"""

RETURN = r"""
state:
  description: V(absent), V(stopped) or V(running).
  returned: always
  type: str
  sample: running
version:
  description: The installed version; empty where there is none.
  returned: always
  type: str
  sample: v1.36.1
channel:
  description: The channel that the snap tracks; empty where there is none.
  returned: always
  type: str
  sample: 1.36/stable
plan:
  description:
    - What is to be done. C(install), C(start), C(upgrade), C(hold) and C(join) are true or false,
      C(disable) and C(enable) are lists of add-ons.
    - Of a stopped MicroK8s nothing more can be said than that it is to be started.
  returned: always
  type: dict
  sample: {install: false, start: false, disable: [], upgrade: false, hold: true, join: false, enable: [rbac]}
steps:
  description: The same in words; empty when everything is as wanted.
  returned: always
  type: list
  elements: str
  sample: [hold its refreshes, enable rbac]
"""

import grp
import json
import pwd
from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _microk8s

# Not by PATH: sudo's does not hold it everywhere.
MICROK8S = "/snap/bin/microk8s"
CNI_SETTINGS = Path("/var/snap/microk8s/current/args/cni-env")

# Whether somebody without a name may read the cluster's secrets. Not `kubectl auth can-i --as`: that is itself refused under RBAC.
STRANGERS_REVIEW = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
    "user": "system:anonymous", "groups": ["system:unauthenticated"], "resourceAttributes": {"verb": "list", "resource": "secrets"}}}


def look(module: AnsibleModule) -> _microk8s.Found:
    """What is on this machine."""
    given = module.params
    if not module.get_bin_path("snap"):
        raise _microk8s.MicroK8sError("this machine has no snap command; install the package snapd and restart it")
    member = _is_member(given["user"])
    snap = _microk8s.snap_of(*module.run_command(["snap", "list", "microk8s"]))
    if snap is None:
        return _microk8s.Found()
    if "disabled" in snap.notes:
        return _microk8s.Found(snap, "stopped")
    wait = [MICROK8S, "status", "--format", "yaml", "--wait-ready", "--timeout", str(max(given["timeout"], 1))]
    state, addons = _microk8s.status_of(*module.run_command(wait))
    return _microk8s.Found(snap, state, addons, rbac=state == "running" and not _strangers_may_read(module),
                           dual_stack=CNI_SETTINGS.exists() and _microk8s.dual_stack_of(CNI_SETTINGS.read_text()), member=member)


def _strangers_may_read(module: AnsibleModule) -> bool:
    create = [MICROK8S, "kubectl", "create", "--raw", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "-f", "-"]
    code, output, errors = module.run_command(create, data=json.dumps(STRANGERS_REVIEW))
    return _microk8s.allowed_by(output if code == 0 else errors)


def _is_member(user: str) -> bool:
    """Raises MicroK8sError where there is no such user: the module that lets him in would make him."""
    try:
        pwd.getpwnam(user or "root")
    except KeyError:
        raise _microk8s.MicroK8sError(f"microk8s_user: {user} is no user of this machine; name one, or leave it empty") from None
    try:
        return user in grp.getgrnam("microk8s").gr_mem
    except KeyError:
        return False


def run(module: AnsibleModule) -> dict:
    """Look and plan. Raises MicroK8sError where what is wanted cannot be had."""
    given = module.params
    for mistake in _microk8s.channel_mistakes(given["channel"], given["allow_end_of_life"]):
        raise _microk8s.MicroK8sError(mistake)
    wanted = _microk8s.Wanted(given["channel"], tuple(given["addons"]), given["user"], given["dual_stack"])
    found = look(module)
    plan = _microk8s.plan(wanted, found)
    return {"changed": False, "state": found.state, "version": found.snap.version if found.snap else "",
            "channel": found.snap.channel if found.snap else "", "plan": asdict(plan), "steps": _microk8s.in_words(plan, wanted.channel)}


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            "channel": {"type": "str", "required": True},
            "allow_end_of_life": {"type": "bool", "default": False},
            "addons": {"type": "list", "elements": "str", "choices": ["ingress", "observability", "cert-manager"], "default": []},
            "dual_stack": {"type": "bool", "default": False},
            "user": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True)
    # snap speaks the user's language.
    module.run_command_environ_update = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    try:
        result = run(module)
    except _microk8s.MicroK8sError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
