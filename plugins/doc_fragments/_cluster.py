# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that several modules share. Private to the collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that talks to a Kubernetes API."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of a kubeconfig.
      - Without it E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG) and C(~/.kube/config) are tried.
    type: path
  context:
    description: Context of the kubeconfig; without it the current one.
    type: str
  namespace:
    description: The node's namespace.
    type: str
    required: true
requirements:
  - kubernetes >= 31
"""

    LND = r"""
options:
  pod:
    description: The pod that LND runs in.
    type: str
    default: lnd-0
  container:
    description: The container of that pod that LND runs in.
    type: str
    default: lnd
  lnd_dir:
    description: LND's directory in that container.
    type: str
    default: /data
  network:
    description: The chain that LND runs on; it is part of the path of LND's files.
    type: str
    choices: [mainnet, testnet3, testnet4, signet, regtest]
    required: true
  labels:
    description: Labels of the Secrets, beside C(app.kubernetes.io/managed-by), which is always set.
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for LND.
    type: int
    default: 180
"""
