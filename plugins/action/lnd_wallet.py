# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action openlsp.node.lnd_wallet; its documentation is in plugins/modules/lnd_wallet.py.

An action and not a module, because the seed must not leave this process but for LND and the encrypted file: a module's
arguments and results pass through files, pipes and logs.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _credentials, _lnd, _pod, _secret
from ansible_collections.openlsp.node.plugins.module_utils._arguments import LND_ARGUMENTS, labels_of
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file

PASSWORD_KEY = "password"

# Addresses to look for when a seed may have been used before; LND's own default for a restore.
RECOVERY_WINDOW = 2500

ARGUMENTS = {
    **_cluster.ARGUMENTS,
    **LND_ARGUMENTS,
    "state": {"type": "str", "choices": ["prepared", "active"], "default": "active"},
    "file": {"type": "path", "required": True},
    "vault_password_file": {"type": "path"},
    "password_secret": {"type": "str", "default": "lnd-wallet-password"},
    "seed": {"type": "list", "elements": "str", "no_log": True},
    "seed_passphrase": {"type": "str", "default": "", "no_log": True},
}


class Refused(Exception):
    """The operator has to decide or repair something; nothing was changed."""


class ActionModule(ActionBase):
    """See plugins/modules/lnd_wallet.py."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Ansible's entry point."""
        super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(ARGUMENTS)
        try:
            vault = _wallet_file.vault(given["vault_password_file"], self._loader)
            step = _Step(given, (task_vars or {})["inventory_hostname"], vault, self._task.check_mode)
            return step.prepare() if given["state"] == "prepared" else step.activate()
        except (_cluster.ClusterError, _credentials.CredentialError, _lnd.LndError,
                _wallet_file.WalletFileError, Refused) as error:
            # "from None": the chain of causes would be printed, and nobody has checked what is in there.
            raise AnsibleActionFail(str(error)) from None


