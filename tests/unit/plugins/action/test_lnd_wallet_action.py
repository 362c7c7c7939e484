"""A wallet is made in an order that never loses a seed. LND is replaced, the cluster is its API alone; the wallet file is real.

What LND itself does with a seed is tested on a real one.
"""

from __future__ import annotations

import base64
import errno
from contextlib import nullcontext

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.openlsp.node.plugins.action import lnd_wallet
from ansible_collections.openlsp.node.plugins.action.lnd_wallet import RECOVERY_WINDOW, Refused
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._credentials import Node
from ansible_collections.openlsp.node.plugins.module_utils._lnd import LndError
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import KINDS
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file
from ansible_collections.openlsp.node.plugins.plugin_utils._wallet_file import Wallet, WalletFileError
from kube_api import STATUS, STDOUT, SUCCESS, Frames, Refusal

SEED = [f"seed{number}" for number in range(24)]
OWN_SEED = [f"own{number}" for number in range(24)]
PASSWORD = "the-password-in-the-secret"
VAULT = VaultLib([("default", VaultSecret(b"the operator's own"))])


SECRETS = "/api/v1/namespaces/alice/secrets"


class Namespace:
    """What a step sees of a cluster: the password's Secret, LND's claim, and the Secrets that it creates."""

    def __init__(self, api):
        self._api = api
        api.lay("POST", SECRETS, lambda call: {"metadata": {**call.body["metadata"], "namespace": "alice"}})
        self.password(PASSWORD.encode())

    def password(self, value):
        """Is in the Secret; None where there is no Secret."""
        found = Refusal(404) if value is None else {
            "metadata": {"name": "lnd-wallet-password", "namespace": "alice"}, "data": {"password": base64.b64encode(value).decode()}}
        self._api.lay("GET", f"{SECRETS}/lnd-wallet-password", found)

    def volume(self):
        """LND ran here before."""
        self._api.lay("GET", "/api/v1/namespaces/alice/persistentvolumeclaims/data-lnd-0", {"metadata": {"name": "data-lnd-0"}})

    @property
    def created(self):
        """The passwords in the Secrets that were created, in their order."""
        return [base64.b64decode(call.body["data"]["password"]).decode() for call in self._api.asked("POST")]


class Lnd:
    """The calls that make and open a wallet; refuses with ``error``, and notes what the wallet file held when it made one."""

    def __init__(self, path, error=None):
        self.path, self.error, self.made, self.file_then = path, error, None, None
        self.opened, self.handed, self.accepted = [], b"", set()

    def generate_seed(self, _passphrase):
        return SEED

    def init_wallet(self, password, seed, passphrase, recovery_window, stateless):
        self.file_then = _wallet_file.read(self.path, VAULT)
        if self.error:
            raise self.error
        self.made = (password, tuple(seed), passphrase, recovery_window)
        self.stateless = stateless
        return self._hand_over()

    def unlock(self, password, stateless):
        self.opened.append(("unlock", password, stateless))
        if self.error:
            raise self.error

    def change_password(self, current, new, new_root_keys, stateless):
        self.opened.append(("new keys" if new_root_keys else "old keys", current, stateless))
        if self.error:
            raise self.error
        assert current == new
        if new_root_keys:
            self.accepted.clear()
        return self._hand_over()

    def accepts(self, macaroon, _permissions, asked_with):
        assert asked_with == macaroon
        return None if macaroon in self.accepted else "signature mismatch"

    def _hand_over(self):
        self.accepted.add(self.handed)
        return self.handed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wallets" / "alice.yml"


@pytest.fixture
def namespace(api):
    """The namespace alice, where LND's password is and no volume."""
    return Namespace(api)


