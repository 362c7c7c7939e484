#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_password
short_description: Replace the published default password of a Grafana
version_added: 0.1.0
description:
  - Looks for a Deployment with the label C(app.kubernetes.io/name=grafana), as charts make it, and for the Secret that its administrator's password
    comes from. A password that everybody can read in the chart, such as that of MicroK8s' add-on C(observability), is replaced by a random one,
    and Grafana starts again. Any other is left alone.
  - Grafana reads the variable at the first start of its database alone. One that keeps its database on a volume has to be told by
    C(grafana cli admin reset-admin-password).
  - The password is in no result, no diff and no message.
extends_documentation_fragment:
  - openlsp.node._cluster
attributes:
  check_mode:
    support: full
    description: Says whether the password would be replaced.
  diff_mode:
    support: none
    description: There is nothing to show but a password.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Keep nobody's default password for Grafana
  openlsp.node.grafana_password:
    namespace: observability
"""

RETURN = r"""
deployment:
  description: The Deployment; empty without a Grafana.
  returned: always
  type: str
  sample: kube-prom-stack-grafana
secret:
  description: The Secret that holds the password; empty without a Grafana.
  returned: always
  type: str
  sample: kube-prom-stack-grafana
key:
  description: The key of the password in it; empty without a Grafana.
  returned: always
  type: str
  sample: admin-password
replaced:
  description: Whose published default the password was; empty for a password of its own.
  returned: always
  type: str
  sample: MicroK8s' add-on observability
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _grafana


def run(module: AnsibleModule) -> dict:
    """Look, replace, restart. Raises ClusterError."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    found = _grafana.find(cluster, given["namespace"])
    if not found:
        return {"changed": False, "deployment": "", "secret": "", "key": "", "replaced": ""}
    whose, mark = found.whose or "", found.made
    if whose and not module.check_mode:
        mark = _grafana.replace(cluster, found)
    # Also where an earlier run ended between the two.
    stale = bool(whose) or mark != found.runs_with and bool(mark)
    if stale and not module.check_mode:
        _grafana.restart(cluster, found, mark)
    return {"changed": stale, "deployment": found.deployment, "secret": found.secret, "key": found.key, "replaced": whose}


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(argument_spec=dict(_cluster.ARGUMENTS), supports_check_mode=True)
    try:
        result = run(module)
    except _cluster.ClusterError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
