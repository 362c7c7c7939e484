"""What an operator sees of a blockchain that was there already, and of directories of the machine as volumes."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import time
from collections.abc import Callable

import kubernetes
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _pod

ROOT = pathlib.Path(__file__).resolve().parents[3]
NODE = f"openlsp-{os.environ['TESTBED']}"
KUBECONFIG = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state") / "openlsp.node" / os.environ["TESTBED"] / "kubeconfig"
CHAIN = "/srv/blockchain/bitcoind/regtest"


@pytest.fixture(scope="module")
def core():
    """The Kubernetes API as its administrator."""
    return kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(KUBECONFIG)))


@pytest.fixture(scope="module")
def rpc() -> Callable:
    """``rpc("copied", "getblockcount")``: what a bitcoind answers."""
    cluster = _cluster.connect(str(KUBECONFIG), None)

    def call(namespace: str, *words: str):
        command = ["bitcoin-cli", "-datadir=/data", "-conf=/etc/bitcoin/bitcoin.conf", *words]
        return json.loads(_pod.run(cluster, namespace, "bitcoind-0", "bitcoind", command))
    return call


def on(machine: str, *command: str) -> str:
    """The output of a command on a machine, which must go well."""
    return subprocess.run(["podman", "exec", machine, *command], text=True, capture_output=True, timeout=60, check=True).stdout


def play(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run a playbook of this scenario as an operator would."""
    command = ["ansible-playbook", "-i", "inventories/demo", "-i", "molecule/bootstrap/inventory", f"molecule/bootstrap/{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", "COLUMNS": "1000"},
                          text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)


