"""One LND's credentials published: first, again, changed, revoked, rotated, by two at once, and interrupted at every step.

LND is fake_lnd, the Kubernetes API kube_store; both remember, and the collection's own client talks to the API.
"""

from __future__ import annotations

import base64
import itertools
import tracemalloc
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _consumers, _credentials, _macaroon, _mounts, _publication
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._consumers import ConsumerError
from ansible_collections.openlsp.node.plugins.module_utils._credentials import MACAROON_SECRETS, CredentialError, Node, NotYet
from ansible_collections.openlsp.node.plugins.module_utils._lnd import LndError
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import KINDS
from ansible_collections.openlsp.node.plugins.module_utils._secret import MANAGED_BY
from ansible_collections.openlsp.node.plugins.modules import lnd_macaroon_secret
from certificates import made
from fake_lnd import WRITES, FakeLnd
from kube_api import Refusal
from kube_store import KubeStore
from kubernetes.client.exceptions import ApiException

START = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
NAMES = ("localhost", "lnd.ln.svc.cluster.local")
CERTIFICATE, NEXT_CERTIFICATE = made(START, names=NAMES)[0], made(START, names=NAMES)[0]
LABELS = {MANAGED_BY: "openlsp.node", "app.kubernetes.io/part-of": "lightning-node"}

SHOP = {"name": "shop", "permissions": ["invoices:read", "invoices:write"]}
RTL = {"name": "rtl", "preset": "rtl"}


class Killed(BaseException):
    """The process ends here: nothing of it runs any more."""


class Clock:
    """Stands for the module ``time``."""

    def __init__(self):
        self.seconds, self.slept, self.asleep = START.timestamp(), [], lambda: None

    def time(self):
        return self.seconds

    def monotonic(self):
        return self.seconds

    def time_ns(self):
        self.seconds += 1e-5
        return int(self.seconds * 1e9)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds
        self.asleep()

    @property
    def now(self):
        return datetime.fromtimestamp(self.seconds, timezone.utc)


class World(Node):
    """A Node, and all that is around it."""

    def client(self, certificate):
        return self.lnd.client(certificate)

    def surround(self, **parts):
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    def publish(self, *consumers, check=False, timeout=5, **wanted):
        listed = _consumers.wanted(consumers, "ln")
        return _publication.publish(self, _publication.Wanted(tuple(listed), LABELS, **wanted), timeout, check)

    def held(self, name, namespace="ln", key="macaroon"):
        return base64.b64decode(self.store.secrets[namespace, name]["data"][key])

    def hold(self, name, value, namespace="ln"):
        """Somebody writes another macaroon into a Secret."""
        item = self.store.secrets[namespace, name]
        self.store.put(namespace, name, {**item["data"], "macaroon": base64.b64encode(value).decode()},
                       item["metadata"]["labels"], item["metadata"]["annotations"])

    def annotations(self, name, namespace="ln"):
        return self.store.secrets[namespace, name]["metadata"]["annotations"]

    def key(self, name, namespace="ln"):
        return int(_macaroon.parse(self.held(name, namespace)).root_key_id)

    def forget_calls(self):
        self.api.calls.clear()
        self.lnd.calls.clear()
        self.execs.clear()

    @property
    def written(self):
        """Every call that changes anything."""
        return [f"{call.method} {call.path}" for call in self.api.calls if call.method != "GET"] + [each for each in self.lnd.calls if each in WRITES]

    def assert_settled(self, *places):
        """One valid macaroon of its own for each consumer, and nothing left over."""
        keys = [self.key(name, namespace) for namespace, name in (*places, ("ln", "lnd-backup"))]
        assert len(set(keys)) == len(keys)
        assert set(self.lnd.root_keys) == {0, *keys}
        for (namespace, name), item in self.store.secrets.items():
            assert not {_consumers.RETIRING, _publication.CHANGED} & item["metadata"]["annotations"].keys(), name
            if "macaroon" in item["data"]:
                assert self.lnd.refusal(self.held(name, namespace)) is None, name
        ours = {place for place in self.store.secrets if place[1].startswith("lnd-consumer-")}
        assert ours == set(places)


@pytest.fixture
def world(api, cluster, monkeypatch):
    clock, store, lnd, execs = Clock(), KubeStore(), FakeLnd(CERTIFICATE), []

    class Time(datetime):
        @classmethod
        def now(cls, tz=None):
            return clock.now.astimezone(tz)

    def read_files(_node):
        execs.append("read")
        return dict(lnd.files)

    api.otherwise = store.answer
    node = World(cluster, "ln", "lnd-0", "lnd", "/data", "signet")
    node.surround(api=api, store=store, lnd=lnd, clock=clock, execs=execs)
    lnd.now = lambda: clock.now
    monkeypatch.setattr(_publication, "time", clock)
    monkeypatch.setattr(_publication, "datetime", Time)
    monkeypatch.setattr(_mounts, "time", clock)
    monkeypatch.setattr(_credentials, "read_files", read_files)
    return node