@pytest.fixture
def step(path, namespace, kubeconfig):
    """A call of the action for the host alice on signet."""
    def made(check_mode=False, **given):
        return lnd_wallet._Step({
            "kubeconfig": str(kubeconfig), "context": None, "namespace": "alice", "pod": "lnd-0", "container": "lnd", "lnd_dir": "/data",
            "network": "signet", "labels": {}, "timeout": 0, "file": str(path), "password_secret": "lnd-wallet-password",
            "seed": None, "seed_passphrase": "", "state": "active", "stateless": False, **given}, "alice", VAULT, check_mode)
    return made


def on_disk(path, **changed):
    wallet = Wallet(**{"node": "alice", "network": "signet", "password": PASSWORD, "seed": tuple(SEED), "passphrase": "", **changed})
    _wallet_file.write(path, wallet, VAULT)
    return wallet


# --- the wallet ----------------------------------------------------------------------------------------------------

def test_the_seed_is_on_the_operators_disk_before_there_is_a_wallet(step, path):
    lnd = Lnd(path)
    step()._create(lnd)
    assert lnd.file_then == Wallet("alice", "signet", PASSWORD, tuple(SEED), "")


def test_the_wallet_is_made_of_what_is_on_the_disk(step, path):
    lnd = Lnd(path)
    step()._create(lnd)
    assert lnd.made == (PASSWORD, tuple(SEED), "", 0)


