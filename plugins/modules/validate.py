#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Refuse an inventory that cannot work, with all of its mistakes at once
version_added: 0.1.0
description:
  - Looks at every variable of a host before anything is touched - unknown names, wrong types and values, versions that are unsafe or do not go
    together, a Vault password or wallet file that cannot be used, a cluster that does not answer, missing rights, and data of another network.
  - Each mistake is one line with the variable, its value and the remedy.
  - Runs on the controller.
options:
  roles:
    description: The roles that will run for this host; their argument specs and defaults are what the variables are held against.
    type: list
    elements: str
    required: true
  cluster:
    description: Whether the cluster is asked too. It cannot be where this run is what makes it.
    type: bool
    default: true
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
- name: Refuse what cannot work, before anything is touched
  openlsp.node.validate:
    roles: [namespace, tor, bitcoind, lnd]
"""

RETURN = r"""
cluster:
  description: Whether the cluster was asked.
  returned: success
  type: bool
  sample: true
"""