@pytest.fixture
def renewed(world, monkeypatch):
    """Lets LND have another certificate when it is renewed; how often it was."""
    times = []

    def renew(_node, old, _days, _timeout):
        times.append(old.sha256)
        world.lnd.certificate = world.lnd.files["tls.cert"] = made(world.clock.now, names=NAMES)[0]

    monkeypatch.setattr(_publication._renewal, "renew", renew)
    return times


def actions(outcome):
    return {change.wanted.name: change.action for change in outcome.changes.values()}


# --- first and again -----------------------------------------------------------------------------------------------

def test_the_first_run_publishes_everything(world):
    outcome = world.publish(SHOP, RTL)
    assert set(actions(outcome).values()) == {"create"} and outcome.changed
    assert {name for _namespace, name in world.store.secrets} == {"lnd-tls", "lnd-backup", "lnd-consumer-shop", "lnd-consumer-rtl", *MACAROON_SECRETS}
    world.assert_settled(("ln", "lnd-consumer-shop"), ("ln", "lnd-consumer-rtl"))


def test_each_secret_holds_what_its_name_promises(world):
    world.publish(SHOP)
    for name, kind in MACAROON_SECRETS.items():
        assert world.held(name) == world.lnd.files[f"{kind}.macaroon"]
    assert world.held("lnd-tls", key="cert") == CERTIFICATE == world.held("lnd-consumer-shop", key="cert")
    assert _macaroon.parse(world.held("lnd-consumer-shop")).permissions == KINDS["invoices"]


def test_a_run_that_finds_all_as_it_should_be_makes_one_list_and_nothing_else(world):
    world.publish(SHOP, RTL)
    world.forget_calls()
    assert not world.publish(SHOP, RTL).changed
    assert [(call.method, call.path) for call in world.api.calls] == [("GET", "/api/v1/namespaces/ln/secrets")]
    assert world.execs == [] and world.written == [] and world.clock.slept == []
    # lnd-admin first, with which the others are asked about: LND's other seven, lnd-backup and the two consumers.
    assert world.lnd.calls == ["state", "accepts", "root_key_ids", *["accepts"] * 10]


def test_what_lnd_keeps_no_file_of_is_baked_under_its_first_root_key(world):
    for kind in ("signer", "router"):
        del world.lnd.files[f"{kind}.macaroon"]
    outcome = world.publish()
    assert world.key("lnd-signer") == 0 and _macaroon.parse(world.held("lnd-router")).permissions == KINDS["router"]
    assert outcome.needs["ln", "lnd-signer"].why == "LND keeps no file of it"
    world.forget_calls()
    assert not world.publish().changed and world.execs == []


def test_a_secret_that_was_removed_comes_back(world):
    world.publish(SHOP)
    for name in ("lnd-readonly", "lnd-consumer-shop"):
        del world.store.secrets["ln", name]
    assert [name for name, action in actions(world.publish(SHOP)).items() if action == "create"] == ["lnd-readonly", "lnd-consumer-shop"]
    world.assert_settled(("ln", "lnd-consumer-shop"))


@pytest.mark.parametrize("name", ["lnd-admin", "lnd-readonly", "lnd-backup", "lnd-consumer-shop"])
def test_what_is_no_macaroon_is_replaced(world, name):
    world.publish(SHOP)
    world.hold(name, b"garbage")
    assert actions(world.publish(SHOP))[name] == "update"
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_a_macaroon_whose_root_key_is_gone_is_replaced(world):
    world.publish(SHOP)
    del world.lnd.root_keys[world.key("lnd-consumer-shop")]
    outcome = world.publish(SHOP)
    assert outcome.needs["ln", "lnd-consumer-shop"].why.startswith("LND does not accept it: cannot get macaroon")
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_new_root_keys_of_lnd_replace_every_macaroon(world):
    world.publish(SHOP)
    old = FakeLnd(CERTIFICATE)
    world.lnd.root_keys.clear()
    world.lnd.root_keys[0] = b"another root key"
    world.lnd.files.update({f"{kind}.macaroon": world.lnd.minted(held) for kind, held in KINDS.items()})
    assert {name for name, action in actions(world.publish(SHOP)).items() if action == "update"} == {
        *MACAROON_SECRETS, "lnd-backup", "lnd-consumer-shop"}
    assert old.refusal(world.held("lnd-admin"))
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_an_admin_macaroon_that_lnd_refuses_is_said(world):
    world.lnd.root_keys[0] = b"another root key"
    with pytest.raises(CredentialError, match="the running LND does not accept its own admin.macaroon .*delete the \\*.macaroon files"):
        world.publish()


def test_lnd_may_start_while_it_is_waited_for(world):
    world.lnd.state_now = "UNLOCKED"
    world.clock.asleep = lambda: setattr(world.lnd, "state_now", "SERVER_ACTIVE")
    world.publish()
    assert world.clock.slept == [1]


