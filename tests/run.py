"""Every check of the collection: what `make test` runs.

    python tests/run.py                  all but the long ones
    python tests/run.py --long           all
    python tests/run.py unit lint        these, and what they need

The steps that use the test node run one after the other; beside them those in the virtual machine, and those that need neither: a node
waits more than it computes.
A step that fails does not stop those that do not need it. The last line counts the tests: pytest's own, and each other
step as one. A passing step's output is not shown; a failing one's end is, and its whole log stays where the report says.

KEEP=1 leaves the node of Molecule's scenario `default` up.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TextIO, get_args

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Where testbed/build.py keeps its parts too.
CACHE = pathlib.Path(os.environ.get("OPENLSP_CACHE") or pathlib.Path.home() / ".cache/openlsp.node")
STATE = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state") / "openlsp.node"
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

# Logs are read later, in files; the checkout stays clean.
PLAIN = {"NO_COLOR": "1", "MOLECULE_COMMAND_BORDERS": "0", "COLUMNS": "160", "PYTHONDONTWRITEBYTECODE": "1"}

# ansible-test of ansible-core 2.19 looks for this file before it downloads it from a place of its own.
GET_PIP = "get_pip_24_2.py"
PIP = "pip==24.2"


# The test that restarts the machine among others, in molecule/default/tests/test_tor.py.
RESTARTS = "test_what_is_restarted_is_reached_again_by_itself"

# The test node, the virtual machine, and what needs neither.
Lane = Literal["node", "vm", "host"]


@dataclass(frozen=True)
class Step:
    """One check: what is run, and where.

    command: argv; or a function that does the work itself, writes what went wrong to a log, and returns whether it went well.
    lane: what it occupies; the steps of one lane run one after the other.
    needs: steps without which it makes no sense; always: cleans up, so it runs even where those failed or were interrupted.
    diagnosis: a command that tells more when it failed.
    tests: pytest runs in it and counts for itself, as JUnit XML.
    minutes: after these it is stopped, and has failed.
    """

    name: str
    command: Sequence[str] | Callable[[TextIO], bool]
    cwd: pathlib.Path = ROOT
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    diagnosis: Sequence[str] = ()
    lane: Lane = "host"
    always: bool = False
    tests: bool = False
    long: bool = False
    minutes: int = 10


@dataclass(frozen=True)
class Outcome:
    """What came of a step, in numbers of tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0


class Workspace:
    """The places of one run: logs, and the collection as Galaxy and ansible-test want to see it."""

    def __init__(self) -> None:
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="openlsp.node-test-"))
        self.tree = self.path / "ansible_collections/openlsp/node"
        version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
        self.artifact = self.path / f"openlsp-node-{version}.tar.gz"
        self.installed = self.path / "installed"
        self.no_settings = self.path / "ansible.cfg"
        self.no_settings.touch()

    def export(self, _log: TextIO) -> bool:
        """Copy what git tracks or would track, as it is on the disk, to a real (not linked) ansible_collections tree."""
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
        for name in filter(None, names):
            source, target = ROOT / name, self.tree / name
            if os.path.lexists(source):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        # ansible-test knows only what stands beside the collection: those whose documentation and utilities we use.
        bundle = next(pathlib.Path(sys.prefix).glob("lib/python*/site-packages/ansible_collections"))
        (self.path / "ansible_collections/kubernetes").symlink_to(bundle / "kubernetes")
        return True

    def home_of_ansible_test(self, _log: TextIO) -> bool:
        """Give ansible-test a home of its own, where it finds pip without asking beyond the package registry.

        The user's settings of pip hold there too.
        """
        home = CACHE / "ansible-test"
        script = home / ".ansible/test/cache" / GET_PIP
        script.parent.mkdir(parents=True, exist_ok=True)
        for name in (".config/pip", ".pip", ".cache/pip"):
            link, target = home / name, pathlib.Path.home() / name
            if target.exists() and not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)
        if not script.exists():
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(self.path), PIP]
            subprocess.run(download, check=True)
            wheel = next(self.path.glob("pip-*.whl"))
            unfinished = script.with_suffix(".new")
            unfinished.write_text(get_pip(wheel.name, wheel.read_bytes()))
            unfinished.rename(script)
        return True

    def artifact_holds_no_tests(self, log: TextIO) -> bool:
        """Say what the installed artifact has that serves a checkout only."""
        root = self.installed / "ansible_collections/openlsp/node"
        wanted = {"CHANGELOG.rst", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "changelogs", "docs", "inventories",
                  "meta", "playbooks", "plugins", "requirements.txt", "roles"}
        found = {path.name for path in root.iterdir()}
        for name in sorted(found - wanted):
            print(f"{name} is in the artifact: name it in build_ignore of galaxy.yml, or here if the user needs it", file=log)
        return found <= wanted


