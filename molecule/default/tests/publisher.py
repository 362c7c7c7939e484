"""The module lnd_macaroon_secret in a process of its own, which can be measured, and killed between two of its steps.

As a script: runs the module with what stands on the standard input, ends the process where that says so.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.openlsp.node.plugins.module_utils import _consumers, _lnd, _mounts, _pod, _publication, _secret

ROOT = pathlib.Path(__file__).resolve().parents[3]

# How LND refuses a macaroon that was revoked.
NO_ROOT_KEY = re.compile(r"root key with id \d+ doesn't exist$")

# What a step of the work is in the code. Each is killed before or after its n-th call.
STEPS: dict[str, tuple[Any, str]] = {
    "bake": (_lnd.Lnd, "bake"),
    "write": (_secret, "write"),
    "restart": (_mounts, "restart"),
    "look at the pods": (_mounts, "of_namespace"),
    "delete a root key": (_lnd.Lnd, "delete_root_key"),
    "delete a Secret": (_secret, "delete"),
}


@dataclass(frozen=True)
class Death:
    """Where a run is killed.

    behind: seconds by which its clock is late. What it leaves is as old as that then, and nobody has to wait until it is.
    """

    moment: str
    step: str
    call: int
    behind: float = _publication._ORPHANED_AFTER + 1  # pylint: disable=protected-access


@dataclass(frozen=True)
class Done:
    """One run: the module's result; seconds from start to end; what it took of the processor, in seconds, and of the memory, in bytes."""

    result: dict
    killed: bool
    seconds: float
    processor: float
    memory: int

    @property
    def actions(self) -> dict[str, str]:
        """What was done with each Secret, by its namespace and name, where anything was."""
        return {f"{each['namespace']}/{each['name']}": each["action"] for each in self.result["secrets"] if each["action"] != "keep"}


class Publisher:
    """Publishes the credentials of one Lightning node."""

    def __init__(self, cluster, kubeconfig: pathlib.Path, node: str) -> None:
        self.node, self._cluster, self._kubeconfig = node, cluster, kubeconfig
        self._labels = dict(self.secrets()["lnd-tls"].labels)

    def secrets(self, namespace: str = "") -> dict[str, _secret.Secret]:
        return _secret.read_all(self._cluster, namespace or self.node)

    def lnd(self) -> _lnd.Lnd:
        """A client whose connection stays open."""
        return _lnd.Lnd(lambda: _pod.forward(self._cluster, self.node, "lnd-0", _lnd.REST_PORT), self.secrets()["lnd-tls"].data["cert"])

    def root_key_ids(self) -> set[int]:
        """Those in LND that the collection made."""
        with self.lnd() as lnd:
            return {each for each in lnd.root_key_ids(self.secrets()["lnd-admin"].data["macaroon"]) if each in _consumers.OUR_IDS}

    def publish(self, consumers: Iterable[dict] = (), rotate: Iterable[str] = (), **more: Any) -> Done:
        """Run the module, and insist that it went well."""
        done = self.attempt(consumers, rotate, **more)
        assert not done.result.get("failed"), done.result["msg"]
        return done

    def attempt(self, consumers: Iterable[dict] = (), rotate: Iterable[str] = (), death: Death | None = None, **more: Any) -> Done:
        """Run the module; killed, it has no result."""
        arguments = {"kubeconfig": str(self._kubeconfig), "namespace": self.node, "network": "regtest", "labels": self._labels,
                     "consumers": list(consumers), "rotate": list(rotate), **more}
        order = {"arguments": arguments, "death": [death.step, death.call, death.behind] if death else None}
        path = os.pathsep.join((str(ROOT / ".ansible/collections"), *filter(None, sys.path)))
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
            given.write(json.dumps(order).encode())
            given.seek(0)
            start = time.monotonic()
            process = subprocess.Popen([sys.executable, __file__], stdin=given, stdout=output, stderr=complaint, env={**os.environ, "PYTHONPATH": path})
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - start
            for each in (output, complaint):
                each.seek(0)
            killed = process.returncode == -signal.SIGKILL
            said, complaints = output.read().decode(), complaint.read().decode()
            assert killed or said, complaints
        memory = re.search(r"VmHWM:\s+(\d+) kB", complaints)
        return Done(json.loads(said) if said else {}, killed, seconds, usage.ru_utime + usage.ru_stime, int(memory[1]) * 1024 if memory else 0)


def refusal(lnd: _lnd.Lnd, macaroon: bytes) -> str:
    """Why LND does not say who it is to the holder of a macaroon; empty where it does."""
    try:
        lnd.call("GET", "/v1/getinfo", macaroon=macaroon)
    except _lnd.LndError as error:
        assert error.code is not None, f"no answer is no refusal: {error}"
        return str(error)
    return ""


def _mortal(function: Callable, call: int) -> Callable:
    """The same function; its process ends at once when the call of that number has returned."""
    calls = 0

    def called(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **options)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return called


def _main() -> None:
    from ansible.module_utils import basic
    from ansible_collections.openlsp.node.plugins.modules import lnd_macaroon_secret

    order = json.load(sys.stdin)
    if order["death"]:
        step, call, behind = order["death"]
        owner, name = STEPS[step]
        setattr(owner, name, _mortal(getattr(owner, name), call))
        now = time.time_ns
        time.time_ns = lambda: now() - int(behind * 1e9)
    # What Ansible's own start of a module hands over.
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": order["arguments"]}).encode()  # pylint: disable=protected-access
    basic._ANSIBLE_PROFILE = "legacy"  # pylint: disable=protected-access
    try:
        lnd_macaroon_secret.main()
    finally:
        # Not the maximum that wait4 knows: this begins with the size of the process that started this one.
        print(pathlib.Path("/proc/self/status").read_text(), file=sys.stderr)


if __name__ == "__main__":
    _main()