def test_when_the_time_is_up_the_obstacle_is_said(world):
    world.lnd.state_now = "UNLOCKED"
    with pytest.raises(NotYet, match="LND is in state UNLOCKED"):
        world.publish()
    assert len(world.clock.slept) == 6


# --- what is refused -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["lnd-admin", "lnd-consumer-shop", "lnd-tls"])
def test_somebody_elses_secret_is_refused_at_once_and_before_anything_is_made(world, name):
    world.store.put("ln", name, {"macaroon": ""}, {MANAGED_BY: "Helm"})
    with pytest.raises(ClusterError, match=f"the Secret {name} of namespace ln exists and is not managed by openlsp.node; set adopt"):
        world.publish(SHOP)
    assert world.written == [] and world.clock.slept == []


def test_somebody_elses_secret_is_taken_over_on_demand_and_keeps_its_other_keys(world):
    world.store.put("ln", "lnd-consumer-shop", {"macaroon": "", "note": "eA=="}, {MANAGED_BY: "Helm", "team": "blue"})
    world.publish(SHOP, adopt=True)
    assert world.held("lnd-consumer-shop", key="note") == b"x"
    assert world.store.secrets["ln", "lnd-consumer-shop"]["metadata"]["labels"]["team"] == "blue"
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_a_consumer_of_another_node_in_the_same_namespace_is_refused(world):
    world.store.put("shops", "lnd-consumer-shop", {}, {**LABELS, _consumers.CONSUMER: "shop", _consumers.NODE: "other"})
    with pytest.raises(CredentialError, match="the Secret lnd-consumer-shop of namespace shops belongs to another Lightning node; give the consumer shop"):
        world.publish({**SHOP, "namespace": "shops"})
    assert world.written == []


def test_a_permission_that_this_lnd_does_not_have_is_refused_before_anything_is_made(world):
    with pytest.raises(ConsumerError, match="this LND has no permission invoices:reed; did you mean invoices:read?"):
        world.publish({"name": "shop", "permissions": ["invoices:reed"]})
    assert world.written == []


# --- a consumer changes --------------------------------------------------------------------------------------------

def test_other_permissions_are_a_new_macaroon_and_the_old_one_ends(world):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")
    outcome = world.publish({**SHOP, "permissions": ["info:read"]})
    assert outcome.needs["ln", "lnd-consumer-shop"].why == "its permissions are to be others"
    assert world.lnd.refusal(old)
    world.assert_settled(("ln", "lnd-consumer-shop"))


@pytest.mark.parametrize("days, action", [(59, "keep"), (61, "update")])
def test_a_macaroon_that_ends_is_replaced_when_a_third_of_its_life_is_left(world, days, action):
    ending = {**SHOP, "expires": 90}
    world.publish(ending)
    world.clock.seconds += timedelta(days=days).total_seconds()
    assert actions(world.publish(ending))["lnd-consumer-shop"] == action
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_a_macaroon_for_another_network_counts_as_good(world):
    world.publish({**SHOP, "ip_range": "10.1.0.0/16"})
    assert "locked to different IP" in world.lnd.refusal(world.held("lnd-consumer-shop"))
    world.forget_calls()
    assert not world.publish({**SHOP, "ip_range": "10.1.0.0/16"}).changed and world.written == []


def test_a_macaroon_for_another_network_that_was_revoked_does_not_count_as_good(world):
    world.publish({**SHOP, "ip_range": "10.1.0.0/16"})
    del world.lnd.root_keys[world.key("lnd-consumer-shop")]
    assert actions(world.publish({**SHOP, "ip_range": "10.1.0.0/16"}))["lnd-consumer-shop"] == "update"


def test_a_consumer_that_is_not_listed_any_more_loses_its_root_key_and_then_its_secret(world):
    world.publish(SHOP, RTL)
    order, old = [], world.key("lnd-consumer-shop")
    world.lnd.before = order.append
    world.api.lay("DELETE", "/api/v1/namespaces/ln/secrets/lnd-consumer-shop", lambda call: order.append("DELETE") or world.store.answer(call))
    outcome = world.publish(RTL)
    assert [each for each in order if each in ("delete_root_key", "DELETE")] == ["delete_root_key", "DELETE"]
    assert outcome.deleted_root_keys == {old} and list(outcome.revoked) == [("ln", "lnd-consumer-shop")]
    world.assert_settled(("ln", "lnd-consumer-rtl"))


def test_a_consumer_that_moves_has_its_secret_in_the_new_namespace_only(world):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")
    world.publish({**SHOP, "namespace": "shops"})
    assert world.lnd.refusal(old)
    assert world.annotations("lnd-tls")[_consumers.CONSUMER_NAMESPACES] == "shops"
    world.assert_settled(("shops", "lnd-consumer-shop"))


