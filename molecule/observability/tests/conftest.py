"""The world of the tests: a node that is watched, its Prometheus, and somebody who is told of alerts."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _pod
from kubernetes.client.exceptions import ApiException

ROOT = pathlib.Path(__file__).resolve().parents[3]
NODE = os.environ["TESTBED"]
STATE = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state") / "openlsp.node" / NODE
KUBECONFIG = STATE / "kubeconfig"

NAME = "alice"
STACK = "kube-prom-stack-kube-prome"
OPERATOR = "/apis/monitoring.coreos.com/v1/namespaces"
MERGE = "application/merge-patch+json"

# Prints each notification of Alertmanager on a line.
RECEIVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode().replace(chr(10), ""), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_given):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def eventually(condition: Callable, complaint: str, seconds: float = 120):
    """The first true value of a condition; fails with the complaint when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{complaint} within {seconds} s"
        time.sleep(1)


def on_node(*command: str) -> str:
    """Run a command on the machine under Kubernetes; what it prints."""
    return subprocess.run(["podman", "exec", f"openlsp-{NODE}", *command], text=True, capture_output=True, timeout=60, check=True).stdout


def playbook(name: str, *arguments: str) -> None:
    """Run one of the collection's playbooks as the scenario does, and insist that it went well."""
    done = subprocess.run(["ansible-playbook", name, "-i", "inventories/demo", "-i", "molecule/observability/inventory", *arguments], cwd=ROOT,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
                          env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout[-4000:]


class Node:
    """The watched node, as its owner handles it."""

    def __init__(self, cluster: _cluster.Cluster) -> None:
        self.cluster = cluster

    def run(self, program: str, *command: str) -> str:
        """A command in the pod of bitcoind or LND; what it prints."""
        return _pod.run(self.cluster, NAME, f"{program}-0", program, list(command)).decode()

    def bitcoin_cli(self, *arguments: str) -> str:
        return self.run("bitcoind", "bitcoin-cli", "-datadir=/data", "-conf=/etc/bitcoin/bitcoin.conf", *arguments).strip()

    def lncli(self, *arguments: str) -> str:
        return self.run("lnd", "lncli", "--lnddir=/data", "--network=regtest", *arguments)

    def mine(self) -> None:
        """A block, to an address that nobody has the key of."""
        self.bitcoin_cli("generatetodescriptor", "1", "raw(51)#8lvh9jxk")

    def scale(self, program: str, replicas: int) -> None:
        self.patch(f"/apis/apps/v1/namespaces/{NAME}/statefulsets/{program}", {"spec": {"replicas": replicas}})

    def restart(self, program: str) -> None:
        """A new pod, which runs."""
        path = f"/api/v1/namespaces/{NAME}/pods/{program}-0"
        old = self.cluster.request("GET", path)["metadata"]["uid"]
        self.cluster.request("DELETE", path)
        eventually(lambda: (pod := self.cluster.find(path)) and pod["metadata"]["uid"] != old and pod["status"]["phase"] == "Running",
                   f"there is no new pod of {program}")

    def secret(self, name: str) -> dict[str, bytes]:
        found = self.cluster.request("GET", f"/api/v1/namespaces/{NAME}/secrets/{name}")
        return {key: base64.b64decode(value) for key, value in found["data"].items()}

    def set_secret(self, name: str, **data: bytes) -> None:
        body = {"data": {key.replace("__", "."): base64.b64encode(value).decode() for key, value in data.items()}}
        try:
            self.patch(f"/api/v1/namespaces/{NAME}/secrets/{name}", body)
        except ApiException:
            self.cluster.request("POST", f"/api/v1/namespaces/{NAME}/secrets", body={"metadata": {"name": name}, **body})

    def patch(self, path: str, body: dict) -> None:
        self.cluster.request("PATCH", path, body=body, content_type=MERGE)


class Prometheus:
    """The cluster's Prometheus, through the Kubernetes API."""

    def __init__(self, cluster: _cluster.Cluster) -> None:
        self._cluster = cluster

    def get(self, path: str, **query: str) -> dict:
        where = f"/api/v1/namespaces/observability/services/{STACK}-prometheus:http-web/proxy/api/v1/{path}"
        try:
            return self._cluster.request("GET", where, query or None)["data"]
        except ApiException as error:
            if error.status in (502, 503):  # It starts again, or has no endpoint yet.
                return {"activeTargets": [], "result": [], "alerts": [], "groups": []}
            raise

    def targets(self) -> dict[str, set[str]]:
        """The health of the targets of each job."""
        found: dict[str, set[str]] = {}
        for each in self.get("targets", state="active")["activeTargets"]:
            found.setdefault(each["labels"]["job"], set()).add(f"{each['health']} {each['lastError']}".strip())
        return found

    def value(self, query: str) -> float | None:
        result = self.get("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def alerts(self) -> set[str]:
        """The names of those that fire, or are about to."""
        return {each["labels"]["alertname"] for each in self.get("alerts")["alerts"]}


class Receiver:
    """Whoever Alertmanager calls."""

    def __init__(self, cluster: _cluster.Cluster) -> None:
        self._cluster = cluster
        self._seen = 0

    def everything(self) -> list[dict]:
        """All alerts in the order in which they came."""
        text = self._cluster.text("/api/v1/namespaces/observability/pods/receiver/log", {})
        return [alert for line in text.splitlines() for alert in json.loads(line)["alerts"]]

    def forget(self) -> None:
        self._seen = len(self.everything())

    def received(self, alert: str, status: str, labels: dict[str, str]) -> dict | None:
        """The first notification of that kind since the last ``forget``."""
        return next((each for each in self.everything()[self._seen:]
                     if each["status"] == status and each["labels"]["alertname"] == alert and labels.items() <= each["labels"].items()), None)


@pytest.fixture(scope="session")
def cluster() -> _cluster.Cluster:
    return _cluster.connect(str(KUBECONFIG), None)


@pytest.fixture(scope="session")
def node(cluster) -> Node:
    return Node(cluster)


@pytest.fixture(scope="session")
def prometheus(cluster) -> Prometheus:
    return Prometheus(cluster)


@pytest.fixture(scope="session")
def receiver(cluster, node) -> Receiver:
    """A pod that takes Alertmanager's calls, and the configuration that leads them there."""
    space = "/api/v1/namespaces/observability"
    cluster.request("POST", f"{space}/pods", body={"metadata": {"name": "receiver", "labels": {"app": "receiver"}}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [
            {"name": "receiver", "image": "localhost/openlsp/python:3.13", "imagePullPolicy": "IfNotPresent", "command": ["python3", "-c", RECEIVER]}]}})
    cluster.request("POST", f"{space}/services", body={"metadata": {"name": "receiver"}, "spec": {
        "selector": {"app": "receiver"}, "ports": [{"port": 8000}]}})
    cluster.request("POST", f"/apis/monitoring.coreos.com/v1alpha1/namespaces/{NAME}/alertmanagerconfigs", body={
        "apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig", "metadata": {"name": "owner"}, "spec": {
            "route": {"receiver": "owner", "groupBy": ["alertname"], "groupWait": "1s", "groupInterval": "1s", "repeatInterval": "12h"},
            "receivers": [{"name": "owner", "webhookConfigs": [{"url": "http://receiver.observability.svc.cluster.local:8000/", "sendResolved": True}]}]}})
    yield Receiver(cluster)


@pytest.fixture(scope="session")
def impatient(cluster, node, prometheus) -> Iterator[None]:
    """Prometheus looks each ten seconds, the least that the exporter's limit allows, and alerts wait five.

    How long they wait otherwise, tests/promtool holds against the rules.
    """
    rules = cluster.request("GET", f"{OPERATOR}/{NAME}/prometheusrules/lightning-node")["spec"]
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "5s"
    node.patch(f"{OPERATOR}/{NAME}/prometheusrules/lightning-node", {"spec": rules})
    monitor = cluster.request("GET", f"{OPERATOR}/{NAME}/podmonitors/lightning-node")["spec"]
    monitor["podMetricsEndpoints"][0].update(interval="10s", scrapeTimeout="10s")
    node.patch(f"{OPERATOR}/{NAME}/podmonitors/lightning-node", {"spec": monitor})
    node.patch(f"{OPERATOR}/observability/prometheuses/{STACK}-prometheus", {"spec": {"scrapeInterval": "5s", "evaluationInterval": "5s"}})

    def are_quick() -> bool:
        groups = prometheus.get("rules")["groups"]
        durations = [rule["duration"] for group in groups if group["name"].startswith("lightning-node") for rule in group["rules"]]
        return bool(durations) and max(durations) <= 5 and {group["interval"] for group in groups} == {5}

    eventually(are_quick, "Prometheus has not taken the quick rules", 300)
