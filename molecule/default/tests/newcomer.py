"""carol: a Lightning node for tests that would leave marks on alice and bob. And the means to crash her, and to watch."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import kubernetes
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.openlsp.node.plugins.module_utils import _secret
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file
from conftest import ROOT, Client, Run, eventually, on_node, site_call

# Under which her LND is reached from elsewhere: an onion service, a reverse proxy, addresses of the machine.
TLS_NAMES = ("2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion", "*.lnd.example", "192.0.2.10", "2001:db8::a")

VAULT_PASSWORD = ROOT / "testbed/vault-password.py"

# In LND's directory.
CHAIN = "data/chain/bitcoin/regtest/"
WALLET_DB = CHAIN + "wallet.db"

# The pod's user id, a file, seconds. A control group's name has the id with dashes or, made by systemd, with underscores.
KILL_LND = """
pattern=$(echo "$1" | tr - .)
while [ -z "$lnd" ]; do
  for each in $(grep -ls "$pattern" /proc/[0-9]*/cgroup); do [ "$(cat "${each%cgroup}comm")" != lnd ] || lnd=${each%/cgroup}; done
  sleep 0.05
done
until [ -e "$2" ]; do sleep 0.01; done
sleep "$3"
kill -9 "${lnd#/proc/}"
"""


def vault():
    """What encrypts and decrypts the wallets of this test node."""
    return _wallet_file.vault(str(VAULT_PASSWORD), DataLoader())


class Newcomer:
    """One host of an inventory of its own, beside the one of the demo."""

    def __init__(self, name: str, cluster, core, site: Callable[..., Run], directory: pathlib.Path) -> None:
        self.name, self._cluster, self._core, self._site, self._directory = name, cluster, core, site, directory
        self.wallet_file = directory / "wallets" / f"{name}.yml"
        (directory / "hosts.yml").write_text(yaml.safe_dump({"lightning_nodes": {"hosts": {name: {
            "lnd_wallet_file": str(self.wallet_file), "lnd_wallet_vault_password_file": str(VAULT_PASSWORD),
            "lnd_tls_names": list(TLS_NAMES)}}}}))
        (directory / "lnd.yml").write_text(yaml.safe_dump([{
            "hosts": "lightning_nodes", "gather_facts": False, "roles": ["openlsp.node.lnd"]}]))
        self.arguments = ("-i", str(directory / "hosts.yml"), "--limit", name)
        self.first_run: Run
        self.first_secrets: dict[str, _secret.Secret]
        self.first_wallet: _wallet_file.Wallet
        self.witness = Witness()

    def arrive(self) -> None:
        """The first run of the site for her: everything it says and every process is kept."""
        self.leave()  # Where an earlier session was interrupted, or has only just ended.
        eventually(lambda: not self._core.list_namespace(field_selector=f"metadata.name={self.name}").items, "her last namespace stays")
        with self.witness:
            self.first_run = self._site(*self.arguments, "-vvvv", "--diff")
        assert self.first_run.code == 0, self.first_run.output[-4000:]
        self.first_secrets = _secret.read_all(self._cluster, self.name)
        self.first_wallet = self.wallet()

    def leave(self) -> None:
        """Remove her, volumes included."""
        for claim in self._core.list_namespaced_persistent_volume_claim(self.name).items:
            self._give_up_volume(claim)
        with if_there():
            self._core.delete_namespace(self.name)

    def settle(self, *arguments: str) -> Run:
        """Run the role lnd alone, which is quicker than the site, and insist that it went well."""
        run = self.run(*arguments)
        assert run.code == 0, run.output[-4000:]
        return run

    def run(self, *arguments: str) -> Run:
        return self._site(*self.arguments, *arguments, playbook=str(self._directory / "lnd.yml"))

    def mortal_run(self) -> MortalRun:
        """The role lnd, to be killed on the way."""
        return MortalRun(site_call(*self.arguments, playbook=str(self._directory / "lnd.yml")), self._directory / "killed.log")

    def wallet(self) -> _wallet_file.Wallet:
        """What the operator reads in the wallet file."""
        wallet = _wallet_file.read(self.wallet_file, vault())
        assert wallet, f"there is no {self.wallet_file}"
        return wallet

    def answers(self) -> str | None:
        """The public key of the LND that runs, asked with what the Secrets hold; None where it does not answer."""
        try:
            found = _secret.read_all(self._cluster, self.name)
            client = Client(self._cluster, self.name, found["lnd-readonly"].data["macaroon"], found["lnd-tls"].data["cert"])
            return client.call("GET", "/v1/getinfo")["identity_pubkey"]
        except Exception:  # pylint: disable=broad-except  # It is starting, or there is none: anything may go wrong on the way.
            return None

    def identity(self) -> str:
        """The same, as soon as it answers."""
        return eventually(self.answers, f"LND of {self.name} does not answer")

    def lose_lightning(self) -> None:
        """LND, its volume and its Secrets are gone, as after the loss of a cluster. bitcoind stays: making it again takes long."""
        with if_there():
            kubernetes.client.AppsV1Api(self._core.api_client).delete_namespaced_stateful_set("lnd", self.name)
        with if_there():
            self._core.delete_namespaced_pod("lnd-0", self.name, grace_period_seconds=0)
        eventually(lambda: not self._pod(), "the pod stays")
        with if_there():
            self._give_up_volume(self._claim())
            self._core.delete_namespaced_persistent_volume_claim("data-lnd-0", self.name)
        for name in _secret.read_all(self._cluster, self.name):
            if name.startswith("lnd-"):
                self._core.delete_namespaced_secret(name, self.name)
        eventually(lambda: not self._claims(), "the claim stays")

    def on_volume(self, name: str) -> str:
        """The path of one of LND's files on the machine."""
        spec = self._core.read_persistent_volume(self._claim().spec.volume_name).spec
        return f"{(spec.host_path or spec.local).path}/{name}"

    def has_wallet_db(self) -> bool:
        """Whether LND has begun to make its wallet."""
        return bool(self._pod()) and on_node("test", "-e", self.on_volume(WALLET_DB)).returncode == 0

    def kill_lnd(self, file: str = ".", seconds: float = 0) -> None:
        """SIGKILL to LND's process as soon as a file is on its volume, or some seconds later; waits for the pod first."""
        pod = eventually(lambda: self._pod() and self._claims()[-1].spec.volume_name and self._pod(), "there is no pod")
        killed = on_node("sh", "-c", KILL_LND, "sh", pod.metadata.uid, self.on_volume(file), str(seconds))
        assert killed.returncode == 0, killed.stderr

    def restart_lnd(self) -> None:
        """Without a word to LND, as the machine does after a power cut: in a new pod."""
        self._core.delete_namespaced_pod("lnd-0", self.name, grace_period_seconds=0)

    def _pod(self):
        return next((each for each in self._core.list_namespaced_pod(self.name).items if each.metadata.name == "lnd-0"), None)

    def _claim(self):
        return self._core.read_namespaced_persistent_volume_claim("data-lnd-0", self.name)

    def _claims(self) -> list:
        listed = self._core.list_namespaced_persistent_volume_claim(self.name).items
        return [each for each in listed if each.metadata.name == "data-lnd-0"]

    def _give_up_volume(self, claim) -> None:
        """Let the provisioner remove it with its claim, which the roles never do."""
        if claim.spec.volume_name:
            self._core.patch_persistent_volume(claim.spec.volume_name, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}})


