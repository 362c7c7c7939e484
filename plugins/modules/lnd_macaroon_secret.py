#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lnd_macaroon_secret
short_description: Publish LND's certificate and macaroons as Kubernetes Secrets
version_added: 0.1.0
description:
  - Reads LND's certificate and macaroon files out of its pod in one go, checks that each macaroon holds exactly the permissions its name promises,
    proves each one against the running LND, and only then writes the Secrets that differ.
  - One Secret a credential, so that RBAC and mounts can grant one alone - C(lnd-tls) with key C(cert), and C(lnd-admin), C(lnd-chain-notifier),
    C(lnd-invoice), C(lnd-invoices), C(lnd-readonly), C(lnd-router), C(lnd-signer) and C(lnd-walletkit) with key C(macaroon).
  - Waits while LND starts or has not written a file yet. Nothing is written unless all of it is in order.
  - No value appears in the result, in the diff or in a message, only names, permissions and the first 8 digits of a SHA-256.
extends_documentation_fragment:
  - openlsp.node._cluster
  - openlsp.node._cluster.lnd
options:
  adopt:
    description: Take over Secrets of these names that were made by somebody else. Their other keys stay.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Reads and proves everything, writes nothing.
  diff_mode:
    support: full
    description: Shows digests and permissions.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Publish LND's credentials
  openlsp.node.lnd_macaroon_secret:
    kubeconfig: ~/.kube/config
    namespace: lightning
    network: mainnet

- name: Take over Secrets that an earlier tool made
  openlsp.node.lnd_macaroon_secret:
    namespace: lightning
    network: mainnet
    adopt: true
"""

RETURN = r"""
secrets:
  description: Every Secret of this LND, in the order of their names.
  returned: when LND is there
  type: list
  elements: dict
  contains:
    name:
      description: The Secret's name.
      type: str
      sample: lnd-readonly
    action:
      description: What had to be done - V(create), V(update) or V(keep).
      type: str
      sample: keep
    digest:
      description: The first 8 hexadecimal digits of the value's SHA-256.
      type: str
      sample: 5f0d1c9e
    permissions:
      description: What the macaroon may do; empty for the certificate.
      type: list
      elements: str
      sample: ["invoices:read", "invoices:write"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _credentials, _macaroon, _secret
from ansible_collections.openlsp.node.plugins.module_utils._arguments import LND_ARGUMENTS, labels_of


def published(change: _secret.Change) -> dict:
    """One entry of the result's list: everything that may be shown of a Secret."""
    (key, value), = change.wanted.data.items()
    permissions = _macaroon.parse(value).permissions if key == _credentials.MACAROON_KEY else ()
    return {"name": change.wanted.name, "action": change.action, "digest": _secret.digest(value),
            "permissions": sorted(map(str, permissions))}


def run(module: AnsibleModule) -> dict:
    """Collect, plan, and carry the plan out. Raises what the layers below raise."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    node = _credentials.Node(cluster, given["namespace"], given["pod"], given["container"], given["lnd_dir"], given["network"])
    labels = labels_of(given)
    wanted = [_secret.Secret(each.name, each.data, labels) for each in _credentials.collect(node, given["timeout"])]
    changes = _secret.plan(wanted, _secret.read_all(cluster, node.namespace), given["adopt"])
    pending = [change for change in changes if change.action != "keep"]
    if not module.check_mode:
        for change in pending:
            _secret.write(cluster, node.namespace, change)
    keys = {change.wanted.name: change.wanted.data for change in pending}
    before = (_secret.Secret(c.found.name, {k: v for k, v in c.found.data.items() if k in keys[c.found.name]})
              for c in pending if c.found)
    return {
        "changed": bool(pending),
        "secrets": [published(change) for change in changes],
        "diff": {"before_header": node.namespace, "after_header": node.namespace,
                 "before": "".join(map(_credentials.describe, before)),
                 "after": "".join(_credentials.describe(change.wanted) for change in pending)},
    }


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={**_cluster.ARGUMENTS, **LND_ARGUMENTS, "adopt": {"type": "bool", "default": False}},
        supports_check_mode=True)
    try:
        result = run(module)
    except _credentials.NotYet as error:
        module.fail_json(msg=f"{error}; waited {module.params['timeout']} s")
    except (_credentials.CredentialError, _cluster.ClusterError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
