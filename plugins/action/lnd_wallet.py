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
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _credentials, _lnd, _macaroon, _pod, _publication, _secret, _weak
from ansible_collections.openlsp.node.plugins.module_utils._arguments import LND_ARGUMENTS, labels_of
from ansible_collections.openlsp.node.plugins.module_utils._consumers import MACAROON_KEY
from ansible_collections.openlsp.node.plugins.module_utils._publication import ADMIN
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file

PASSWORD_KEY = "password"

# Written into LND's directory, where roles/lnd/files/start.sh looks for it. It is good as long as LND may take to end, and its next pod to come.
_START_LOCKED = 'echo $(($(date +%s) + 600)) > "$0/start-locked-until"'

# Before new root keys: LND insists on removing three of its macaroons itself, and never writes one anew that is there.
_GIVE_UP_FILES = 'cd "$0" && rm -f *.macaroon && : > admin.macaroon && : > readonly.macaroon && : > invoice.macaroon'
# What that leaves behind where LND was not reached afterwards.
_REMOVE_EMPTY_FILES = 'cd "$0" && for each in *.macaroon; do [ -s "$each" ] || rm -f "$each"; done'

# Addresses to look for when a seed may have been used before; LND's own default for a restore.
RECOVERY_WINDOW = 2500

ARGUMENTS = {
    **_cluster.ARGUMENTS,
    **LND_ARGUMENTS,
    "state": {"type": "str", "choices": ["prepared", "active", "rekeyed"], "default": "active"},
    "file": {"type": "path", "required": True},
    "vault_password_file": {"type": "path"},
    "password_secret": {"type": "str", "default": "lnd-wallet-password"},
    "seed": {"type": "list", "elements": "str", "no_log": True},
    "seed_passphrase": {"type": "str", "default": "", "no_log": True},
    "stateless": {"type": "bool", "default": False},
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
        self.stateless, self.rekey = given["stateless"], given["state"] == "rekeyed"
        self.cluster = _cluster.connect(given["kubeconfig"], given["context"])
        self.node = _credentials.Node(
            self.cluster, given["namespace"], given["pod"], given["container"], given["lnd_dir"], given["network"])
        # What LND handed over in this call: the admin macaroon, which is nowhere else where LND is stateless.
        self.handed: bytes | None = None
        self.restarted = self.changed = False
        self.old_admin: bytes | None = None
        self.refusal: str | None = None

    def prepare(self) -> dict:
        """Make sure that the wallet's password is in its Secret before LND looks for it."""
        found = self._password()
        wallet = self._file()
        if found is not None:
            differ = wallet and wallet.password != found
            return {"changed": False, "file": str(self.path), **({"warnings": [
                f"the wallet file {self.path} has another password than the Secret {self.given['password_secret']} of namespace {self.node.namespace}. "
                "Where LND says invalid passphrase, delete the Secret and run this again: it is made from the file. Where LND opens, correct the file"]}
                if differ else {})}
        if wallet is None:
            self._refuse_new_password_for_old_wallet()
        password = wallet.password if wallet else secrets.token_urlsafe(32)
        if not self.check_mode:
            _secret.create_once(self.cluster, _secret.Secret(
                self.given["password_secret"], {PASSWORD_KEY: password.encode()}, labels_of(self.given), namespace=self.node.namespace))
        return {"changed": True, "file": str(self.path)}

    def activate(self) -> dict:
        """Bring LND from whatever state it is in to one where it takes calls, creating the wallet where there is none."""
        if self.rekey:
            found = self._read_admin()
            self.old_admin = found.data.get(MACAROON_KEY) if found else None
        if self.check_mode:
            return self._predict()
        deadline = time.monotonic() + self.given["timeout"]
        while True:
            try:
                with self.node.client(self.node.certificate()) as lnd:
                    state = lnd.state()
                    if state in _lnd.ACTIVE_STATES and self._is_finished(lnd):
                        return self._result(self.changed, state)
                    reason = f"LND is in state {state}"
                    self.changed |= self._act(lnd, state)
            except _cluster.ClusterError as error:
                if error.status in (401, 403):
                    raise
                reason = str(error)
            except _lnd.LndError as error:
                if not error.passes:
                    raise
                reason = str(error)
            if time.monotonic() > deadline:
                said = _pod.last_words(self.cluster, self.node.namespace, self.node.pod, self.node.container)
                raise Refused(f"{reason}; waited {self.given['timeout']} s for LND to take calls{said}")
            time.sleep(1)

    def _is_finished(self, lnd: _lnd.Lnd) -> bool:
        """Of an LND that takes calls: whether nothing is left that only a locked one does. Puts what it handed over into its Secret."""
        if self.rekey:
            if self.handed is None:
                return False
            self._prove_rekeyed(lnd)
        if self.stateless and self.handed:
            self._keep_admin(lnd)
        return not self.stateless or self._has_admin(lnd)

    def _act(self, lnd: _lnd.Lnd, state: str) -> bool:
        """One step on the way; False where there is nothing to do but wait."""
        if state == "NON_EXISTING":
            if self.rekey:
                raise Refused("LND has no wallet and so no root keys; run the role first")
            self._create(lnd)
        elif state == "LOCKED" and not self._unlocks_itself():
            self._open(lnd)
        elif state in _lnd.ACTIVE_STATES:
            self._restart_locked()
        else:
            return False
        return True

    def _create(self, lnd: _lnd.Lnd) -> None:
        """The order is the point: the operator has the seed on his disk, read back, before there is a wallet."""
        password = self._needed_password()
        if self.stateless:
            self._read_admin()  # It has nowhere to go where somebody else's Secret has its name.
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
            self.handed = lnd.init_wallet(password, list(wallet.seed), wallet.passphrase, window, self.stateless)
        except _lnd.LndError as error:
            if error.code is None or "already exists" in str(error):
                return  # The connection broke, or an earlier request got through: the caller looks at the state again.
            if written_here and supplied:
                self.path.unlink()  # It holds nothing but the operator's own mistake, which he can now correct.
            raise Refused(f"LND does not take the seed: {error}") from None

    def _unlocks_itself(self) -> bool:
        """Whether a locked LND is about to read its password from a file: it is in this state for seconds at each start."""
        arguments = _pod.run(self.cluster, self.node.namespace, self.node.pod, self.node.container, ["cat", "/proc/1/cmdline"])
        return b"--wallet-unlock-password-file" in arguments

    def _open(self, lnd: _lnd.Lnd) -> None:
        """Unlock the wallet, and have of LND what it does only in this moment."""
        password = self._needed_password()
        try:
            if self.rekey or (self.stateless and (self.restarted or self._read_admin() is None)):
                if not self.stateless:
                    self._in_network_directory(_GIVE_UP_FILES)
                self.handed = lnd.change_password(password, password, self.rekey, self.stateless)
            else:
                self._in_network_directory(_REMOVE_EMPTY_FILES)
                lnd.unlock(password, self.stateless)
        except _lnd.LndError as error:
            if error.code is None or "already unlocked" in str(error):
                return  # The connection broke, or another run was faster: the caller looks at the state again.
            if str(error) == "timeout":  # bbolt's, waiting for the lock of wallet.db: a run that was killed in this moment has asked the same.
                raise _lnd.LndError("LND opens its wallet for somebody else") from None
            if "invalid passphrase" in str(error):
                raise Refused(f"the password in the Secret {self.given['password_secret']} of namespace {self.node.namespace} does not open LND's "
                              f"wallet; put the right one there, which is in {self.path} or wherever that file was moved to") from None
            raise Refused(f"LND does not open its wallet: {error}") from None

    def _restart_locked(self) -> None:
        """A new pod whose LND waits for its password; returns when the old one is gone. What opens it is known to be there first."""
        self._needed_password()
        where = f"{self.node.namespace}/{self.node.pod}"
        if self.restarted:
            raise Refused(f"{where} was restarted and should have waited for its password, but LND takes calls: it started once more on the way "
                          "and unlocked itself, or its answer was lost; run this again. Where that does not help, its StatefulSet is not the role's: run the "
                          "role first")
        old = _pod.pod(self.cluster, self.node.namespace, self.node.pod)
        if old is None:
            raise _cluster.ClusterError(f"{where} is gone")
        _pod.run(self.cluster, self.node.namespace, self.node.pod, self.node.container, ["sh", "-c", _START_LOCKED, self.node.lnd_dir])
        _pod.delete(self.cluster, old)
        self.restarted = True
        grace = old["spec"].get("terminationGracePeriodSeconds", 30) + 30
        deadline = time.monotonic() + grace
        while (pod := _pod.pod(self.cluster, self.node.namespace, self.node.pod)) and pod["metadata"]["uid"] == old["metadata"]["uid"]:
            if time.monotonic() > deadline:
                raise Refused(f"{where} did not end within {grace} s")
            time.sleep(1)

    def _in_network_directory(self, script: str) -> None:
        directory = f"{self.node.lnd_dir}/data/chain/bitcoin/{_credentials.NETWORK_DIRECTORIES[self.node.network]}"
        _pod.run(self.cluster, self.node.namespace, self.node.pod, self.node.container, ["sh", "-c", script, directory])

    def _prove_rekeyed(self, lnd: _lnd.Lnd) -> None:
        """The new admin macaroon opens LND, the old one does not."""
        reason = lnd.accepts(self.handed, _macaroon.KINDS["admin"], self.handed)
        if reason:
            raise Refused(f"LND does not accept the admin macaroon that it handed over with its new root keys: {reason}")
        if self.old_admin:
            self.refusal = lnd.accepts(self.old_admin, _macaroon.KINDS["admin"], self.old_admin)
            if self.refusal is None:
                raise Refused(f"LND has new root keys, but still accepts the admin macaroon from the Secret {ADMIN}; run this again")

    def _read_admin(self) -> _secret.Secret | None:
        """The Secret with the admin macaroon, or None where it does not exist."""
        found = _secret.read(self.cluster, self.node.namespace, ADMIN)
        if self.stateless and found and not found.ours:
            raise Refused(f"the Secret {ADMIN} of namespace {self.node.namespace} is not managed by {_cluster.FIELD_MANAGER}, and the only copy of "
                          "LND's admin macaroon has to go there; remove or rename it")
        return found

    def _has_admin(self, lnd: _lnd.Lnd) -> bool:
        found = self._read_admin()
        macaroon = found.data.get(MACAROON_KEY) if found else None
        return bool(macaroon) and lnd.accepts(macaroon, _macaroon.KINDS["admin"], macaroon) is None

    def _keep_admin(self, lnd: _lnd.Lnd) -> None:
        """Write the admin macaroon that LND handed over into its Secret."""
        try:
            held = _macaroon.parse(self.handed).permissions
        except _macaroon.MacaroonError as error:
            raise Refused(f"LND handed over an admin macaroon that is none: {error}") from None
        reason = lnd.accepts(self.handed, held, self.handed) if held == _macaroon.KINDS["admin"] else f"it may {_macaroon.words(held)}"
        if reason:
            raise Refused(f"LND does not accept the admin macaroon that it handed over: {reason}")
        for tries_left in reversed(range(3)):
            found = self._read_admin()
            # What uses the old one is restarted by lnd_macaroon_secret.
            ours = {name: value for name, value in found.annotations.items() if name.startswith(_secret.ANNOTATIONS)} if found else {}
            annotations = {**ours, _publication.CHANGED: _publication.stamp()} if found else {}
            wanted = _secret.Secret(ADMIN, {MACAROON_KEY: self.handed}, labels_of(self.given), annotations, self.node.namespace)
            try:
                _secret.write(self.cluster, _secret.Change("update", wanted, found))
                return
            except _cluster.ClusterError as error:
                # It is the only copy: another writer must not be the end of it.
                if error.status != 409 or not tries_left:
                    raise

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

    def _needed_password(self) -> str:
        password = self._password()
        if password is None:
            raise Refused(f"the Secret {self.given['password_secret']} of namespace {self.node.namespace} is gone; run the role again")
        return password

    def _password(self) -> str | None:
        name = self.given["password_secret"]
        secret = _secret.read(self.cluster, self.node.namespace, name)
        if secret is None:
            return None
        password = secret.data.get(PASSWORD_KEY, b"").decode(errors="replace").rstrip("\r\n")
        if len(password) < 8:
            raise Refused(f"the Secret {name} has no password of at least 8 characters under the key {PASSWORD_KEY}; LND would refuse it")
        # On regtest anybody makes coins: there is nothing to guard, and tutorials use their known passwords there.
        if self.node.network != "regtest" and (whose := _weak.weak_password(password)):
            raise Refused(f"the Secret {name} holds the published password of {whose}, which opens every copy of the wallet; change the wallet's "
                          "password (lncli changepassword) and put the new one into the Secret, or delete the Secret if there is no wallet yet")
        return password

    def _file(self) -> _wallet_file.Wallet | None:
        return _wallet_file.read(self.path, self.vault)

    def _predict(self) -> dict:
        try:
            with self.node.client(self.node.certificate()) as lnd:
                state = lnd.state()
                if state in _lnd.ACTIVE_STATES:
                    if self.rekey:
                        self._needed_password()
                    return self._result(self.rekey or (self.stateless and not self._has_admin(lnd)), state)
                return self._result(state == "NON_EXISTING" or (state == "LOCKED" and not self._unlocks_itself()), state)
        except (_cluster.ClusterError, _lnd.LndError):
            return self._result(True, "not running yet")

    def _result(self, changed: bool, state: str) -> dict:
        return {"changed": changed, "lnd_state": state, "file": str(self.path), **({"refusal": self.refusal} if self.rekey else {})}