class MortalRun:
    """A run of ansible-playbook that can end like the computer it runs on: with all its processes at once."""

    def __init__(self, call: dict, log: pathlib.Path) -> None:
        mark = secrets.token_hex(8)
        self._mark = f"OPENLSP_TEST_RUN={mark}".encode()
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(**{**call, "env": {**call["env"], "OPENLSP_TEST_RUN": mark}}, stdout=output)

    def at_task(self, name: str) -> bool:
        """Whether a task of the role lnd has begun."""
        return f"TASK [openlsp.node.lnd : {name}]" in self._log.read_text()

    def kill_when(self, condition: Callable[[], bool], seconds: float = 0) -> None:
        """SIGKILL as soon as the condition holds, or some seconds later; fails when the run ends before that."""
        while not condition():
            assert self._process.poll() is None, f"it ended too early:\n{self._log.read_text()[-4000:]}"
            time.sleep(0.005)
        time.sleep(seconds)
        # Ansible's workers have sessions of their own, but all of them inherit the environment. New ones may appear meanwhile.
        while victims := [pid for pid in processes() if self._mark in about(pid, "environ")]:
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def kill_leader_when(self, condition: Callable[[], bool]) -> None:
        """SIGKILL to ansible-playbook alone: the task that it has begun goes on without it."""
        while not condition():
            assert self._process.poll() is None, f"it ended too early:\n{self._log.read_text()[-4000:]}"
            time.sleep(0.005)
        self._process.kill()
        self._process.wait()


class Witness:
    """Sees the arguments and the environment of every process of this machine, the test node's among them."""

    def __init__(self) -> None:
        self.seen: dict[str, bytes] = {}
        self._known: set[tuple[int, bytes]] = set()
        self._over = threading.Event()

    def __enter__(self) -> Witness:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Once around."""
        for pid in processes():
            arguments = about(pid, "cmdline")
            if (pid, arguments) not in self._known:
                self._known.add((pid, arguments))
                self.seen[f"process {pid}"] = arguments + b"\0\0" + about(pid, "environ")

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.look()


def processes() -> list[int]:
    """Every process of this machine, those of its containers included."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def about(pid: int, what: str) -> bytes:
    """A file of /proc; empty for a process that is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


@contextlib.contextmanager
def if_there() -> Iterator[None]:
    """Leave out what asks for something that has gone."""
    try:
        yield
    except kubernetes.client.ApiException as error:
        if error.status != 404:
            raise
