"""What the module asks the Kubernetes API for, and that an LND which is down does not keep it from answering."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.modules import lnd_macaroon_info
from kube_api import Refusal

OURS = {"app.kubernetes.io/managed-by": "openlsp.node"}


def secret(name, labels=None, annotations=None, namespace="ns", **data):
    return {"metadata": {"name": name, "namespace": namespace, "labels": {**OURS, **(labels or {})}, "annotations": annotations or {},
                         "creationTimestamp": "2026-11-20T12:00:00Z"},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()}}


@pytest.fixture
def info(api, kubeconfig):
    """The module's run for a node in namespace ns; ``info(ns=[...], shops=[...])`` lays the Secrets by namespace."""
    def run(namespaces=(), **secrets):
        for namespace, listed in secrets.items():
            api.lay("GET", f"/api/v1/namespaces/{namespace}/secrets", {"items": listed})
            for path in (f"/api/v1/namespaces/{namespace}/pods", *(f"/apis/apps/v1/namespaces/{namespace}/{kind}" for kind in (
                    "deployments", "statefulsets", "daemonsets"))):
                if ("GET", path) not in api.answers:
                    api.lay("GET", path, {"items": []})
        return lnd_macaroon_info.run(SimpleNamespace(params={
            "kubeconfig": str(kubeconfig), "context": None, "namespace": "ns", "pod": "lnd-0", "namespaces": list(namespaces)}))
    return run


def test_an_empty_namespace_is_described(api, info):
    told = info(ns=[])
    assert (told["changed"], told["obstacle"]) == (False, "it cannot be known for sure without the Secret lnd-tls")
    assert [each["name"] for each in told["secrets"]][:2] == ["lnd-admin", "lnd-chain-notifier"]
    assert {call.method for call in api.calls} == {"GET"}


def test_consumers_are_shown_from_the_namespaces_that_lnd_tls_names(info, bake):
    tls = secret("lnd-tls", annotations={"openlsp.org/consumer-namespaces": "shops"}, cert=b"PEM")
    of_shop = {"openlsp.org/consumer": "shop", "openlsp.org/lightning-node": "ns"}
    shop = secret("lnd-consumer-shop", of_shop, namespace="shops", macaroon=bake("info:read"))
    told = info(ns=[tls], shops=[shop], bars=[], namespaces=["bars"])
    assert (told["secrets"][-1]["namespace"], told["secrets"][-1]["summary"]) == ("shops", "reads info")


def test_a_pod_that_does_not_run_is_the_obstacle(info):
    told = info(ns=[secret("lnd-tls", cert=b"PEM")])
    assert told["obstacle"].startswith("cannot connect to port 8080 of ns/lnd-0: ")
    assert told["certificate"]["served"] is None


def test_workloads_are_shown_with_what_keeps_them(api, info, bake):
    pod = {"metadata": {"name": "debug", "creationTimestamp": "2026-11-28T12:00:00Z"},
           "spec": {"volumes": [{"secret": {"secretName": "lnd-admin"}}]}, "status": {"phase": "Pending"}}
    api.lay("GET", "/api/v1/namespaces/ns/pods", {"items": [pod]})
    told = info(ns=[secret("lnd-admin", macaroon=bake("info:read"))])
    assert told["workloads"] == [{"name": "Pod debug", "obstacle": "its pod debug is not ready (Pending)"}]
    assert told["secrets"][0]["used_by"] == ["Pod debug"]


def test_a_namespace_that_may_not_be_read_is_named(api, info):
    api.lay("GET", "/api/v1/namespaces/shops/secrets", Refusal(403, "User me cannot list secrets"))
    with pytest.raises(ClusterError, match="^cannot list the Secrets of namespace shops: User me cannot list secrets; give this user that right$"):
        info(ns=[], namespaces=["shops"])
