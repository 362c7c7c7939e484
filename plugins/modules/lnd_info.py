#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lnd_info
short_description: What one LND is and does
version_added: 0.1.0
description:
  - Asks LND with the macaroon of the Secret C(lnd-readonly), as any other client would.
  - What its Secrets may do is the subject of M(openlsp.node.lnd_macaroon_info).
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  pod:
    description: The pod that LND runs in.
    type: str
    default: lnd-0
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
- name: Ask LND
  openlsp.node.lnd_info:
    namespace: lightning
  register: lnd
"""

RETURN = r"""
alias:
  description: The name that other nodes see.
  returned: always
  type: str
public_key:
  description: The node's identity, hexadecimal.
  returned: always
  type: str
version:
  description: LND's version.
  returned: always
  type: str
chain:
  description: The network in LND's words.
  returned: always
  type: str
block_height:
  description: The height of the chain that LND knows.
  returned: always
  type: int
synced_to_chain:
  description: Whether LND is at the end of bitcoind's chain.
  returned: always
  type: bool
channels:
  description: Active channels.
  returned: always
  type: int
peers:
  description: Connected peers.
  returned: always
  type: int
addresses:
  description: Where it tells the network that peers reach it.
  returned: always
  type: list
  elements: str
  sample: ["8.8.8.8:9735"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _announcement, _cluster, _lnd, _pod, _secret
from ansible_collections.openlsp.node.plugins.module_utils._consumers import CERTIFICATE_KEY, MACAROON_KEY
from ansible_collections.openlsp.node.plugins.module_utils._credentials import TLS_SECRET


def run(module: AnsibleModule) -> dict:
    """Two Secrets and one call of LND. Raises ClusterError and LndError."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    found = {name: _secret.read(cluster, given["namespace"], name) for name in (TLS_SECRET, "lnd-readonly")}
    missing = [name for name, secret in found.items() if secret is None]
    if missing:
        raise _cluster.ClusterError(f"namespace {given['namespace']} has no Secret {', '.join(missing)}; run openlsp.node.lnd_macaroon_secret first")
    certificate, macaroon = found[TLS_SECRET].data.get(CERTIFICATE_KEY, b""), found["lnd-readonly"].data.get(MACAROON_KEY, b"")
    with _lnd.Lnd(lambda: _pod.forward(cluster, given["namespace"], given["pod"], _lnd.REST_PORT), certificate) as lnd:
        info = lnd.call("GET", "/v1/getinfo", macaroon=macaroon)
    return {
        "changed": False,
        "alias": info["alias"],
        "public_key": info["identity_pubkey"],
        "version": info["version"].split(" ")[0],
        "chain": info["chains"][0]["network"],
        "block_height": info["block_height"],
        "synced_to_chain": info["synced_to_chain"],
        "channels": info["num_active_channels"],
        "peers": info["num_peers"],
        "addresses": list(_announcement.held(info.get("uris", ()))),
    }


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={**_cluster.ARGUMENTS, "pod": {"type": "str", "default": "lnd-0"}}, supports_check_mode=True)
    try:
        result = run(module)
    except (_cluster.ClusterError, _lnd.LndError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
