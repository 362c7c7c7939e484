"""From the Secret that is wanted and the one that is there to a change, and the change carried out."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _secret
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._secret import MANAGED_BY, Change, ForeignSecretError, Secret
from kube_api import HANG_UP, Refusal

OURS = {MANAGED_BY: "openlsp.node"}
WANTED = Secret("lnd-admin", {"macaroon": b"new"}, {**OURS, "app.kubernetes.io/name": "lnd"}, {"openlsp.org/root-key-id": "7"}, "ns")
THERE = replace(WANTED, created="2026-11-28T12:00:00Z", version="41")


def action(adopt=False, **of_found):
    return _secret.change(WANTED, replace(THERE, **of_found), adopt).action


def test_a_secret_that_is_not_there_is_created():
    assert _secret.change(WANTED, None, adopt=False) == Change("create", WANTED, None)


def test_a_secret_that_is_as_wanted_is_kept():
    assert _secret.change(WANTED, THERE, adopt=False) == Change("keep", WANTED, THERE)


@pytest.mark.parametrize("found", [
    {"data": {"macaroon": b"old"}}, {"data": {}}, {"labels": OURS}, {"annotations": {}}, {"annotations": {"openlsp.org/root-key-id": "8"}},
    {"annotations": {**WANTED.annotations, "openlsp.org/changed": "x"}}],
    ids=["another-value", "no-key", "no-label", "no-annotation", "another-annotation", "annotation-of-ours-too-many"])
def test_what_differs_is_updated(found):
    assert action(**found) == "update"


def test_somebody_elses_keys_labels_and_annotations_are_no_reason_to_write():
    assert action(data={**WANTED.data, "note": b"x"}, labels={**WANTED.labels, "team": "blue"}, annotations={**WANTED.annotations, "note": "x"}) == "keep"


@pytest.mark.parametrize("labels", [{}, {MANAGED_BY: "Helm"}], ids=["no-label", "of-helm"])
def test_somebody_elses_secret_is_refused(labels):
    with pytest.raises(ForeignSecretError, match="the Secret lnd-admin of namespace ns exists and is not managed by openlsp.node; set adopt"):
        action(labels=labels)


def test_somebody_elses_secret_is_taken_over_on_demand():
    assert action(labels={MANAGED_BY: "Helm"}, adopt=True) == "update"


def test_printing_a_change_shows_no_value():
    found = replace(THERE, data={"macaroon": b"sesame-old"})
    assert "sesame" not in repr(_secret.change(replace(WANTED, data={"macaroon": b"sesame-new"}), found, adopt=False))


def test_a_change_knows_its_place():
    assert Change("keep", WANTED, THERE).place == ("ns", "lnd-admin")


# --- the change carried out, by requests to a Kubernetes API --------------------------------------------------------

SECRETS = "/api/v1/namespaces/ns/secrets"
ADMIN = f"{SECRETS}/lnd-admin"
UPDATE = Change("update", WANTED, THERE)


def from_the_api(name, **fields):
    """A Secret as the API gives it."""
    metadata = {key: fields.pop(key) for key in ("labels", "annotations", "creationTimestamp", "resourceVersion") if key in fields}
    return {"metadata": {"name": name, "namespace": "ns", **metadata}, **fields}


WRITTEN = from_the_api("lnd-admin", labels=OURS, data={"macaroon": "Av8="}, resourceVersion="42")


def test_a_secret_is_read(api, cluster):
    api.lay("GET", ADMIN, {**WRITTEN, "metadata": {**WRITTEN["metadata"], "annotations": {"a": "b"}, "creationTimestamp": "2026-11-28T12:00:00Z"}})
    assert _secret.read(cluster, "ns", "lnd-admin") == Secret(
        "lnd-admin", {"macaroon": b"\x02\xff"}, OURS, {"a": "b"}, "ns", "2026-11-28T12:00:00Z", "42")


def test_a_secret_without_data_and_labels_is_read(api, cluster):
    api.lay("GET", SECRETS, {"items": [from_the_api("empty")]})
    assert _secret.read_all(cluster, "ns") == {"empty": Secret("empty", {}, namespace="ns")}


def test_all_secrets_of_a_namespace_take_one_request(api, cluster):
    api.lay("GET", SECRETS, {"items": [WRITTEN, from_the_api("lnd-tls", labels=OURS)]})
    assert set(_secret.read_all(cluster, "ns")) == {"lnd-admin", "lnd-tls"}
    assert len(api.calls) == 1


def test_secrets_that_may_not_be_listed_are_an_error(api, cluster):
    api.lay("GET", SECRETS, Refusal(403, 'cannot list resource "secrets"'))
    with pytest.raises(ClusterError, match='^cannot list the Secrets of namespace ns: cannot list resource "secrets"; give this user that right$'):
        _secret.read_all(cluster, "ns")


def test_a_secret_that_is_not_there_is_none(api, cluster):
    api.lay("GET", ADMIN, Refusal(404))
    assert _secret.read(cluster, "ns", "lnd-admin") is None


def test_a_secret_that_may_not_be_read_is_not_taken_for_missing(api, cluster):
    api.lay("GET", ADMIN, Refusal(403))
    with pytest.raises(ClusterError, match="cannot read the Secret lnd-admin"):
        _secret.read(cluster, "ns", "lnd-admin")


def test_an_update_says_which_version_it_is_for(api, cluster):
    api.lay("PATCH", ADMIN, WRITTEN)
    assert _secret.write(cluster, UPDATE).version == "42"
    call, = api.calls
    assert (call.headers["Content-Type"], call.query) == ("application/apply-patch+yaml", [("fieldManager", "openlsp.node"), ("force", "true")])
    assert call.body["data"] == {"macaroon": base64.b64encode(b"new").decode()}
    assert call.body["metadata"] == {"name": "lnd-admin", "labels": WANTED.labels, "annotations": WANTED.annotations, "resourceVersion": "41"}


@pytest.mark.parametrize("status", [403, 409, 500])
def test_a_write_that_fails_is_not_tried_again_and_says_its_status(api, cluster, status):
    api.lay("PATCH", ADMIN, Refusal(status), WRITTEN)
    with pytest.raises(ClusterError, match="cannot write the Secret lnd-admin of namespace ns: it is so") as error:
        _secret.write(cluster, UPDATE)
    assert error.value.status == status and len(api.calls) == 1


def test_a_secret_is_created_where_there_was_none(api, cluster):
    api.lay("POST", SECRETS, WRITTEN)
    assert _secret.write(cluster, Change("create", WANTED, None)).version == "42"


def test_a_secret_that_came_in_between_is_not_replaced(api, cluster):
    api.lay("POST", SECRETS, Refusal(409))
    with pytest.raises(ClusterError) as error:
        _secret.write(cluster, Change("create", WANTED, None))
    assert error.value.status == 409 and len(api.calls) == 1


WRITES = {
    "update": lambda cluster, secret: _secret.write(cluster, Change("update", secret, THERE)),
    "create": _secret.create_once,
}


@pytest.mark.parametrize("answer", [Refusal(422, "data is too long"), Refusal(500, None), HANG_UP], ids=["refused", "silent", "lost"])
@pytest.mark.parametrize("send", WRITES.values(), ids=WRITES)
def test_a_write_that_fails_does_not_repeat_the_value(api, cluster, shows, send, answer):
    value = b"sesame, open yourself"
    api.lay("PATCH", ADMIN, answer)
    api.lay("POST", SECRETS, answer)
    with pytest.raises(ClusterError) as error:
        send(cluster, replace(WANTED, data={"macaroon": value}))
    assert not shows(error.value, value)
    assert base64.b64decode(api.calls[0].body["data"]["macaroon"]) == value


def test_of_two_that_create_at_once_the_second_changes_nothing(api, cluster):
    api.lay("POST", SECRETS, WRITTEN, Refusal(409))
    assert [_secret.create_once(cluster, WANTED) for _runner in range(2)] == [True, False]


def test_a_secret_that_must_never_be_replaced_is_posted_and_not_patched(api, cluster):
    api.lay("POST", SECRETS, Refusal(409))
    _secret.create_once(cluster, WANTED)
    call, = api.calls
    assert (call.method, call.headers["Content-Type"], call.query) == ("POST", "application/json", [("fieldManager", "openlsp.node")])


def test_a_new_secret_has_its_values_labels_and_annotations(api, cluster):
    api.lay("POST", SECRETS, WRITTEN)
    _secret.create_once(cluster, WANTED)
    assert api.calls[0].body == {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"macaroon": base64.b64encode(b"new").decode()},
                                 "metadata": {"name": "lnd-admin", "labels": WANTED.labels, "annotations": WANTED.annotations}}


def test_a_secret_that_may_not_be_created_is_an_error(api, cluster):
    api.lay("POST", SECRETS, Refusal(403))
    with pytest.raises(ClusterError, match="cannot create the Secret lnd-admin in namespace ns"):
        _secret.create_once(cluster, WANTED)


def test_a_secret_is_deleted_as_it_was_read(api, cluster):
    api.lay("DELETE", ADMIN, {})
    _secret.delete(cluster, THERE)
    assert api.calls[0].body == {"preconditions": {"resourceVersion": "41"}}


def test_a_secret_that_is_gone_already_is_as_good_as_deleted(api, cluster):
    api.lay("DELETE", ADMIN, Refusal(404))
    _secret.delete(cluster, THERE)


@pytest.mark.parametrize("status", [403, 409])
def test_a_secret_that_may_not_be_deleted_or_has_changed_is_an_error(api, cluster, status):
    api.lay("DELETE", ADMIN, Refusal(status))
    with pytest.raises(ClusterError, match="cannot delete the Secret lnd-admin of namespace ns: it is so") as error:
        _secret.delete(cluster, THERE)
    assert error.value.status == status