def test_a_consumer_in_another_namespace_is_found_there_when_it_is_not_listed_any_more(world):
    world.publish({**SHOP, "namespace": "shops"})
    world.publish()
    world.assert_settled()
    assert world.annotations("lnd-tls")[_consumers.CONSUMER_NAMESPACES] == ""
    world.forget_calls()
    assert not world.publish().changed


@pytest.mark.parametrize("namespace, name", [("shops", "shop"), ("ln", "till")], ids=["moved-by-hand", "copied-by-hand"])
def test_a_secret_that_somebody_copied_gets_a_macaroon_of_its_own(world, namespace, name):
    world.publish(SHOP)
    item = world.store.secrets["ln", "lnd-consumer-shop"]
    copied = {**item["metadata"]["labels"], _consumers.CONSUMER: name}
    world.store.put(namespace, f"lnd-consumer-{name}", item["data"], copied, item["metadata"]["annotations"])
    consumers = [{**SHOP, "name": name, "namespace": namespace}] + ([SHOP] if name != "shop" else [])
    world.publish(*consumers)
    world.assert_settled(*sorted({(namespace, f"lnd-consumer-{name}"), *([("ln", "lnd-consumer-shop")] if name != "shop" else [])}))


def test_rotating_all_replaces_every_macaroon_of_a_consumer_and_no_other(world):
    world.publish(SHOP, RTL)
    before = {name: world.held(name) for name in ("lnd-consumer-shop", "lnd-consumer-rtl", "lnd-backup")}
    outcome = world.publish(SHOP, RTL, rotate=frozenset({"shop", "rtl", "lnd-backup"}))
    assert {name for name, action in actions(outcome).items() if action == "update"} == set(before)
    assert all(world.lnd.refusal(each) for each in before.values()) and len(outcome.deleted_root_keys) == 3
    world.assert_settled(("ln", "lnd-consumer-shop"), ("ln", "lnd-consumer-rtl"))


def test_rotating_one_leaves_the_others(world):
    world.publish(SHOP, RTL)
    rtl = world.held("lnd-consumer-rtl")
    world.publish(SHOP, RTL, rotate=frozenset({"shop"}))
    assert world.held("lnd-consumer-rtl") == rtl


def test_programs_that_use_a_secret_which_somebody_deleted_start_again_with_the_new_one(world):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")
    world.store.deploy("ln", "till", "lnd-consumer-shop")
    del world.store.secrets["ln", "lnd-consumer-shop"]
    world.clock.seconds += 3600
    assert world.publish(SHOP).restarted == ["Deployment till"]
    assert world.lnd.refusal(old) and not world.lnd.refusal(world.held("lnd-consumer-shop"))
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_so_do_they_after_a_run_that_broke_off_before_it_told_them(world):
    world.publish(SHOP)
    world.store.deploy("ln", "till", "lnd-consumer-shop")
    del world.store.secrets["ln", "lnd-consumer-shop"]
    world.clock.seconds += 3600
    world.api.lay("GET", "/apis/apps/v1/namespaces/ln/deployments", Refusal(403, "not today"), world.store.answer)
    with pytest.raises(ClusterError, match="not today"):
        world.publish(SHOP)
    assert world.publish(SHOP).restarted == ["Deployment till"]
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_a_pod_that_uses_a_deleted_secret_is_named_and_keeps_its_macaroon_until_it_is_made_anew(world):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")
    bare(world)
    del world.store.secrets["ln", "lnd-consumer-shop"]
    world.clock.seconds += 3600
    for _run in range(2):
        warning, = world.publish(SHOP).warnings
        assert warning.startswith("Pod till of namespace ln still has what the Secret lnd-consumer-shop held before: ")
        assert world.lnd.refusal(old) is None
    bare(world, f"{world.clock.now + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}")
    assert world.publish(SHOP).warnings == []
    assert world.lnd.refusal(old)
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_revoking_a_copy_leaves_its_owner_the_root_key_until_he_has_another(world):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")
    world.store.deploy("ln", "till", "lnd-consumer-shop")
    world.store.copy("ln", "lnd-consumer-shop", "lnd-consumer-copy")
    order = []
    world.lnd.before = order.append
    world.api.lay("PATCH", "/apis/apps/v1/namespaces/ln/deployments/till", lambda call: order.append("restart") or world.store.answer(call))
    world.publish(SHOP)
    assert order.index("restart") < order.index("delete_root_key")
    assert world.lnd.refusal(old) and ("ln", "lnd-consumer-copy") not in world.store.secrets
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_keys_that_people_made_by_hand_stay(world):
    world.lnd.minted(KINDS["admin"], 7)
    world.publish(SHOP)
    world.publish()
    assert 7 in world.lnd.root_keys


# --- programs that use it ------------------------------------------------------------------------------------------

