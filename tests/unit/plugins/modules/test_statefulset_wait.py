"""What keeps a StatefulSet's pod, in the order in which an operator would look."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.modules import statefulset_wait
from ansible_collections.openlsp.node.plugins.modules.statefulset_wait import obstacle
from kube_api import Refusal

STATEFULSET, POD = "/apis/apps/v1/namespaces/ns/statefulsets/lnd", "/api/v1/namespaces/ns/pods/lnd-0"


def statefulset(observed=2):
    status = {"observedGeneration": observed, "updateRevision": "lnd-b"}
    return {"metadata": {"name": "lnd", "generation": 2}, "status": status if observed else {"replicas": 0}}


def pod(revision="lnd-b", stopping=None, running=True, started=True, containers=("lnd",)):
    state = {"running": {}} if running else {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    statuses = [{"name": name, "state": state, "started": started} for name in containers]
    return {
        "metadata": {"namespace": "ns", "labels": {"controller-revision-hash": revision}, **({"deletionTimestamp": stopping} if stopping else {})},
        "spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-lnd-0"}}]},
        "status": {"phase": "Pending", **({"containerStatuses": statuses} if statuses else {})}}


OBSTACLES = {
    "no-statefulset": (None, None, "the StatefulSet does not exist"),
    "a-new-version-not-seen": (statefulset(observed=1), pod(), "the controller has not looked at its newest version"),
    "never-seen": (statefulset(observed=None), None, "the controller has not looked at its newest version"),
    "no-pod": (statefulset(), None, "its pod does not exist"),
    "the-old-pod-stops": (statefulset(), pod(stopping="2026-11-22T15:00:00Z"), "its old pod is still stopping"),
    "the-old-pod-runs": (statefulset(), pod(revision="lnd-a"), "its pod is of an older version"),
    "no-container": (statefulset(), pod(containers=()), "its container does not run (Pending)"),
    "only-another-container": (statefulset(), pod(containers=("sidecar",)), "its container does not run (Pending)"),
    "no-image": (statefulset(), pod(running=False), "its container does not run (lnd: ImagePullBackOff: no such image)"),
    "no-answer": (statefulset(), pod(started=False), "it runs, but does not answer yet"),
}


@pytest.mark.parametrize("found, its_pod, sentence", OBSTACLES.values(), ids=OBSTACLES)
def test_the_first_obstacle_is_named(found, its_pod, sentence):
    assert obstacle(found, its_pod, "started") == sentence


def test_a_pod_that_answers_ends_the_wait():
    assert obstacle(statefulset(), pod(), "started") is None


def test_a_pod_that_runs_is_enough_on_demand():
    assert obstacle(statefulset(), pod(started=False), "running") is None


# --- the wait ------------------------------------------------------------------------------------------------------

@pytest.fixture
def wait(kubeconfig, monkeypatch):
    """The module's run, without a pause between its questions."""
    monkeypatch.setattr(statefulset_wait.time, "sleep", lambda _seconds: None)

    def waited(timeout=60, check_mode=False):
        return statefulset_wait.run(SimpleNamespace(check_mode=check_mode, params={
            "kubeconfig": str(kubeconfig), "context": None, "namespace": "ns", "name": "lnd", "until": "started", "timeout": timeout}))
    return waited


def test_the_wait_goes_on_until_the_pod_answers(api, wait):
    api.lay("GET", STATEFULSET, Refusal(404), statefulset(observed=1), statefulset())
    api.lay("GET", POD, Refusal(404), Refusal(404), pod(started=False), pod())
    api.lay("GET", "/api/v1/namespaces/ns/persistentvolumeclaims/data-lnd-0", {"spec": {"volumeName": "pvc-1"}})
    assert wait() == {"changed": False, "volumes": ["pvc-1"]}
    assert len(api.asked("GET", "/pods/lnd-0")) == 4


def test_when_the_time_is_up_the_obstacle_and_the_containers_last_words_are_named(api, wait):
    api.lay("GET", STATEFULSET, statefulset())
    api.lay("GET", POD, pod(started=False))
    api.lay("GET", f"{POD}/log", "no peers\n")
    with pytest.raises(ClusterError, match="^ns/lnd: it runs, but does not answer yet; waited 0 s. Its last words:\nno peers$"):
        wait(timeout=0)


def test_a_refusal_is_not_waited_for(api, wait):
    api.lay("GET", STATEFULSET, Refusal(403, "no"))
    with pytest.raises(ClusterError, match="cannot read the StatefulSet ns/lnd: no; give this user that right"):
        wait()
    assert len(api.calls) == 1


def test_check_mode_does_not_wait(wait):
    assert wait(check_mode=True) == {"changed": False, "volumes": []}
