# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter openlsp.node.prometheus_labels."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.module_utils._prometheus import PrometheusError, labels


def prometheus_labels(found: list, namespace: str, namespace_labels: dict | None = None, preferred: str = "") -> dict[str, Any]:
    """See prometheus_labels.yml."""
    try:
        return labels(found, namespace, namespace_labels, preferred)
    except PrometheusError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict:
        """Ansible's entry point."""
        return {"prometheus_labels": prometheus_labels}