def eventually(condition: Callable, complaint: str, seconds: float = 120):
    """The first true value of a condition; fails with the complaint when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{complaint} within {seconds} s"
        time.sleep(0.5)
    return value


# --- the copy ------------------------------------------------------------------------------------------------------

def test_bitcoind_starts_at_the_copys_height_without_reindexing(core, rpc):
    assert rpc("copied", "getblockchaininfo")["blocks"] == 500
    log = core.read_namespaced_pod_log("bitcoind-0", "copied")
    assert re.search(r"Loaded best chain: .* height=500 ", log)
    # It connects no block and verifies the newest ones without complaint.
    assert "UpdateTip" not in log
    assert not re.search(r"(?i)reindex(?!=0)|replaying|rolling", log)


def test_every_block_is_there(rpc):
    block = rpc("copied", "getblockstats", "1")["blockhash"]
    assert rpc("copied", "getblock", block)["confirmations"] == 500


def test_the_interrupted_copy_went_on_where_it_was():
    """Four of eighteen megabytes had come at least: without them all eighteen would have been sent."""
    assert int(on(f"{NODE}-source", "cat", "/home/bitcoin/sent")) < 14_000_000


def test_nothing_but_the_blockchain_came():
    """The source has a log and wallets, which this bitcoind makes none of, and the peers it starts with are none."""
    assert not {"debug.log", "wallets"} & set(on(NODE, "ls", "-A", CHAIN).split())
    assert on(NODE, "stat", "--format=%u:%g", f"{CHAIN}/blocks/blk00000.dat", f"{CHAIN}/chainstate/CURRENT").split() == ["1000:1000"] * 2


def test_the_source_is_as_it_was():
    assert on(f"{NODE}-source", "sh", "-c", "ls -A /data/whole/regtest; pgrep -fc '[d]atadir=/data/whole' || true").split() == [
        ".lock", "banlist.json", "blocks", "chainstate", "debug.log", "fee_estimates.dat", "mempool.dat", "peers.dat", "settings.json", "wallets", "0"]


# --- what is refused -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def refused() -> dict[str, str]:
    """The message that each host of the group got, from one run."""
    run = play("refused.yml")
    found = re.findall(r"^failed: \[(\S+) ->.*?^    msg: (.*?)^\S|\Z", run.stdout + "\nEND", re.M | re.S)
    return {host: " ".join(message.strip("' \n").split()).replace("''", "'") for host, message in found if host}


REASONS = {
    "it-runs": "a bitcoind runs there; stop it until the copy is here",
    "other-network": "this is regtest, not signet; name a node of signet",
    "left-the-chain": "Bitcoin Knots version v29.5.0.knots20260508 wrote it, which is not on Bitcoin's chain; name a node of Bitcoin Core",
    "pruned": "its oldest blocks are pruned (it begins with blk00001.dat); set bitcoind_prune_mib, or name a node that has all blocks",
    "nothing-there": "no blockchain that this user can read is there (blocks or chainstate is missing); "
                     "name the data directory of its bitcoind, and a user who may read it",
    "has-a-chain": "/srv/blockchain/occupied has a blockchain already (blocks), which stays as it is; "
                   "empty bitcoind_bootstrap_from to keep it, or move it away",
    "not-mounted": "/srv/blockchain/nowhere does not exist here; is its volume mounted?",
    "other-machine": "Host key verification failed; set bitcoind_bootstrap_host_key to the line in that machine's /etc/ssh/ssh_host_ed25519_key.pub",
    "not-let-in": "forward an agent whose key may log in there, or name the key in bitcoind_bootstrap_key_file",
}


@pytest.mark.parametrize("host, reason", REASONS.items(), ids=REASONS)
def test_what_must_not_be_taken_over_is_refused(refused, host, reason):
    assert refused[host].startswith("bitcoind_bootstrap_from: bitcoin@source:/data/")
    assert refused[host].endswith(reason)


def test_nothing_is_refused_unnamed_or_left_behind(refused):
    assert set(refused) == set(REASONS)
    assert on(NODE, "sh", "-c", "cd /srv/blockchain && find refused occupied | sort").split() == [
        "occupied", "occupied/regtest", "occupied/regtest/blocks", "refused"]


def test_a_forwarded_agent_lets_the_machine_in(tmp_path):
    """Over SSH, as from an operator's laptop, where alone the key is."""
    on(NODE, "sh", "-c", "ssh-keygen -A; mkdir -p /run/sshd; pgrep -x sshd || /usr/sbin/sshd; cat /root/.ssh/bootstrap.pub > /root/.ssh/authorized_keys")
    inspected = json.loads(subprocess.run(["podman", "inspect", NODE], capture_output=True, check=True).stdout)[0]
    network, = inspected["NetworkSettings"]["Networks"].values()
    (tmp_path / "key").write_text(on(NODE, "cat", "/root/.ssh/bootstrap"))
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "ssh.yml").write_text(json.dumps({"machines": {"hosts": {"pi": {
        "ansible_connection": "ssh", "ansible_host": network["IPAddress"], "ansible_user": "root",
        "ansible_ssh_common_args": "-oForwardAgent=yes -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oControlPath=none"}}}}))
    script = (f"ssh-add -q {tmp_path}/key && ansible-playbook -i inventories/demo -i molecule/bootstrap/inventory -i {tmp_path}/ssh.yml "
              f"molecule/bootstrap/refused.yml --check --limit not-let-in")
    run = subprocess.run(["ssh-agent", "sh", "-c", script], cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"},
                         text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    assert run.returncode == 0, run.stdout
    assert "(item=all of 17.9 MB)" in run.stdout


# --- a snapshot ----------------------------------------------------------------------------------------------------

def test_a_trusted_snapshot_is_loaded_once(rpc):
    first = play("snapshot.yml")
    assert first.returncode == 0, first.stdout[-4000:]
    assert re.search(r"Start from the snapshot once\] \*+\nchanged: \[assumed\]", first.stdout)
    chains = rpc("assumed", "getchainstates")["chainstates"]
    assert [each["blocks"] for each in chains][-1] == 110
    assert chains[-1]["snapshot_blockhash"] == "696e92821f65549c7ee134edceeeeaaa4105647a3c4fd9f298c0aec0ab50425c"
    assert rpc("assumed", "getnetworkinfo")["networkactive"] is True
    second = play("snapshot.yml", "--start-at-task", "Run bitcoind with it")
    assert re.search(r"Start from the snapshot once\] \*+\nok: \[assumed\]", second.stdout), second.stdout[-4000:]


# --- a directory of the machine as a volume ------------------------------------------------------------------------

@pytest.fixture
def unmounted():
    """bitcoind's directory is away, as when its disk was not there at boot."""
    on(NODE, "mv", "/srv/blockchain/bitcoind", "/srv/blockchain/away")
    yield
    on(NODE, "sh", "-c", "[ ! -e /srv/blockchain/away ] || mv /srv/blockchain/away /srv/blockchain/bitcoind")


def test_a_missing_directory_keeps_the_pod_and_its_return_is_enough(core, rpc, unmounted):
    old = core.read_namespaced_pod("bitcoind-0", "copied").metadata.uid
    core.delete_namespaced_pod("bitcoind-0", "copied")

    def complaint() -> str | None:
        pods = [each.metadata.uid for each in core.list_namespaced_pod("copied").items if each.metadata.uid != old]
        events = core.list_namespaced_event("copied", field_selector="involvedObject.name=bitcoind-0,reason=FailedMount").items
        return next((each.message for each in events if each.involved_object.uid in pods), None)

    assert 'path "/srv/blockchain/bitcoind" does not exist' in eventually(complaint, "no event names the directory")
    assert core.read_namespaced_pod("bitcoind-0", "copied").status.phase == "Pending"
    run = play("converge.yml", "--limit", "copied", "-e", json.dumps({"bitcoind_bootstrap_from": "", "bitcoind_start_timeout": 1}))
    assert re.search(r'Its last warning:\s+FailedMount: [^=]* path\s+"/srv/blockchain/bitcoind" does\s+not\s+exist', run.stdout), run.stdout[-3000:]
    # Nothing was made on the disk below.
    assert on(NODE, "ls", "/srv/blockchain").split() == ["assumed", "away", "occupied", "refused"]
    on(NODE, "mv", "/srv/blockchain/away", "/srv/blockchain/bitcoind")
    eventually(lambda: all(each.ready for each in core.read_namespaced_pod("bitcoind-0", "copied").status.container_statuses or [None] if each)
               and core.read_namespaced_pod("bitcoind-0", "copied").status.phase == "Running", "the pod does not come back", 180)
    assert rpc("copied", "getblockchaininfo")["blocks"] == 500
