# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of a blockchain's copy: bitcoind's directory here, and the other node's machine over SSH."""

from __future__ import annotations

import contextlib
import fcntl
import inspect
import json
import os
import shlex
import shutil
import subprocess
import time
from typing import Iterator

from ansible_collections.openlsp.node.plugins.module_utils import _chain_source
from ansible_collections.openlsp.node.plugins.module_utils._bootstrap import SUBDIRECTORIES, BootstrapError, Source, Target, explained, login_and_path

# Whose files they are in the pod: runAsUser and runAsGroup of the StatefulSet.
OWNER = 1000

# -s: a path with a space is one path, also to an rsync before 3.2.4.
RSYNC = ("rsync", "-s", "--recursive", "--times", "--copy-links", "--partial", "--delete", "--exclude=LOCK", "--exclude=.lock",
         f"--chown={OWNER}:{OWNER}", "--perms", "--chmod=D0700,F0600")


class Directory:
    """bitcoind's directory of one network on this machine."""

    def __init__(self, path: str, network: str) -> None:
        self.base = path
        self.path = os.path.join(path, SUBDIRECTORIES[network])
        self.staging = os.path.join(self.path, "bootstrap.partial")
        self._complete = os.path.join(self.staging, "complete")
        self._marker = os.path.join(self.path, "bootstrap.json")

    def look(self) -> Target:
        """What is there."""
        if not os.path.isdir(self.base):
            return Target(self.base, exists=False)
        space = os.statvfs(self.base)
        return Target(self.base, exists=True, marked=os.path.exists(self._marker), complete=os.path.exists(self._complete),
                      parts=tuple(part for part in _chain_source.PARTS if os.path.exists(os.path.join(self.path, part))),
                      staged=_chain_source.size(self.staging), free=space.f_bavail * space.f_frsize)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for another run: an interrupted playbook's last one goes on until its time is up."""
        if not os.path.isdir(self.base):
            yield
            return
        file = os.open(self.base, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def prepare(self) -> None:
        """Make the directory that the copy comes to."""
        for each in (self.path, self.staging):
            if not os.path.isdir(each):
                os.mkdir(each, 0o700)
                os.chown(each, OWNER, OWNER)

    def complete(self) -> None:
        """Remember that all has come, after it is on the disk."""
        os.sync()
        self._write(self._complete, "")

    def move(self, source: str) -> None:
        """Put everything in its place. Interrupted, it goes on with what is left."""
        for part in _chain_source.PARTS:
            if os.path.isdir(os.path.join(self.staging, part)):
                os.rename(os.path.join(self.staging, part), os.path.join(self.path, part))
        self._write(self._marker, json.dumps({"from": source, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}) + "\n")
        shutil.rmtree(self.staging)

    @staticmethod
    def _write(path: str, text: str) -> None:
        with open(f"{path}.new", "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(f"{path}.new", path)


class OtherMachine:
    """The other node's machine, whose bitcoind cannot start while this is open."""

    def __init__(self, source: str, ssh: list[str], environment: dict[str, str]) -> None:
        self.login, self.path = login_and_path(source)
        self._ssh, self._environment = ssh, environment

    @contextlib.contextmanager
    def asked(self, subdirectory: str) -> Iterator[Source]:
        """What it says of its blockchain. Raises BootstrapError, also at the end where the lock was lost meanwhile."""
        missing = [name for name in ("rsync", self._ssh[0]) if not shutil.which(name)]
        if missing:
            raise BootstrapError(f"{' and '.join(missing)} is missing on this machine: apt install rsync openssh-client")
        program = shlex.join(["exec", "python3", "-c", inspect.getsource(_chain_source), self.path, subdirectory])
        # A user's ssh has no brackets around an IPv6 address, unlike rsync's.
        host = self.login.replace("[", "").replace("]", "")
        with subprocess.Popen([*self._ssh, host, program], env=self._environment, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as session:
            answer = session.stdout.readline()
            if not answer:
                raise BootstrapError(explained(session.communicate()[1]))
            try:
                facts = json.loads(answer)
            except ValueError:
                raise BootstrapError(f"its login prints {answer.strip()!r}, which disturbs rsync too; let it print nothing") from None
            if "error" in facts:
                raise BootstrapError(f"{facts['error']}; name a user who may read it")
            yield Source(**facts)
            if not session.communicate("still held?\n")[0]:
                raise BootstrapError("the connection broke, and bitcoind may have run there meanwhile; run again")

    def copy(self, found: Source, staging: str, seconds: int) -> bool:
        """Copy for some seconds; whether all has come. Raises BootstrapError."""
        wanted = [f"{self.login}:{found.directory}/{found.parts[0]}", *(f":{found.directory}/{part}" for part in found.parts[1:])]
        with subprocess.Popen([*RSYNC, f"--rsh={shlex.join(self._ssh)}", *wanted, f"{staging}/"], env=self._environment,
                              text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as rsync:
            try:
                complaint = rsync.communicate(timeout=seconds)[1]
            except subprocess.TimeoutExpired:
                rsync.terminate()
                rsync.communicate()
                return False
        if rsync.returncode:
            raise BootstrapError(f"rsync ended with {rsync.returncode}: {explained(complaint)}; what has come is kept, run again to go on")
        return True


def ssh_command(key_file: str | None, hosts: str | None) -> list[str]:
    """ssh that asks nothing and gives up on a connection that is silent."""
    options = {"BatchMode": "yes", "ConnectTimeout": "15", "ServerAliveInterval": "15"}
    if key_file:
        options |= {"IdentityFile": key_file, "IdentitiesOnly": "yes"}
    if hosts:
        options |= {"UserKnownHostsFile": hosts, "HostKeyAlias": "source"}
    return ["ssh", *(f"-o{name}={value}" for name, value in options.items())]


def agent(pid: int | str = "self") -> dict[str, str]:
    """The address of the forwarded agent. sudo drops it, so the processes above are asked."""
    while pid not in ("0", "1"):
        try:
            with open(f"/proc/{pid}/environ", "rb") as stream:
                for entry in stream.read().split(b"\0"):
                    if entry.startswith(b"SSH_AUTH_SOCK="):
                        return {"SSH_AUTH_SOCK": entry.split(b"=", 1)[1].decode()}
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
                pid = stream.read().rsplit(")", 1)[1].split()[1]
        except OSError:
            break
    return {}
