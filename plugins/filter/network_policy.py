# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter openlsp.node.network_policy."""

from __future__ import annotations

from typing import Any, Iterable

from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.module_utils._edges import EdgeError, Node, policy_spec


def network_policy(name: str, namespace: str, network: str = "", tor: bool = False, tor_only: bool = False,
                   bitcoind_exposure: Iterable[str] = (), lnd_exposure: Iterable[str] = (), onion_apis: Iterable[str] = (),
                   client_namespaces: Iterable[str] = (), monitoring: bool = False,
                   monitoring_namespace: str = "observability") -> dict[str, Any]:
    """See network_policy.yml."""
    node = Node(namespace, network, tor, tor_only, frozenset(bitcoind_exposure), frozenset(lnd_exposure), frozenset(onion_apis),
                tuple(client_namespaces), monitoring, monitoring_namespace)
    try:
        return policy_spec(name, node)
    except EdgeError as error:
        raise AnsibleFilterError(f"network_policy: {error}") from error


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict:
        """Ansible's entry point."""
        return {"network_policy": network_policy}