def get_pip(name: str, wheel: bytes) -> str:
    """A get-pip.py that carries pip's wheel."""
    return f"""\
import base64, os, runpy, sys, tempfile

wheel = os.path.join(tempfile.mkdtemp(), {name!r})
with open(wheel, "wb") as stream:
    stream.write(base64.b85decode({base64.b85encode(wheel).decode()!r}))
sys.path.insert(0, wheel)
arguments = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
sys.argv = ["pip", "install", "--upgrade", "--force-reinstall", *arguments]
runpy.run_module("pip", run_name="__main__")
"""


def scenario(name: str, *arguments: str, lane: Lane = "node", needs: tuple[str, ...], minutes: int = 20, long: bool = False) -> Step:
    """A scenario of Molecule, from making its machine to removing it."""
    kubeconfig = STATE / f"molecule-{name}/kubeconfig"
    return Step(name, ["molecule", "test", "--scenario-name", name, *arguments], lane=lane, needs=needs, tests=True, minutes=minutes, long=long,
                diagnosis=[sys.executable, "tests/diagnosis.py", str(kubeconfig)] if lane == "node" else ())


def all_steps(space: Workspace) -> list[Step]:
    """The checks, the quick ones first."""
    installed = {"ANSIBLE_COLLECTIONS_PATH": str(space.installed), "ANSIBLE_CONFIG": str(space.no_settings)}
    apart = {"ANSIBLE_COLLECTIONS_PATH": str(space.path / "nothing"), "ANSIBLE_CONFIG": str(space.no_settings)}
    test_home = {"HOME": str(CACHE / "ansible-test")}
    antsibull_docs = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck"]
    return [
        Step("unit", [sys.executable, "-m", "pytest", "-q", "tests/unit"], tests=True),
        Step("fuzz", [sys.executable, "tests/fuzz/macaroon.py", "10"]),
        Step("alerts", [sys.executable, "tests/promtool/rules.py"]),
        Step("thresholds of the alerts", [sys.executable, "tests/promtool/mutate.py"], needs=("alerts",)),
        Step("lint", ["ansible-lint", "--strict"]),
        Step("export", space.export),
        Step("docs", [*antsibull_docs, "--validate-collection-refs=self", "."], cwd=space.tree, needs=("export",)),
        Step("changelog", ["antsibull-changelog", "lint"]),
        Step("sanity home", space.home_of_ansible_test),
        Step("sanity", ["ansible-test", "sanity", "--python", PYTHON_VERSION, "--color", "no", "--exclude", "testbed/"],
             cwd=space.tree, env=test_home, needs=("export", "sanity home"), minutes=20),
        # What Galaxy and its users will do. Away from the checkout's ansible.cfg: with the checkout on the collections
        # path, the artifact would count as installed already.
        Step("build", ["ansible-galaxy", "collection", "build", "--output-path", str(space.path), str(space.tree)],
             cwd=space.path, env=apart, needs=("export",)),
        Step("install", ["ansible-galaxy", "collection", "install", str(space.artifact), "-p", str(space.installed), "--offline"],
             cwd=space.path, env=apart, needs=("build",)),
        Step("artifact", space.artifact_holds_no_tests, needs=("install",)),
        Step("site", ["sh", "-ec", f"for each in pi cluster; do ansible-playbook openlsp.node.site -i {ROOT}/inventories/$each --syntax-check; done"],
             cwd=space.path, env=installed, needs=("install",)),
        Step("ansible-doc", ["sh", "-ec", "ansible-doc openlsp.node.lnd_macaroon_secret; ansible-doc -t role openlsp.node.lnd"],
             cwd=space.path, env=installed, needs=("install",)),
        Step("requirements", [sys.executable, "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"],
             cwd=space.tree, needs=("export",)),
        Step("importer", [sys.executable, "-m", "galaxy_importer.main", str(space.artifact)],
             cwd=space.path, env=apart, needs=("build",)),
        # The real thing; then the artifact on the same node, which shows what it lacks.
        Step("virtual machine", [sys.executable, "testbed/build.py", "--vm"], lane="node", minutes=20),
        Step("parts of the node", [sys.executable, "testbed/build.py"], lane="node", minutes=60),
        Step("clean host", ["molecule", "destroy"], lane="node"),
        scenario("pi_boot", lane="vm", needs=("virtual machine", "clean host"), minutes=40),
        scenario("disk_layout", lane="vm", needs=("virtual machine", "clean host"), minutes=40),
        scenario("microk8s", needs=("parts of the node", "clean host")),
        scenario("bootstrap", needs=("parts of the node", "clean host")),
        scenario("observability", needs=("parts of the node", "clean host"), minutes=30, long=True),
        scenario("default", "--destroy=never", needs=("parts of the node", "clean host"), minutes=60),
        Step("site, installed", ["ansible-playbook", "openlsp.node.site", "-i", str(ROOT / "inventories/demo")],
             cwd=space.path, env={**installed, "TESTBED": "molecule-default"}, lane="node", needs=("install", "default")),
        Step("status, installed", ["ansible-playbook", "openlsp.node.status", "-i", str(ROOT / "inventories/demo")],
             cwd=space.path, env={**installed, "TESTBED": "molecule-default"}, lane="node", needs=("install", "default")),
        Step("verify, installed", ["ansible-playbook", "openlsp.node.verify", "-i", str(ROOT / "inventories/demo")],
             cwd=space.path, env={**installed, "TESTBED": "molecule-default"}, lane="node", needs=("install", "default")),
        Step("make demo", ["make", "demo"], lane="node", env={"TESTBED": "molecule-default"}, needs=("default", "site, installed")),
        # With a home of its own, where there is nothing to remove; what others use must stay.
        Step("make clean", ["sh", "-ec", "mkdir $TMPDIR; make clean; podman container exists openlsp-molecule-default"], cwd=space.tree,
             env={"XDG_STATE_HOME": str(space.path / "state"), "OPENLSP_CACHE": str(space.path / "cache"), "TMPDIR": str(space.path / "tmp")},
             lane="node", needs=("export", "default")),
        Step("long rounds", [sys.executable, "-m", "pytest", "-q", "-m", "long", "-k", f"not {RESTARTS}", "molecule/default/tests"],
             env={"TESTBED": "molecule-default"}, lane="node", needs=("default",), tests=True, long=True, minutes=90),
        Step("benchmark", [sys.executable, "tests/benchmarks/macaroon_secrets.py"], env={"TESTBED": "molecule-default"}, lane="node",
             needs=("default", "long rounds"), long=True, minutes=30),
        # A cluster without IPv4, where the default one has both. The nodes of the default one move to it.
        Step("moved to IPv6 alone", ["sh", "-ec", "trap 'ansible-playbook testbed/destroy.yml' EXIT; ansible-playbook testbed/create.yml; "
                                     "ansible-playbook site.yml -i inventories/demo --limit pi; "
                                     "python tests/move.py carry molecule-default ipv6-alone; "
                                     "for each in site.yml testbed/payment.yml; do ansible-playbook $each -i inventories/demo; done; "
                                     "python tests/move.py compare molecule-default ipv6-alone; "
                                     "python -m pytest -q molecule/default/tests/test_exposure.py molecule/default/tests/test_node.py"],
             env={"TESTBED": "ipv6-alone", "TESTBED_IP_FAMILIES": "IPv6"}, lane="node", needs=("default",), tests=True, long=True, minutes=30),
        Step("ten rounds of restarts", [sys.executable, "-m", "pytest", "-q", "-m", "long", "-k", RESTARTS, "molecule/default/tests/test_tor.py"],
             env={"TESTBED": "molecule-default"}, lane="node", needs=("default",), tests=True, long=True, minutes=90),
        # As after a power cut: the user does nothing but call it again.
        Step("make demo on a dead node", ["sh", "-ec", "podman kill openlsp-molecule-default; make demo"], lane="node",
             env={"TESTBED": "molecule-default"}, needs=("default", "site, installed"), long=True),
        # All of them: a scenario that was interrupted leaves its machine.
        Step("destroy", ["true"] if os.environ.get("KEEP") else ["molecule", "destroy", "--all"], lane="node",
             needs=("microk8s", "bootstrap", "observability", "default", "ten rounds of restarts", "pi_boot", "disk_layout",
                    "long rounds of the disk"), always=True),
        Step("long rounds of the disk", ["molecule", "test", "--scenario-name", "disk_layout"], lane="vm", env={"PYTEST_ADDOPTS": "-m long"},
             needs=("disk_layout",), tests=True, long=True, minutes=120),
        # What does not fit.
        Step("long fuzz", [sys.executable, "tests/fuzz/macaroon.py", "300"], long=True),
        Step("docs, all references", [*antsibull_docs, "--validate-collection-refs=all", "."],
             cwd=space.tree, needs=("export",), long=True, minutes=20),
    ]


