"""Programs that use LND as real ones do: Deployments that mount a consumer's Secret and call LND through its Service."""

from __future__ import annotations

import re
import threading

import kubernetes
from conftest import eventually

# It reads its macaroon once, as most programs do, and when it is told to stop it goes on for a while. Before its first answer the network may not
# be there yet, so that only what LND itself says counts as a failure. What it says, it says to the kubelet, which hands it on with the container's
# end: the end of a log may be lost with its pod.
CALL_FOR_EVER = r"""
cp /run/lnd/macaroon /tmp/held
say() { echo "$@"; echo "$@" >>/dev/termination-log; }
left=-1 calls=0
trap 'left=2' TERM
while [ "$left" != 0 ]; do
  if said=$(timeout 20 lncli --rpcserver="$(cat /run/lnd/host):$(cat /run/lnd/grpc_port)" --tlscertpath=/run/lnd/cert --macaroonpath=/tmp/held getinfo 2>&1)
  then calls=$((calls + 1)); touch /tmp/ready
  elif [ "$calls" != 0 ]; then say "failed:" $said
  else case $said in *Unavailable*) ;; *) say "failed:" $said ;; esac
  fi
  left=$((left - 1))
  sleep 1
done
say "over: $calls"
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
    """One consumer's Deployment, and what its pods said of LND until they ended."""

    def __init__(self, core, namespace: str, consumer: str, replicas: int = 1) -> None:
        self.namespace, self.name, self._replicas = namespace, consumer, replicas
        self._core, self._apps = core, kubernetes.client.AppsV1Api(core.api_client)
        self._ends: dict[str, list[str]] = {}
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
        said = dict(self._ends)
        for pod in self.pods():
            if pod.metadata.name not in said and pod.status.container_statuses and pod.status.container_statuses[0].started:
                said[pod.metadata.name] = self._core.read_namespaced_pod_log(pod.metadata.name, self.namespace).splitlines()
        return [f"{pod}: {line}" for pod, lines in said.items() for line in lines if line.startswith("failed:")]

    def finished(self) -> dict[str, int]:
        """The pods that have ended in good order, and how many of their calls LND answered."""
        ends = {pod: re.fullmatch(r"over: (\d+)", lines[-1]) for pod, lines in self._ends.items() if lines}
        return {pod: int(end[1]) for pod, end in ends.items() if end}

    def stop(self) -> None:
        """At once."""
        self._apps.delete_namespaced_deployment(self.name, self.namespace)
        for pod in self.pods():
            self._core.delete_namespaced_pod(pod.metadata.name, self.namespace, grace_period_seconds=0)
        eventually(lambda: not self.pods(), f"the pods of {self.name} stay", 60)
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        """Keep what each pod said when it ended: its object is gone a moment later."""
        watch = kubernetes.watch.Watch()
        while not self._over.is_set():
            since = {"resource_version": watch.resource_version} if watch.resource_version else {}
            changes = watch.stream(self._core.list_namespaced_pod, self.namespace, label_selector=f"app={self.name}", timeout_seconds=1, **since)
            for pod in (change["object"] for change in changes):
                state = pod.status.container_statuses[0].state if pod.status.container_statuses else None
                if state and state.terminated:
                    self._ends[pod.metadata.name] = (state.terminated.message or "").splitlines()
