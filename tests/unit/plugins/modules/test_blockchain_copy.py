"""The copy of a blockchain, with this machine as both ends: where it resumes, what it leaves, what it says of a bad connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._bootstrap import BootstrapError
from ansible_collections.openlsp.node.plugins.module_utils import _chain_copy
from ansible_collections.openlsp.node.plugins.module_utils._chain_copy import Directory, OtherMachine, agent, ssh_command
from ansible_collections.openlsp.node.plugins.modules import blockchain_copy

# In ssh's place: runs the command here. Its first argument is the host.
HERE = ["sh", "-c", 'exec sh -c "$1"']

# In rsync's place: copies the first source's parts, each word as the module gave it.
RSYNC = """
import shutil, sys
if {code}:
    sys.exit("rsync error: {code}")
*sources, target = [word for word in sys.argv[1:] if not word.startswith("-")]
for source in sources:
    shutil.copytree(source.split(":", 1)[1], target + source.rsplit("/", 1)[1], dirs_exist_ok=True)
"""


@pytest.fixture
def source(tmp_path):
    """A small regtest chain."""
    chain = tmp_path / "source/regtest"
    for part in ("blocks", "chainstate", "indexes", "wallets"):
        (chain / part).mkdir(parents=True)
        (chain / part / "blk00000.dat").write_bytes(bytes.fromhex("fabfb5da"))
    (chain / ".lock").touch()
    return chain


@pytest.fixture
def path(tmp_path):
    """An empty data directory."""
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


@pytest.fixture
def run(monkeypatch, source, path, tmp_path):
    """Run the module; with ``rsync``, a command in that program's place."""
    monkeypatch.setattr(blockchain_copy, "ssh_command", lambda *_arguments: HERE)
    monkeypatch.setattr(_chain_copy.shutil, "which", str)
    monkeypatch.setattr(_chain_copy.os, "chown", lambda *_arguments: None)

    def ran(rsync=RSYNC.format(code=0), check_mode=False, seconds=60, directory=path):
        monkeypatch.setattr(_chain_copy, "RSYNC", [sys.executable, "-c", rsync])
        return blockchain_copy.run(SimpleNamespace(check_mode=check_mode, tmpdir=str(tmp_path), params={
            "source": f"pi@other:{source.parent}", "path": str(directory), "network": "regtest", "pruned": False,
            "key_file": None, "host_key": None, "seconds": seconds}))
    return ran


def names(path):
    return sorted(each.name for each in (path / "regtest").iterdir())


def test_the_blockchain_is_taken_over_once_and_nothing_else(run, path, source):
    first = run()
    assert (first["changed"], first["finished"], first["progress"]) == (True, True, "all of 0.0 MB")
    assert names(path) == ["blocks", "bootstrap.json", "chainstate", "indexes"]
    assert json.loads((path / "regtest/bootstrap.json").read_text())["from"] == f"pi@other:{source.parent}"
    assert run() == {"changed": False, "finished": True, "progress": "it was copied before"}


def test_check_mode_says_so_and_touches_nothing(run, path, source):
    assert run(check_mode=True)["diff"]["after"] == f"the blockchain of pi@other:{source.parent}, 0.0 MB\n"
    assert list(path.iterdir()) == []


def test_check_mode_passes_where_the_volume_is_still_to_be_made(run, tmp_path):
    assert run(check_mode=True, directory=tmp_path / "nothing")["changed"]
    with pytest.raises(BootstrapError, match="is its volume mounted"):
        run(directory=tmp_path / "nothing")


def test_when_the_time_is_up_the_next_run_goes_on(run, path):
    slow = "import sys, time, os; open(sys.argv[-1] + 'came', 'w').write('1'); time.sleep(60)"
    first = run(rsync=slow, seconds=1)
    assert (first["finished"], first["changed"]) == (False, True)
    assert "% of 0.0 MB" in first["progress"]
    assert names(path) == ["bootstrap.partial"]
    assert run()["finished"]
    assert names(path) == ["blocks", "bootstrap.json", "chainstate", "indexes"]


def test_a_broken_copy_is_kept_for_the_next_run(run, path):
    with pytest.raises(BootstrapError, match="rsync ended with 1: rsync error: 12; what has come is kept, run again to go on"):
        run(rsync=RSYNC.format(code=12))
    assert names(path) == ["bootstrap.partial"]


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_a_power_cut_in_the_move_is_made_good(run, path, monkeypatch, moved):
    """The machine stops after some of the renames."""
    rename, left = os.rename, [moved + 1]  # the first one completes the copy

    def cut(old, new):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        rename(old, new)

    monkeypatch.setattr(_chain_copy.os, "rename", cut)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(_chain_copy.os, "rename", rename)
    assert run(rsync=RSYNC.format(code=12))["finished"]  # nothing is copied again
    assert names(path) == ["blocks", "bootstrap.json", "chainstate", "indexes"]