def test_without_room_for_the_seed_there_is_no_wallet(step, path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(_wallet_file.os, "fsync", full)
    lnd = Lnd(path)
    with pytest.raises(WalletFileError, match="cannot be written"):
        step()._create(lnd)
    assert lnd.made is None


def test_an_interrupted_creation_goes_on_with_the_seed_on_the_disk(step, path):
    wallet = on_disk(path, seed=tuple(OWN_SEED))
    lnd = Lnd(path)
    step()._create(lnd)
    assert lnd.made == (PASSWORD, wallet.seed, "", RECOVERY_WINDOW)


def test_the_operators_own_seed_is_searched_for_coins(step, path):
    lnd = Lnd(path)
    step(seed=[" ".join(OWN_SEED)], seed_passphrase="sesame")._create(lnd)
    assert lnd.made == (PASSWORD, tuple(OWN_SEED), "sesame", RECOVERY_WINDOW)


@pytest.mark.parametrize("words", [OWN_SEED[:23], OWN_SEED + ["more"], ["one"]], ids=["23", "25", "1"])
def test_a_seed_of_another_length_is_refused_before_anything_is_written(step, path, words):
    with pytest.raises(Refused, match=f"lnd_wallet_seed has {len(words)} words; an aezeed has 24"):
        step(seed=words)._create(Lnd(path))
    assert not path.exists()


@pytest.mark.parametrize("changed, reason", {
    "another-node": ({"node": "bob"}, "it belongs to bob on signet, not to alice on signet"),
    "another-network": ({"network": "mainnet"}, "it belongs to alice on mainnet, not to alice on signet"),
    "another-password": ({"password": "another-password"}, "its password is not the one in the Secret lnd-wallet-password"),
}.values(), ids=["another-node", "another-network", "another-password"])
def test_another_wallets_file_makes_no_wallet(step, path, changed, reason):
    on_disk(path, **changed)
    lnd = Lnd(path)
    with pytest.raises(Refused, match=f"the wallet file {path}: {reason}"):
        step()._create(lnd)
    assert lnd.made is None


def test_a_seed_that_is_not_the_files_makes_no_wallet(step, path):
    on_disk(path)
    lnd = Lnd(path)
    with pytest.raises(Refused, match="its seed is not the given one"):
        step(seed=OWN_SEED)._create(lnd)
    assert lnd.made is None


def test_a_missing_password_makes_no_wallet(step, path, namespace):
    namespace.password(None)
    with pytest.raises(Refused, match="the Secret lnd-wallet-password of namespace alice is gone"):
        step()._create(Lnd(path))
    assert not path.exists()


def test_a_wrong_seed_of_the_operator_can_be_corrected(step, path):
    with pytest.raises(Refused, match="LND does not take the seed: checksum mismatch"):
        step(seed=OWN_SEED)._create(Lnd(path, LndError("checksum mismatch", 2)))
    assert not path.exists()


def test_a_generated_seed_stays_on_the_disk_even_when_lnd_refuses_it(step, path):
    with pytest.raises(Refused, match="LND does not take the seed"):
        step()._create(Lnd(path, LndError("something", 2)))
    assert _wallet_file.read(path, VAULT).seed == tuple(SEED)


@pytest.mark.parametrize("error", [LndError("the connection broke"), LndError("wallet already exists", 2)], ids=["broken", "exists"])
@pytest.mark.parametrize("seed", [None, OWN_SEED], ids=["generated", "own"])
def test_when_it_is_not_known_whether_lnd_took_the_seed_it_stays_on_the_disk(step, path, error, seed):
    step(seed=seed)._create(Lnd(path, error))
    assert _wallet_file.read(path, VAULT).seed == tuple(seed or SEED)


# --- until LND takes calls -----------------------------------------------------------------------------------------

@pytest.fixture
def lnd_says(step, path, monkeypatch):
    """activate() for an LND that is in these states one after the other; an exception stands for a question it does not answer."""
    def activated(*states, lnd=None, check_mode=False, **given):
        left, lnd = list(states), lnd or Lnd(path)

        def state():
            said = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(said, Exception):
                raise said
            return said
        lnd.state = state
        monkeypatch.setattr(Node, "certificate", lambda _node: b"")
        monkeypatch.setattr(Node, "client", lambda _node, _certificate: nullcontext(lnd))
        monkeypatch.setattr(lnd_wallet.time, "sleep", lambda _seconds: None)
        return step(check_mode, **{"timeout": 60, **given}).activate()
    return activated


def test_an_lnd_that_is_active_is_left_as_it_is(lnd_says, path):
    assert lnd_says("SERVER_ACTIVE") == {"changed": False, "lnd_state": "SERVER_ACTIVE", "file": str(path)}


def test_an_lnd_without_a_wallet_gets_one(lnd_says, path):
    assert lnd_says(LndError("not there yet"), "NON_EXISTING", "UNLOCKED", "RPC_ACTIVE") == {
        "changed": True, "lnd_state": "RPC_ACTIVE", "file": str(path)}


def test_when_the_time_is_up_the_last_state_and_lnds_last_words_are_named(api, lnd_says):
    api.lay("GET", "/api/v1/namespaces/alice/pods/lnd-0/log", "waiting for bitcoind\n")
    with pytest.raises(Refused, match="^LND is in state UNLOCKED; waited 0 s for LND to take calls. Its last words:\nwaiting for bitcoind$"):
        lnd_says("UNLOCKED", timeout=0)


@pytest.mark.parametrize("error", [ClusterError("forbidden", 403), LndError("refused", 2)], ids=["the-cluster", "lnd"])
def test_a_refusal_is_said_at_once(lnd_says, error):
    with pytest.raises(type(error), match=str(error)):
        lnd_says(error, "RPC_ACTIVE")


# --- an LND that waits for its password ----------------------------------------------------------------------------

POD = "/api/v1/namespaces/alice/pods/lnd-0"
UNLOCKS_ITSELF = b"lnd\0--lnddir=/data\0--wallet-unlock-password-file=/run/secrets/wallet/password\0"


class Pod:
    """LND's pod: what was run in it, and that a new one comes when it is deleted."""

    def __init__(self, api, arguments=b"lnd\0--lnddir=/data\0"):
        self._api, self._arguments, self.uid = api, arguments, 1
        api.lay("GET", POD, lambda _call: {"metadata": {"name": "lnd-0", "namespace": "alice", "uid": f"uid-{self.uid}"}, "spec": {}})
        api.lay("GET", f"{POD}/exec", self._ran)
        api.lay("DELETE", POD, lambda _call: self._deleted())

    @property
    def scripts(self):
        """The scripts that were run, in their order."""
        words = [[value for name, value in call.query if name == "command"] for call in self._api.asked("GET", "/exec")]
        return [each[2] for each in words if each[0] == "sh"]

    @property
    def deletions(self):
        """The pods that were deleted, by their uid."""
        return [call.body["preconditions"]["uid"] for call in self._api.asked("DELETE")]

    def _ran(self, call):
        output = self._arguments if ("command", "/proc/1/cmdline") in call.query else b""
        return Frames((bytes([STDOUT]) + output, bytes([STATUS]) + SUCCESS))

    def _deleted(self):
        self.uid += 1
        return {}


@pytest.fixture
def pod(api):
    return Pod(api)


def test_a_locked_lnd_is_unlocked_with_the_password_of_the_secret(lnd_says, path, pod):
    lnd = Lnd(path)
    assert lnd_says("LOCKED", "UNLOCKED", "RPC_ACTIVE", lnd=lnd) == {"changed": True, "lnd_state": "RPC_ACTIVE", "file": str(path)}
    assert lnd.opened == [("unlock", PASSWORD, False)]
    assert pod.deletions == []


def test_an_lnd_that_is_about_to_unlock_itself_is_left_to_it(lnd_says, api, path):
    Pod(api, UNLOCKS_ITSELF)
    lnd = Lnd(path)
    assert not lnd_says("LOCKED", "LOCKED", "RPC_ACTIVE", lnd=lnd)["changed"]
    assert lnd.opened == []


def test_a_wrong_password_is_said_at_once(lnd_says, path, pod):
    del pod
    with pytest.raises(Refused, match="the password in the Secret lnd-wallet-password of namespace alice does not open LND's wallet; put the right one there"):
        lnd_says("LOCKED", lnd=Lnd(path, LndError("invalid passphrase for master public key", 2)))


def test_an_lnd_that_another_run_unlocked_meanwhile_is_no_mistake(lnd_says, path, pod):
    del pod
    error = LndError("wallet already unlocked, WalletUnlocker service is no longer available", 2)
    assert lnd_says("LOCKED", "RPC_ACTIVE", lnd=Lnd(path, error))["lnd_state"] == "RPC_ACTIVE"


def test_an_lnd_that_is_opening_its_wallet_for_a_killed_run_is_waited_for(lnd_says, path, pod):
    del pod
    assert lnd_says("LOCKED", "RPC_ACTIVE", lnd=Lnd(path, LndError("timeout", 2)))["lnd_state"] == "RPC_ACTIVE"


def test_empty_files_of_an_interrupted_change_are_removed_before_lnd_looks_for_them(lnd_says, pod):
    lnd_says("LOCKED", "RPC_ACTIVE")
    assert pod.scripts == [lnd_wallet._REMOVE_EMPTY_FILES]


# --- a stateless LND -----------------------------------------------------------------------------------------------

ADMIN_PATH = f"{SECRETS}/lnd-admin"
OURS = {"app.kubernetes.io/managed-by": "openlsp.node"}


class AdminSecret:
    """The Secret lnd-admin, which keeps what is written into it."""

    def __init__(self, api):
        self._api, self.written = api, []
        api.lay("GET", ADMIN_PATH, Refusal(404))
        api.lay("PATCH", ADMIN_PATH, self._write)
        api.lay("POST", SECRETS, self._write)

    def holds(self, macaroon, labels=OURS):  # pylint: disable=dangerous-default-value
        """Is in it."""
        data = {"macaroon": base64.b64encode(macaroon).decode()}
        self._api.lay("GET", ADMIN_PATH, {"metadata": {"name": "lnd-admin", "namespace": "alice", "labels": labels}, "data": data})

    def _write(self, call):
        self.written.append(base64.b64decode(call.body["data"]["macaroon"]))
        self.holds(self.written[-1], call.body["metadata"]["labels"])
        return {"metadata": {**call.body["metadata"], "name": "lnd-admin", "namespace": "alice"}}


@pytest.fixture
def admin_secret(api):
    return AdminSecret(api)


@pytest.fixture
def admin(bake):
    """Makes admin macaroons, each another one."""
    def baked(nonce):
        return bake(*map(str, KINDS["admin"]), nonce=nonce)
    return baked


@pytest.fixture
def stateless_lnd(path, admin):
    lnd = Lnd(path)
    lnd.handed = admin(b"1" * 16)
    return lnd


def test_the_admin_macaroon_of_a_new_wallet_goes_into_its_secret(lnd_says, stateless_lnd, admin_secret):
    assert lnd_says("NON_EXISTING", "UNLOCKED", "RPC_ACTIVE", lnd=stateless_lnd, stateless=True)["changed"]
    assert (stateless_lnd.stateless, admin_secret.written) == (True, [stateless_lnd.handed])


def test_an_admin_macaroon_in_its_secret_that_lnd_accepts_stays(lnd_says, stateless_lnd, admin_secret):
    admin_secret.holds(stateless_lnd._hand_over())
    assert not lnd_says("RPC_ACTIVE", lnd=stateless_lnd, stateless=True)["changed"]
    assert admin_secret.written == []


@pytest.mark.parametrize("secret", [None, b"rubbish", b"of an earlier wallet"], ids=["lost", "damaged", "stale"])
def test_a_lost_admin_macaroon_is_handed_over_again_by_a_locked_lnd(lnd_says, stateless_lnd, admin_secret, pod, secret):
    if secret:
        admin_secret.holds(secret)
    assert lnd_says("RPC_ACTIVE", "LOCKED", "UNLOCKED", "RPC_ACTIVE", lnd=stateless_lnd, stateless=True)["changed"]
    assert pod.deletions == ["uid-1"]
    assert stateless_lnd.opened == [("old keys", PASSWORD, True)]
    assert admin_secret.written == [stateless_lnd.handed]


def test_an_lnd_left_locked_before_its_macaroon_was_kept_hands_it_over(lnd_says, stateless_lnd, admin_secret, pod):
    lnd_says("LOCKED", "RPC_ACTIVE", lnd=stateless_lnd, stateless=True)
    assert (pod.deletions, admin_secret.written) == ([], [stateless_lnd.handed])


@pytest.mark.parametrize("state", ["NON_EXISTING", "RPC_ACTIVE"])
def test_somebody_elses_secret_is_in_the_way_before_anything_is_done(lnd_says, stateless_lnd, admin_secret, pod, path, state):
    admin_secret.holds(b"theirs", {})
    with pytest.raises(Refused, match="the Secret lnd-admin of namespace alice is not managed by openlsp.node"):
        lnd_says(state, lnd=stateless_lnd, stateless=True)
    assert (stateless_lnd.made, pod.deletions, path.exists()) == (None, [], False)


def test_what_lnd_hands_over_is_written_only_where_lnd_accepts_it(lnd_says, stateless_lnd, admin_secret, monkeypatch):
    monkeypatch.setattr(stateless_lnd, "accepts", lambda *_call: "signature mismatch")
    with pytest.raises(Refused, match="LND does not accept the admin macaroon that it handed over: signature mismatch"):
        lnd_says("NON_EXISTING", "RPC_ACTIVE", lnd=stateless_lnd, stateless=True)
    assert admin_secret.written == []


def test_a_macaroon_that_may_less_than_an_admin_is_not_written(lnd_says, stateless_lnd, admin_secret, bake):
    stateless_lnd.handed = bake("info:read")
    with pytest.raises(Refused, match="handed over: it may info:read"):
        lnd_says("NON_EXISTING", "RPC_ACTIVE", lnd=stateless_lnd, stateless=True)
    assert admin_secret.written == []


def test_an_lnd_that_does_not_wait_for_its_password_is_restarted_once_only(lnd_says, stateless_lnd, admin_secret, pod):
    del admin_secret
    with pytest.raises(Refused, match="alice/lnd-0 was restarted and should have waited for its password, but LND takes calls"):
        lnd_says("RPC_ACTIVE", lnd=stateless_lnd, stateless=True)
    assert pod.deletions == ["uid-1"]


def test_check_mode_tells_that_a_lost_admin_macaroon_would_be_asked_for(lnd_says, stateless_lnd, admin_secret, pod):
    assert lnd_says("RPC_ACTIVE", lnd=stateless_lnd, stateless=True, check_mode=True)["changed"]
    assert (pod.deletions, pod.scripts, admin_secret.written) == ([], [], [])


# --- new root keys -------------------------------------------------------------------------------------------------

@pytest.fixture
def old_admin(admin, stateless_lnd, admin_secret):
    """The admin macaroon of the root key that LND has now, in its Secret."""
    macaroon = admin(b"0" * 16)
    stateless_lnd.accepted.add(macaroon)
    admin_secret.holds(macaroon)
    return macaroon


def test_new_root_keys_are_asked_of_a_locked_lnd_and_the_old_macaroon_is_proved_worthless(lnd_says, stateless_lnd, old_admin, pod, admin_secret):
    result = lnd_says("RPC_ACTIVE", "LOCKED", "UNLOCKED", "RPC_ACTIVE", lnd=stateless_lnd, state="rekeyed")
    assert (result["changed"], result["refusal"]) == (True, "signature mismatch")
    assert stateless_lnd.opened == [("new keys", PASSWORD, False)]
    assert pod.scripts == [lnd_wallet._START_LOCKED, lnd_wallet._GIVE_UP_FILES]
    assert old_admin not in stateless_lnd.accepted
    assert admin_secret.written == []  # LND writes its files anew, and these are published.


@pytest.mark.parametrize("check_mode", [False, True], ids=["run", "check"])
def test_an_lnd_that_could_not_be_opened_again_is_not_taken_down(lnd_says, stateless_lnd, old_admin, pod, namespace, check_mode):
    namespace.password(None)
    with pytest.raises(Refused, match="the Secret lnd-wallet-password of namespace alice is gone; run the role again"):
        lnd_says("RPC_ACTIVE", lnd=stateless_lnd, state="rekeyed", check_mode=check_mode)
    assert (pod.deletions, pod.scripts, old_admin in stateless_lnd.accepted) == ([], [], True)


def test_an_old_macaroon_that_still_opens_lnd_is_an_error(lnd_says, stateless_lnd, old_admin, pod, monkeypatch):
    del pod, old_admin
    monkeypatch.setattr(stateless_lnd, "accepts", lambda *_call: None)
    with pytest.raises(Refused, match="LND has new root keys, but still accepts the admin macaroon from the Secret lnd-admin; run this again"):
        lnd_says("RPC_ACTIVE", "LOCKED", "RPC_ACTIVE", lnd=stateless_lnd, state="rekeyed")


def test_new_root_keys_of_a_stateless_lnd_go_with_a_new_macaroon_in_the_secret(lnd_says, stateless_lnd, old_admin, pod, admin_secret):
    del old_admin
    lnd_says("RPC_ACTIVE", "LOCKED", "RPC_ACTIVE", lnd=stateless_lnd, state="rekeyed", stateless=True)
    assert stateless_lnd.opened == [("new keys", PASSWORD, True)]
    assert (pod.scripts, admin_secret.written) == ([lnd_wallet._START_LOCKED], [stateless_lnd.handed])


def test_an_interrupted_change_goes_on_with_the_lnd_that_it_left_locked(lnd_says, stateless_lnd, old_admin, pod):
    del old_admin
    assert lnd_says("LOCKED", "RPC_ACTIVE", lnd=stateless_lnd, state="rekeyed")["refusal"] == "signature mismatch"
    assert pod.deletions == []


def test_without_an_old_macaroon_there_is_nothing_to_prove_with(lnd_says, stateless_lnd, admin_secret, pod):
    del admin_secret, pod
    assert lnd_says("RPC_ACTIVE", "LOCKED", "RPC_ACTIVE", lnd=stateless_lnd, state="rekeyed")["refusal"] is None


def test_an_lnd_without_a_wallet_has_no_root_keys(lnd_says, stateless_lnd, admin_secret):
    del admin_secret
    with pytest.raises(Refused, match="LND has no wallet and so no root keys"):
        lnd_says("NON_EXISTING", lnd=stateless_lnd, state="rekeyed")
    assert stateless_lnd.made is None


def test_check_mode_leaves_the_root_keys_alone(lnd_says, stateless_lnd, old_admin, pod):
    assert lnd_says("RPC_ACTIVE", lnd=stateless_lnd, state="rekeyed", check_mode=True)["changed"]
    assert (pod.deletions, pod.scripts, old_admin in stateless_lnd.accepted) == ([], [], True)


# --- the password's Secret -----------------------------------------------------------------------------------------

def test_the_password_that_is_there_stays(step, namespace):
    assert (step().prepare()["changed"], namespace.created) == (False, [])


def test_a_file_with_another_password_is_told_and_the_secret_stays(step, namespace, path):
    """As after a new SD card, where a run without the file made a new password for a wallet that it could not see."""
    on_disk(path)
    assert "warnings" not in step().prepare()
    namespace.password(b"another password")
    told, = step().prepare()["warnings"]
    assert "has another password than the Secret lnd-wallet-password" in told and PASSWORD not in told and "another password " not in told.split("Secret")[1]
    assert namespace.created == []


def test_a_new_password_is_long_and_random(step, namespace):
    namespace.password(None)
    assert step().prepare()["changed"]
    step().prepare()
    first, second = namespace.created
    assert len(first) >= 32 and first != second


def test_after_a_lost_cluster_the_password_comes_from_the_file(step, path, namespace):
    namespace.password(None)
    on_disk(path)
    step().prepare()
    assert namespace.created == [PASSWORD]


def test_a_volume_that_an_unknown_password_opens_gets_no_new_one(step, path, namespace):
    namespace.password(None)
    namespace.volume()
    with pytest.raises(Refused, match=f"a new password would not open its wallet. Put the wallet file back to {path}"):
        step().prepare()
    assert namespace.created == []


def test_check_mode_creates_nothing(step, namespace):
    namespace.password(None)
    assert step(check_mode=True).prepare()["changed"]
    assert namespace.created == []


@pytest.mark.parametrize("password", [b"", b"1234567", b"1234567\n"], ids=["empty", "seven", "seven-and-a-line-break"])
def test_a_password_that_lnd_would_refuse_is_named(step, namespace, password):
    namespace.password(password)
    with pytest.raises(Refused, match="the Secret lnd-wallet-password has no password of at least 8 characters under the key password"):
        step().prepare()


def test_a_password_that_everybody_knows_is_refused(step, namespace):
    namespace.password(b"moneyprintergobrrr\n")
    with pytest.raises(Refused, match="the Secret lnd-wallet-password holds the published password of Umbrel"):
        step().prepare()


def test_a_password_that_everybody_knows_may_open_a_wallet_of_regtest(step, namespace):
    namespace.password(b"moneyprintergobrrr")
    assert not step(network="regtest").prepare()["changed"]


def test_the_line_break_of_an_editor_is_no_part_of_the_password(step, namespace, path):
    namespace.password(PASSWORD.encode() + b"\r\n")
    lnd = Lnd(path)
    step()._create(lnd)
    assert lnd.made[0] == PASSWORD


# --- what is said --------------------------------------------------------------------------------------------------

def test_no_refusal_shows_a_seed_or_a_password(step, path):
    on_disk(path, password="another-password")
    with pytest.raises(Refused) as refusal:
        step(seed=OWN_SEED)._create(Lnd(path))
    assert not [word for word in (*SEED, *OWN_SEED, PASSWORD, "another-password") if word in str(refusal.value)]
