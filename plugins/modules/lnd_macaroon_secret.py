#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lnd_macaroon_secret
short_description: Publish LND's certificate and macaroons as Kubernetes Secrets, one for each program that uses LND
version_added: 0.1.0
description:
  - Asks the running LND about every macaroon in its Secrets. What LND accepts, and is what the Secret's name promises, stays. What is missing is read
    from LND's files or made by LND, proved, and only then are the Secrets that differ written.
  - One Secret a credential, so that RBAC and mounts can grant one alone - C(lnd-tls) with key C(cert), and C(lnd-admin), C(lnd-backup),
    C(lnd-chain-notifier), C(lnd-invoice), C(lnd-invoices), C(lnd-readonly), C(lnd-router), C(lnd-signer) and C(lnd-walletkit) with key C(macaroon).
  - Each entry of O(consumers) gets a Secret C(lnd-consumer-NAME) with a macaroon of its own root key, so that it can be revoked alone. Its keys are
    C(macaroon), C(cert), C(host), C(grpc_port), C(rest_port) and C(lndconnect).
  - A consumer that is not in O(consumers) any more loses its root key and its Secret.
  - Where a Secret's content changes, the Deployments, StatefulSets and DaemonSets that use it are restarted, and only then the old root key ends.
    What starts no pods by itself is named in a warning, and keeps its old macaroon until its pods are made anew and this runs again.
  - LND's certificate is renewed before it expires, which restarts LND.
  - Interrupted anywhere, the next run completes it. Waits while LND starts.
  - No value appears in the result, in the diff or in a message, only names, permissions and the first 8 digits of a SHA-256.
extends_documentation_fragment:
  - openlsp.node._cluster
  - openlsp.node._cluster.lnd
options:
  consumers:
    description: The programs that use LND, all of them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The program. Its Secret is C(lnd-consumer-NAME).
        type: str
        required: true
      preset:
        description: What a known program needs.
        type: str
        choices: [backup, btcpay, exporter, lnbits, monitoring, rtl, thunderhub]
      permissions:
        description: What it may do, as C(entity:action).
        type: list
        elements: str
      uris:
        description: The calls that it may make, as C(/package.Service/Method).
        type: list
        elements: str
      namespace:
        description: Where its Secret is. Without it, in the node's namespace.
        type: str
      expires:
        description: Days that its macaroon lives. It is replaced when a third of them is left, so run this more often than that.
        type: int
      ip_range:
        description:
          - The network from which it may be used over gRPC, such as V(10.1.0.0/16).
          - LND's REST server calls LND from 127.0.0.1, whoever the caller is, so a program that uses REST is locked out.
        type: str
  rotate:
    description: Names of O(consumers), or of C(lnd-backup), that get a new macaroon in place of the one they have; V(all) for all of them.
    type: list
    elements: str
    default: []
  renew_certificate_days:
    description: LND's certificate is renewed so many days before it expires, if LND made it itself.
    type: int
    default: 30
  adopt:
    description: Take over Secrets of these names that were made by somebody else. Their other keys stay.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Reads and proves everything, makes and writes nothing.
  diff_mode:
    support: full
    description: Shows digests, and each permission on a line of its own.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Publish LND's credentials
  openlsp.node.lnd_macaroon_secret:
    kubeconfig: ~/.kube/config
    namespace: lightning
    network: mainnet
    consumers:
      - {name: rtl, preset: rtl}
      - {name: shop, permissions: ["invoices:read", "invoices:write"], namespace: shop, expires: 90}

- name: Take over Secrets that an earlier tool made
  openlsp.node.lnd_macaroon_secret:
    namespace: lightning
    network: mainnet
    adopt: true
"""

RETURN = r"""
secrets:
  description: Every Secret of this LND, by namespace and name.
  returned: when LND is there
  type: list
  elements: dict
  contains:
    name:
      description: The Secret's name.
      type: str
      sample: lnd-readonly
    namespace:
      description: The Secret's namespace.
      type: str
      sample: lightning
    action:
      description: What had to be done - V(create), V(update), V(keep) or V(revoke).
      type: str
      sample: keep
    why:
      description: Why a new macaroon was made; empty where none was.
      type: str
      sample: its permissions are to be others
    digest:
      description: The first 8 hexadecimal digits of the value's SHA-256; empty for what is still to be made.
      type: str
      sample: 5f0d1c9e
    root_key_id:
      description: The macaroon's root key; empty for the certificate, and for what is still to be made.
      type: str
      sample: "1795824000123456"
    permissions:
      description: What the macaroon may do; empty for the certificate.
      type: list
      elements: str
      sample: ["invoices:read", "invoices:write"]
