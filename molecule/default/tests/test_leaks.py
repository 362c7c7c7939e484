"""No macaroon, no password and no seed is anywhere but in a Secret and in the encrypted wallet file.

The needles are every value of every Secret and wallet of the test node; the haystacks are what its operator, its administrator and the
other users of this computer get to see. Each is proved to be able to fail: the last tests put a credential there on purpose.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import kubernetes
import pytest
import scanner
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file
from conftest import ROOT, STATE, eventually, on_node
from newcomer import Witness, vault

STARTED = time.time()

NAMESPACES = ("alice", "bob", "carol")

NOT_THE_PROJECTS = {".git", ".venv"}
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")

# What is larger is some program's build and nobody's note.
MAX_BYTES = 16 * 2**20


@pytest.fixture(scope="module")
def needles(core, carol) -> list[scanner.Needle]:
    """Every credential of the test node, and those that carol had at first if other tests made her anew."""
    values = {f"{namespace}/{item.metadata.name}/{key}": base64.b64decode(value)
              for namespace in NAMESPACES for item in core.list_namespaced_secret(namespace).items for key, value in item.data.items()}
    values |= {f"{name}'s wallet password": wallet.password.encode() for name, wallet in wallets(carol).items()}
    values |= {f"carol at first/{name}/{key}": value for name, secret in carol.first_secrets.items() for key, value in secret.data.items()}
    values["vault password"] = (STATE / "vault-password").read_bytes().strip()
    by_value = {value: name for name, value in reversed(values.items()) if name.rsplit("/", 1)[-1] not in scanner.PUBLIC_KEYS}
    by_seed = {wallet.seed: name for name, wallet in wallets(carol).items()}
    return [*(scanner.of_value(name, value) for value, name in by_value.items()),
            *(scanner.of_seed(f"{name}'s seed", seed) for seed, name in by_seed.items())]


def wallets(carol) -> dict[str, _wallet_file.Wallet]:
    """By the name of the node."""
    of_demo = {name: _wallet_file.read(STATE / "wallets" / f"{name}.yml", vault()) for name in ("alice", "bob")}
    return {"carol at first": carol.first_wallet, "carol": carol.wallet(), **of_demo}


@pytest.fixture(scope="module")
def later_runs(carol, site) -> dict[str, bytes]:
    """What more runs say, as much as they can; at the same time, because none changes anything."""
    ways = {"a repeated run": ("site.yml",), "check mode": ("site.yml", "--check"), "status": ("playbooks/status.yml",)}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = dict(zip(ways, pool.map(lambda way: site(*carol.arguments, "-vvvv", "--diff", *way[1:], playbook=way[0]), ways.values())))
    assert [run.code for run in runs.values()] == [0, 0, 0], "".join(run.output[-2000:] for run in runs.values())
    return {way: run.output.encode() for way, run in runs.items()}


def pod_logs(core) -> dict[str, bytes]:
    """The logs of every container, those of its last life included."""
    logs = {}
    for pod in core.list_pod_for_all_namespaces().items:
        for status in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
            for previous in (False, True)[:1 + bool(status.last_state.terminated)]:
                with contextlib.suppress(kubernetes.client.ApiException):  # The pod has just gone, or its last life's log.
                    log = core.read_namespaced_pod_log(pod.metadata.name, pod.metadata.namespace, container=status.name, previous=previous,
                                                       _preload_content=False)
                    logs[f"the log of {pod.metadata.namespace}/{pod.metadata.name}/{status.name}{' before' * previous}"] = log.data
    return logs


def api_objects(cluster) -> dict[str, bytes]:
    """Every object of every kind, events and annotations included; of a Secret everything but its data."""
    def get(path: str) -> dict:
        return cluster.request("GET", path)
    groups = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in get("/apis")["groups"])]
    objects = {}
    for group in groups:
        for kind in get(group)["resources"]:
            if "list" in kind["verbs"]:
                listed = get(f"{group}/{kind['name']}")
                for item in listed["items"] if kind["kind"] == "Secret" else ():
                    item.pop("data", None)
                objects[f"the {kind['name']} of {group}"] = json.dumps(listed).encode()
    return objects


def controller_files(since: float = STARTED) -> dict[str, bytes]:
    """What was written on this computer: into the checkout, the node's directory, Ansible's own and the temporary directories."""
    files = {}
    for top in (ROOT, STATE, pathlib.Path.home() / ".ansible", pathlib.Path(tempfile.gettempdir()), *map(pathlib.Path, TEMPORARY)):
        for directory, directories, names in os.walk(top):
            # What is mounted there is another program's: a tree with a /proc/kmsg in it, which never ends.
            directories[:] = [each for each in directories
                              if not (top == ROOT and each in NOT_THE_PROJECTS or os.path.ismount(os.path.join(directory, each)))]
            for path in (pathlib.Path(directory, name) for name in names):
                # A file may go away meanwhile.
                with contextlib.suppress(OSError):
                    about = path.lstat()
                    if stat.S_ISREG(about.st_mode) and about.st_mtime >= since and about.st_size <= MAX_BYTES and path != STATE / "vault-password":
                        files[str(path)] = path.read_bytes()
    return files


def running_processes() -> dict[str, bytes]:
    """Arguments and environment of every process, the test node's included."""
    witness = Witness()
    witness.look()
    return witness.seen