def test_programs_restart_with_the_new_macaroon_before_the_old_one_ends(world):
    world.publish(SHOP)
    world.store.deploy("ln", "shop", "lnd-consumer-shop")
    world.store.deploy("ln", "other", "lnd-consumer-rtl")
    order = []
    world.lnd.before = order.append
    world.api.lay("PATCH", "/apis/apps/v1/namespaces/ln/deployments/shop", lambda call: order.append("restart") or world.store.answer(call))
    outcome = world.publish(SHOP, rotate=frozenset({"shop"}))
    assert [each for each in order if each in ("bake", "restart", "delete_root_key")] == ["bake", "restart", "delete_root_key"]
    assert outcome.restarted == ["Deployment shop"]
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_a_program_that_does_not_start_again_keeps_its_old_macaroon(world):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")
    world.store.deploy("ln", "shop", "lnd-consumer-shop")
    world.store.workloads["ln", "deployments", "shop"]["status"]["availableReplicas"] = 0
    with pytest.raises(ClusterError, match="not ready again in namespace ln after 5 s: Deployment shop: 0 of its 1 pods are available"):
        world.publish(SHOP, rotate=frozenset({"shop"}))
    assert world.lnd.refusal(old) is None and world.lnd.refusal(world.held("lnd-consumer-shop")) is None
    world.store.workloads["ln", "deployments", "shop"]["status"]["availableReplicas"] = 1
    world.publish(SHOP)
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_one_that_does_not_start_again_keeps_nobody_waiting_elsewhere(world, renewed):
    """Cut off, since LND shows another certificate."""
    shop, rtl = ({**each, "namespace": namespace} for each, namespace in ((SHOP, "a"), (RTL, "b")))
    world.publish(shop, rtl)
    world.store.deploy("a", "shop", "lnd-consumer-shop")
    world.store.deploy("b", "rtl", "lnd-consumer-rtl")
    world.store.workloads["a", "deployments", "shop"]["status"]["availableReplicas"] = 0
    old = {name: world.held(f"lnd-consumer-{name}", namespace) for name, namespace in (("shop", "a"), ("rtl", "b"))}
    with pytest.raises(ClusterError, match="not ready again in namespace a after 5 s: Deployment shop"):
        world.publish(shop, rtl, rotate=frozenset({"shop", "rtl"}))
    assert world.lnd.refusal(old["shop"]) is None and world.lnd.refusal(old["rtl"])


def bare(world, made="2026-11-28T11:00:00Z"):
    world.store.bare_pod("ln", "till", "lnd-consumer-shop", made=made)


def on_delete(world):
    world.store.deploy("ln", "till", "lnd-consumer-shop", plural="statefulsets", updateStrategy={"type": "OnDelete"})


@pytest.mark.parametrize("use, named, renew", [
    (bare, "Pod till", lambda world: bare(world, f"{world.clock.now:%Y-%m-%dT%H:%M:%SZ}")),
    (on_delete, "StatefulSet till", lambda world: world.store.renew_pod("ln", "statefulsets", "till"))], ids=["bare-pod", "on-delete"])
def test_what_starts_no_pods_by_itself_is_named_and_keeps_its_old_macaroon_until_they_are_made_anew(world, use, named, renew):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")
    use(world)
    world.clock.seconds += 60
    for options in ({"rotate": frozenset({"shop"})}, {}):
        outcome = world.publish(SHOP, **options)
        warning, = outcome.warnings
        assert warning.startswith(f"{named} of namespace ln still has what the Secret lnd-consumer-shop held before: ")
        assert warning.endswith(", then run the site to end the old macaroon")
        assert world.lnd.refusal(old) is None
    world.clock.seconds += 60
    renew(world)
    assert world.publish(SHOP).warnings == []
    assert world.lnd.refusal(old)
    world.assert_settled(("ln", "lnd-consumer-shop"))


def test_a_pod_that_was_made_while_this_ran_but_before_the_secret_was_written_has_the_old_macaroon(world):
    world.publish(SHOP)
    old = world.held("lnd-consumer-shop")

    def slow(call):
        world.clock.seconds += 30
        bare(world, f"{world.clock.now - timedelta(seconds=20):%Y-%m-%dT%H:%M:%SZ}")
        return world.store.answer(call)

    world.api.lay("PATCH", "/api/v1/namespaces/ln/secrets/lnd-backup", slow, world.store.answer)
    assert len(world.publish(SHOP, rotate=frozenset({"shop", "lnd-backup"})).warnings) == 1
    assert world.lnd.refusal(old) is None


# --- the certificate -----------------------------------------------------------------------------------------------

def test_a_certificate_that_ends_is_renewed_and_published(world, renewed):
    world.publish(SHOP)
    world.store.deploy("ln", "shop", "lnd-consumer-shop")
    world.clock.seconds += timedelta(days=400).total_seconds()
    outcome = world.publish(SHOP)
    assert outcome.renewed == "it expires on 2028-01-22 12:00 UTC" and len(renewed) == 1
    assert world.held("lnd-tls", key="cert") == world.held("lnd-consumer-shop", key="cert") == world.lnd.certificate
    assert outcome.restarted == ["Deployment shop"]
    world.assert_settled(("ln", "lnd-consumer-shop"))
    assert not world.publish(SHOP).changed


