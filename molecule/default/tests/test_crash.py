"""A crash in the worst moment: the next run ends well, and the operator has the seed of the wallet that exists."""

from __future__ import annotations

import threading

import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _pod
from conftest import eventually, on_node
from newcomer import CHAIN, VAULT_PASSWORD, WALLET_DB, vault

WALLET_TASK = "Hand over the seed, create the wallet, wait until LND takes calls"

IMAGE = "localhost/openlsp/lnd:0.21.3-beta"


class OtherLnd:
    """An LND that has nothing to do with the site and needs no chain: what it makes of a seed is the proof of that seed."""

    def __init__(self, cluster, core, namespace: str) -> None:
        self._cluster, self._core, self._namespace, self._count = cluster, core, namespace, 0

    def identity(self, seed, passphrase: str) -> str:
        """The public key of the node that this seed belongs to."""
        with self._started() as lnd:
            return self._identity(lnd, seed, passphrase)

    def new_seed(self, passphrase: str) -> tuple[list[str], str]:
        """A seed that the site has never seen, and the public key of its node."""
        with self._started() as lnd:
            seed = lnd.generate_seed(passphrase)
            return seed, self._identity(lnd, seed, passphrase)

    def _started(self) -> _lnd.Lnd:
        self._count += 1
        self._name = f"lnd-{self._count}"
        self._core.create_namespaced_pod(self._namespace, {"metadata": {"name": self._name}, "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "lnd", "image": IMAGE, "env": [{"name": "HOME", "value": "/tmp"}], "command": [
                "lnd", "--lnddir=/tmp", "--bitcoin.regtest", "--bitcoin.node=nochainbackend", "--nolisten"]}]}})
        certificate = eventually(lambda: self._file("tls.cert"), "it does not start")
        lnd = _lnd.Lnd(lambda: _pod.forward(self._cluster, self._namespace, self._name, _lnd.REST_PORT), certificate)
        eventually(lambda: quiet(lnd.state) == "NON_EXISTING", "it does not answer")
        return lnd

    def _identity(self, lnd: _lnd.Lnd, seed, passphrase: str) -> str:
        lnd.init_wallet("only for a moment", list(seed), passphrase, 0)
        eventually(lambda: lnd.state() in _lnd.ACTIVE_STATES, "it does not open its wallet")
        info = lnd.call("GET", "/v1/getinfo", macaroon=self._file("data/chain/bitcoin/regtest/readonly.macaroon"))
        self._core.delete_namespaced_pod(self._name, self._namespace)
        return info["identity_pubkey"]

    def _file(self, name: str) -> bytes | None:
        return quiet(lambda: _pod.run(self._cluster, self._namespace, self._name, "lnd", ["cat", f"/tmp/{name}"]))


def quiet(attempt):
    """The result, or None for something that is not there yet."""
    try:
        return attempt()
    except Exception:  # pylint: disable=broad-except
        return None


@pytest.fixture(scope="module")
def other_lnd(cluster, core):
    namespace = core.create_namespace({"metadata": {"generateName": "proof-"}}).metadata.name
    yield OtherLnd(cluster, core, namespace)
    core.delete_namespace(namespace)


@pytest.fixture
def new_carol(carol):
    """carol before there was an LND, with her bitcoind."""
    carol.lose_lightning()
    carol.wallet_file.unlink(missing_ok=True)
    return carol


@pytest.fixture
def running_carol(carol):
    """carol as she is, or made anew where another test has failed and left nothing that runs."""
    if not carol.answers():
        carol.lose_lightning()
        carol.wallet_file.unlink(missing_ok=True)
        carol.settle()
    return carol


def assert_operator_has_the_seed(carol, other_lnd) -> None:
    wallet = carol.wallet()
    assert other_lnd.identity(wallet.seed, wallet.passphrase) == carol.identity()


def task(name: str):
    return lambda _carol, run: run.at_task(name)


# Where a run of the role is killed, in the order in which it gets there.
MOMENTS = {
    "before the password": task("Keep the wallet's password where LND finds it"),
    "before the manifests": task("Apply the manifests of LND"),
    "after the manifests": task("Wait until LND runs"),
    "before the wallet": task(WALLET_TASK),
    "between the wallet file and the wallet": lambda carol, _run: carol.wallet_file.exists(),
    "while LND makes the wallet": lambda carol, run: run.at_task(WALLET_TASK) and carol.has_wallet_db(),
    "before the Secrets": task("Publish certificate and macaroons as Secrets"),
}


@pytest.mark.parametrize("moments", [
    ("before the wallet", "between the wallet file and the wallet", "before the Secrets"),
    *(pytest.param((moment,), marks=pytest.mark.long) for moment in MOMENTS),
], ids=", and again ".join)
def test_run_after_a_killed_one_ends_well(new_carol, other_lnd, moments):
    for moment in moments:
        run = new_carol.mortal_run()
        run.kill_when(lambda: MOMENTS[moment](new_carol, run))  # pylint: disable=cell-var-from-loop
    new_carol.settle()
    assert_operator_has_the_seed(new_carol, other_lnd)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1, 1.5, 2.5, 4])
