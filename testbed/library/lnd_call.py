#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One REST call of LND with the macaroon of one Secret, as a program in the cluster would make it. For the demo's playbooks."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _lnd, _pod, _secret


def run(given: dict) -> dict:
    """The answer's JSON. Raises ClusterError and LndError."""
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    found = _secret.read_all(cluster, given["namespace"])
    certificate, macaroon = found["lnd-tls"].data["cert"], found[given["secret"]].data["macaroon"]
    with _lnd.Lnd(lambda: _pod.forward(cluster, given["namespace"], "lnd-0", _lnd.REST_PORT), certificate) as lnd:
        return lnd.call(given["method"], given["path"], given["body"], macaroon)


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(argument_spec={
        **_cluster.ARGUMENTS,
        "secret": {"type": "str", "required": True},
        "method": {"type": "str", "default": "GET"},
        "path": {"type": "str", "required": True},
        "body": {"type": "dict"},
    })
    try:
        answer = run(module.params)
    except (_cluster.ClusterError, _lnd.LndError) as error:
        module.fail_json(msg=f"{module.params['path']} with {module.params['secret']}: {error}")
    module.exit_json(changed=module.params["method"] != "GET", answer=answer)


if __name__ == "__main__":
    main()
