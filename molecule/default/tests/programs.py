"""Programs that use LND as real ones do: Deployments that mount a consumer's Secret and call LND through its Service."""

from __future__ import annotations

import re
import threading

import kubernetes
from conftest import eventually

# It reads its macaroon once, as most programs do, and when it is told to stop it goes on for a while. Before its first answer the network may not
# be there yet, so that only what LND itself says counts as a failure.
CALL_FOR_EVER = r"""
cp /run/lnd/macaroon /tmp/held
left=-1 calls=0
trap 'left=2' TERM
while [ "$left" != 0 ]; do
  if said=$(timeout 20 lncli --rpcserver="$(cat /run/lnd/host):$(cat /run/lnd/grpc_port)" --tlscertpath=/run/lnd/cert --macaroonpath=/tmp/held getinfo 2>&1)
  then calls=$((calls + 1)); touch /tmp/ready
  elif [ "$calls" != 0 ]; then echo "failed:" $said
  else case $said in *Unavailable*) ;; *) echo "failed:" $said ;; esac
  fi
  left=$((left - 1))
  sleep 1
done
echo "over: $calls"
"""

CLIENT = {"openlsp.org/lnd-client": "true"}


def pod_template(secret: str, labels: dict[str, str]) -> dict:
    """A pod as the Pod Security Standard `restricted` wants it."""
    return {
        "metadata": {"labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 60, "automountServiceAccountToken": False, "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "program", "image": "localhost/openlsp/lnd:0.21.3-beta", "command": ["sh", "-c", CALL_FOR_EVER],
                # Six of them, each call a process: one thread that computes is enough.
                "env": [{"name": "HOME", "value": "/tmp"}, {"name": "GOMAXPROCS", "value": "1"}],
                "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
                "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "timeoutSeconds": 10},
                "volumeMounts": [{"name": "lnd", "mountPath": "/run/lnd", "readOnly": True}, {"name": "scratch", "mountPath": "/tmp"}]}],
            "volumes": [{"name": "lnd", "secret": {"secretName": secret, "defaultMode": 0o440}}, {"name": "scratch", "emptyDir": {}}]}}


class Program:
    """One consumer's Deployment, and every line that its pods have said."""

    def __init__(self, core, namespace: str, consumer: str, replicas: int = 1) -> None:
        self.namespace, self.name, self._replicas = namespace, consumer, replicas
        self._core, self._apps = core, kubernetes.client.AppsV1Api(core.api_client)
        self._lines: dict[str, list[str]] = {}
        self._listeners: dict[str, threading.Thread] = {}
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> Program:
        labels = {"app": self.name}
        self._apps.create_namespaced_deployment(self.namespace, {"metadata": {"name": self.name}, "spec": {
            "replicas": self._replicas, "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod_template(f"lnd-consumer-{self.name}", {**labels, **CLIENT})}})
        self._watcher.start()
        return self

    def ready(self) -> bool:
        return (self._apps.read_namespaced_deployment(self.name, self.namespace).status.ready_replicas or 0) == self._replicas

    def pods(self) -> list:
        return self._core.list_namespaced_pod(self.namespace, label_selector=f"app={self.name}").items

    def failures(self) -> list[str]:
        """Every call that LND did not answer, of the pods that are gone too."""
        return [f"{pod}: {line}" for pod, lines in self._lines.items() for line in lines if line.startswith("failed:")]

    def finished(self) -> dict[str, int]:
        """The pods that have ended in good order, and how many of their calls LND answered."""
        ends = {pod: re.fullmatch(r"over: (\d+)", lines[-1]) for pod, lines in self._lines.items() if lines}
        return {pod: int(end[1]) for pod, end in ends.items() if end}

    def stop(self) -> None:
        """At once."""
        self._apps.delete_namespaced_deployment(self.name, self.namespace)
        for pod in self.pods():
            self._core.delete_namespaced_pod(pod.metadata.name, self.namespace, grace_period_seconds=0)
        eventually(lambda: not self.pods(), f"the pods of {self.name} stay", 60)
        self._over.set()
        self._watcher.join()
        for each in self._listeners.values():
            each.join()

    def _watch(self) -> None:
        while not self._over.wait(0.3):
            for pod in self.pods():
                name = pod.metadata.name
                if name not in self._listeners and pod.status.container_statuses and pod.status.container_statuses[0].started:
                    self._listeners[name] = threading.Thread(target=self._listen, args=(name,), daemon=True)
                    self._listeners[name].start()

    def _listen(self, pod: str) -> None:
        said = self._core.read_namespaced_pod_log(pod, self.namespace, follow=True, _preload_content=False)
        self._lines[pod] = []
        for line in said:
            self._lines[pod].append(line.decode().rstrip("\n"))
