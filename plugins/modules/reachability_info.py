#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reachability_info
short_description: Whether a node answers at its addresses, as a peer would see it
version_added: 0.1.0
description:
  - Connects to each address from the computer that runs the module, outside of the cluster, and says a peer's first words. To a Lightning node those of
    BOLT 8, which nobody can answer but who has the node's key; to a Bitcoin node the message C(version).
  - Onion addresses are tried through the SOCKS port of the pod C(tor-0) of the node's own namespace.
  - A failure from a computer behind the same router need not be one for others. Many routers lead nobody back in who comes from inside (hairpin).
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  lightning:
    description: Addresses of LND, as host and port, or without the port where it is 9735.
    type: list
    elements: str
    default: []
  public_key:
    description: LND's identity, hexadecimal. Required with O(lightning).
    type: str
    default: ""
  bitcoin:
    description: Addresses of bitcoind, as host and port, or without the port where it is that of the network.
    type: list
    elements: str
    default: []
  network:
    description: bitcoind's network. Required with O(bitcoin).
    type: str
    choices: [mainnet, testnet3, testnet4, signet, regtest]
  timeout:
    description: Seconds for one address.
    type: int
    default: 20
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
- name: See whether peers get an answer
  openlsp.node.reachability_info:
    namespace: lightning
    lightning: ["8.8.8.8:9735"]
    public_key: 028d7500dd4c12685d1f568b4c2b5048e8534b873319f3a8daa612b469132ec7f7
  register: peers
  failed_when: peers.unreached | length > 0
"""

RETURN = r"""
results:
  description: One entry for each address.
  returned: always
  type: list
  elements: dict
  contains:
    address:
      description: Host and port.
      type: str
    protocol:
      description: V(lightning) or V(bitcoin).
      type: str
    reached:
      description: Whether the node answered there; none where this computer cannot tell, as it has no IPv6 itself.
      type: bool
    problem:
      description: What went wrong; empty where nothing did.
      type: str
    seconds:
      description: How long it took.
      type: float
unreached:
  description: A sentence for each address where nobody, or somebody else, answers.
  returned: always
  type: list
  elements: str
"""

import errno
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.openlsp.node.plugins.module_utils import _announcement, _cluster, _edges, _handshake, _pod

SOCKS_POD = "tor-0"
SOCKS_PORT = 9050

# This computer has no address of that family, or no way out for it.
_NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENETUNREACH)


@contextmanager
def connected(given: dict, host: str, port: int) -> Iterator[Any]:
    """A stream socket to an address. Raises OSError, ClusterError and HandshakeError."""
    if not host.endswith(".onion"):
        with socket.create_connection((host, port), timeout=given["timeout"]) as sock:
            yield sock
        return
    with closing(_pod.forward(_cluster.connect(given["kubeconfig"], given["context"]), given["namespace"], SOCKS_POD, SOCKS_PORT)) as sock:
        sock.settimeout(given["timeout"])
        _handshake.socks(sock, host, port)
        yield sock


def tried(given: dict, protocol: str, address: str) -> dict:
    """What comes of one address."""
    start, reached, problem = time.monotonic(), True, ""
    usual = _announcement.PORT if protocol == "lightning" else _edges.P2P[given["network"]]
    try:
        with connected(given, *_announcement.split(address, usual)) as sock:
            if protocol == "lightning":
                _handshake.lightning(sock, bytes.fromhex(given["public_key"]))
            else:
                _handshake.bitcoin(sock, given["network"])
    except (_handshake.HandshakeError, _cluster.ClusterError) as error:
        reached, problem = False, str(error)
    except (TimeoutError, socket.timeout):
        reached, problem = False, f"no answer within {given['timeout']} s"
    except OSError as error:
        reached = None if error.errno in _NOT_HERE else False
        problem = f"this computer has no way there ({error.strerror})" if reached is None else error.strerror or str(error)
    return {"address": address, "protocol": protocol, "reached": reached, "problem": problem, "seconds": round(time.monotonic() - start, 2)}


def run(given: dict) -> dict:
    """All at once: what does not answer takes its whole time."""
    targets = [(protocol, address) for protocol in ("lightning", "bitcoin") for address in given[protocol]]
    with ThreadPoolExecutor(max_workers=max(1, len(targets))) as pool:
        results = list(pool.map(lambda target: tried(given, *target), targets))
    return {"changed": False, "results": results,
            "unreached": [f"{each['protocol']} at {each['address']}: {each['problem']}" for each in results if each["reached"] is False]}


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "lightning": {"type": "list", "elements": "str", "default": []},
            "public_key": {"type": "str", "default": "", "no_log": False},
            "bitcoin": {"type": "list", "elements": "str", "default": []},
            "network": {"type": "str", "choices": list(_handshake.MAGIC)},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True)
    given = module.params
    if given["lightning"] and not given["public_key"] or given["bitcoin"] and not given["network"]:
        module.fail_json(msg="lightning needs public_key, and bitcoin needs network")
    module.exit_json(**run(given))


if __name__ == "__main__":
    main()