class Runner:
    """Runs steps, tells what happens while it happens, and remembers what came of them."""

    def __init__(self, space: Workspace) -> None:
        self.space = space
        self.outcomes: dict[str, Outcome] = {}
        self._ended = threading.Condition()
        self._interrupted = False

    def run(self, steps: Sequence[Step]) -> None:
        """Run the steps of each lane one by one, the lanes beside each other."""
        for lane in get_args(Lane):
            threading.Thread(target=self._one_by_one, args=([step for step in steps if step.lane == lane],)).start()
        self._wait_for(step.name for step in steps)

    def _one_by_one(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._wait_for(step.needs)
            outcome = Outcome(failed=1)
            try:
                outcome = self._outcome(step)
            except Exception as error:  # pylint: disable=broad-except  # The other steps would wait for this one for ever.
                print(f"   FAILED: {step.name}: {error!r}", flush=True)
            with self._ended:
                self.outcomes[step.name] = outcome
                self._ended.notify_all()

    def _wait_for(self, names: Iterable[str]) -> None:
        """Wait until these steps have ended, also where the user interrupts: what runs ends then, and what cleans up has to run."""
        wanted = set(names)
        with self._ended:
            while not self.outcomes.keys() >= wanted:
                try:
                    self._ended.wait()
                except KeyboardInterrupt:
                    self._interrupted = True

    def _outcome(self, step: Step) -> Outcome:
        """Run one step where what it needs went well; say how it went."""
        missing = [name for name in step.needs if self.outcomes[name].failed or self.outcomes[name].skipped]
        if (missing or self._interrupted) and not step.always:
            why = "interrupted" if self._interrupted else f"it needs {', '.join(missing)}"
            print(f"== {step.name}: left out, {why}", flush=True)
            return Outcome(skipped=1)
        print(f"== {step.name}", flush=True)
        log = self.space.path / f"{step.name.replace(' ', '-')}.log"
        junit = log.with_suffix(".xml")
        start = time.monotonic()
        well = self._call(step, log) if callable(step.command) else self._spawn(step, log, junit)
        outcome = count(well, junit if step.tests else None, time.monotonic() - start)
        if outcome.failed:
            print("\n".join(log.read_text(errors="replace").splitlines()[-100:]))
            print(f"   FAILED after {outcome.seconds:.0f} s: {step.name}; the whole log: {log}", flush=True)
            if step.diagnosis:
                more = log.with_suffix(".diagnosis")
                self._spawn(replace(step, command=step.diagnosis, tests=False, minutes=3), more, junit)
                print(f"   what the node says: {more}", flush=True)
        else:
            tests = f", {outcome.passed} tests" if step.tests else ""
            print(f"   {step.name}: ok, {outcome.seconds:.0f} s{tests}", flush=True)
        return outcome

    @staticmethod
    def _call(step: Step, log: pathlib.Path) -> bool:
        """Run a step that is a function."""
        with log.open("w") as stream:
            try:
                return step.command(stream)
            except (OSError, subprocess.CalledProcessError, StopIteration) as error:
                print(repr(error), file=stream)
                return False

    def _spawn(self, step: Step, log: pathlib.Path, junit: pathlib.Path) -> bool:
        """Run a step that is a command; once a minute tell the last line that it wrote."""
        env = {**os.environ, **PLAIN, **step.env}
        if step.tests:
            env["PYTEST_ADDOPTS"] = f"{step.env.get('PYTEST_ADDOPTS', '')} --junitxml={junit}"
        start, told = time.monotonic(), 0
        with log.open("wb") as stream:
            try:
                process = subprocess.Popen(step.command, cwd=step.cwd, env=env, stdin=subprocess.DEVNULL, stdout=stream,
                                           stderr=subprocess.STDOUT, start_new_session=True)
            except OSError as error:
                stream.write(f"{step.command[0]}: {error}\n".encode())
                return False
            try:
                while (minutes := int(time.monotonic() - start) // 60) < step.minutes and (step.always or not self._interrupted):
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        return process.wait(timeout=1) == 0
                    if minutes > told:
                        told = minutes
                        print(f"   {step.name}, {minutes} min: {last_line(log)}", flush=True)
                stream.write(b"\nStopped: " + (b"interrupted" if self._interrupted else f"not done after {minutes} minutes".encode()) + b".\n")
            except KeyboardInterrupt:
                self._interrupted = True
                stream.write(b"\nStopped: interrupted.\n")
            stop(process)
            return False


def last_line(log: pathlib.Path) -> str:
    """The end of what a step has written so far, to fit on a line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next(filter(None, reversed(lines)), "")[:120]


def stop(process: subprocess.Popen) -> None:
    """End a step's whole process group, politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=20)
            return
        except subprocess.TimeoutExpired:
            continue


def count(well: bool, junit: pathlib.Path | None, seconds: float) -> Outcome:
    """Turn a step's end into numbers of tests; a step that promised tests and ran none has failed."""
    if junit is None:
        return Outcome(passed=int(well), failed=int(not well), seconds=seconds)
    sums = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    if junit.exists():
        for suite in xml.etree.ElementTree.parse(junit).getroot().iter("testsuite"):
            for name in sums:
                sums[name] += int(suite.get(name, 0))
    failed = sums["failures"] + sums["errors"]
    passed = sums["tests"] - failed - sums["skipped"]
    if not failed and (not well or not passed):
        failed = 1
    return Outcome(passed=passed, failed=failed, skipped=sums["skipped"], seconds=seconds)


def chosen(steps: Sequence[Step], names: Sequence[str], long: bool) -> list[Step]:
    """The named steps, what they need, and what cleans up after those; without names all, the long ones only where asked for."""
    by_name = {step.name: step for step in steps}
    wanted = {step.name for step in steps if long or not step.long} if not names else set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in by_name:
            sys.exit(f"There is no step {name!r}; there are: {', '.join(by_name)}")
        wanted.add(name)
        queue += by_name[name].needs if not by_name[name].always else ()
        queue += [step.name for step in steps if step.always and name in step.needs and step.name not in wanted]
    # What cleans up waits for those that run.
    return [replace(step, needs=tuple(name for name in step.needs if name in wanted)) if step.always else step
            for step in steps if step.name in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", help="names of steps")
    parser.add_argument("--long", action="store_true", help="also what does not fit into `make test`")
    arguments = parser.parse_args()
    # The tools that stand beside this Python, also where its virtual environment is not activated.
    os.environ["PATH"] = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    space = Workspace()
    steps = chosen(all_steps(space), arguments.steps, arguments.long)
    runner = Runner(space)
    start = time.monotonic()
    runner.run(steps)
    outcomes = runner.outcomes.values()
    failed = [name for name, outcome in runner.outcomes.items() if outcome.failed]
    print(f"\n{len(steps)} steps in {time.monotonic() - start:.0f} s")
    if failed:
        print(f"Failed: {', '.join(failed)}; the logs are in {space.path}")
    else:
        shutil.rmtree(space.path)
    passed, broken, skipped = (sum(getattr(o, key) for o in outcomes) for key in ("passed", "failed", "skipped"))
    print(f"{passed} passed, {broken} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