def test_run_after_one_killed_at_any_time_after_the_wallet_file_ends_well(new_carol, other_lnd, seconds):
    new_carol.mortal_run().kill_when(new_carol.wallet_file.exists, seconds)
    new_carol.settle()
    assert_operator_has_the_seed(new_carol, other_lnd)
    assert new_carol.settle().changed == {"carol": 0}


@pytest.mark.long
def test_run_beside_the_orphans_of_a_killed_one_ends_well(new_carol, other_lnd):
    run = new_carol.mortal_run()
    run.kill_leader_when(lambda: run.at_task(WALLET_TASK))
    new_carol.settle()
    assert_operator_has_the_seed(new_carol, other_lnd)


class Killer(threading.Thread):
    """Kills LND beside a run of the site; joining it tells whether it did."""

    def __init__(self, *call) -> None:
        super().__init__(daemon=True)
        self._call, self._error = call, None
        self.start()

    def run(self) -> None:
        kill, *arguments = self._call
        try:
            kill(*arguments)
        except BaseException as error:  # pylint: disable=broad-except  # For the thread that asks.
            self._error = error

    def joined(self) -> None:
        self.join()
        if self._error:
            raise self._error


@pytest.mark.long
def test_lnd_killed_before_its_wallet_is_whole_makes_it_from_the_same_seed(new_carol, other_lnd):
    """wallet.db is there for about a second without a wallet in it, while LND stretches the password."""
    killer = Killer(new_carol.kill_lnd, WALLET_DB)
    new_carol.settle()
    killer.joined()
    assert on_node("sh", "-c", f"ls {new_carol.on_volume(WALLET_DB)}.interrupted-*").returncode == 0, "it was killed too late for this test"
    assert_operator_has_the_seed(new_carol, other_lnd)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.5, 2, 3, 5])
def test_lnd_killed_at_any_time_while_it_makes_its_wallet_makes_it_from_the_same_seed(new_carol, other_lnd, seconds):
    killer = Killer(new_carol.kill_lnd, WALLET_DB, seconds)
    new_carol.run()
    killer.joined()
    new_carol.settle()
    assert_operator_has_the_seed(new_carol, other_lnd)
    assert new_carol.settle().changed == {"carol": 0}


@pytest.mark.long
def test_power_cut_for_both_leaves_the_seed_with_the_operator(new_carol, other_lnd):
    run = new_carol.mortal_run()
    killer = Killer(new_carol.kill_lnd, WALLET_DB)
    run.kill_when(lambda: not killer.is_alive())
    killer.joined()
    new_carol.settle()
    assert_operator_has_the_seed(new_carol, other_lnd)


def test_lnd_itself_gets_the_signals(running_carol, cluster):
    assert _pod.run(cluster, "carol", "lnd-0", "lnd", ["cat", "/proc/1/cmdline"]).startswith(b"lnd\0")


def test_files_that_a_power_cut_left_empty_are_made_anew(running_carol):
    """LND takes an empty file for one that is there: without help its certificate and its macaroons would stay empty for ever."""
    paths = [running_carol.on_volume(name) for name in ("tls.cert", CHAIN + "admin.macaroon", CHAIN + "router.macaroon")]
    assert on_node("truncate", "--size=0", *paths).returncode == 0
    running_carol.restart_lnd()
    run = running_carol.settle()
    assert run.changed_tasks == ["openlsp.node.lnd : Publish certificate and macaroons as Secrets"]
    assert [path for path in paths if on_node("test", "-s", path).returncode] == []


@pytest.mark.long
def test_corrected_mistake_reaches_an_lnd_that_does_not_start(running_carol):
    failed = running_carol.run("-e", '{"lnd_options": {"misspelt": 1}, "lnd_start_timeout": 10}')
    assert "unknown option: misspelt" in failed.output
    running_carol.settle()


@pytest.mark.long
def test_wallet_file_brings_back_the_node_that_was_lost_with_its_cluster(running_carol):
    before = running_carol.identity()
    running_carol.lose_lightning()
    running_carol.settle()
    assert running_carol.identity() == before


@pytest.fixture
def inventory_with(tmp_path):
    """The arguments that give the playbook a seed as the operator should: from a vaulted file."""
    def write(seed, passphrase: str) -> tuple[str, ...]:
        path = tmp_path / "seed.yml"
        path.write_bytes(vault().encrypt(yaml.safe_dump({"lnd_wallet_seed": list(seed), "lnd_wallet_seed_passphrase": passphrase})))
        return "-e", f"@{path}", "--vault-password-file", str(VAULT_PASSWORD)
    return write


@pytest.mark.long
def test_given_seed_that_is_wrong_is_refused_and_the_right_one_brings_back_its_node(new_carol, other_lnd, inventory_with):
    seed, identity = other_lnd.new_seed("with a passphrase")
    refused = new_carol.run(*inventory_with([*seed[1:], seed[0]], "with a passphrase"))
    assert refused.code != 0
    assert "LND does not take the seed: " in refused.output
    assert not new_carol.wallet_file.exists()
    new_carol.settle(*inventory_with(seed, "with a passphrase"))
    assert new_carol.identity() == identity
    assert new_carol.wallet().seed == tuple(seed)
