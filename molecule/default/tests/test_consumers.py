"""Consumers: what their Secrets hold and their macaroons open, and that one can be taken away without the others noticing."""

from __future__ import annotations

import base64
import re
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import kubernetes
import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _macaroon
from conftest import KUBECONFIG, ROOT, eventually
from publisher import NO_ROOT_KEY, Publisher, refusal

GETINFO = ("GET", "/v1/getinfo")
CALL = "/lnrpc.Lightning/GetInfo"

FIVE = [
    {"name": "watch", "preset": "monitoring"},
    {"name": "shop", "preset": "btcpay"},
    {"name": "manager", "preset": "rtl"},
    {"name": "reader", "permissions": ["info:read", "invoices:read"]},
    {"name": "brief", "uris": [CALL], "expires": 1},
]


@pytest.fixture(scope="module")
def publisher(carol, cluster) -> Iterator[Publisher]:
    publisher = Publisher(cluster, KUBECONFIG, carol.name)
    publisher.publish()  # Where an earlier session was interrupted.
    yield publisher
    publisher.publish()


@pytest.fixture
def five(publisher) -> dict[str, dict[str, bytes]]:
    """The Secrets of the five by their names."""
    names = {each["name"]: f"lnd-consumer-{each['name']}" for each in FIVE}
    if not publisher.secrets().keys() >= set(names.values()):
        publisher.publish(FIVE)
    secrets = publisher.secrets()
    return {name: dict(secrets[secret].data) for name, secret in names.items()}


@pytest.fixture
def state(publisher):
    """What must not change when nothing is to change: versions of all Secrets, and LND's root keys."""
    return lambda: ({name: secret.version for name, secret in publisher.secrets().items()}, publisher.root_key_ids())


class Caller(threading.Thread):
    """A program that calls LND again and again with the macaroon in its hands."""

    def __init__(self, publisher: Publisher, macaroon: bytes) -> None:
        super().__init__(daemon=True)
        self._lnd, self._macaroon = publisher.lnd(), macaroon
        self.answers: list[float] = []
        self.errors: list[str] = []
        self._over = threading.Event()

    def run(self) -> None:
        with self._lnd as lnd:
            while not self._over.wait(0.02):
                try:
                    lnd.call(*GETINFO, macaroon=self._macaroon)
                    self.answers.append(time.monotonic())
                except _lnd.LndError as error:
                    self.errors.append(str(error))

    def stop(self) -> None:
        self._over.set()
        self.join()


def test_revoked_consumer_is_out_at_once_and_the_others_do_not_notice(publisher, five):
    callers = {name: Caller(publisher, secret["macaroon"]) for name, secret in five.items()}
    for caller in callers.values():
        caller.start()
    try:
        eventually(lambda: all(caller.answers for caller in callers.values()), "LND does not answer")
        start = time.monotonic()
        done = publisher.publish([each for each in FIVE if each["name"] != "shop"])
        end = time.monotonic()
        time.sleep(0.5)
    finally:
        for caller in callers.values():
            caller.stop()
    shop = callers.pop("shop")
    assert done.actions == {f"{publisher.node}/lnd-consumer-shop": "revoke"}
    assert shop.errors and shop.answers[-1] < end
    assert [each for each in shop.errors if not NO_ROOT_KEY.search(each)] == []
    assert {name: caller.errors for name, caller in callers.items()} == dict.fromkeys(callers, [])
    during = {name: len([each for each in caller.answers if start < each < end]) for name, caller in callers.items()}
    assert min(during.values()) >= 5, f"they called during the revocation: {during}"


def test_secret_has_all_that_its_program_needs(publisher, five):
    host = f"lnd.{publisher.node}.svc.cluster.local"
    for secret in five.values():
        assert set(secret) == {"macaroon", "cert", "host", "grpc_port", "rest_port", "lndconnect"}
        assert (secret["host"], secret["grpc_port"], secret["rest_port"]) == (host.encode(), b"10009", b"8080")
        assert secret["cert"] == publisher.secrets()["lnd-tls"].data["cert"]
        address = urlsplit(secret["lndconnect"].decode())
        assert (address.scheme, address.netloc) == ("lndconnect", f"{host}:10009")
        given = {key: base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)) for key, (value,) in parse_qs(address.query, strict_parsing=True).items()}
        assert given == {"cert": ssl.PEM_cert_to_DER_cert(secret["cert"].decode()), "macaroon": secret["macaroon"]}


