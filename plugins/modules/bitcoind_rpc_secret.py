#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bitcoind_rpc_secret
short_description: Create the credentials of an RPC user of bitcoind once
version_added: 0.1.0
description:
  - Makes sure that a Secret with the keys C(username), C(password) and C(cookie) exists. The password is random, is made once, in the cluster,
    and is never made again while the Secret has one. A Secret with the published default password of another project is refused.
  - C(cookie) is C(username:password) without a line break, the form that LND's C(bitcoind.rpccookie) and C(bitcoin-cli -rpccookiefile) read.
  - Returns the salted C(rpcauth) line, the only thing that bitcoind itself needs to know. No credential appears in the result, in the diff or in a message.
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  name:
    description: The Secret's name.
    type: str
    default: bitcoind-rpc
  username:
    description: The RPC user.
    type: str
    required: true
  labels:
    description: Labels of the Secret, beside C(app.kubernetes.io/managed-by), which is always set.
    type: dict
    default: {}
  adopt:
    description: Take over a Secret of this name that was made by somebody else, with its password if it has one.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Writes nothing. Without a Secret the returned line cannot be known yet.
  diff_mode:
    support: full
    description: Shows the names of the keys and digests.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Create the RPC credentials once
  openlsp.node.bitcoind_rpc_secret:
    namespace: lightning
    username: lnd
  register: __bitcoind_rpc
"""

RETURN = r"""
rpcauth:
  description: The value for bitcoind's C(rpcauth) option. It is salted and may be shown.
  returned: always
  type: str
  sample: "lnd:93648e835a54c573682c2eb19f882535$7681e9c5b74bdd85e78166031d2058e1069b3ed7ed967c93fc63abba06f31144"
digest:
  description: The first 8 hexadecimal digits of the SHA-256 of C(cookie); programs that read the Secret at their start restart when it changes.
  returned: always
  type: str
  sample: 5f0d1c9e
"""

import hashlib
import secrets

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _secret, _weak
from ansible_collections.openlsp.node.plugins.module_utils._arguments import labels_of
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth


def complete(name: str, namespace: str, username: str, labels: dict, found: _secret.Secret | None) -> _secret.Secret:
    """The Secret as it should be, with the password that is there, or a new one. Raises ValueError for one that everybody knows."""
    # 32 random bytes as base64url: no '$', which LND would take for an environment variable, and no ':', which splits a cookie.
    password = (found and found.data.get("password")) or secrets.token_urlsafe(32).encode()
    whose = _weak.weak_password(password.decode(errors="replace"))
    if whose:
        raise ValueError(f"the Secret {name} holds the published password of {whose}; remove its key password, and a new one is made")
    return _secret.Secret(name, {"username": username.encode(), "password": password,
                                 "cookie": username.encode() + b":" + password}, labels, namespace=namespace)


def salted(secret: _secret.Secret) -> str:
    """The rpcauth line. The salt follows from the random password: unguessable, and the same in every run, so that nothing restarts."""
    password = secret.data["password"].decode()
    salt = hashlib.sha256(b"openlsp.node rpcauth salt\0" + password.encode()).hexdigest()[:32]
    return rpcauth(secret.data["username"].decode(), password, salt)


def shown(secret: _secret.Secret | None) -> str:
    """What the diff shows."""
    return "".join(f"{secret.name}/{key}: sha256 {_secret.digest(value)}\n" for key, value in sorted(secret.data.items())) if secret else ""


def run(module: AnsibleModule) -> dict:
    """Read, complete, write. Raises ClusterError and ValueError."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    found = _secret.read(cluster, given["namespace"], given["name"])
    wanted = complete(given["name"], given["namespace"], given["username"], labels_of(given), found)
    line = salted(wanted)
    change = _secret.change(wanted, found, given["adopt"])
    if change.action != "keep" and not module.check_mode:
        try:
            _secret.write(cluster, change)
        except _cluster.ClusterError as error:
            if error.status != 409:
                raise
            return run(module)  # Somebody else was faster: use theirs.
    if module.check_mode and change.action == "create":
        line = f"{given['username']}:known after the first run"
    return {"changed": change.action != "keep", "rpcauth": line, "digest": _secret.digest(wanted.data["cookie"]),
            "diff": {"before": shown(found) if change.action != "keep" else "", "after": shown(wanted) if change.action != "keep" else ""}}


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "name": {"type": "str", "default": "bitcoind-rpc"},
            "username": {"type": "str", "required": True},
            "labels": {"type": "dict", "default": {}},
            "adopt": {"type": "bool", "default": False},
        },
        supports_check_mode=True)
    try:
        result = run(module)
    except (_cluster.ClusterError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
