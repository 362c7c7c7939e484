# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup openlsp.node.python_package."""

from __future__ import annotations

DOCUMENTATION = r"""
name: python_package
short_description: A Python package of this computer for a ConfigMap
author: the openlsp.node authors (@openlsp)
version_added: 0.1.0
description:
  - Gives a package of pure Python that is installed beside Ansible as a zip, in base64, for C(binaryData) of a ConfigMap. Mounted and named in
    C(PYTHONPATH), it is imported by the Python of a stock image.
  - So a program that needs one library runs on a Raspberry Pi without an image of its own, a registry for it, or a download in the cluster; its
    version is the one that was tested here.
  - The same version gives the same bytes, so that a second run changes nothing.
options:
  _terms:
    description: Names of packages as Python imports them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Bring the library of the exporter into the cluster
  kubernetes.core.k8s:
    definition:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: exporter, namespace: alice}
      binaryData:
        prometheus_client.zip: "{{ lookup('openlsp.node.python_package', 'prometheus_client') }}"
"""

RETURN = r"""
_raw:
  description: The zip of each package, in base64.
  type: list
  elements: str
"""

import base64

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.openlsp.node.plugins.plugin_utils._python_package import PackageError, zipped


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms, variables=None, **kwargs):
        """Ansible's entry point."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [base64.b64encode(zipped(str(name))).decode() for name in terms]
        except PackageError as error:
            raise AnsibleLookupError(str(error)) from error
