"""What MicroK8s's commands print, word for word, and what follows from it."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _microk8s
from ansible_collections.openlsp.node.plugins.module_utils._microk8s import Found, MicroK8sError, Plan, Snap, Wanted, plan

# --- snap list -----------------------------------------------------------------------------------------------------

LIST = """\
Name      Version  Rev   Tracking     Publisher    Notes
microk8s  v1.32.9  8511  1.32/stable  canonical**  classic,held
"""


def test_a_line_of_snap_list_is_a_snap():
    assert _microk8s.snap_of(0, LIST, "") == Snap("v1.32.9", "8511", "1.32/stable", ("classic", "held"))


@pytest.mark.parametrize(("code", "errors"), [
    (1, "error: no matching snaps installed\n"),
    (0, "No snaps are installed yet. Try 'snap install hello-world'.\n"),
], ids=["other-snaps", "no-snap-at-all"])
def test_no_snap_is_no_error(code, errors):
    assert _microk8s.snap_of(code, "", errors) is None


@pytest.mark.parametrize("printed", [(1, "", "error: cannot communicate with server"), (0, "", ""), (0, "Name Version\nmicrok8s v1", "")])
def test_anything_else_is_not_taken_for_a_missing_snap(printed):
    with pytest.raises(MicroK8sError, match="cannot be understood"):
        _microk8s.snap_of(*printed)


# --- microk8s status -----------------------------------------------------------------------------------------------

STOPPED = "microk8s is not running, try microk8s start\n"
WORKER = "This MicroK8s deployment is acting as a node in a cluster.\nPlease use the control plane node.\n"
STARTING = """\
microk8s:
  running: False
high-availability:
  enabled: True
  nodes:
    - address: 127.0.0.1:19001
      role: voter
  message: microk8s is not running. Use microk8s inspect for a deeper inspection.
"""
RUNNING = """\
microk8s:
  running: True
high-availability:
  enabled: True
  nodes:
    - address: 127.0.0.1:19001
      role: voter
addons:
  - name: dns
    repository: core
    description: CoreDNS: the cluster's DNS
    version: 1.0
    status: enabled
  - name: rbac
    repository: core
    description: Role-Based Access Control for authorisation
    version:\x20
    status: disabled
  - name: dns
    repository: community
    description: another
    version: 2
    status: disabled