def test_first_run_says_nothing(needles, carol):
    output = carol.first_run.output.encode()
    assert b"changed: [carol]" in output and b"--- before" in output
    assert scanner.leaks(needles, output) == []


@pytest.mark.parametrize("way", ["a repeated run", "check mode", "status"])
def test_later_run_says_nothing(needles, later_runs, way):
    assert b"ok: [carol]" in later_runs[way] and b"changed: [carol]" not in later_runs[way]
    assert scanner.leaks(needles, later_runs[way]) == []


def test_no_process_of_the_first_run_was_given_any(needles, carol):
    """Neither as an argument nor in its environment."""
    everything = b"".join(carol.witness.seen.values())
    assert b"ansible-playbook" in everything and b"lnd\0--lnddir=/data" in everything and b"bitcoind\0" in everything
    assert scanner.found(needles, carol.witness.seen) == []


def test_no_running_process_was_given_any(needles):
    assert scanner.found(needles, running_processes()) == []


def test_no_log_of_a_pod_has_any(needles, core):
    logs = pod_logs(core)
    assert {f"the log of {each}/{pod}" for each in NAMESPACES for pod in ("lnd-0/lnd", "bitcoind-0/bitcoind")} <= set(logs)
    assert scanner.found(needles, logs) == []


def test_no_object_but_a_secrets_data_has_any(needles, cluster):
    objects = api_objects(cluster)
    assert {"the configmaps of /api/v1", "the events of /api/v1", "the secrets of /api/v1", "the statefulsets of /apis/apps/v1"} <= set(objects)
    assert scanner.found(needles, objects) == []


def test_audit_log_of_the_api_has_none(needles):
    """It keeps the arguments of every command that is run in a pod."""
    audit = on_node("grep", "-E", "/pods/[^/]+/(exec|portforward)", "/var/log/kubernetes/audit.log").stdout.encode()
    assert b"namespaces/carol/pods/lnd-0/exec?" in audit and b"command=" in audit
    assert scanner.leaks(needles, audit) == []


def test_no_file_of_the_controller_has_any(needles, carol, later_runs):
    files = controller_files()
    assert str(carol.wallet_file) in files
    assert scanner.found(needles, files) == []


# The proof that all this can fail.

MACAROON = b"\x02\x01\x03lnd\x02" + bytes(range(100, 180)) + bytes(range(40, 72)) + b"\xfa\x0a\x27\x5c\0\xff"
SEED = [f"{a}{b}" for a in ("abandon", "ability", "able", "about") for b in ("one", "two", "three", "four", "five", "six")]
PASSWORD = b"Qm4-_x9PzKfW0aYtR7uC2sVh8LdEgJn3BoXiT5kZrMw"

