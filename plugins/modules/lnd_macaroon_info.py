#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lnd_macaroon_info
short_description: Which Secrets open one LND, what each may do, whether LND accepts it, and who uses it
version_added: 0.1.0
description:
  - Reads the Secrets of one LND and of its consumers, asks the running LND about each macaroon, and looks for the workloads that use them.
  - Works while LND is down; then it tells what the Secrets say alone. A Secret with rubbish in it is shown with what is wrong.
  - No value appears in the result, only names, permissions, dates and the first 8 digits of a SHA-256.
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  pod:
    description: The pod that LND runs in.
    type: str
    default: lnd-0
  namespaces:
    description:
      - Further namespaces in which consumers of this LND have Secrets.
      - Those that the annotation C(openlsp.org/consumer-namespaces) of the Secret C(lnd-tls) names are looked at in any case.
    type: list
    elements: str
    default: []
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
- name: See who can do what
  openlsp.node.lnd_macaroon_info:
    namespace: lightning
  register: credentials

- name: Refuse to go on with a macaroon that LND does not accept
  ansible.builtin.assert:
    that: credentials.secrets | selectattr('accepted', 'false') | length == 0
"""

RETURN = r"""
obstacle:
  description: Why LND could not be asked about everything; empty where it was.
  returned: always
  type: str
  sample: LND is in state LOCKED
secrets:
  description: The Secrets with LND's own macaroons, whether they are there or not, then those of its consumers by namespace and name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The Secret's name.
      type: str
      sample: lnd-consumer-shop
    namespace:
      description: The Secret's namespace.
      type: str
    consumer:
      description: The program that it was made for; empty for LND's own macaroons.
      type: str
      sample: shop
    kind:
      description: LND's own name for the macaroon; empty for those of consumers.
      type: str
      sample: readonly
    digest:
      description: The first 8 hexadecimal digits of the macaroon's SHA-256; empty where there is none.
      type: str
      sample: 5f0d1c9e
    summary:
      description: What the macaroon may do, in words.
      type: str
      sample: reads info, offchain; writes invoices; calls GetState
    permissions:
      description: The same, exactly.
      type: list
      elements: str
      sample: ["info:read", "uri:/lnrpc.State/GetState"]
    root_key_id:
      description: The id of the root key that it was baked under. Text, because it may have more digits than a number in JSON can have.
      type: str
      sample: "1795000000000000"
    retiring_root_key_ids:
      description: Root keys that a rotation has replaced and not deleted yet.
      type: list
      elements: str
    made:
      description: When its root key id was allocated, in UTC; empty for an id that this collection did not allocate, such as LND's own V(0).
      type: str
      sample: "2026-11-18T11:06:40Z"
    age_days:
      description: Whole days since then or, where that is not known, since the Secret was made.
      type: int
      sample: 10
    caveats:
      description: The restrictions that it carries.
      type: list
      elements: str
      sample: ["ipaddr 10.1.2.3"]
    expires:
      description: When it expires, in UTC; empty where it does not.
      type: str
    expired:
      description: Whether that is over.
      type: bool
    accepted:
      description: Whether LND accepts it for all of its permissions. None where that cannot be told, such as for another address than this one.
      type: bool
    reason:
      description: LND's reason for refusing it, or why it cannot be told.
      type: str
    problems:
      description: What is wrong with the Secret itself.
      type: list
      elements: str
      sample: ["no macaroon: it is hexadecimal text; the binary form is needed"]
    used_by:
      description: The workloads of its namespace that mount it or have it in a variable.
      type: list
      elements: str
      sample: ["Deployment shop"]
certificate:
  description: The Secret with LND's certificate.
  returned: always
  type: dict
  contains:
    name:
      description: The Secret's name.
      type: str
    expires:
      description: When the certificate expires, in UTC; empty where there is none.
      type: str
      sample: "2028-01-22T10:00:00Z"
    days_left:
      description: Whole days until then.
      type: int
    names:
      description: The host names and addresses that it is good for.
      type: list
      elements: str
    sha256:
      description: Its fingerprint.
      type: str
    digest:
      description: The first 8 hexadecimal digits of the value's SHA-256, as M(openlsp.node.lnd_macaroon_secret) shows it.
      type: str
    served:
      description: Whether it is what LND shows to its clients. None where LND does not answer.
      type: bool
    problems:
      description: What is wrong with the Secret.
      type: list
      elements: str
    used_by:
      description: The workloads that use it.
      type: list
      elements: str
bitcoind_rpc:
  description: The Secret with bitcoind's credentials.
  returned: always
  type: dict
  contains:
    present:
      description: Whether it is there.
      type: bool
    complete:
      description: Whether it has a user name, a password, and a cookie of these two.
      type: bool
    username:
      description: The user name.
      type: str
    used_by:
      description: The workloads that use it.
      type: list
      elements: str
orphaned_root_key_ids:
  description: Root keys of LND that this collection allocated and no Secret names, left by a run that was interrupted. The next run of the site deletes them.
  returned: always
  type: list
  elements: str
other_root_key_ids:
  description: Root keys of LND that somebody made by hand.
  returned: always
  type: list
  elements: str
workloads:
  description: What runs in the node's namespace.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Kind and name.
      type: str
      sample: StatefulSet bitcoind
    obstacle:
      description: Why not all of its pods are ready; empty where they are.
      type: str
      sample: its pod bitcoind-0 is not ready (Pending)
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _consumers, _lnd, _mounts, _overview, _pod, _secret
from ansible_collections.openlsp.node.plugins.module_utils._consumers import CERTIFICATE_KEY
from ansible_collections.openlsp.node.plugins.module_utils._credentials import TLS_SECRET


def run(module: AnsibleModule) -> dict:
    """Read everything, ask LND, describe. Raises ClusterError."""
    given, now = module.params, datetime.now(timezone.utc)
    cluster, namespace = _cluster.connect(given["kubeconfig"], given["context"]), given["namespace"]
    found = {namespace: _secret.read_all(cluster, namespace)}
    own = found[namespace]
    for other in _consumers.other_namespaces(own.get(TLS_SECRET), given["namespaces"], namespace):
        found[other] = _secret.read_all(cluster, other)
    listed = _overview.credentials(namespace, found)
    certificate = own[TLS_SECRET].data.get(CERTIFICATE_KEY) if TLS_SECRET in own else None
    answers = _overview.ask(
        lambda pem: _lnd.Lnd(lambda: _pod.forward(cluster, namespace, given["pod"], _lnd.REST_PORT), pem), certificate, listed)
    workloads = {where: _mounts.of_namespace(cluster, where) for where in {namespace, *(each.namespace for each in listed)}}
    return {
        "changed": False,
        "obstacle": answers.obstacle,
        "secrets": [_overview.shown(each, answers, certificate, workloads[each.namespace], now) for each in listed],
        "certificate": _overview.shown_certificate(own.get(TLS_SECRET), answers, workloads[namespace], now),
        "bitcoind_rpc": _overview.shown_bitcoind(own.get("bitcoind-rpc"), workloads[namespace]),
        **_overview.unnamed_root_keys(answers, listed),
        "workloads": [{"name": str(each), "obstacle": each.obstacle} for each in workloads[namespace]],
    }


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "pod": {"type": "str", "default": "lnd-0"},
            "namespaces": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True)
    try:
        result = run(module)
    except _cluster.ClusterError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