"""


@pytest.mark.parametrize(("code", "output", "state"), [(0, STOPPED, "stopped"), (0, WORKER, "worker"), (1, STARTING, "starting")])
def test_a_node_without_an_api_is_told_from_a_running_one_although_the_code_is_0(code, output, state):
    assert _microk8s.status_of(code, output, "") == (state, {})


def test_the_add_ons_of_the_core_are_read_where_no_yaml_parser_could():
    assert _microk8s.status_of(0, RUNNING, "") == ("running", {"dns": True, "rbac": False})


def test_other_indents_are_read_too():
    """The text is put together by hand, and not alike in every release."""
    assert _microk8s.status_of(0, RUNNING.replace("\n  ", "\n   "), "")[1] == {"dns": True, "rbac": False}


@pytest.mark.parametrize("printed", [
    (1, "", "Insufficient permissions to access MicroK8s.\nYou can either try again with sudo"),
    (1, "This node does not have enough RAM to host the Kubernetes control plane services\n", ""),
    (0, "microk8s is running\n", ""),
    (1, RUNNING, ""),
    (0, "", ""),
], ids=["no-permission", "low-memory", "another-format", "running-and-failed", "nothing"])
def test_what_is_not_known_is_repeated(printed):
    with pytest.raises(MicroK8sError, match="`microk8s status` ended with") as error:
        _microk8s.status_of(*printed)
    assert " ".join((printed[1] + printed[2]).split())[:60] in str(error.value)


def test_an_add_on_without_a_status_is_an_error():
    with pytest.raises(MicroK8sError, match="says nothing of the add-on rbac"):
        _microk8s.status_of(0, RUNNING.replace("    status: disabled\n", "", 1), "")


# --- the rest ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("allowed", [True, False])
def test_a_review_is_read(allowed):
    assert _microk8s.allowed_by('{"kind": "SubjectAccessReview", "status": {"allowed": %s}}' % str(allowed).lower()) is allowed


@pytest.mark.parametrize("answer", ["", "Error from server (Forbidden): no", "{}", "[]", '{"status": null}'])
def test_no_review_is_neither_yes_nor_no(answer):
    with pytest.raises(MicroK8sError, match="did not answer a SubjectAccessReview"):
        _microk8s.allowed_by(answer)


@pytest.mark.parametrize(("settings", "both"), [
    ("IPv4_SUPPORT=true\nIPv6_SUPPORT=true\n", True), ('IPv6_SUPPORT="true"', True), ("IPv4_SUPPORT=true\n\nIPv6_SUPPORT=false\n", False),
    ("# IPv6_SUPPORT=true", False), ("", False)])
def test_dual_stack_is_read_from_the_settings(settings, both):
    assert _microk8s.dual_stack_of(settings) is both


@pytest.mark.parametrize(("text", "numbers"), [("1.36/stable", (1, 36)), ("v1.36.1", (1, 36)), ("v1.9.0-rc1", (1, 9))])
def test_channels_and_versions_have_a_minor_version(text, numbers):
    assert _microk8s.minor(text) == numbers


def test_a_channel_may_have_none():
    with pytest.raises(MicroK8sError, match="latest/stable"):
        _microk8s.minor("latest/stable")


@pytest.mark.parametrize(("channel", "override", "complaint"), [
    ("1.36/stable", False, None), ("1.36/candidate", False, None), ("1.35/stable", False, None), ("1.37/edge", False, None), ("1.28/stable", True, None),
    ("1.28/stable", False, "gets no more fixes; take 1.35/stable"), ("1.34/stable", False, "gets no more fixes"),
    ("1.36", False, "is no channel such as 1.36/stable"), ("latest/stable", True, "is no channel"), ("1.35-strict/stable", False, "is no channel"),
    ("stable", False, "is no channel"), ("1.36/stable/fix", False, "is no channel"), ("", False, "is no channel")])
def test_a_channel_has_a_version_that_still_gets_fixes(channel, override, complaint):
    mistakes = list(_microk8s.variable_mistakes({"microk8s_channel": channel, "microk8s_allow_end_of_life": override, "microk8s_ip_families": ["IPv4"]}))
    assert [complaint in mistake and mistake.startswith("microk8s_channel: ") for mistake in mistakes] == [True] * bool(complaint)


def test_ipv6_alone_is_refused():
    values = {"microk8s_channel": "1.36/stable", "microk8s_allow_end_of_life": False, "microk8s_ip_families": ["IPv6"]}
    assert list(_microk8s.variable_mistakes(values)) == ["microk8s_ip_families: MicroK8s needs IPv4; write [IPv4] or [IPv4, IPv6]"]


# --- the plan ------------------------------------------------------------------------------------------------------

WANTED = Wanted("1.36/stable")


def found(version="v1.36.1", channel="1.36/stable", notes=("classic", "held"), rbac=True, state="running", on=(), **other):
    addons = {name: name in ("dns", "hostpath-storage", *on) or (name == "rbac" and rbac) for name in (*_microk8s.ADDONS, "dashboard")}
    return Found(Snap(version, "1", channel, notes), state, addons if state == "running" else {}, rbac=rbac, **other)


@pytest.mark.parametrize(("wanted", "there", "expected"), [
    (Wanted("1.36/stable", ("cert-manager", "ingress"), "pi"), Found(),
     Plan(install=True, hold=True, join=True, enable=("dns", "hostpath-storage", "rbac", "ingress", "cert-manager"))),
    (WANTED, found(), Plan()),
    (WANTED, found(notes=("classic",)), Plan(hold=True)),
    (Wanted("1.36/stable", user="pi"), found(), Plan(join=True)),
    (Wanted("1.36/stable", user="pi"), found(member=True), Plan()),
    (WANTED, found(state="stopped"), Plan(start=True)),
    (WANTED, Found(Snap("v1.36.1", "1", "1.36/stable", ("held",)), "running", {"dns": False, "hostpath-storage": False, "rbac": False}),
     Plan(enable=("dns", "hostpath-storage", "rbac"))),
    (WANTED, found(on=["observability"]), Plan()),
    (WANTED, found("v1.35.4", "1.35/stable"), Plan(upgrade=True)),
    (WANTED, found("v1.35.4", "1.35/stable", on=["ingress"]),
     Plan(disable=("ingress",), upgrade=True, enable=("ingress",))),
    (Wanted("1.36/stable", ("ingress",)), found("v1.35.4", "1.35/stable", on=["ingress"]),
     Plan(disable=("ingress",), upgrade=True, enable=("ingress",))),
    (Wanted("1.36/stable", ("ingress",)), found(on=["ingress"]), Plan()),
    (Wanted("1.35/stable", ("ingress",)), found("v1.35.4", "1.35/stable", on=["ingress"]), Plan()),
    (Wanted("1.36/candidate"), found(), Plan(upgrade=True)),
    (WANTED, found("v1.35.4"), Plan(upgrade=True)),
    (Wanted("1.36/stable", dual_stack=True), found(dual_stack=True), Plan()),
    (Wanted("1.36/stable", dual_stack=True), Found(), Plan(install=True, hold=True, enable=("dns", "hostpath-storage", "rbac"))),
], ids=["bare", "as-wanted", "not-held", "user", "user-is-in", "stopped", "no-add-ons", "others-add-on", "upgrade", "upgrade-with-ingress",
        "upgrade-keeps-ingress", "traefik-stays", "nginx-stays", "other-risk", "switched-not-refreshed", "dual-stack", "dual-stack-bare"])
def test_the_plan(wanted, there, expected):
    assert plan(wanted, there) == expected


@pytest.mark.parametrize(("wanted", "there", "complaint"), [
    (WANTED, found("v1.34.9", "1.34/stable"), "more than one minor version, .* set it to 1.35/stable first"),
    (WANTED, found("v1.28.15", "1.28/stable"), "set it to 1.29/stable first"),
    (Wanted("2.0/stable"), found(), "set it to 1.37/stable first"),
    (Wanted("1.35/stable"), found(), "1.35/stable is older than the installed v1.36.1, .* set it to 1.36/stable"),
    (WANTED, found(state="worker"), "worker of another cluster"),
    (WANTED, found(state="stopped", notes=("disabled", "classic")), "`snap enable microk8s`"),
    (WANTED, found(state="starting"), "does not become ready; .* `microk8s inspect`"),
    (Wanted("1.36/stable", dual_stack=True), found(), "microk8s_ip_families: this cluster was installed without IPv6"),
    (WANTED, found("v1.35.4", "1.35/stable", on=["dashboard"]), "1.36 no longer has the add-on dashboard; `microk8s disable dashboard`"),
    (WANTED, Found(found().snap, "running", {"rbac": True}, rbac=False), "allows everything to every account"),
], ids=["skips-a-minor", "skips-many", "skips-a-major", "downgrade", "worker", "disabled", "never-ready", "ipv6-too-late", "dashboard", "rbac-in-name-only"])
def test_what_leads_nowhere_is_refused_with_the_remedy(wanted, there, complaint):
    with pytest.raises(MicroK8sError, match=complaint):
        plan(wanted, there)


def test_a_refused_machine_is_refused_before_it_is_started():
    with pytest.raises(MicroK8sError, match="older than the installed"):
        plan(Wanted("1.35/stable"), found(state="stopped"))


def test_the_plan_in_words():
    steps = Plan(install=True, hold=True, join=True, enable=("dns", "rbac"))
    assert _microk8s.in_words(steps, "1.36/stable") == [
        "install MicroK8s from 1.36/stable", "hold its refreshes", "let the user use it", "enable dns", "enable rbac"]
    assert _microk8s.in_words(Plan(disable=("ingress",), upgrade=True), "1.36/stable") == [
        "disable ingress", "back up its datastore, refresh it to 1.36/stable"]
    assert _microk8s.in_words(Plan(), "1.36/stable") == []
