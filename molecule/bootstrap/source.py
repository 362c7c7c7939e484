"""What stands for another node: a user with an SSH login, and data directories that a real bitcoind has written.

Run in a container of the test node's image, with the public key that may log in. Prints the host key.
"""

from __future__ import annotations

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable

ROOT = pathlib.Path("/bitcoind")  # where bitcoind and its libraries are
PROGRAMS = ROOT / "usr/bin"
DATA = pathlib.Path("/data")
HOME = pathlib.Path("/home/bitcoin")

# Bitcoin Core's unit tests mine this chain (test/util/setup_common.cpp, TestChain100Setup): a block a second to the key 1. On regtest
# bitcoind takes a snapshot at its block 110.
BEGIN = 1598887952
KEY_ONE = "pk(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)"

# In rsync's place. The first session breaks in the middle of the first file, as when a cable is pulled; the others count what they send.
RSYNC = """\
#!/usr/bin/python3
import os, pathlib, signal, subprocess, sys

broken, sent = pathlib.Path.home() / "broken", 0
with subprocess.Popen(["/usr/bin/rsync", *sys.argv[1:]], stdout=subprocess.PIPE) as rsync:
    while data := os.read(rsync.stdout.fileno(), 65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        sent += len(data)
        if sent > 6_000_000 and not broken.exists():
            broken.touch()
            os.kill(os.getppid(), signal.SIGKILL)
(pathlib.Path.home() / "sent").write_text(str(sent))
"""


def unpack_bitcoind() -> None:
    """The test node has bitcoind only as an image of its own."""
    with tarfile.open("/usr/local/share/testbed/images.tar") as images:
        image, = (each for each in json.load(images.extractfile("manifest.json")) if "bitcoind" in each["RepoTags"][0])
        for layer in image["Layers"]:
            with tarfile.open(fileobj=images.extractfile(layer)) as files:
                files.extractall(ROOT, filter="tar")


def open_ssh(public_key: str) -> None:
    """Let the key's owner in as ``bitcoin``."""
    run("useradd", "--create-home", "--shell", "/bin/bash", "bitcoin")
    keys = HOME / ".ssh/authorized_keys"
    keys.parent.mkdir()
    keys.write_text(public_key + "\n")
    shutil.chown(keys, "bitcoin")
    wrapper = pathlib.Path("/usr/local/bin/rsync")
    wrapper.write_text(RSYNC)
    wrapper.chmod(0o755)
    run("ssh-keygen", "-A")
    pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    run("/usr/sbin/sshd")


class Bitcoind:
    """A bitcoind in a new data directory; stopped at the end of its ``with`` block."""

    def __init__(self, name: str, *options: str, chain: str = "regtest") -> None:
        directory = DATA / name
        directory.mkdir(parents=True)
        shutil.chown(directory, "bitcoin")
        where = [f"-chain={chain}", f"-datadir={directory}"]
        environment = {"LD_LIBRARY_PATH": str(next(ROOT.glob("usr/lib/*-linux-gnu")))}
        self._process = subprocess.Popen([PROGRAMS / "bitcoind", *where, "-connect=0", "-listen=0", "-printtoconsole=0", *options],
                                         user="bitcoin", group="bitcoin", env=environment, start_new_session=True)
        run(PROGRAMS / "bitcoin-cli", *where, "-rpcwait", "-rpcwaittimeout=60", "getrpcinfo", env=environment)
        cookie = directory / (chain if chain != "main" else "") / ".cookie"
        self._url = f"http://127.0.0.1:{8332 if chain == 'main' else 18443}"
        self._headers = {"Authorization": f"Basic {base64.b64encode(cookie.read_bytes()).decode()}"}

    def call(self, method: str, *arguments: object) -> object:
        """The result of an RPC."""
        request = urllib.request.Request(self._url, json.dumps({"method": method, "params": arguments}).encode(), self._headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["result"]

    def __enter__(self) -> Callable:
        return self.call

    def __exit__(self, *_error: object) -> None:
        self.call("stop")
        self._process.wait(60)


def run(*command: str | pathlib.Path, **options: object) -> None:
    """Run a command that must go well."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120, **options)


def main(public_key: str) -> None:
    """Make everything that the inventory's hosts name."""
    unpack_bitcoind()
    open_ssh(public_key)
    with Bitcoind("whole") as call:
        call("generatetodescriptor", 500, "raw(51)")
    # Block files of 64 kB, of which the first ones are removed.
    with Bitcoind("pruned", "-fastprune", "-prune=1") as call:
        call("generatetodescriptor", 600, "raw(51)")
        call("pruneblockchain", 300)
    # Of a Knots that left Bitcoin's chain. It has no peers and stays at the first block.
    with Bitcoind("knots", chain="main"):
        pass
    with Bitcoind("assumed", f"-mocktime={BEGIN}") as call:
        for height in range(110):
            call("setmocktime", BEGIN + height)
            call("generatetodescriptor", 1, KEY_ONE)
        call("dumptxoutset", str(DATA / "assumed/utxo-110.dat"), "latest")
        headers = [call("getblockheader", call("getblockhash", height), False) for height in range(1, 111)]
    (DATA / "assumed/headers").write_text("\n".join(headers) + "\n")
    Bitcoind("running")
    print(pathlib.Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
