#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lnd_announcement
short_description: Let LND announce exactly these addresses
version_added: 0.1.0
description:
  - LND tells the network under which addresses peers reach it, and goes on to tell those that were taken out of its configuration. This module takes
    them out of its announcement.
  - Addresses of names stay as LND has resolved them.
  - It asks LND with the macaroon of the Secret C(lnd-admin).
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  addresses:
    description: All of them, as host and port, or without the port where it is 9735; a host may be an address, a name, or an onion address.
    type: list
    elements: str
    required: true
  pod:
    description: The pod that LND runs in.
    type: str
    default: lnd-0
  timeout:
    description: Seconds to wait for an LND that is starting. One that has no synchronised chain yet announces nothing, and is not waited for.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Says what would change, where LND runs and its Secrets are there; otherwise that nothing would.
  diff_mode:
    support: full
    description: Shows the addresses.
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Announce what is reachable, and nothing else
  openlsp.node.lnd_announcement:
    namespace: lightning
    addresses: ["8.8.8.8:9735", "node.example.org:9735"]
"""

RETURN = r"""
announced:
  description: What LND announces now, or in check mode would announce.
  returned: always
  type: list
  elements: str
  sample: ["8.8.8.8:9735"]
public_key:
  description: LND's identity, hexadecimal; empty where it was not asked.
  returned: always
  type: str
obstacle:
  description: Why nothing was done, in check mode or where LND has not caught up with its chain; otherwise empty.
  returned: always
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _announcement, _cluster, _lnd, _pod, _secret
from ansible_collections.openlsp.node.plugins.module_utils._consumers import CERTIFICATE_KEY, MACAROON_KEY
from ansible_collections.openlsp.node.plugins.module_utils._credentials import TLS_SECRET
from ansible_collections.openlsp.node.plugins.module_utils._publication import ADMIN


def client(cluster: _cluster.Cluster, namespace: str, pod: str) -> tuple[_lnd.Lnd, bytes]:
    """LND and the macaroon to ask it with. Raises ClusterError."""
    found = {name: _secret.read(cluster, namespace, name) for name in (TLS_SECRET, ADMIN)}
    missing = [name for name, secret in found.items() if secret is None]
    if missing:
        raise _cluster.ClusterError(f"namespace {namespace} has no Secret {', '.join(missing)}; run openlsp.node.lnd_macaroon_secret first")
    lnd = _lnd.Lnd(lambda: _pod.forward(cluster, namespace, pod, _lnd.REST_PORT), found[TLS_SECRET].data.get(CERTIFICATE_KEY, b""))
    return lnd, found[ADMIN].data.get(MACAROON_KEY, b"")


def attempt(given: dict, check_mode: bool) -> dict:
    """Compare and update. Raises ClusterError and LndError."""
    lnd, macaroon = client(_cluster.connect(given["kubeconfig"], given["context"]), given["namespace"], given["pod"])
    with lnd:
        info = lnd.call("GET", "/v1/getinfo", macaroon=macaroon)
        found = _announcement.held(info["uris"])
        update = _announcement.plan(given["addresses"], found, _announcement.addresses_of)
        changed = bool(update.add or update.remove)
        if changed and not check_mode:
            lnd.call("POST", "/v2/peers/nodeannouncement", update.body, macaroon)
    now = [each for each in found if each not in update.remove] + list(update.add)
    shown = {"before": "".join(f"{each}\n" for each in found), "after": "".join(f"{each}\n" for each in now)}
    return {"changed": changed, "announced": now, "public_key": info["identity_pubkey"], "obstacle": "", **({"diff": shown} if changed else {})}


def run(given: dict, check_mode: bool) -> dict:
    """Try until LND takes the call. Raises ClusterError and LndError."""
    deadline = time.monotonic() + given["timeout"]
    while True:
        try:
            return attempt(given, check_mode)
        except (_cluster.ClusterError, _lnd.LndError) as error:
            passes = isinstance(error, _lnd.LndError) and error.passes
            # A node that is still to be made has nothing to compare with.
            late = time.monotonic() > deadline and passes and error.code is not None
            if check_mode or late:
                return {"changed": False, "announced": [], "public_key": "", "obstacle": str(error)}
            if not passes or time.monotonic() > deadline:
                raise
        time.sleep(1)


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "addresses": {"type": "list", "elements": "str", "required": True},
            "pod": {"type": "str", "default": "lnd-0"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except (_cluster.ClusterError, _lnd.LndError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