WRITTEN = {
    "as it is": MACAROON,
    "in hexadecimal": MACAROON.hex().encode(),
    "in big hexadecimal": MACAROON.hex().upper().encode(),
    "in base64": base64.b64encode(MACAROON),
    "in base64 for addresses": base64.urlsafe_b64encode(MACAROON).rstrip(b"="),
    "in base64 with something before": base64.b64encode(b"x" + MACAROON),
    "in base64 with two things before": base64.b64encode(b"xy" + MACAROON),
    "in base64 with line breaks": base64.encodebytes(MACAROON),
    "in base64 with line breaks in JSON": json.dumps(base64.encodebytes(MACAROON).decode()).encode(),
    "as Python writes it": repr(MACAROON).encode(),
    "as Go writes it": str(list(MACAROON)).replace(",", "").encode(),
    "as JSON writes it": json.dumps(list(MACAROON), indent=2).encode(),
    "its end": MACAROON[-40:].hex().encode(),
    "password": PASSWORD,
    "password, its begin": PASSWORD[:30],
    "password, its end": PASSWORD[-30:],
    "password in an address": b"http://lnd:" + PASSWORD + b"@localhost",
    "password as HTTP sends it": base64.b64encode(b"lnd:" + PASSWORD),
    "seed": " ".join(SEED).encode(),
    "seed, a line a word": "\n".join(SEED).encode(),
    "seed, numbered": "\n".join(f"{number}. {word.upper()}" for number, word in enumerate(SEED, 1)).encode(),
    "seed in JSON": json.dumps(SEED).encode(),
    "seed in JSON in JSON": json.dumps(json.dumps({"seed": "\n".join(SEED)})).encode(),
    "seed in YAML": "".join(f"  - {word}\n" for word in SEED).encode(),
    "seed, some of it": b"words " + " ".join(SEED[7:11]).encode(),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_scanner_finds_it_however_it_is_written(text):
    one_of_them = [scanner.of_value("macaroon", MACAROON), scanner.of_value("password", PASSWORD), scanner.of_seed("seed", SEED)]
    assert len(scanner.leaks(one_of_them, b"before " + text + b" after")) == 1


def test_scanner_finds_nothing_in_what_may_be_shown():
    of_them = [scanner.of_value("macaroon", MACAROON), scanner.of_value("password", PASSWORD), scanner.of_seed("seed", SEED)]
    shown = [MACAROON[:-40], b"lnd:", " ".join(SEED[3:6]).encode(), " ".join(reversed(SEED)).encode(), b"rpcauth=lnd:5f0d$1c9e"]
    assert scanner.leaks(of_them, b"\n".join(shown)) == []


LEAKED = "carol/lnd-readonly/macaroon"


@dataclass(frozen=True)
class Credential:
    """carol's macaroon that may only read, for putting where it does not belong. pytest does not print it."""

    base64: str = field(repr=False)
    raw: bytes = field(repr=False)


@pytest.fixture
def credential(core) -> Credential:
    value = core.read_namespaced_secret("lnd-readonly", "carol").data["macaroon"]
    return Credential(value, base64.b64decode(value))


def test_task_that_shows_a_secret_is_found(needles, carol):
    """A task as somebody might write it tomorrow."""
    shown = subprocess.run(
        ["ansible", "carol", "-i", "inventories/demo", *carol.arguments, "-m", "kubernetes.core.k8s_info", "-a",
         f"kind=Secret namespace=carol name=lnd-readonly kubeconfig={STATE / 'kubeconfig'}"],
        cwd=ROOT, capture_output=True, check=True, timeout=120, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")})
    assert scanner.leaks(needles, shown.stdout) == [LEAKED]


def test_pod_that_prints_a_credential_is_found(needles, core, credential):
    container = {"name": "leaky", "image": "localhost/openlsp/shell:testbed", "command": ["sh", "-c", "base64 /secret/macaroon"],
                 "volumeMounts": [{"name": "secret", "mountPath": "/secret"}],
                 "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                 "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    core.create_namespaced_pod("carol", {"metadata": {"name": "leaky"}, "spec": {
        "restartPolicy": "Never", "containers": [container], "volumes": [{"name": "secret", "secret": {"secretName": "lnd-readonly"}}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}}})
    try:
        eventually(lambda: core.read_namespaced_pod("leaky", "carol").status.phase == "Succeeded", "the pod does not end")
        assert scanner.found(needles, pod_logs(core)) == [f"{LEAKED} in the log of carol/leaky/leaky"]
    finally:
        core.delete_namespaced_pod("leaky", "carol", grace_period_seconds=0)


@pytest.mark.parametrize("place", ["annotation", "content"])
def test_object_with_a_credential_is_found(needles, cluster, core, credential, place):
    metadata = {"name": "leaky", "annotations": {"note": credential.base64} if place == "annotation" else {}}
    core.create_namespaced_config_map("carol", {"metadata": metadata, "data": {"note": credential.raw.hex()} if place == "content" else {}})
    try:
        assert scanner.found(needles, api_objects(cluster)) == [f"{LEAKED} in the configmaps of /api/v1"]
    finally:
        core.delete_namespaced_config_map("leaky", "carol")


def test_process_that_is_given_a_credential_is_found(needles, credential):
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    for arguments, environment in (([credential.base64], {}), ([], {"MACAROON": credential.base64})):
        with subprocess.Popen([*program, *arguments], env={**os.environ, **environment}) as process:
            expected = [f"{LEAKED} in process {process.pid}"]
            try:
                # Until its exec it looks like this test.
                eventually(lambda: scanner.found(needles, running_processes()) == expected, "it is not found", 5)
            finally:
                process.kill()


def test_files_with_a_credential_are_found(needles, credential):
    started = time.time() - 1
    paths = []
    try:
        for place in (ROOT / "inventories/demo", STATE, pathlib.Path.home() / ".ansible", None):
            handle, path = tempfile.mkstemp(prefix=".leaky", dir=place)
            paths.append(path)
            with open(handle, "wb") as file:
                file.write(credential.raw)
        assert scanner.found(needles, controller_files(started)) == [f"{LEAKED} in {path}" for path in paths]
    finally:
        for path in paths:
            os.unlink(path)
