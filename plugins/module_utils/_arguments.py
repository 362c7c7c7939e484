# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that several modules share; documented in doc_fragments/_cluster.py."""

from __future__ import annotations

from ansible_collections.openlsp.node.plugins.module_utils._cluster import FIELD_MANAGER
from ansible_collections.openlsp.node.plugins.module_utils._credentials import NETWORK_DIRECTORIES
from ansible_collections.openlsp.node.plugins.module_utils._presets import PRESETS
from ansible_collections.openlsp.node.plugins.module_utils._secret import MANAGED_BY

LND_ARGUMENTS = {
    "pod": {"type": "str", "default": "lnd-0"},
    "container": {"type": "str", "default": "lnd"},
    "lnd_dir": {"type": "str", "default": "/data"},
    "network": {"type": "str", "required": True, "choices": list(NETWORK_DIRECTORIES)},
    "labels": {"type": "dict", "default": {}},
    "timeout": {"type": "int", "default": 180},
}

# One entry of lnd_consumers; documented in lnd_macaroon_secret.
CONSUMER_ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "preset": {"type": "str", "choices": sorted(PRESETS)},
    "permissions": {"type": "list", "elements": "str"},
    "uris": {"type": "list", "elements": "str"},
    "namespace": {"type": "str"},
    "expires": {"type": "int"},
    "ip_range": {"type": "str"},
}


def labels_of(given: dict) -> dict[str, str]:
    """The labels that a module's Secrets carry."""
    return {**{key: str(value) for key, value in given["labels"].items()}, MANAGED_BY: FIELD_MANAGER}