def test_a_certificate_that_somebody_else_put_there_is_published(world):
    world.publish(SHOP)
    world.lnd.certificate = world.lnd.files["tls.cert"] = NEXT_CERTIFICATE
    world.publish(SHOP)
    assert world.held("lnd-tls", key="cert") == NEXT_CERTIFICATE
    world.assert_settled(("ln", "lnd-consumer-shop"))


# --- check mode ----------------------------------------------------------------------------------------------------

def changes_of_every_kind(world):
    """What a run has to do everything for; returns its arguments."""
    world.publish(SHOP, RTL)
    world.lnd.minted(KINDS["readonly"], int(world.clock.seconds * 1e6))
    del world.store.secrets["ln", "lnd-router"], world.lnd.files["router.macaroon"]
    world.hold("lnd-signer", b"garbage")
    world.store.deploy("ln", "shop", "lnd-consumer-shop")
    world.clock.seconds += timedelta(days=400).total_seconds()
    return ({**SHOP, "permissions": ["info:read"]}, {"name": "new", "preset": "lnbits", "namespace": "apps"})


def test_check_mode_changes_nothing_and_says_the_same(world, renewed):
    consumers = changes_of_every_kind(world)
    world.forget_calls()
    said = world.publish(*consumers, check=True)
    assert world.written == [] and renewed == [] and world.clock.slept == []
    done = world.publish(*consumers)
    assert said.changed and said.renewed == done.renewed and said.revoked.keys() == done.revoked.keys()
    same = {"lnd-router", "lnd-signer", "lnd-consumer-shop", "lnd-consumer-new"}
    assert {name: actions(said)[name] for name in same} == {name: actions(done)[name] for name in same}


def test_the_diff_and_the_result_show_no_value(world, renewed, shows):
    consumers = changes_of_every_kind(world)
    secret = {base64.b64decode(item["data"]["macaroon"]) for item in world.store.secrets.values() if "macaroon" in item["data"]}
    outcomes = [world.publish(*consumers, check=True), world.publish(*consumers)]
    secret |= {base64.b64decode(item["data"]["macaroon"]) for item in world.store.secrets.values() if "macaroon" in item["data"]}
    for outcome in outcomes:
        told = [str(lnd_macaroon_secret.difference(outcome)), repr(outcome),
                *(str(lnd_macaroon_secret.published(change, outcome.needs[place])) for place, change in outcome.changes.items())]
        for value in secret - {b"garbage"}:
            # The rest of a macaroon are its permissions, which are shown on purpose.
            assert not any(shows(text, _macaroon.parse(value).signature) for text in told)
            assert not any(shows(text, _macaroon.parse(value).nonce) for text in told)


# --- two at once, and what breaks ----------------------------------------------------------------------------------

def one_answer(world, method, name, answer):
    """The first such call is answered so; later ones as ever."""
    path = "/api/v1/namespaces/ln/secrets" + (f"/{name}" if method != "POST" else "")
    answers = [answer]

    def answered(call):
        due = answers and (method != "POST" or call.body["metadata"]["name"] == name)
        answer = answers.pop() if due else world.store.answer
        return answer(call) if callable(answer) else answer

    world.api.lay(method, path, answered)


def test_a_write_that_another_came_before_is_planned_anew_and_its_root_key_ends(world):
    one_answer(world, "POST", "lnd-consumer-shop", Refusal(409))
    outcome = world.publish(SHOP)
    assert outcome.needs["ln", "lnd-consumer-shop"].why == "there is none"
    world.assert_settled(("ln", "lnd-consumer-shop"))
    assert outcome.changes["ln", "lnd-consumer-shop"].wanted.data["macaroon"] == world.held("lnd-consumer-shop")


def test_an_update_that_another_came_before_writes_only_what_is_proved(world):
    world.publish(SHOP, RTL)
    one_answer(world, "PATCH", "lnd-consumer-shop", Refusal(409))
    world.forget_calls()
    world.publish(SHOP, RTL, rotate=frozenset({"rtl", "shop"}))
    # rtl, which had its new macaroon by then, is not rotated again.
    assert world.lnd.calls.count("bake") == 3
    world.assert_settled(("ln", "lnd-consumer-shop"), ("ln", "lnd-consumer-rtl"))


def test_of_two_that_publish_at_once_the_second_takes_what_the_first_made(world):
    """The other one runs between this one's plan and its first write."""
    made_by_other = []

    def other_first(call):
        world.api.lay("POST", "/api/v1/namespaces/ln/secrets", world.store.answer)
        world.publish(SHOP)
        made_by_other.append(world.held("lnd-consumer-shop"))
        return world.store.answer(call)

    world.api.lay("POST", "/api/v1/namespaces/ln/secrets", other_first)
    world.publish(SHOP, timeout=180)
    assert made_by_other == [world.held("lnd-consumer-shop")]
    world.assert_settled(("ln", "lnd-consumer-shop"))


