"""Print what a test node can say about a failure: its pods, its events, the end of every log.

    python tests/diagnosis.py KUBECONFIG
"""

from __future__ import annotations

import pathlib
import sys

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

LINES = 100
SECONDS = 20


def main(kubeconfig: str) -> None:
    if not pathlib.Path(kubeconfig).exists():
        sys.exit(f"There is no {kubeconfig}: no node was made.")
    config.load_kube_config(kubeconfig)
    core = client.CoreV1Api()
    pods = core.list_pod_for_all_namespaces(_request_timeout=SECONDS).items
    for pod in pods:
        for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
            where = f"{pod.metadata.namespace}/{pod.metadata.name}/{status.name}"
            print(f"{where}: {pod.status.phase}, ready {status.ready}, {status.restart_count} restarts")
    print("\n== events")
    events = core.list_event_for_all_namespaces(_request_timeout=SECONDS).items
    for event in sorted(events, key=lambda e: str(e.last_timestamp or e.event_time)):
        what = f"{event.metadata.namespace}/{event.involved_object.name}"
        print(f"{event.last_timestamp or event.event_time} {event.type} {what} {event.reason}: {event.message}")
    for pod in pods:
        for container in [*(pod.spec.init_containers or []), *pod.spec.containers]:
            for previous in (True, False):
                try:
                    text = core.read_namespaced_pod_log(pod.metadata.name, pod.metadata.namespace, container=container.name,
                                                        previous=previous, tail_lines=LINES, _request_timeout=SECONDS)
                except ApiException:
                    continue  # it never ran, or never ran before
                title = f"{pod.metadata.namespace}/{pod.metadata.name}/{container.name}"
                print(f"\n== {title}{', before its last restart' if previous else ''}\n{text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