restarted:
  description: The workloads that were restarted because a Secret that they use has changed.
  returned: when LND is there
  type: list
  elements: str
  sample: ["Deployment shop"]
deleted_root_keys:
  description: The root keys that LND has no more, with every macaroon that was made with them.
  returned: when LND is there
  type: list
  elements: str
certificate_renewed:
  description: Why LND made a new certificate; empty where it did not.
  returned: when LND is there
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _consumers, _credentials, _publication, _secret
from ansible_collections.openlsp.node.plugins.module_utils._arguments import CONSUMER_ARGUMENTS, LND_ARGUMENTS, labels_of


def published(change: _secret.Change, need: _publication.Need) -> dict:
    """One entry of the result's list: everything that may be shown of a Secret."""
    value = change.wanted.data.get(_consumers.CERTIFICATE_KEY if need.place[1] == _credentials.TLS_SECRET else _consumers.MACAROON_KEY)
    return {"name": change.wanted.name, "namespace": change.wanted.namespace, "action": change.action, "why": need.why,
            "digest": _secret.digest(value) if value else "", "root_key_id": need.macaroon.root_key_id if need.macaroon else "",
            "permissions": sorted(map(str, need.permissions))}


def revoked(secret: _secret.Secret) -> dict:
    """The same for one that is not there any more."""
    return {"name": secret.name, "namespace": secret.namespace, "action": "revoke", "why": "", "digest": "",
            "root_key_id": secret.annotations.get(_consumers.ROOT_KEY_ID, ""), "permissions": []}


def difference(outcome: _publication.Outcome) -> dict:
    """Ansible's diff: of a Secret the keys that are the collection's."""
    before, after = [], []
    for place, change in sorted(outcome.changes.items()):
        if change.action == "keep":
            continue
        if change.found:
            ours = {key: value for key, value in change.found.data.items() if key in change.wanted.data or not change.wanted.data}
            before.append(_publication.described(_secret.Secret(change.found.name, ours, {}, change.found.annotations, change.found.namespace)))
        after.append(_publication.described(change.wanted, outcome.needs[place]))
    before += [_publication.described(secret) for _place, secret in sorted(outcome.revoked.items())]
    return {"before": "".join(before), "after": "".join(after)}


ARGUMENTS = {
    **_cluster.ARGUMENTS, **LND_ARGUMENTS,
    "consumers": {"type": "list", "elements": "dict", "default": [], "options": CONSUMER_ARGUMENTS},
    "rotate": {"type": "list", "elements": "str", "default": []},
    "renew_certificate_days": {"type": "int", "default": 30},
    "adopt": {"type": "bool", "default": False},
}


class Failed(Exception):
    """What the operator is to be told."""


def run(given: dict, check_mode: bool) -> dict:
    """Publish; the result, with ``warnings``. Raises Failed."""
    try:
        consumers = _consumers.wanted(given["consumers"], given["namespace"])
        cluster = _cluster.connect(given["kubeconfig"], given["context"])
        node = _credentials.Node(cluster, given["namespace"], given["pod"], given["container"], given["lnd_dir"], given["network"])
        wanted = _publication.Wanted(tuple(consumers), labels_of(given), _consumers.chosen(consumers, given["rotate"]), given["adopt"],
                                     given["renew_certificate_days"])
        outcome = _publication.publish(node, wanted, given["timeout"], check_mode)
    except _credentials.NotYet as error:
        raise Failed(f"{error}; waited {given['timeout']} s") from None
    except (_credentials.CredentialError, _consumers.ConsumerError, _cluster.ClusterError) as error:
        raise Failed(str(error)) from None
    return {
        "changed": outcome.changed,
        "secrets": [*(published(change, outcome.needs[place]) for place, change in sorted(outcome.changes.items())),
                    *(revoked(secret) for _place, secret in sorted(outcome.revoked.items()))],
        "restarted": outcome.restarted,
        "deleted_root_keys": [str(each) for each in sorted(outcome.deleted_root_keys)],
        "certificate_renewed": outcome.renewed,
        "warnings": outcome.warnings,
        "diff": {"before_header": given["namespace"], "after_header": given["namespace"], **difference(outcome)},
    }


def main() -> None:
    """The module's entry point. On the controller itself plugins/action/lnd_macaroon_secret.py takes its place."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except Failed as error:
        module.fail_json(msg=str(error))
    for each in result.pop("warnings"):
        module.warn(each)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