@pytest.mark.parametrize("after", [False, True], ids=["not-written", "written"])
@pytest.mark.parametrize("status", [500, 503])
def test_a_write_of_which_nobody_knows_whether_it_was_done_ends_well(world, status, after):
    one_answer(world, "POST", "lnd-consumer-shop", lambda call: (after and world.store.answer(call), Refusal(status))[1])
    world.publish(SHOP, timeout=180)
    world.assert_settled(("ln", "lnd-consumer-shop"))
    # What was written stays: its root key is not deleted.
    assert world.lnd.calls.count("bake") == (2 if after else 3)


def test_an_error_that_nobody_thought_of_leaves_no_root_key(world, monkeypatch):
    monkeypatch.setattr(_consumers, "constrained", lambda *_given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.publish(SHOP)
    assert set(world.lnd.root_keys) == {0}


def test_a_bake_whose_answer_is_lost_leaves_no_root_key(world):
    bake, lost = world.lnd.minted, []

    def minted(held, root_key_id=0):
        raw = bake(held, root_key_id)
        if not lost:
            lost.append(raw)
            raise LndError("LND does not answer: it hung up")
        return raw

    world.lnd.minted = minted
    world.publish(SHOP)
    world.assert_settled(("ln", "lnd-consumer-shop"))
    assert lost and world.lnd.refusal(lost[0])


def orphan(world, age):
    root_key_id = int((world.clock.seconds - age) * 1e6)
    world.lnd.minted(KINDS["readonly"], root_key_id)
    return root_key_id


def test_an_orphan_of_a_minute_ends_at_once(world):
    world.publish(SHOP)
    key = orphan(world, 61)
    assert world.publish(SHOP).deleted_root_keys == {key} and world.clock.slept == []


def test_a_younger_orphan_is_waited_for(world):
    world.publish(SHOP)
    key = orphan(world, 20)
    assert world.publish(SHOP).deleted_root_keys == {key}
    assert sum(world.clock.slept) == pytest.approx(40, abs=1)


def test_an_orphan_that_turns_out_to_be_anothers_stays(world):
    world.publish(SHOP)
    key = orphan(world, 5)
    world.clock.asleep = lambda: world.store.put(
        "ln", "lnd-consumer-late", {"macaroon": base64.b64encode(world.lnd.minted(KINDS["readonly"], key)).decode()},
        {**LABELS, _consumers.CONSUMER: "late", _consumers.NODE: "ln"}, {_consumers.ROOT_KEY_ID: str(key)})
    assert world.publish(SHOP).deleted_root_keys == set() and key in world.lnd.root_keys


# --- LND refuses, or is on its way ----------------------------------------------------------------------------------

# Words: lnd/rpcperms/interceptor.go, lnd/macaroons/store.go and bbolt/errors/errors.go.
PASSING = {
    "waits": LndError("waiting to start, RPC services not available", 2),
    "locked": LndError("wallet locked, unlock it to enable full RPC access", 2),
    "starts": LndError("the RPC server is in the process of starting up, but not yet ready to accept calls", 2),
    "not-reachable": LndError("LND does not answer: Connection refused"),
    "behind-its-gateway": LndError("connection error: desc = transport: Error while dialing: connect: connection refused", 14),
    "ends": LndError("cannot get macaroon: database not open", 2),
    "ends-later": LndError("cannot get macaroon: macaroon store is locked", 2),
}


def once(world, name, error):
    """The next call of that name to LND ends so."""
    def before(called):
        if called == name:
            world.lnd.before = lambda _name: None
            raise error
    world.lnd.before = before


@pytest.mark.parametrize("call", ["accepts", "root_key_ids", "known_permissions", "bake"])
@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
def test_lnd_that_is_on_its_way_is_waited_for(world, error, call):
    once(world, call, error)
    world.publish(SHOP)
    assert world.clock.slept == [1]
    world.assert_settled(("ln", "lnd-consumer-shop"))


@pytest.mark.parametrize("call", ["root_key_ids", "known_permissions", "bake"])
def test_a_refusal_that_stays_ends_the_run_at_once_in_lnds_words(world, call):
    once(world, call, LndError("permission denied", 2))
    with pytest.raises(CredentialError, match="LND refuses .*: permission denied; "):
        world.publish(SHOP)
    assert world.clock.slept == [] and world.store.secrets == {} and set(world.lnd.root_keys) == {0}


def test_a_permission_that_lnd_does_not_know_is_named_at_once(world):
    """Of a macaroon that LND keeps no file of. What consumers ask for is compared with LND's list before."""
    world.lnd.known -= {_macaroon.Permission("offchain", "write")}
    del world.lnd.files["router.macaroon"]
    with pytest.raises(CredentialError, match="lnd-router: LND refuses to make a macaroon with .*offchain:write: invalid permission; does this version"):
        world.publish()
    assert world.clock.slept == [] and world.store.secrets == {}


# --- interrupted at every step -------------------------------------------------------------------------------------

def first(world):
    return (SHOP, {**RTL, "namespace": "apps"}), {}


def rotation(world):
    world.publish(SHOP, RTL)
    world.store.deploy("ln", "shop", "lnd-consumer-shop")
    return (SHOP, {**RTL, "namespace": "apps"}), {"rotate": frozenset({"shop", "lnd-backup"})}


def narrowed(world):
    world.publish(SHOP, {**RTL, "namespace": "apps"}, {"name": "gone", "preset": "lnbits"})
    return ({**SHOP, "permissions": ["info:read"], "expires": 30}, {**RTL, "namespace": "apps"}), {}


def disturbed(api, world, monkeypatch, begin, step, error):
    """A new world in which the call number ``step`` to LND or the API ends with ``error()``, and what is wanted in it; whether it came to that."""
    request, left, came = world.cluster.request, [step], []
    world.surround(store=KubeStore(), lnd=FakeLnd(CERTIFICATE))
    world.lnd.now = lambda: world.clock.now
    api.otherwise = world.store.answer
    monkeypatch.setattr(_credentials, "read_files", lambda _node: dict(world.lnd.files))
    consumers, options = begin(world)

    def count(where):
        left[0] -= 1
        if left[0] == -1:
            came.append(where)
            raise error(where)

    def counted(*given, **named):
        count("api")
        return request(*given, **named)

    world.lnd.before = lambda _name: count("lnd")
    with monkeypatch.context() as patched:
        patched.setattr(world.cluster, "request", counted)
        try:
            world.publish(*consumers, timeout=600, **options)
        except Killed:
            pass
    world.lnd.before = lambda _name: None
    return consumers, bool(came)


def killed(_where):
    return Killed()


def conflict(where):
    return ApiException(status=409) if where == "api" else LndError("LND does not answer: it hung up")


def unavailable(where):
    return ApiException(status=503) if where == "api" else LndError("LND does not answer: it hung up")


STEPS = {"first": first, "rotation": rotation, "narrowed": narrowed}


@pytest.mark.parametrize("begin", STEPS.values(), ids=STEPS)
def test_interrupted_anywhere_the_next_call_completes_it(api, world, monkeypatch, begin):
    """Killed before the first call, in a new world before the second, and so on until nothing is left to interrupt."""
    for step in itertools.count():
        consumers, came = disturbed(api, world, monkeypatch, begin, step, killed)
        world.publish(*consumers)
        world.assert_settled(("ln", "lnd-consumer-shop"), ("apps", "lnd-consumer-rtl"))
        assert not world.publish(*consumers).changed, step
        if not came:
            break
    assert step > 20


@pytest.mark.parametrize("error", [conflict, unavailable])
@pytest.mark.parametrize("begin", STEPS.values(), ids=STEPS)
def test_a_call_that_fails_once_is_gone_over_by_the_same_run(api, world, monkeypatch, begin, error):
    for step in itertools.count():
        consumers, came = disturbed(api, world, monkeypatch, begin, step, error)
        world.assert_settled(("ln", "lnd-consumer-shop"), ("apps", "lnd-consumer-rtl"))
        assert not world.publish(*consumers).changed, step
        if not came:
            break
    assert step > 20


# --- many ----------------------------------------------------------------------------------------------------------

def test_the_number_of_calls_grows_with_the_number_of_consumers(world):
    counts = []
    for number in (10, 20):
        consumers = [{"name": f"c{each}", "preset": "lnbits"} for each in range(number)]
        world.forget_calls()
        world.publish(*consumers, rotate=frozenset(each["name"] for each in consumers))
        counts.append(len(world.api.calls) + len(world.lnd.calls))
    assert counts[1] < 3 * counts[0]


def test_two_hundred_consumers_are_rotated(world):
    consumers = [{"name": f"c{each}", "preset": "rtl"} for each in range(200)]
    world.publish(*consumers)
    world.forget_calls()
    world.publish(*consumers, rotate=frozenset(each["name"] for each in consumers))
    # Of each: proved, baked, proved, written, its old root key deleted, looked for and proved to be gone, the annotations removed.
    assert len(world.api.calls) + len(world.lnd.calls) < 200 * 9
    world.assert_settled(*(("ln", f"lnd-consumer-c{each}") for each in range(200)))


def test_two_hundred_consumers_take_little_memory(world):
    consumers = [{"name": f"c{each}", "preset": "rtl"} for each in range(200)]
    world.publish(*consumers)
    world.forget_calls()
    tracemalloc.start()
    world.publish(*consumers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
