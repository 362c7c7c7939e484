"""Tor's own opinion of a configuration: asked where it is new, and told in one sentence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.modules import tor_config_check
from ansible_collections.openlsp.node.plugins.modules.tor_config_check import complaint, pod
from kube_api import Refusal

STATEFULSET, PODS = "/apis/apps/v1/namespaces/ns/statefulsets/tor", "/api/v1/namespaces/ns/pods"
POD = f"{PODS}/tor-check-0000"

# What tor 0.4.9 writes with --verify-config --hush.
UNKNOWN = """\
Nov 28 09:05:32.494 [warn] Failed to parse/validate config: Unknown option 'Foo'.  Failing.
Nov 28 09:05:32.494 [err] Reading config failed--see warnings above.
"""
ONION = """\
Nov 28 09:05:32.554 [warn] Unparseable address in hidden service port configuration.
Nov 28 09:05:32.554 [warn] Failed to parse/validate config: Failed to configure rendezvous options. See logs for details.
Nov 28 09:05:32.554 [err] Reading config failed--see warnings above.
"""


def statefulset(image="tor:1", digest="abc"):
    return {"spec": {"template": {"metadata": {"annotations": {"openlsp.org/configuration": digest}},
                                  "spec": {"containers": [{"name": "tor", "image": image}]}}}}


def in_phase(phase):
    return {"metadata": {"namespace": "ns", "name": "tor-check-0000", "uid": "u"}, "spec": {}, "status": {"phase": phase}}


@pytest.fixture
def check(kubeconfig, monkeypatch):
    """The module's run, without a pause between its questions."""
    monkeypatch.setattr(tor_config_check.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(tor_config_check.secrets, "token_hex", lambda _bytes: "0000")

    def checked(timeout=60, check_mode=False):
        return tor_config_check.run(SimpleNamespace(check_mode=check_mode, params={
            "kubeconfig": str(kubeconfig), "context": None, "namespace": "ns", "image": "tor:1", "torrc": "SocksPort 9050", "statefulset": "tor",
            "annotation": "openlsp.org/configuration", "digest": "abc", "labels": {"a": "b"}, "timeout": timeout}))
    return checked


def lay(api, *phases, found=None):
    api.lay("GET", STATEFULSET, found or Refusal(404))
    api.lay("POST", PODS, {})
    api.lay("GET", POD, *map(in_phase, phases))
    api.lay("DELETE", POD, {})


@pytest.mark.parametrize("found", [None, statefulset(digest="old"), statefulset(image="tor:0")], ids=["first", "another-configuration", "another-image"])
def test_what_is_new_is_read_by_the_image_that_will_run_it(api, check, found):
    lay(api, "Pending", "Running", "Succeeded", found=found)
    assert check() == {"changed": False, "checked": True}
    made, = api.asked("POST")
    assert made.body["spec"]["containers"][0]["image"] == "tor:1"
    assert made.body["spec"]["containers"][0]["env"][0] == {"name": "TORRC", "value": "SocksPort 9050"}
    assert len(api.asked("DELETE", POD)) == 1


def test_what_runs_already_is_not_read_again(api, check):
    lay(api, found=statefulset())
    assert check() == {"changed": False, "checked": False}
    assert api.asked("POST") == []


def test_check_mode_makes_no_pod(api, check):
    lay(api)
    assert check(check_mode=True) == {"changed": False, "checked": False}
    assert api.asked("POST") == []


def test_what_tor_refuses_is_its_own_sentence_and_the_pod_is_gone(api, check):
    lay(api, "Failed")
    api.lay("GET", f"{POD}/log", UNKNOWN)
    with pytest.raises(ClusterError) as error:
        check()
    assert str(error.value) == "Tor refuses its new configuration: Unknown option 'Foo'; look at tor_options and tor_bridges. What runs was not touched"
    assert len(api.asked("DELETE", POD)) == 1


def test_a_pod_that_does_not_come_is_said_so_and_removed(api, check):
    lay(api, "Pending")
    with pytest.raises(ClusterError, match="has not read its new configuration within 0 s: Pending; what runs was not touched"):
        check(timeout=0)
    assert len(api.asked("DELETE", POD)) == 1


@pytest.mark.parametrize("log, sentence", [
    (UNKNOWN, "Unknown option 'Foo'"), (ONION, "Unparseable address in hidden service port configuration"), ("", "Tor gives no reason"),
    ("sh: tor: not found\n", "sh: tor: not found"),
], ids=["an-option", "a-target", "nothing", "no-tor"])
def test_tors_reason_is_found_in_its_log(log, sentence):
    assert complaint(log) == sentence


def test_the_pod_keeps_to_the_restricted_standard():
    spec = pod("n", "tor:1", "", {})["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["automountServiceAccountToken"] is False
    assert spec["containers"][0]["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