def test_a_blockchain_that_began_meanwhile_stays(run, path):
    run(rsync="import time; time.sleep(60)", seconds=1)
    (path / "regtest/blocks").mkdir()
    with pytest.raises(BootstrapError, match="has a blockchain already"):
        run()


def test_a_bitcoind_that_runs_is_refused_before_anything_is_made(run, path, source):
    bitcoind = "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", bitcoind, source / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout.readline()
        with pytest.raises(BootstrapError, match="a bitcoind runs there"):
            run()
        running.stdin.close()
    assert list(path.iterdir()) == []


def test_a_lock_that_was_lost_makes_the_copy_worthless(run, path, monkeypatch):
    """The session ends while rsync runs: a bitcoind may have started and stopped there."""
    facts = {"directory": "/x", "parts": ["blocks", "chainstate"], "running": False, "magic": "fabfb5da", "first_block_file": "blk00000.dat",
             "programs": [], "size": 1}
    told_and_gone = ["sh", "-c", 'echo "$0"', json.dumps(facts)]
    monkeypatch.setattr(blockchain_copy, "ssh_command", lambda *_arguments: told_and_gone)
    with pytest.raises(BootstrapError, match="the connection broke, and bitcoind may have run there meanwhile; run again"):
        run(rsync="")
    assert not (path / "regtest/bootstrap.partial/complete").exists()


# --- the connection ------------------------------------------------------------------------------------------------

@pytest.fixture
def failure(monkeypatch):
    monkeypatch.setattr(_chain_copy.shutil, "which", str)
    return refusal_of


def refusal_of(script):
    """What is said of a machine whose ssh is this script."""
    machine = OtherMachine("pi@other:/data", ["sh", "-c", script], dict(os.environ))
    with pytest.raises(BootstrapError) as failed, machine.asked(""):
        pass
    return str(failed.value)


def test_a_refused_login_is_told_in_ssh_words(failure):
    assert failure("echo 'pi@other: Permission denied (publickey).' >&2; exit 255") == (
        "pi@other: Permission denied (publickey); forward an agent whose key may log in there, or name the key in bitcoind_bootstrap_key_file")


def test_a_connection_that_ends_says_so(failure):
    assert failure("exit 255") == "the connection ended"


def test_a_machine_without_python_says_so(failure):
    assert failure("echo 'sh: 1: exec: python3: not found' >&2; exit 127").endswith("python3: not found; install Python there")


def test_a_talkative_login_is_named(failure):
    assert failure("echo Welcome; cat >/dev/null").startswith("its login prints 'Welcome', which disturbs rsync too")


def test_what_cannot_be_read_there_is_named(failure):
    assert failure("""echo '{"error": "/data/debug.log: Permission denied"}'""") == "/data/debug.log: Permission denied; name a user who may read it"


def test_a_machine_without_rsync_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(_chain_copy.shutil, "which", lambda name: name != "rsync")
    assert refusal_of("") == "rsync is missing on this machine: apt install rsync openssh-client"


def test_ssh_asks_nothing_and_takes_what_is_given():
    assert ssh_command(None, None) == ["ssh", "-oBatchMode=yes", "-oConnectTimeout=15", "-oServerAliveInterval=15"]
    assert ssh_command("/root/key", "/tmp/hosts")[4:] == [
        "-oIdentityFile=/root/key", "-oIdentitiesOnly=yes", "-oUserKnownHostsFile=/tmp/hosts", "-oHostKeyAlias=source"]


def test_the_agent_is_found_above_a_sudo_that_drops_it():
    inner = ("import json, sys; from ansible_collections.openlsp.node.plugins.module_utils._chain_copy import agent; "
             "print(json.dumps(agent()))")
    command = ["sh", "-c", 'env -u SSH_AUTH_SOCK "$0" -c "$1"; true', sys.executable, inner]
    environment = {**os.environ, "SSH_AUTH_SOCK": "/tmp/agent.1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"SSH_AUTH_SOCK": "/tmp/agent.1"}


def test_where_nothing_forwards_an_agent_there_is_none():
    assert agent("1") == {}


def test_an_existing_copy_is_not_moved_over_a_file(path):
    """Directory.move is the only thing that touches what is in place, and rename(2) refuses a directory that is not empty."""
    directory = Directory(str(path), "regtest")
    for each in ("regtest/blocks/old", "regtest/bootstrap.partial/blocks/new"):
        (path / each).mkdir(parents=True)
    with pytest.raises(OSError):
        directory.move("pi@other:/data")
    assert (path / "regtest/blocks/old").exists()
