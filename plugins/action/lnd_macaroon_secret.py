# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action openlsp.node.lnd_macaroon_secret; its documentation is in plugins/modules/lnd_macaroon_secret.py.

Where the module would run on the controller it runs inside of Ansible, in half the time: there is no second Python to start, and nothing of
a module to be packed and sent. On any other machine the module runs as modules do.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.openlsp.node.plugins.module_utils import _cluster
from ansible_collections.openlsp.node.plugins.modules import lnd_macaroon_secret


class ActionModule(ActionBase):
    """See plugins/modules/lnd_macaroon_secret.py."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Ansible's entry point."""
        super().run(tmp, task_vars)
        # Without the client here, the interpreter that is set for modules may have it.
        if self._connection.transport != "local" or _cluster.IMPORT_ERROR:
            return self._execute_module(task_vars=task_vars)
        _validation, given = self.validate_argument_spec(lnd_macaroon_secret.ARGUMENTS)
        try:
            return lnd_macaroon_secret.run(given, self._task.check_mode)
        except lnd_macaroon_secret.Failed as error:
            raise AnsibleActionFail(str(error)) from None
