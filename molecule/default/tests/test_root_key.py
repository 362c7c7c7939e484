"""New root keys for carol: no macaroon of before opens her LND, and wherever that is interrupted, the next run ends well."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _credentials, _lnd, _macaroon, _pod, _secret
from conftest import Client, eventually, on_node, site_call
from newcomer import CHAIN, MortalRun, Newcomer
from test_crash import Killer

PLAY = "playbooks/rotate_root_key.yml"
NEW_KEYS = "Restart LND, give it new root keys, prove that the old admin macaroon is refused"
KINDS = sorted(_credentials.MACAROON_SECRETS.values())
FILES = dict.fromkeys(KINDS, "file")

# How LND refuses a macaroon that was made with another root key; one that may not do what is asked is "permission denied".
SIGNATURE = "signature mismatch after caveat verification"


class Keyring:
    """The macaroons of a Lightning node: those that should open it, and those of before."""

    def __init__(self, newcomer: Newcomer, cluster, site) -> None:
        self.node, self._cluster, self._site = newcomer, cluster, site
        self.old: dict[str, bytes] = {}

    def secrets(self) -> dict[str, _secret.Secret]:
        return _secret.read_all(self._cluster, self.node.name)

    def macaroons(self) -> dict[str, bytes]:
        """Those of the Secrets for LND's own eight kinds."""
        return {name: each.data["macaroon"] for name, each in self.secrets().items() if name in _credentials.MACAROON_SECRETS}

    def client(self, macaroon: bytes) -> Client:
        return Client(self._cluster, self.node.name, macaroon, self.secrets()["lnd-tls"].data["cert"])

    def bake(self, root_key_id: int) -> bytes:
        """A macaroon under a root key id of its own, as an operator makes one by hand."""
        body = {"permissions": [{"entity": "info", "action": "read"}], "root_key_id": str(root_key_id)}
        return bytes.fromhex(self.client(self.macaroons()["lnd-admin"]).call("POST", "/v1/macaroon", body)["macaroon"])

    def remember(self) -> None:
        """Everything that opens LND now."""
        self.old = {**self.macaroons(), "by hand": self.bake(7), "by hand, another": self.bake(8)}

    def rotate(self, *arguments: str):
        """The play, for this node where the arguments name no other."""
        return self._site(*self.node.arguments, "-e", f"lnd_rotate_root_key={self.node.name}", *arguments, playbook=PLAY)

    def mortal_rotation(self, log) -> MortalRun:
        return MortalRun(site_call(*self.node.arguments, "-e", f"lnd_rotate_root_key={self.node.name}", playbook=PLAY), log)

    def complaint(self) -> str | None:
        """Why LND does not let each macaroon of the Secrets do what it is for, or None."""
        macaroons = self.macaroons()
        if macaroons.keys() != _credentials.MACAROON_SECRETS.keys():
            return f"there are only {sorted(macaroons)}"
        try:
            with self._lnd() as lnd:
                refused = {name: lnd.accepts(macaroon, _macaroon.KINDS[_credentials.MACAROON_SECRETS[name]], macaroons["lnd-admin"])
                           for name, macaroon in macaroons.items()}
        except (_cluster.ClusterError, _lnd.LndError) as error:
            return str(error)
        return next((f"{name}: {reason}" for name, reason in refused.items() if reason), None)

    def refuses(self, macaroon: bytes) -> bool:
        return SIGNATURE in self.client(macaroon).refusal("GET", "/v1/getinfo")

    def in_pod(self, *command: str) -> bytes:
        return _pod.run(self._cluster, self.node.name, "lnd-0", "lnd", list(command))

    def is_ending(self) -> bool:
        """Whether LND was told to end, and has not yet."""
        pod = _pod.pod(self._cluster, self.node.name, "lnd-0")
        return bool(pod) and "deletionTimestamp" in pod["metadata"]

    def waits_for_its_password(self) -> bool:
        try:
            with self._lnd() as lnd:
                return lnd.state() == "LOCKED" and b"--wallet-unlock-password-file" not in self.in_pod("cat", "/proc/1/cmdline")
        except Exception:  # pylint: disable=broad-except  # The old pod, or none, or not yet.
            return False

    def files(self) -> dict[str, str]:
        """What LND has in the place of each macaroon: file, link or nothing."""
        script = 'cd "$0"; for each; do if [ -L "$each.macaroon" ]; then echo link; elif [ -s "$each.macaroon" ]; then echo file; else echo nothing; fi; done'
        return dict(zip(KINDS, self.in_pod("sh", "-c", script, f"/data/{CHAIN}", *KINDS).decode().split()))

    def _lnd(self) -> _lnd.Lnd:
        return _lnd.Lnd(lambda: _pod.forward(self._cluster, self.node.name, "lnd-0", _lnd.REST_PORT), self.in_pod("cat", "/data/tls.cert"))


