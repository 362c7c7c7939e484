"""The world of the tests: one node on which the site has run, its Kubernetes API, and a way to run the site again."""

from __future__ import annotations

import base64
import os
import pathlib
import subprocess
import time
from collections.abc import Callable

import kubernetes
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _lnd, _pod, _secret
from playbook_run import Run

ROOT = pathlib.Path(__file__).resolve().parents[3]
NODE = os.environ["TESTBED"]
STATE = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state") / "openlsp.node" / NODE
KUBECONFIG = STATE / "kubeconfig"

SITE_TIMEOUT = 600


@pytest.fixture(scope="session")
def api():
    """The Kubernetes API as its administrator."""
    return kubernetes.config.new_client_from_config(str(KUBECONFIG))


@pytest.fixture(scope="session")
def cluster():
    """The same for the collection's own functions."""
    return _cluster.connect(str(KUBECONFIG), None)


@pytest.fixture(scope="session")
def core(api):
    return kubernetes.client.CoreV1Api(api)


@pytest.fixture
def secret(core) -> Callable[[str, str], dict[str, bytes]]:
    """The data of a Secret: ``secret("alice", "lnd-admin")["macaroon"]``."""
    def read(namespace: str, name: str) -> dict[str, bytes]:
        data = core.read_namespaced_secret(name, namespace).data
        return {key: base64.b64decode(value) for key, value in data.items()}
    return read


class Client:
    """A program outside of the pod that has one macaroon and LND's certificate, from their Secrets."""

    def __init__(self, cluster, namespace: str, macaroon: bytes | None, certificate: bytes) -> None:
        self._macaroon = macaroon
        self._lnd = _lnd.Lnd(lambda: _pod.forward(cluster, namespace, "lnd-0", _lnd.REST_PORT), certificate)

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        with self._lnd:
            return self._lnd.call(method, path, body, self._macaroon)

    def refusal(self, method: str, path: str, body: dict | None = None) -> str:
        """LND's reason for refusing a call; fails when it does not refuse."""
        with pytest.raises(_lnd.LndError) as refused:
            self.call(method, path, body)
        assert refused.value.code is not None, f"no answer is no refusal: {refused.value}"
        return str(refused.value)


@pytest.fixture(scope="session")
def lnd(cluster) -> Callable[..., Client]:
    """``lnd("alice", "lnd-readonly")`` is a program with that Secret mounted; ``macaroon=b"..."`` one with other bytes."""
    def client(namespace: str, name: str = "lnd-readonly", **other: bytes) -> Client:
        found = _secret.read_all(cluster, namespace)
        return Client(cluster, namespace, other.get("macaroon", found[name].data["macaroon"]), found["lnd-tls"].data["cert"])
    return client


class ForeignPod:
    """A pod of another namespace that has nothing to do with the node, seen from its network."""

    def __init__(self, core, uid: str) -> None:
        self._core = core
        processes = on_node("sh", "-c", f"grep -l {uid} /proc/[0-9]*/cgroup").stdout.split()
        self._pid = processes[0].split("/")[2]

    def reaches(self, namespace: str, service: str, port: int) -> bool:
        """Whether a TCP connection to a Service comes about."""
        address = self._core.read_namespaced_service(service, namespace).spec.cluster_ip
        program = f"import socket; socket.create_connection(({address!r}, {port}), timeout=3)"
        return on_node("nsenter", "-t", self._pid, "-n", "python3", "-c", program).returncode == 0


def on_node(*command: str) -> subprocess.CompletedProcess:
    """Run a command on the machine under Kubernetes."""
    return subprocess.run(["podman", "exec", f"openlsp-{NODE}", *command], text=True, capture_output=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def foreign_pod(core):
    """A running pod in the namespace ``stranger``."""
    core.create_namespace({"metadata": {"name": "stranger"}})
    core.create_namespaced_pod("stranger", {"metadata": {"name": "stranger"}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "stranger", "image": "localhost/openlsp/bitcoind:29.5", "command": ["sleep", "infinity"]}]}})
    pod = eventually(lambda: running(core, "stranger", "stranger"), "the foreign pod does not run")
    yield ForeignPod(core, pod.metadata.uid)
    core.delete_namespace("stranger")


def running(core, namespace: str, name: str):
    """The pod if its container runs, else None."""
    pod = core.read_namespaced_pod(name, namespace)
    states = pod.status.container_statuses or ()
    return pod if states and all(each.state.running for each in states) else None


def eventually(condition: Callable, complaint: str, seconds: float = 120):
    """The first true value of a condition; fails with the complaint when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{complaint} within {seconds} s"
        time.sleep(0.5)


def site_call(*arguments: str, playbook: str = "site.yml", **environment: str) -> dict:
    """How an operator runs the site, for subprocess."""
    return {"args": ["ansible-playbook", playbook, "-i", "inventories/demo", *arguments], "cwd": ROOT,
            "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "text": True,
            "env": {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", **environment}}


@pytest.fixture(scope="session")
def site() -> Callable[..., Run]:
    """Run the site as an operator does: ``site("--limit", "alice")``."""
    def run(*arguments: str, **options: str) -> Run:
        done = subprocess.run(**site_call(*arguments, **options), stdout=subprocess.PIPE, timeout=SITE_TIMEOUT, check=False)
        return Run(done.returncode, done.stdout)
    return run


@pytest.fixture(scope="session")
def carol(cluster, core, site, tmp_path_factory):
    """A third Lightning node, made and removed by the tests that would leave marks on alice and bob."""
    from newcomer import Newcomer

    newcomer = Newcomer("carol", cluster, core, site, tmp_path_factory.mktemp("carol"))
    try:
        newcomer.arrive()
        yield newcomer
    finally:
        newcomer.leave()


@pytest.fixture(scope="session")
def bare_lnd(cluster, core):
    """An LND that needs no chain, whose files and Secrets may be damaged."""
    from bare_lnd import BareLnd

    bare = BareLnd("bare", cluster, core)
    try:
        bare.arrive(_secret.read_all(cluster, "alice")["lnd-tls"].data["cert"])
        yield bare
    finally:
        bare.leave()


@pytest.fixture
def settled(site) -> Callable[..., Run]:
    """Run the site and insist that it went well."""
    def run(*arguments: str, **environment: str) -> Run:
        done = site(*arguments, **environment)
        assert done.code == 0, done.output[-4000:]
        return done
    return run