def test_each_consumer_may_do_what_is_listed_and_nothing_else(five):
    permissions = {name: set(map(str, _macaroon.parse(secret["macaroon"]).permissions)) for name, secret in five.items()}
    assert permissions["reader"] == {"info:read", "invoices:read"}
    assert permissions["brief"] == {f"uri:{CALL}"}


@pytest.mark.parametrize(("name", "allowed", "refused"), [
    ("reader", GETINFO, ("GET", "/v1/balance/blockchain")),
    ("reader", ("GET", "/v1/invoices"), ("POST", "/v1/invoices", {"value": "1"})),
    ("brief", GETINFO, ("GET", "/v1/getdebuginfo")),
    ("shop", ("GET", "/v1/balance/channels"), ("GET", "/v1/newaddress")),
], ids=["its entity", "its action", "its call", "its preset"])
def test_macaroon_opens_what_is_listed_and_not_what_is_next_to_it(publisher, five, name, allowed, refused):
    with publisher.lnd() as lnd:
        lnd.call(*allowed, macaroon=five[name]["macaroon"])
        with pytest.raises(_lnd.LndError, match="permission denied"):
            lnd.call(*refused, macaroon=five[name]["macaroon"])


def test_every_consumer_has_a_root_key_of_its_own(publisher, five):
    ids = {int(_macaroon.parse(secret["macaroon"]).root_key_id) for secret in five.values()}
    backup = int(_macaroon.parse(publisher.secrets()["lnd-backup"].data["macaroon"]).root_key_id)
    assert len(ids) == 5
    assert publisher.root_key_ids() == ids | {backup}


def test_unchanged_list_changes_nothing(publisher, five, state):
    before = state()
    done = publisher.publish(FIVE)
    assert not done.result["changed"]
    assert state() == before


def test_check_mode_tells_and_does_nothing(publisher, five, state):
    before = state()
    done = publisher.publish([*FIVE[1:], {"name": "new", "preset": "lnbits"}], ["shop"], _ansible_check_mode=True)
    names = {name.split("/")[1]: action for name, action in done.actions.items()}
    assert names == {"lnd-consumer-watch": "revoke", "lnd-consumer-shop": "update", "lnd-consumer-new": "create"}
    assert state() == before


def test_permission_that_lnd_does_not_have_is_refused_with_what_was_meant(publisher, five, state):
    before = state()
    done = publisher.attempt([*FIVE[1:], {"name": "watch", "permissions": ["invoice:read"]}])
    assert done.result["msg"] == "consumer watch: this LND has no permission invoice:read; did you mean invoices:read?"
    assert state() == before