@pytest.fixture
def keyring(carol, cluster, site):
    """carol's, as the inventory wants it, with what opens her LND remembered."""
    ring = Keyring(carol, cluster, site)
    if not carol.answers():
        carol.lose_lightning()
        carol.wallet_file.unlink(missing_ok=True)
    if ring.complaint() or ring.files() != FILES:
        carol.settle()
    ring.remember()
    return ring


def assert_nothing_of_before_opens(keyring) -> None:
    assert [name for name, macaroon in keyring.old.items() if not keyring.refuses(macaroon)] == []


@pytest.mark.parametrize("name, reason", [
    ("", "This makes every macaroon of a node worthless; name the node"),
    ("nobody", "There is no node nobody in this play; name the node"),
], ids=["none", "unknown"])
def test_a_node_that_is_not_named_keeps_its_root_keys(keyring, name, reason):
    before = keyring.macaroons()
    refused = keyring.rotate("-e", f"lnd_rotate_root_key={name}")
    assert refused.code != 0
    assert reason in " ".join(refused.output.split())
    assert (keyring.macaroons(), keyring.complaint()) == (before, None)


def test_check_mode_says_what_would_happen_and_restarts_nothing(keyring, core):
    pod, before = core.read_namespaced_pod("lnd-0", keyring.node.name).metadata.uid, keyring.macaroons()
    run = keyring.rotate("--check")
    assert (run.code, run.changed) == (0, {keyring.node.name: 1})
    assert f"LND of {keyring.node.name} would be restarted and given new root keys" in " ".join(run.output.split())
    assert (core.read_namespaced_pod("lnd-0", keyring.node.name).metadata.uid, keyring.macaroons()) == (pod, before)


def test_new_root_keys_make_every_macaroon_of_before_worthless(keyring):
    """Those of the Secrets, and those of other root key ids, with which whoever had the admin macaroon could have come back."""
    identity = keyring.node.identity()
    run = keyring.rotate()
    assert run.code == 0, run.output[-4000:]
    assert f"It refuses the admin macaroon from before: verification failed: {SIGNATURE}" in " ".join(run.output.split())
    assert_nothing_of_before_opens(keyring)
    assert keyring.complaint() is None
    assert keyring.node.identity() == identity
    assert keyring.node.settle().changed == {keyring.node.name: 0}


@pytest.mark.long
def test_a_locked_lnd_is_unlocked_by_the_next_run_of_the_role(keyring, core):
    """As a rotation leaves it that was interrupted before LND had its new keys: with the old ones nothing is lost."""
    keyring.in_pod("sh", "-c", 'echo $(($(date +%s) + 600)) > /data/start-locked-until')
    core.delete_namespaced_pod("lnd-0", keyring.node.name)
    eventually(keyring.waits_for_its_password, "LND does not wait for its password")
    run = keyring.node.settle()
    assert run.changed_tasks == ["openlsp.node.lnd : Hand over the seed, create the wallet, wait until LND takes calls"]
    assert keyring.complaint() is None
    assert keyring.macaroons().items() <= keyring.old.items()


def gives_up_files(keyring) -> bool:
    """Whether the old macaroons are gone and the new ones not yet there."""
    return on_node("test", "-e", keyring.node.on_volume(CHAIN + "router.macaroon")).returncode != 0


# Where the rotation is killed, in the order in which it gets there.
MOMENTS = {
    "before anything": lambda keyring, run: run.at_task(NEW_KEYS),
    "after it was asked for": lambda keyring, run: keyring.is_ending(),
    "while LND waits for its password": lambda keyring, run: keyring.waits_for_its_password(),
    "while LND is given its keys": lambda keyring, run: gives_up_files(keyring),
    "before the Secrets": lambda keyring, run: run.at_task("Publish certificate and macaroons as Secrets"),
}


@pytest.mark.long
@pytest.mark.parametrize("next_run", ["rotation", "role"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_run_after_a_killed_rotation_ends_well(keyring, tmp_path, moment, next_run):
    run = keyring.mortal_rotation(tmp_path / "killed.log")
    run.kill_when(lambda: MOMENTS[moment](keyring, run))
    if next_run == "rotation":
        again = keyring.rotate()
        assert again.code == 0, again.output[-4000:]
        assert_nothing_of_before_opens(keyring)
    else:
        keyring.node.settle()
    assert keyring.complaint() is None
    assert keyring.files() == FILES
    assert keyring.node.settle().changed == {keyring.node.name: 0}


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0, 0.1, 0.3, 1])
def test_lnd_killed_while_it_is_given_its_keys_leaves_a_node_that_works(keyring, seconds):
    """It starts once more and unlocks itself, with old keys or new ones; which of them, the Secrets then say."""
    def kill() -> None:
        eventually(lambda: gives_up_files(keyring), "the old files stay")
        keyring.node.kill_lnd(seconds=seconds)

    killer = Killer(kill)
    keyring.rotate()
    killer.joined()
    again = keyring.rotate()
    assert again.code == 0, again.output[-4000:]
    assert_nothing_of_before_opens(keyring)
    assert keyring.complaint() is None