class _Step:
    """One call of the action. Each method may be interrupted anywhere and started again."""

    def __init__(self, given: dict, host: str, vault: Any, check_mode: bool) -> None:
        self.given, self.host, self.vault, self.check_mode = given, host, vault, check_mode
        self.path = Path(given["file"])
        self.cluster = _cluster.connect(given["kubeconfig"], given["context"])
        self.node = _credentials.Node(
            self.cluster, given["namespace"], given["pod"], given["container"], given["lnd_dir"], given["network"])

    def prepare(self) -> dict:
        """Make sure that the wallet's password is in its Secret before LND looks for it."""
        found = self._password()
        if found is not None:
            return {"changed": False, "file": str(self.path)}
        wallet = self._file()
        if wallet is None:
            self._refuse_new_password_for_old_wallet()
        password = wallet.password if wallet else secrets.token_urlsafe(32)
        if not self.check_mode:
            _secret.create_once(self.cluster, self.node.namespace, _secret.Secret(
                self.given["password_secret"], {PASSWORD_KEY: password.encode()}, labels_of(self.given)))
        return {"changed": True, "file": str(self.path)}

    def activate(self) -> dict:
        """Bring LND from whatever state it is in to one where it takes calls, creating the wallet where there is none."""
        if self.check_mode:
            return self._predict()
        deadline = time.monotonic() + self.given["timeout"]
        created = False
        while True:
            reason = None
            try:
                with self.node.client(self.node.certificate()) as lnd:
                    state = lnd.state()
                    if state in _lnd.ACTIVE_STATES:
                        return self._result(created, state)
                    if state == "NON_EXISTING":
                        created = True
                        self._create(lnd)
                        continue
                    reason = f"LND is in state {state}"
            except _cluster.ClusterError as error:
                if error.status in (401, 403):
                    raise
                reason = str(error)
            except _lnd.LndError as error:
                # Without a code it did not answer: it may be restarting. With one it has read the request and refused it.
                if error.code is not None:
                    raise
                reason = str(error)
            if time.monotonic() > deadline:
                said = _pod.last_words(self.cluster, self.node.namespace, self.node.pod, self.node.container)
                raise Refused(f"{reason}; waited {self.given['timeout']} s for LND to take calls{said}")
            time.sleep(1)

    def _create(self, lnd: _lnd.Lnd) -> None:
        """The order is the point: the operator has the seed on his disk, read back, before there is a wallet."""
        password = self._password()
        if password is None:
            raise Refused(f"the Secret {self.given['password_secret']} of namespace {self.node.namespace} is gone; run the role again")
        wallet = self._file()
        supplied = self._supplied_seed()
        written_here = wallet is None
        if wallet is None:
            seed = supplied or tuple(lnd.generate_seed(self.given["seed_passphrase"]))
            wallet = _wallet_file.Wallet(self.host, self.node.network, password, seed, self.given["seed_passphrase"])
            _wallet_file.write(self.path, wallet, self.vault)
        self._refuse_another_nodes_file(wallet, password, supplied)
        # A seed that was generated a moment ago has no history. Any other may have one: LND then looks for its coins.
        window = 0 if written_here and not supplied else RECOVERY_WINDOW
        try:
            lnd.init_wallet(password, list(wallet.seed), wallet.passphrase, window)
        except _lnd.LndError as error:
            if error.code is None or "already exists" in str(error):
                return  # The connection broke, or an earlier request got through: the caller looks at the state again.
            if written_here and supplied:
                self.path.unlink()  # It holds nothing but the operator's own mistake, which he can now correct.
            raise Refused(f"LND does not take the seed: {error}") from None

    def _refuse_another_nodes_file(self, wallet: _wallet_file.Wallet, password: str, supplied: tuple[str, ...] | None) -> None:
        complaint = None
        if (wallet.node, wallet.network) != (self.host, self.node.network):
            complaint = f"it belongs to {wallet.node} on {wallet.network}, not to {self.host} on {self.node.network}"
        elif wallet.password != password:
            complaint = (f"its password is not the one in the Secret {self.given['password_secret']}; delete that Secret to use the file's, "
                         "or move the file away to make a new wallet")
        elif supplied and supplied != wallet.seed:
            complaint = "its seed is not the given one; move the file away if the given seed is right"
        if complaint:
            raise Refused(f"the wallet file {self.path}: {complaint}")

    def _refuse_new_password_for_old_wallet(self) -> None:
        if _pod.claim(self.cluster, self.node.namespace, f"data-{self.node.pod}"):
            raise Refused(
                f"the Secret {self.given['password_secret']} is missing, but LND's volume data-{self.node.pod} exists: a new password would not open "
                f"its wallet. Put the wallet file back to {self.path}, or create the Secret with the wallet's password under the key {PASSWORD_KEY}; "
                "if the volume holds no wallet, delete the claim")

    def _supplied_seed(self) -> tuple[str, ...] | None:
        words = tuple(" ".join(self.given["seed"] or ()).split())
        if words and len(words) != 24:
            raise Refused(f"lnd_wallet_seed has {len(words)} words; an aezeed has 24")
        return words or None

    def _password(self) -> str | None:
        name = self.given["password_secret"]
        secret = _secret.read(self.cluster, self.node.namespace, name)
        if secret is None:
            return None
        password = secret.data.get(PASSWORD_KEY, b"").decode(errors="replace").rstrip("\r\n")
        if len(password) < 8:
            raise Refused(f"the Secret {name} has no password of at least 8 characters under the key {PASSWORD_KEY}; LND would refuse it")
        return password

    def _file(self) -> _wallet_file.Wallet | None:
        return _wallet_file.read(self.path, self.vault)

    def _predict(self) -> dict:
        try:
            with self.node.client(self.node.certificate()) as lnd:
                return self._result(lnd.state() == "NON_EXISTING", lnd.state())
        except (_cluster.ClusterError, _lnd.LndError):
            return self._result(True, "not running yet")

    def _result(self, changed: bool, state: str) -> dict:
        return {"changed": changed, "lnd_state": state, "file": str(self.path)}
