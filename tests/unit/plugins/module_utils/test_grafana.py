"""The password of a Grafana that a chart installed: the published one goes, any other stays."""

from __future__ import annotations

import base64
import copy

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _grafana
from ansible_collections.openlsp.node.plugins.modules import grafana_password

DEPLOYMENTS = "/apis/apps/v1/namespaces/observability/deployments"
SECRET = "/api/v1/namespaces/observability/secrets/kube-prom-stack-grafana"


class Store:
    """One Grafana, as the chart of MicroK8s' add-on makes it."""

    def __init__(self, password):
        reference = {"secretKeyRef": {"name": "kube-prom-stack-grafana", "key": "admin-password"}}
        variables = [{"name": "GF_PATHS_DATA", "value": "/x"}, {"name": _grafana.VARIABLE, "valueFrom": reference}]
        containers = [{"name": "grafana-sc-dashboard"}, {"name": "grafana", "env": variables}]
        self.deployment = {"metadata": {"name": "kube-prom-stack-grafana"}, "spec": {"template": {"metadata": {}, "spec": {"containers": containers}}}}
        self.secret = {"metadata": {"name": "kube-prom-stack-grafana", "resourceVersion": "7"},
                       "data": {"admin-user": "YWRtaW4=", "admin-password": base64.b64encode(password).decode()}}
        self.fails, self.patched = "", []

    def find(self, path):
        return copy.deepcopy(self.secret) if path == SECRET else None

    def request(self, method, path, query=None, body=None, content_type=""):
        if method == "GET":
            assert (path, query) == (DEPLOYMENTS, {"labelSelector": "app.kubernetes.io/name=grafana"})
            return {"items": [copy.deepcopy(self.deployment)] if self.deployment else []}
        assert content_type == "application/merge-patch+json"
        if path == self.fails:
            raise OSError
        self.patched.append(path)
        if path == SECRET:
            assert body["metadata"]["resourceVersion"] == "7"
            self.secret["data"].update(body["data"])
            self.secret["metadata"]["annotations"] = body["metadata"]["annotations"]
        else:
            self.deployment["spec"]["template"]["metadata"]["annotations"] = body["spec"]["template"]["metadata"]["annotations"]
        return {}

    @property
    def password(self):
        return base64.b64decode(self.secret["data"]["admin-password"])


class Module:
    """What the module's run needs of Ansible."""

    params = {"kubeconfig": None, "context": None, "namespace": "observability"}

    def __init__(self, check_mode=False):
        self.check_mode = check_mode


@pytest.fixture
def grafana(monkeypatch):
    def with_password(password):
        store = Store(password)
        monkeypatch.setattr(_cluster, "connect", lambda *_given: store)
        return store
    return with_password


@pytest.mark.parametrize("published", [b"prom-operator", b"admin"])
def test_a_published_password_is_replaced_and_grafana_starts_again(grafana, published):
    store = grafana(published)
    result = grafana_password.run(Module())
    assert result["changed"] and result["replaced"]
    assert len(store.password) == 32 and store.password != published
    assert store.patched == [SECRET, f"{DEPLOYMENTS}/kube-prom-stack-grafana"]
    assert store.password.decode() not in str(result) + repr(_grafana.find(store, "observability"))


def test_a_second_run_changes_nothing(grafana):
    store = grafana(b"prom-operator")
    grafana_password.run(Module())
    password, store.patched = store.password, []
    assert grafana_password.run(Module())["changed"] is False
    assert (store.password, store.patched) == (password, [])


def test_the_owner_s_password_stays(grafana):
    store = grafana(b"of his own")
    assert grafana_password.run(Module()) == {
        "changed": False, "deployment": "kube-prom-stack-grafana", "secret": "kube-prom-stack-grafana", "key": "admin-password", "replaced": ""}
    assert store.patched == []


def test_check_mode_says_it_and_does_nothing(grafana):
    store = grafana(b"prom-operator")
    assert grafana_password.run(Module(check_mode=True))["changed"]
    assert store.patched == []


def test_an_interrupted_run_is_finished_by_the_next(grafana):
    store = grafana(b"prom-operator")
    store.fails = f"{DEPLOYMENTS}/kube-prom-stack-grafana"
    with pytest.raises(_cluster.ClusterError, match="cannot restart Grafana"):
        grafana_password.run(Module())
    password, store.fails = store.password, ""
    assert grafana_password.run(Module())["changed"]
    assert store.password == password
    assert store.deployment["spec"]["template"]["metadata"]["annotations"] == store.secret["metadata"]["annotations"]


def test_without_a_grafana_there_is_nothing_to_do(grafana):
    store = grafana(b"prom-operator")
    store.deployment = None
    assert grafana_password.run(Module())["changed"] is False


def test_a_secret_that_is_gone_is_named(grafana):
    store = grafana(b"prom-operator")
    store.secret["metadata"]["name"] = "other"
    store.find = lambda path: None
    with pytest.raises(_cluster.ClusterError, match="Grafana's Secret kube-prom-stack-grafana of namespace observability is not there"):
        grafana_password.run(Module())
