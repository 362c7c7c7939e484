"""Who uses a Secret, how it is restarted once, and what keeps it from being ready again."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _mounts
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._mounts import RESTARTED_FOR, Workload
from kube_api import Refusal

APPS, PODS = "/apis/apps/v1/namespaces/ns", "/api/v1/namespaces/ns/pods"
SHOP = f"{APPS}/deployments/shop"

READY = ({"type": "Ready", "status": "True"},)
MADE = "2026-11-28T12:00:00Z"


def annotated(reasons):
    return {"annotations": {RESTARTED_FOR: reasons}} if reasons else {}


def deployment(name="shop", spec=None, replicas=1, reasons="", generation=2, status=None, **of_spec):
    counts = {"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
    return {"metadata": {"name": name, "generation": generation}, "status": {**counts, **(status or {})},
            "spec": {"replicas": replicas, "template": {"metadata": annotated(reasons), "spec": spec or {"containers": []}}, **of_spec}}


def daemonset(status=None, **given):
    counts = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    return deployment(status={**counts, **(status or {})}, **given)


def pod(name="shop-6d4-x", owner=("ReplicaSet", "shop-6d4"), spec=None, reasons="", phase="Running", conditions=READY, stopping=False, made=MADE):
    metadata = {"name": name, "creationTimestamp": made, **annotated(reasons)}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
        metadata["labels"] = {"pod-template-hash": "6d4"}
    if stopping:
        metadata["deletionTimestamp"] = "2026-11-28T00:00:00Z"
    return {"metadata": metadata, "spec": spec or {"containers": []}, "status": {"phase": phase, "conditions": conditions}}


def mounts(*secrets):
    return {"containers": [], "volumes": [{"name": "v", "secret": {"secretName": name}} for name in secrets]}


def surveyed(*pods, **templated):
    return _mounts.survey({kind: [item] for kind, item in templated.items()}, pods)


# --- who uses a Secret ---------------------------------------------------------------------------------------------

USES = {
    "a-volume": {"volumes": [{"name": "v", "secret": {"secretName": "lnd-admin"}}]},
    "a-part-of-a-volume": {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "lnd-admin"}}]}}]},
    "a-variable": {"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "M", "valueFrom": {"secretKeyRef": {"name": "lnd-admin"}}}]}]},
    "all-variables": {"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "lnd-admin"}}]}]},
    "an-init-container": {"initContainers": [{"envFrom": [{"secretRef": {"name": "lnd-admin"}}]}]},
    "a-debug-container": {"ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "lnd-admin"}}]}]},
}


@pytest.mark.parametrize("spec", USES.values(), ids=USES)
def test_each_way_to_use_a_secret_is_seen(spec):
    assert [each.secrets for each in surveyed(pod(spec=spec, owner=None))] == [{"lnd-admin"}]


@pytest.mark.parametrize("spec", [
    {"volumes": [{"name": "v", "configMap": {"name": "lnd-admin"}}, {"name": "w", "projected": {"sources": [{"serviceAccountToken": {}}]}}]},
    {"imagePullSecrets": [{"name": "lnd-admin"}]},
    {"containers": [{"env": [{"name": "M", "valueFrom": {"configMapKeyRef": {"name": "lnd-admin"}}}]}]},
], ids=["a-configmap", "a-password-for-images", "a-variable-of-a-configmap"])
def test_nothing_else_is_taken_for_it(spec):
    assert [each.secrets for each in surveyed(pod(spec=spec))] == [set()]


def test_a_pod_belongs_to_what_makes_it():
    workloads = surveyed(
        pod(), pod("bitcoind-0", ("StatefulSet", "bitcoind")), pod("agent-x", ("DaemonSet", "agent")), pod("once-x", ("Job", "once")), pod("debug", None),
        pod("old-77", ("ReplicaSet", "old")), Deployment=deployment(), StatefulSet=deployment("bitcoind"), DaemonSet=daemonset(name="agent"))
    assert [str(each) for each in workloads] == [
        "DaemonSet agent", "Deployment shop", "Job once", "Pod debug", "ReplicaSet old", "StatefulSet bitcoind"]


def test_an_older_pod_that_still_uses_a_secret_counts():
    workload, = surveyed(pod(spec=mounts("lnd-admin")), Deployment=deployment(spec=mounts("lnd-readonly")))
    assert workload.secrets == {"lnd-admin", "lnd-readonly"}


def test_a_workload_without_a_pod_uses_what_its_template_says():
    workload, = surveyed(Deployment=deployment(spec=mounts("lnd-admin"), replicas=0))
    assert (workload.secrets, workload.ready) == ({"lnd-admin"}, True)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_uses_nothing(phase):
    assert surveyed(pod("once-x", ("Job", "once"), mounts("lnd-admin"), phase=phase)) == []


def test_a_namespace_costs_four_requests(api, cluster):
    lay(api, [deployment(spec=mounts("lnd-admin"))], [pod()])
    assert _mounts.of_namespace(cluster, "ns") == [Workload("Deployment", "shop", frozenset({"lnd-admin"}))]
    assert len(api.calls) == 4


@pytest.mark.parametrize("path, what", [(f"{APPS}/daemonsets", "DaemonSets"), (PODS, "pods")], ids=["daemonsets", "pods"])
def test_a_right_that_is_missing_is_named(api, cluster, path, what):
    lay(api, [], [])
    api.lay("GET", path, Refusal(403, "User me cannot list them"))
    with pytest.raises(ClusterError, match=f"^cannot list the {what} of namespace ns, which tells who uses a Secret: "
                                           "User me cannot list them; give this user that right$"):
        _mounts.of_namespace(cluster, "ns")


# --- what keeps it from being ready ---------------------------------------------------------------------------------

WAITING = [{"type": "Ready", "status": "False"}]
OBSTACLES = {
    "not-seen": ([pod()], {"Deployment": deployment(status={"observedGeneration": 1})}, "its controller has not looked at its newest version"),
    "never-seen": ([], {"StatefulSet": {**deployment("db"), "status": {"replicas": 0}}}, "its controller has not looked at its newest version"),
    "no-quota": ([], {"Deployment": deployment(status={"updatedReplicas": 0, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "message": "pods shop-6d4-x is forbidden: exceeded quota"}]})},
        "pods shop-6d4-x is forbidden: exceeded quota"),
    "older": ([pod(reasons="a")], {"Deployment": deployment(reasons="a,b")}, "its pod shop-6d4-x is of an older version"),
    "older-and-not-ready": ([pod(conditions=WAITING)], {"Deployment": deployment(reasons="a")}, "its pod shop-6d4-x is of an older version"),
    "older-in-another-way": ([pod()], {"Deployment": deployment(status={"replicas": 2})}, "1 of its 2 pods are of its newest version"),
    "the-new-one-does-not-start": (
        [pod(reasons="a"), pod("shop-6d4-y", reasons="b", conditions=WAITING, phase="Pending")], {"Deployment": deployment(reasons="b")},
        "its pod shop-6d4-y is not ready (Pending)"),
    "not-available": ([pod()], {"Deployment": deployment(status={"availableReplicas": 0})}, "0 of its 1 pods are available"),
    "the-old-one-stops": ([pod("shop-6d4-y"), pod(stopping=True)], {"Deployment": deployment()}, "its old pod shop-6d4-x is still stopping"),
    "a-node-without-it": ([], {"DaemonSet": daemonset({"updatedNumberScheduled": 1})}, "1 of its 2 pods are of its newest version"),
    "a-node-where-it-is-not-available": ([], {"DaemonSet": daemonset({"numberAvailable": 1})}, "1 of its 2 pods are available"),
    "a-pod-of-its-own": ([pod(owner=None, conditions=WAITING)], {}, "its pod shop-6d4-x is not ready (Running)"),
}


@pytest.mark.parametrize("pods, templated, sentence", OBSTACLES.values(), ids=OBSTACLES)
def test_the_first_obstacle_is_named(pods, templated, sentence):
    assert [each.obstacle for each in surveyed(*pods, **templated)] == [sentence]


READY_AGAIN = {
    "restarted": ([pod(reasons="a")], {"Deployment": deployment(reasons="a")}),
    "nothing-wanted": ([], {"Deployment": deployment(replicas=0)}),
    "an-evicted-pod-lies-about": ([pod(), pod("shop-6d4-y", phase="Failed", reasons="old")], {"Deployment": deployment()}),
    "a-daemonset": ([pod(owner=("DaemonSet", "shop"))], {"DaemonSet": daemonset()}),
}


@pytest.mark.parametrize("pods, templated", READY_AGAIN.values(), ids=READY_AGAIN)
def test_without_an_obstacle_it_is_ready(pods, templated):
    assert [(each.ready, each.by_hand) for each in surveyed(*pods, **templated)] == [(True, "")]


BY_HAND = {
    "paused": ({"Deployment": deployment(reasons="a", paused=True)}, ("ReplicaSet", "shop-6d4"), "resume it: kubectl rollout resume deployment/shop"),
    "on-delete": ({"DaemonSet": daemonset(reasons="a", updateStrategy={"type": "OnDelete"})}, ("DaemonSet", "shop"),
                  "delete its pods, which its update strategy OnDelete leaves to you"),
    "partition": ({"StatefulSet": deployment(reasons="a", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})},
                  ("StatefulSet", "shop"), "lower the partition of its update strategy, which keeps older pods"),
    "job": ({}, ("Job", "once"), "delete its pods"),
    "pod": ({}, None, "make the pod anew"),
}


@pytest.mark.parametrize("templated, owner, remedy", BY_HAND.values(), ids=BY_HAND)
def test_what_only_the_operator_can_restart_says_how(templated, owner, remedy):
    assert [each.by_hand for each in surveyed(pod(owner=owner), **templated)] == [remedy]


@pytest.mark.parametrize("templated, owner", [each[:2] for each in BY_HAND.values()][:3], ids=list(BY_HAND)[:3])
def test_what_the_operator_has_restarted_needs_him_no_more(templated, owner):
    assert [(each.by_hand, each.ready) for each in surveyed(pod(owner=owner, reasons="a"), **templated)] == [("", True)]


# --- the restart ---------------------------------------------------------------------------------------------------

def lay(api, deployments, pods):
    """The lists of namespace ns; of each, a list of answers where it changes."""
    for plural, items in {"deployments": deployments, "statefulsets": [], "daemonsets": []}.items():
        api.lay("GET", f"{APPS}/{plural}", {"items": items})
    api.lay("GET", PODS, {"items": pods})


def test_a_restart_is_one_annotation_of_the_pod_template(api, cluster):
    api.lay("GET", SHOP, deployment())
    api.lay("PATCH", SHOP, {})
    assert _mounts.restart(cluster, "ns", Workload("Deployment", "shop", frozenset()), "5f0d1c9e") is True
    patch, = api.asked("PATCH")
    assert patch.body == {"spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: "5f0d1c9e"}}}}}
    assert patch.query == [("fieldManager", "openlsp.node")]
    assert patch.headers["Content-Type"] == "application/merge-patch+json"


@pytest.mark.parametrize("reasons", ["5f0d1c9e", "5f0d1c9e,00000001"], ids=["the-last", "before-another"])
def test_the_same_reason_does_not_restart_twice(api, cluster, reasons):
    api.lay("GET", SHOP, deployment(reasons=reasons))
    assert _mounts.restart(cluster, "ns", Workload("Deployment", "shop", frozenset()), "5f0d1c9e") is False
    assert api.asked("PATCH") == []


def test_a_second_secret_is_a_reason_beside_the_first(api, cluster):
    api.lay("GET", SHOP, deployment(reasons="5f0d1c9e"))
    api.lay("PATCH", SHOP, {})
    _mounts.restart(cluster, "ns", Workload("Deployment", "shop", frozenset()), "00000001")
    assert api.asked("PATCH")[0].body["spec"]["template"]["metadata"]["annotations"] == {RESTARTED_FOR: "5f0d1c9e,00000001"}


def test_the_reasons_of_years_do_not_pile_up(api, cluster):
    api.lay("GET", SHOP, deployment(reasons=",".join(f"{number:08x}" for number in range(20))))
    api.lay("PATCH", SHOP, {})
    _mounts.restart(cluster, "ns", Workload("Deployment", "shop", frozenset()), "5f0d1c9e")
    reasons = api.asked("PATCH")[0].body["spec"]["template"]["metadata"]["annotations"][RESTARTED_FOR].split(",")
    assert (reasons[0], reasons[-1], len(reasons)) == ("00000001", "5f0d1c9e", 20)


@pytest.mark.parametrize("kind", ["Pod", "Job"])
def test_what_has_no_template_is_left_alone(api, cluster, kind):
    assert _mounts.restart(cluster, "ns", Workload(kind, "shop", frozenset()), "5f0d1c9e") is False
    assert api.calls == []


def test_a_workload_that_went_away_needs_no_restart(cluster):
    assert _mounts.restart(cluster, "ns", Workload("Deployment", "shop", frozenset()), "5f0d1c9e") is False


def test_a_refused_restart_names_the_workload_and_the_right(api, cluster):
    api.lay("GET", SHOP, deployment())
    api.lay("PATCH", SHOP, Refusal(403, "User me cannot patch it"))
    with pytest.raises(ClusterError, match="^cannot restart the Deployment shop of namespace ns: User me cannot patch it; give this user that right$"):
        _mounts.restart(cluster, "ns", Workload("Deployment", "shop", frozenset()), "5f0d1c9e")


# --- the wait ------------------------------------------------------------------------------------------------------

@pytest.fixture
def wait(cluster, monkeypatch):
    """Waits for workloads of namespace ns, without a pause between the looks."""
    monkeypatch.setattr(_mounts.time, "sleep", lambda _seconds: None)

    def waited(*workloads, timeout=60):
        return _mounts.wait_ready(cluster, "ns", workloads, timeout)
    return waited


THE_SHOP = Workload("Deployment", "shop", frozenset({"lnd-admin"}))


def test_the_wait_ends_when_the_last_old_pod_is_gone(api, wait):
    lay(api, [deployment(reasons="a")], [])
    old, new = pod(), pod("shop-6d4-y", reasons="a")
    api.lay("GET", PODS, *({"items": items} for items in ([old], [old, new], [pod(stopping=True), new], [new])))
    assert wait(THE_SHOP) == []
    assert len(api.asked("GET", "/pods")) == 4


def test_only_the_given_workloads_are_waited_for(api, wait):
    lay(api, [deployment(), deployment("slow", status={"availableReplicas": 0})], [pod()])
    assert wait(THE_SHOP) == []


def test_nothing_to_wait_for_asks_nothing(api, wait):
    assert wait() == []
    assert api.calls == []


def test_when_the_time_is_up_every_workload_is_named_with_its_reason(api, wait):
    lay(api, [deployment(reasons="a"), deployment("slow", status={"availableReplicas": 0})], [pod()])
    with pytest.raises(ClusterError, match="^not ready again in namespace ns after 0 s: "
                                           "Deployment shop: its pod shop-6d4-x is of an older version; "
                                           "Deployment slow: 0 of its 1 pods are available$"):
        wait(THE_SHOP, Workload("Deployment", "slow", frozenset()), timeout=0)


def test_what_waits_for_the_operator_is_not_waited_for_but_named(api, wait):
    lay(api, [deployment(reasons="a", paused=True)], [pod(), pod("debug", None)])
    left = wait(THE_SHOP, Workload("Pod", "debug", frozenset()), timeout=0)
    assert [(str(each), each.by_hand) for each in left] == [
        ("Deployment shop", "resume it: kubectl rollout resume deployment/shop"), ("Pod debug", "make the pod anew")]


# --- whose pods are older than a Secret's content --------------------------------------------------------------------

@pytest.mark.parametrize("when, older", [("2026-11-28T11:59:59Z", False), (MADE, True), ("2026-11-28T12:00:01Z", True)],
                         ids=["changed-before", "in-the-same-second", "changed-after"])
def test_a_pod_may_have_the_old_content_when_it_was_made_before_the_change(when, older):
    workload, = surveyed(pod("debug", owner=None))
    assert workload.made_before(when) is older


def test_the_oldest_pod_of_a_job_counts():
    job = "Job", "backup"
    workload, = surveyed(pod("backup-1", owner=job, made="2026-11-28T13:00:00Z"), pod("backup-0", owner=job))
    assert workload.made == MADE


def test_what_waits_for_its_operator_has_the_old_content():
    assert Workload("StatefulSet", "till", frozenset(), by_hand="delete its pods").made_before(MADE)