def test_macaroon_that_is_to_end_does(five):
    [caveat] = _macaroon.parse(five["brief"]["macaroon"]).caveats
    end = datetime.strptime(re.fullmatch(r"time-before (\S+)Z", caveat)[1].split(".")[0], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    assert timedelta(hours=16) < end - datetime.now(timezone.utc) <= timedelta(hours=24)
    assert _macaroon.parse(five["reader"]["macaroon"]).caveats == ()


def test_rotation_of_one_leaves_the_others_alone(publisher, five):
    done = publisher.publish(FIVE, ["reader"])
    assert done.actions == {f"{publisher.node}/lnd-consumer-reader": "update"}
    assert done.result["deleted_root_keys"] == [_macaroon.parse(five["reader"]["macaroon"]).root_key_id]
    with publisher.lnd() as lnd:
        assert NO_ROOT_KEY.search(refusal(lnd, five["reader"]["macaroon"]))
        assert not refusal(lnd, publisher.secrets()["lnd-consumer-reader"].data["macaroon"])


def test_secret_of_somebody_else_is_refused_and_left_alone(publisher, core, five, state):
    core.create_namespaced_secret(publisher.node, {"metadata": {"name": "lnd-consumer-guest"}, "stringData": {"macaroon": "mine"}})
    try:
        before = state()
        done = publisher.attempt([*FIVE, {"name": "guest", "preset": "lnbits"}])
        assert "the Secret lnd-consumer-guest of namespace" in done.result["msg"]
        assert "set adopt to take it over" in done.result["msg"]
        assert done.seconds < 30, "waiting does not help"
        assert state() == before
    finally:
        core.delete_namespaced_secret("lnd-consumer-guest", publisher.node)


def test_backup_macaroon_fetches_backups_and_nothing_else(publisher, five):
    macaroon = publisher.secrets()["lnd-backup"].data["macaroon"]
    with publisher.lnd() as lnd:
        assert "multi_chan_backup" in lnd.call("GET", "/v1/channels/backup", macaroon=macaroon)
        for call in (GETINFO, ("GET", "/v1/channels"), ("POST", "/v1/channels/backup/restore", {}), ("GET", "/v1/newaddress")):
            with pytest.raises(_lnd.LndError, match="permission denied"):
                lnd.call(*call, macaroon=macaroon)


def documented(kind: str, namespace: str) -> dict:
    """What docs/credentials.md tells the reader to apply, for another namespace."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/credentials.md").read_text(), re.S)
    [found] = [each for each in map(yaml.safe_load, blocks) if each["kind"] == kind]
    found["metadata"]["namespace"] = namespace
    return found


def test_documented_deployment_is_answered(publisher, core, api):
    publisher.publish([*FIVE, {"name": "dashboards", "preset": "monitoring"}])
    wanted = documented("Deployment", publisher.node)
    wanted["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/openlsp/lnd:0.21.3-beta"
    apps = kubernetes.client.AppsV1Api(api)
    apps.create_namespaced_deployment(publisher.node, wanted)
    try:
        eventually(lambda: apps.read_namespaced_deployment("dashboards", publisher.node).status.ready_replicas, "it gets no answer", 60)
    finally:
        apps.delete_namespaced_deployment("dashboards", publisher.node)
        for pod in core.list_namespaced_pod(publisher.node, label_selector="app=dashboards").items:
            core.delete_namespaced_pod(pod.metadata.name, publisher.node, grace_period_seconds=0)


@pytest.fixture
def helper(publisher, core, api, cluster, tmp_path) -> Iterator[Publisher]:
    """Publishes with the rights that the documentation names and no others."""
    name, rbac = "credentials-helper", kubernetes.client.RbacAuthorizationV1Api(api)
    role = documented("Role", publisher.node)
    core.create_namespaced_service_account(publisher.node, {"metadata": {"name": name}})
    rbac.create_namespaced_role(publisher.node, role)
    rbac.create_namespaced_role_binding(publisher.node, {
        "metadata": {"name": name}, "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": publisher.node}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]}})
    try:
        token = core.create_namespaced_service_account_token(name, publisher.node, {"spec": {}}).status.token
        kubeconfig = yaml.safe_load(KUBECONFIG.read_text())
        for user in kubeconfig["users"]:
            user["user"] = {"token": token}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        yield Publisher(cluster, tmp_path / "kubeconfig", publisher.node)
    finally:
        rbac.delete_namespaced_role_binding(name, publisher.node)
        rbac.delete_namespaced_role(role["metadata"]["name"], publisher.node)
        core.delete_namespaced_service_account(name, publisher.node)


def test_documented_rights_are_enough(publisher, core, helper, five):
    core.delete_namespaced_secret("lnd-readonly", publisher.node)
    assert helper.publish([*FIVE, {"name": "sixth", "preset": "lnbits"}], ["all"]).actions.keys() >= {f"{publisher.node}/lnd-readonly"}
    assert helper.publish(FIVE).actions == {f"{publisher.node}/lnd-consumer-sixth": "revoke"}


@pytest.mark.long
def test_time_and_memory_grow_linearly_with_consumers(publisher):
    """Four times as many take at most a little more than four times as long, in processor seconds, which a busy machine leaves alone."""
    def many(count: int) -> list[dict]:
        return [{"name": f"many-{each}", "permissions": ["info:read"]} for each in range(count)]

    figures = {}
    for count in (50, 200):
        publisher.publish()
        figures[count] = publisher.publish(many(count)), publisher.publish(many(count))
        assert not figures[count][1].result["changed"]
        print(count, [(f"{done.seconds:.1f} s", f"{done.processor:.2f} s of the processor", f"{done.memory >> 20} MiB") for done in figures[count]])
    for small, large in zip(figures[50], figures[200]):
        assert large.processor < 5 * small.processor
        assert large.seconds < 8 * small.seconds
        assert large.memory - small.memory < 16 << 20
