# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter openlsp.node.kernel_command_line."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.module_utils._kernel_command_line import kernel_command_line


def kernel_command_line_filter(text: str, wanted: list[str], unwanted: list[str] | None = None) -> str:
    """See kernel_command_line.yml."""
    try:
        return kernel_command_line(text, wanted, unwanted or ())
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict:
        """Ansible's entry point."""
        return {"kernel_command_line": kernel_command_line_filter}
