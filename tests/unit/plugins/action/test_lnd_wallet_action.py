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
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file
from ansible_collections.openlsp.node.plugins.plugin_utils._wallet_file import Wallet, WalletFileError
from kube_api import Refusal

SEED = [f"seed{number}" for number in range(24)]
OWN_SEED = [f"own{number}" for number in range(24)]
PASSWORD = "the-password-in-the-secret"
VAULT = VaultLib([("default", VaultSecret(b"the operator's own"))])


SECRETS = "/api/v1/namespaces/alice/secrets"


class Namespace:
    """What a step sees of a cluster: the password's Secret, LND's claim, and the Secrets that it creates."""

    def __init__(self, api):
        self._api = api
        api.lay("POST", SECRETS, {})
        self.password(PASSWORD.encode())

    def password(self, value):
        """Is in the Secret; None where there is no Secret."""
        found = Refusal(404) if value is None else {
            "metadata": {"name": "lnd-wallet-password"}, "data": {"password": base64.b64encode(value).decode()}}
        self._api.lay("GET", f"{SECRETS}/lnd-wallet-password", found)

    def volume(self):
        """LND ran here before."""
        self._api.lay("GET", "/api/v1/namespaces/alice/persistentvolumeclaims/data-lnd-0", {"metadata": {"name": "data-lnd-0"}})

    @property
    def created(self):
        """The passwords in the Secrets that were created, in their order."""
        return [base64.b64decode(call.body["data"]["password"]).decode() for call in self._api.asked("POST")]


class Lnd:
    """The two calls that make a wallet; refuses with ``error``, and notes what the wallet file held at that moment."""

    def __init__(self, path, error=None):
        self.path, self.error, self.made, self.file_then = path, error, None, None

    def generate_seed(self, _passphrase):
        return SEED

    def init_wallet(self, password, seed, passphrase, recovery_window):
        self.file_then = _wallet_file.read(self.path, VAULT)
        if self.error:
            raise self.error
        self.made = (password, tuple(seed), passphrase, recovery_window)


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
            "seed": None, "seed_passphrase": "", **given}, "alice", VAULT, check_mode)
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
    def activated(*states, **given):
        left, lnd = list(states), Lnd(path)

        def state():
            said = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(said, Exception):
                raise said
            return said
        lnd.state = state
        monkeypatch.setattr(Node, "certificate", lambda _node: b"")
        monkeypatch.setattr(Node, "client", lambda _node, _certificate: nullcontext(lnd))
        monkeypatch.setattr(lnd_wallet.time, "sleep", lambda _seconds: None)
        return step(**{"timeout": 60, **given}).activate()
    return activated


def test_an_lnd_that_is_active_is_left_as_it_is(lnd_says, path):
    assert lnd_says("SERVER_ACTIVE") == {"changed": False, "lnd_state": "SERVER_ACTIVE", "file": str(path)}


def test_an_lnd_without_a_wallet_gets_one(lnd_says, path):
    assert lnd_says(LndError("not there yet"), "NON_EXISTING", "UNLOCKED", "RPC_ACTIVE") == {
        "changed": True, "lnd_state": "RPC_ACTIVE", "file": str(path)}


def test_when_the_time_is_up_the_last_state_and_lnds_last_words_are_named(api, lnd_says):
    api.lay("GET", "/api/v1/namespaces/alice/pods/lnd-0/log", "waiting for bitcoind\n")
    with pytest.raises(Refused, match="^LND is in state LOCKED; waited 0 s for LND to take calls. Its last words:\nwaiting for bitcoind$"):
        lnd_says("LOCKED", timeout=0)


@pytest.mark.parametrize("error", [ClusterError("forbidden", 403), LndError("refused", 2)], ids=["the-cluster", "lnd"])
def test_a_refusal_is_said_at_once(lnd_says, error):
    with pytest.raises(type(error), match=str(error)):
        lnd_says(error, "RPC_ACTIVE")


# --- the password's Secret -----------------------------------------------------------------------------------------

def test_the_password_that_is_there_stays(step, namespace):
    assert (step().prepare()["changed"], namespace.created) == (False, [])


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
