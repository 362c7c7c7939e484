"""What it costs to publish LND's credentials: our module against what others do.

    TESTBED=demo python tests/benchmarks/macaroon_secrets.py            # after `make demo`; ten minutes
    TESTBED=demo python tests/benchmarks/macaroon_secrets.py --credentials 9 --rounds 3

Prints a table in Markdown (docs/credentials.md) and fails where our module misses its limits. It starts an LND of its own in the namespace
``bench`` of the test node and removes it. Each contestant is a user of its own, by which the API server's audit log tells the calls apart.
The rounds are interleaved, and times are medians.

The contestants:

- Ansible's own start: ansible-playbook with a play that has no tasks. It is part of the next one, whatever the task is.
- ours, everything included: ansible-playbook with one task.
- ours, the module's process alone, as Ansible starts it.
- the usual loop: ``kubectl exec cat`` a file, then ``kubectl create secret --dry-run=client -o yaml | kubectl apply -f -``. One Secret for all
  files, which is quicker than one a file. kubectl knows the API beforehand.
- lndinit's way, ``lndinit store-secret --batch --overwrite``: a GET and an update of the whole Secret for each key, one Secret for all. A
  translation into Python by what lndinit v0.1.36 does on the wire; none of its code was copied. It runs beside LND and reads LND's files, so
  here it has them in memory; the start of its process is not counted.

Beyond 9 credentials (LND's certificate and eight macaroons) the others copy more files, ours bakes as many consumers' macaroons.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import kubernetes
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / each) for each in (".ansible/collections", "tests", "molecule/default/tests")]

# pylint: disable=wrong-import-position
from ansible_collections.openlsp.node.plugins.module_utils import _cluster  # noqa: E402
from bare_lnd import CHAIN, MACAROONS, BareLnd  # noqa: E402
from conftest import KUBECONFIG, on_node  # noqa: E402

KUBECTL = pathlib.Path(os.environ.get("OPENLSP_CACHE") or pathlib.Path.home() / ".cache/openlsp.node") / "bin/kubectl"
NAMESPACE = "bench"
LNDS_OWN = 9

# Of an unchanged run of ours, by the number of credentials: share of the loop's time, and API calls.
MAX_SHARE = {9: 0.5, 100: 0.1}
MAX_CALLS = {9: 3}
# Seconds for the module's process alone; more is said, but no failure: this computer may be busy.
MAX_PROCESS = 0.4


@dataclass
class Contestant:
    """One way to publish. run: publishes so many credentials as the user of that kubeconfig; a value returned is the time to count, in seconds."""

    name: str
    title: str
    run: Callable[[pathlib.Path, int], float | None]
    seconds: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    calls: dict[tuple[int, str], list[int]] = field(default_factory=dict)

    def median(self, credentials: int, phase: str) -> float:
        return statistics.median(self.seconds[credentials, phase])

    def most_calls(self, credentials: int, phase: str) -> int:
        return max(self.calls[credentials, phase])


class Bench:
    """The world, and the contestants in it."""

    def __init__(self, lnd: BareLnd, core, directory: pathlib.Path) -> None:
        self._lnd, self._core, self._directory = lnd, core, directory
        self._files: dict[str, bytes] = {}
        self.contestants = [
            Contestant("start", "ansible-playbook without a task", self._start),
            Contestant("ours", "openlsp.node, ansible-playbook", self._playbook),
            Contestant("process", "openlsp.node, its module alone", self._process),
            Contestant("loop", "loop of kubectl exec, create and apply", self._loop),
            Contestant("lndinit", "lndinit's way", self._lndinit),
        ]
        for each in self.contestants:
            self._kubeconfig(each).write_text(self._settings(lnd.user(each.name)))

    def measure(self, credentials: int, rounds: int) -> None:
        """Every contestant in turn, ``rounds`` times: a first run, and one after which all is as it was."""
        self._add_files(credentials)
        for number in range(rounds):
            for contestant in self.contestants:
                self._clean()
                for phase in ("first", "unchanged"):
                    seconds, calls = self._one(contestant, credentials)
                    contestant.seconds.setdefault((credentials, phase), []).append(seconds)
                    contestant.calls.setdefault((credentials, phase), []).append(calls)
                    print(f"{number + 1}/{rounds} {credentials} {contestant.name} {phase}: {seconds:.2f} s, {calls} calls", file=sys.stderr, flush=True)
        self._clean()

    def _one(self, contestant: Contestant, credentials: int) -> tuple[float, int]:
        before = self._calls(contestant)
        start = time.monotonic()
        seconds = contestant.run(self._kubeconfig(contestant), credentials)
        if seconds is None:
            seconds = time.monotonic() - start
        return seconds, len(self._calls(contestant) - before)

    @staticmethod
    def _calls(contestant: Contestant) -> set[str]:
        """The audit log's ids of all its calls. A long one has two lines."""
        user = f'"username":"system:serviceaccount:{NAMESPACE}:{contestant.name}"'
        lines = on_node("sh", "-c", f"cat /var/log/kubernetes/audit*.log | grep -F '{user}' || true").stdout.splitlines()
        return {json.loads(line)["auditID"] for line in lines}

    def _clean(self) -> None:
        """No Secrets, and no root keys but the one of LND's own files."""
        for name in self._lnd.secrets():
            self._lnd.remove(name)
        admin = self._lnd.new["lnd-admin"]["macaroon"]
        with self._lnd.client() as client:
            for root_key in client.call("GET", "/v1/macaroon/ids", None, admin)["root_key_ids"]:
                if root_key != "0":
                    client.call("DELETE", f"/v1/macaroon/{root_key}", None, admin)

    def _add_files(self, credentials: int) -> None:
        names = [f"more-{number}.macaroon" for number in range(credentials - LNDS_OWN)]
        self._lnd.shell(f"cd {CHAIN}; for each in {' '.join(names)}; do cp readonly.macaroon $each; done")
        macaroons = {f"{MACAROONS[name]}.macaroon": data["macaroon"] for name, data in self._lnd.new.items() if name in MACAROONS}
        self._files = {"tls.cert": self._lnd.new["lnd-tls"]["cert"], **macaroons, **{name: macaroons["readonly.macaroon"] for name in names}}

    def _kubeconfig(self, contestant: Contestant) -> pathlib.Path:
        return self._directory / f"{contestant.name}.kubeconfig"

    @staticmethod
    def _settings(token: str) -> str:
        settings = yaml.safe_load(KUBECONFIG.read_text())
        settings["users"][0]["user"] = {"token": token}
        return yaml.safe_dump(settings)

    def _arguments(self, kubeconfig: pathlib.Path, credentials: int) -> dict:
        consumers = [{"name": f"consumer-{number}", "permissions": ["info:read", "invoices:read"]} for number in range(credentials - LNDS_OWN)]
        return {"kubeconfig": str(kubeconfig), "namespace": NAMESPACE, "network": "regtest", **({"consumers": consumers} if consumers else {})}

    def _start(self, _kubeconfig: pathlib.Path, _credentials: int) -> None:
        self._play([])

    def _playbook(self, kubeconfig: pathlib.Path, credentials: int) -> None:
        self._play([{"openlsp.node.lnd_macaroon_secret": self._arguments(kubeconfig, credentials)}])

    def _play(self, tasks: list[dict]) -> None:
        playbook = self._directory / "publish.yml"
        playbook.write_text(yaml.safe_dump([{
            "hosts": "localhost", "gather_facts": False, "vars": {"ansible_python_interpreter": sys.executable, "ansible_pipelining": True},
            "tasks": tasks}]))
        self._do(["ansible-playbook", "-i", "localhost,", "-c", "local", str(playbook)], ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))

    def _process(self, kubeconfig: pathlib.Path, credentials: int) -> None:
        self._do([sys.executable, str(ROOT / "plugins/modules/lnd_macaroon_secret.py")], PYTHONPATH=str(ROOT / ".ansible/collections"),
                 standard_input=json.dumps({"ANSIBLE_MODULE_ARGS": self._arguments(kubeconfig, credentials)}))

    def _loop(self, kubeconfig: pathlib.Path, credentials: int) -> None:
        assert len(self._files) == credentials
        with tempfile.TemporaryDirectory(dir=self._directory) as files:
            paths = " ".join("/data/tls.cert" if name == "tls.cert" else f"{CHAIN}/{name}" for name in self._files)
            self._do(["sh", "-ec", f"""
                for path in {paths}; do
                  {KUBECTL} exec lnd-0 -- cat $path > {files}/${{path##*/}}
                done
                {KUBECTL} create secret generic lnd --from-file={files} --dry-run=client -o yaml | {KUBECTL} apply -f -
            """], KUBECONFIG=str(self._in_namespace(kubeconfig)), KUBECACHEDIR=str(self._directory / "kubectl"))

    @staticmethod
    def _in_namespace(kubeconfig: pathlib.Path) -> pathlib.Path:
        settings = yaml.safe_load(kubeconfig.read_text())
        settings["contexts"][0]["context"]["namespace"] = NAMESPACE
        kubeconfig.write_text(yaml.safe_dump(settings))
        return kubeconfig

    def _lndinit(self, kubeconfig: pathlib.Path, credentials: int) -> float:
        cluster = _cluster.connect(str(kubeconfig), None)
        secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        assert len(self._files) == credentials
        start = time.monotonic()
        for name, content in self._files.items():
            found = cluster.find(f"{secrets}/lndinit")
            data = {name: base64.b64encode(content).decode()}
            if found:
                cluster.request("PUT", f"{secrets}/lndinit", body={**found, "data": {**found["data"], **data}})
            else:
                cluster.request("POST", secrets, body={"metadata": {"name": "lndinit"}, "data": data})
        return time.monotonic() - start

    @staticmethod
    def _do(command: list[str], standard_input: str = "", **environment: str) -> None:
        done = subprocess.run(command, input=standard_input, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def table(contestants: list[Contestant], counts: list[int]) -> str:
    """Seconds and API calls of every contestant, in Markdown."""
    lines = ["| credentials | way | first run | API calls | unchanged run | API calls |", "| --- | --- | --- | --- | --- | --- |"]
    for count in counts:
        for each in contestants:
            cells = [f"{each.median(count, phase):.2f} s | {each.most_calls(count, phase)}" for phase in ("first", "unchanged")]
            lines.append(f"| {count} | {each.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def complaints(contestants: list[Contestant], counts: list[int]) -> list[str]:
    """Where ours misses its limits."""
    start, ours, _process, loop, _lndinit = contestants
    missed = []
    for count in counts:
        share = ours.median(count, "unchanged") / loop.median(count, "unchanged")
        calls = ours.most_calls(count, "unchanged")
        if share > MAX_SHARE.get(count, 1):
            without = start.median(count, "unchanged") / loop.median(count, "unchanged")
            missed.append(f"{count} credentials: an unchanged run takes {share:.2f} of the loop's time; at most {MAX_SHARE[count]}; "
                          f"the start of Ansible alone takes {without:.2f}")
        if calls > MAX_CALLS.get(count, calls):
            missed.append(f"{count} credentials: an unchanged run makes {calls} API calls; at most {MAX_CALLS[count]}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--credentials", type=int, nargs="+", default=[9, 100], help="how many")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(KUBECONFIG)))
    lnd = BareLnd(NAMESPACE, _cluster.connect(str(KUBECONFIG), None), core)
    with tempfile.TemporaryDirectory() as directory:
        try:
            lnd.arrive(b"")
            bench = Bench(lnd, core, pathlib.Path(directory))
            for count in given.credentials:
                bench.measure(count, given.rounds)
        finally:
            lnd.leave()
    print(table(bench.contestants, given.credentials))
    alone = bench.contestants[2].median(given.credentials[0], "unchanged")
    if alone > MAX_PROCESS:
        print(f"note: the module's process alone takes {alone:.2f} s, more than {MAX_PROCESS}: is this computer busy?", file=sys.stderr)
    missed = complaints(bench.contestants, given.credentials)
    print("\n".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
