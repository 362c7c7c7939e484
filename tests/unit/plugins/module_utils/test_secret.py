"""From the Secrets that are wanted and those that are there to a plan, and the plan carried out."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _secret
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._secret import MANAGED_BY, Change, Secret, plan
from kube_api import HANG_UP, Refusal

OURS = {MANAGED_BY: "openlsp.node"}
WANTED = Secret("lnd-admin", {"macaroon": b"new"}, {**OURS, "app.kubernetes.io/name": "lnd"})


def actions(found, adopt=False, wanted=(WANTED,)):
    return [change.action for change in plan(wanted, {each.name: each for each in found}, adopt)]


def test_a_secret_that_is_not_there_is_created():
    assert plan([WANTED], {}, adopt=False) == [Change("create", WANTED, None)]


def test_a_secret_that_is_as_wanted_is_kept():
    assert actions([Secret("lnd-admin", {"macaroon": b"new"}, WANTED.labels)]) == ["keep"]


def test_another_value_is_an_update():
    there = Secret("lnd-admin", {"macaroon": b"old"}, WANTED.labels)
    assert plan([WANTED], {"lnd-admin": there}, adopt=False) == [Change("update", WANTED, there)]


def test_a_missing_key_is_an_update():
    assert actions([Secret("lnd-admin", {}, WANTED.labels)]) == ["update"]


def test_a_missing_label_is_an_update():
    assert actions([Secret("lnd-admin", {"macaroon": b"new"}, OURS)]) == ["update"]


def test_somebody_elses_keys_and_labels_are_no_reason_to_write():
    assert actions([Secret("lnd-admin", {"macaroon": b"new", "note": b"x"}, {**WANTED.labels, "team": "blue"})]) == ["keep"]


@pytest.mark.parametrize("labels", [{}, {MANAGED_BY: "Helm"}], ids=["no-label", "of-helm"])
def test_somebody_elses_secret_is_refused(labels):
    with pytest.raises(ClusterError, match="the Secret lnd-admin exists and is not managed by openlsp.node; set adopt"):
        actions([Secret("lnd-admin", {"macaroon": b"new"}, labels)])


def test_somebody_elses_secret_is_taken_over_on_demand():
    assert actions([Secret("lnd-admin", {"macaroon": b"new"}, {MANAGED_BY: "Helm"})], adopt=True) == ["update"]


def test_one_foreign_secret_stops_the_whole_plan():
    with pytest.raises(ClusterError, match="lnd-signer"):
        actions([Secret("lnd-signer", {}, {})], wanted=[WANTED, Secret("lnd-signer", {"macaroon": b"x"}, OURS)])


def test_a_foreign_secret_that_nobody_wants_here_is_left_alone():
    assert actions([Secret("grafana", {"password": b"x"}, {})]) == ["create"]


def test_the_plan_is_in_the_order_of_names():
    names = ["lnd-tls", "lnd-admin", "lnd-router"]
    assert [change.wanted.name for change in plan([Secret(name, {}, OURS) for name in names], {}, adopt=False)] == sorted(names)


def test_printing_a_plan_shows_no_value():
    found = Secret("lnd-admin", {"macaroon": b"sesame-old"}, OURS)
    assert "sesame" not in repr(plan([Secret("lnd-admin", {"macaroon": b"sesame-new"}, OURS)], {"lnd-admin": found}, adopt=False))


# --- the plan carried out, by requests to a Kubernetes API ---------------------------------------------------------

SECRETS = "/api/v1/namespaces/ns/secrets"
UPDATE = Change("update", WANTED, None)


def from_the_api(name, **fields):
    """A Secret as the API gives it."""
    return {"metadata": {"name": name, **({"labels": fields.pop("labels")} if "labels" in fields else {})}, **fields}


def test_values_are_read_as_bytes(api, cluster):
    api.lay("GET", f"{SECRETS}/lnd-admin", from_the_api("lnd-admin", labels=OURS, data={"macaroon": "Av8="}))
    assert _secret.read(cluster, "ns", "lnd-admin") == Secret("lnd-admin", {"macaroon": b"\x02\xff"}, OURS)


def test_a_secret_without_data_and_labels_is_read(api, cluster):
    api.lay("GET", SECRETS, {"items": [from_the_api("empty")]})
    assert _secret.read_all(cluster, "ns") == {"empty": Secret("empty", {}, {})}


def test_all_secrets_of_a_namespace_take_one_request(api, cluster):
    api.lay("GET", SECRETS, {"items": [from_the_api("lnd-admin", data={"macaroon": "Av8="}), from_the_api("lnd-tls", labels=OURS)]})
    assert _secret.read_all(cluster, "ns") == {"lnd-admin": Secret("lnd-admin", {"macaroon": b"\x02\xff"}), "lnd-tls": Secret("lnd-tls", {}, OURS)}
    assert len(api.calls) == 1


def test_secrets_that_may_not_be_listed_are_an_error(api, cluster):
    api.lay("GET", SECRETS, Refusal(403, 'cannot list resource "secrets"'))
    with pytest.raises(ClusterError, match='^cannot list the Secrets of namespace ns: cannot list resource "secrets"; give this user that right$'):
        _secret.read_all(cluster, "ns")


def test_a_secret_that_is_not_there_is_none(api, cluster):
    api.lay("GET", f"{SECRETS}/lnd-admin", Refusal(404))
    assert _secret.read(cluster, "ns", "lnd-admin") is None


def test_a_secret_that_may_not_be_read_is_not_taken_for_missing(api, cluster):
    api.lay("GET", f"{SECRETS}/lnd-admin", Refusal(403))
    with pytest.raises(ClusterError, match="cannot read the Secret lnd-admin"):
        _secret.read(cluster, "ns", "lnd-admin")


def test_an_update_merges_by_server_side_apply(api, cluster):
    api.lay("PATCH", f"{SECRETS}/lnd-admin", {})
    _secret.write(cluster, "ns", UPDATE)
    call, = api.calls
    assert call.headers["Content-Type"] == "application/apply-patch+yaml"
    assert call.query == [("fieldManager", "openlsp.node"), ("force", "true")]
    assert call.body["data"] == {"macaroon": base64.b64encode(b"new").decode()}


def test_an_update_leaves_no_copy_of_the_values_in_an_annotation(api, cluster):
    api.lay("PATCH", f"{SECRETS}/lnd-admin", {})
    _secret.write(cluster, "ns", UPDATE)
    assert api.calls[0].body["metadata"] == {"name": "lnd-admin", "labels": WANTED.labels}  # kubectl's client-side apply keeps a copy


def test_a_write_that_meets_another_is_tried_again(api, cluster):
    api.lay("PATCH", f"{SECRETS}/lnd-admin", Refusal(409), Refusal(409), {})
    _secret.write(cluster, "ns", UPDATE)
    assert len(api.calls) == 3


def test_a_write_that_always_meets_another_ends(api, cluster):
    api.lay("PATCH", f"{SECRETS}/lnd-admin", Refusal(409))
    with pytest.raises(ClusterError, match="cannot write the Secret lnd-admin of namespace ns: it is so"):
        _secret.write(cluster, "ns", UPDATE)
    assert len(api.calls) == 3


def test_a_write_that_is_forbidden_is_not_tried_again(api, cluster):
    api.lay("PATCH", f"{SECRETS}/lnd-admin", Refusal(403), {})
    with pytest.raises(ClusterError, match="give this user that right"):
        _secret.write(cluster, "ns", UPDATE)
    assert len(api.calls) == 1


WRITES = {
    "update": lambda cluster, secret: _secret.write(cluster, "ns", Change("update", secret, None)),
    "create": lambda cluster, secret: _secret.create_once(cluster, "ns", secret),
}


@pytest.mark.parametrize("answer", [Refusal(422, "data is too long"), Refusal(500, None), HANG_UP], ids=["refused", "silent", "lost"])
@pytest.mark.parametrize("send", WRITES.values(), ids=WRITES)
def test_a_write_that_fails_does_not_repeat_the_value(api, cluster, shows, send, answer):
    value = b"sesame, open yourself"
    api.lay("PATCH", f"{SECRETS}/lnd-admin", answer)
    api.lay("POST", SECRETS, answer)
    with pytest.raises(ClusterError) as error:
        send(cluster, Secret("lnd-admin", {"macaroon": value}, OURS))
    assert not shows(error.value, value)
    assert base64.b64decode(api.calls[0].body["data"]["macaroon"]) == value


def test_of_two_that_create_at_once_the_second_changes_nothing(api, cluster):
    api.lay("POST", SECRETS, {}, Refusal(409))
    assert [_secret.create_once(cluster, "ns", WANTED) for _runner in range(2)] == [True, False]


def test_a_secret_that_must_never_be_replaced_is_posted_and_not_patched(api, cluster):
    api.lay("POST", SECRETS, Refusal(409))
    _secret.create_once(cluster, "ns", WANTED)
    call, = api.calls
    assert (call.method, call.headers["Content-Type"], call.query) == ("POST", "application/json", [("fieldManager", "openlsp.node")])


def test_a_new_secret_has_its_values_and_labels(api, cluster):
    api.lay("POST", SECRETS, {})
    _secret.create_once(cluster, "ns", WANTED)
    assert api.calls[0].body == {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"macaroon": base64.b64encode(b"new").decode()},
                                 "metadata": {"name": "lnd-admin", "labels": WANTED.labels}}


def test_a_secret_that_may_not_be_created_is_an_error(api, cluster):
    api.lay("POST", SECRETS, Refusal(403))
    with pytest.raises(ClusterError, match="cannot create the Secret lnd-admin in namespace ns"):
        _secret.create_once(cluster, "ns", WANTED)
