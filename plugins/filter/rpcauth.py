# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter openlsp.node.rpcauth."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth


def rpcauth_filter(password: str, username: str, salt: str) -> str:
    """See rpcauth.yml."""
    try:
        return rpcauth(username, password, salt)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict:
        """Ansible's entry point."""
        return {"rpcauth": rpcauth_filter}
