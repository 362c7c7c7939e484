"""Runs that rotate, create or revoke, killed between two steps: everybody has access all the time, and the next run completes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _consumers, _macaroon, _pod
from conftest import KUBECONFIG, eventually
from programs import Program
from publisher import NO_ROOT_KEY, Death, Publisher, refusal

CALL = "/lnrpc.Lightning/GetInfo"

# Killed runs rotate these two and lnd-backup: three macaroons.
TWO = [{"name": "first", "permissions": ["info:read"]}, {"name": "second", "uris": [CALL]}]

# Between which steps; with a wait for pods a round takes long, and the other moments of the same step say little more.
MOMENTS = [
    Death("the first macaroon is baked", "bake", 1),
    Death("the first Secret is written", "write", 1),
    Death("the new pods are waited for", "look at the pods", 2),
    Death("the first old root key is deleted", "delete a root key", 1),
]
FURTHER_MOMENTS = [
    Death("all macaroons are baked and none is written", "bake", 3),
    Death("all Secrets are written and nothing is restarted", "write", 3),
    Death("a program was told to restart", "restart", 1),
    Death("the first Secret is finished", "write", 4),
    Death("all old root keys are deleted and one Secret is not finished", "delete a root key", 3),
]


@pytest.fixture(scope="module")
def publisher(carol, cluster) -> Iterator[Publisher]:
    publisher = Publisher(cluster, KUBECONFIG, carol.name)
    yield publisher
    publisher.publish()


@pytest.fixture(scope="module")
def second(carol, core, publisher) -> Iterator[Program]:
    """The program of one of the two."""
    publisher.publish(TWO)
    program = Program(core, carol.name, "second").start()
    try:
        eventually(program.ready, "the program gets no answer", 60)
        yield program
    finally:
        program.stop()


@pytest.fixture
def everybody_has_access(cluster, publisher, second) -> Callable[[], None]:
    """LND answers with what each Secret holds, and with what each running program has read."""
    def check() -> None:
        with publisher.lnd() as lnd:
            secrets = publisher.secrets()
            for name in ("lnd-consumer-first", "lnd-consumer-second"):
                assert not refusal(lnd, secrets[name].data["macaroon"])
            lnd.call("GET", "/v1/channels/backup", macaroon=secrets["lnd-backup"].data["macaroon"])
            held = [_pod.run(cluster, second.namespace, pod.metadata.name, "program", ["cat", "/tmp/held"])
                    for pod in second.pods() if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp]
            assert held and not [each for each in held if refusal(lnd, each)]
        assert second.failures() == []
    return check


def assert_settled(publisher: Publisher, consumers: list[dict]) -> None:
    """One macaroon a consumer, a root key in LND for each and none besides, nothing under way."""
    names = {"lnd-backup", *(f"lnd-consumer-{each['name']}" for each in consumers)}
    secrets = {name: secret for name, secret in publisher.secrets().items() if _consumers.CONSUMER in secret.labels}
    assert secrets.keys() == names
    ids = {int(_macaroon.parse(secret.data["macaroon"]).root_key_id) for secret in secrets.values()}
    assert len(ids) == len(names)
    assert publisher.root_key_ids() == ids
    assert {int(secret.annotations["openlsp.org/root-key-id"]) for secret in secrets.values()} == ids
    under_way = {"openlsp.org/retiring-root-key-ids", "openlsp.org/changed"}
    assert {name for name, secret in publisher.secrets().items() if under_way & secret.annotations.keys()} == set()


def killed(publisher: Publisher, death: Death, consumers: list[dict], rotate: tuple[str, ...] = ("all",)) -> None:
    assert publisher.attempt(consumers, rotate, death).killed, f"{death.moment}: that moment never came"


def moments(*deaths) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("death", deaths, ids=lambda death: death.moment)


@moments(*MOMENTS, *(pytest.param(each, marks=pytest.mark.long) for each in FURTHER_MOMENTS))
def test_killed_rotation_is_completed_by_the_next_run(publisher, everybody_has_access, death):
    killed(publisher, death, TWO)
    everybody_has_access()
    publisher.publish(TWO)
    everybody_has_access()
    assert_settled(publisher, TWO)
    assert publisher.publish(TWO).actions == {}


@pytest.mark.long
@moments(*MOMENTS, *FURTHER_MOMENTS)
def test_killed_rotation_is_completed_by_the_next_rotation(publisher, everybody_has_access, death):
    killed(publisher, death, TWO)
    before = publisher.secrets()
    publisher.publish(TWO, ["all"])
    everybody_has_access()
    assert_settled(publisher, TWO)
    with publisher.lnd() as lnd:
        assert all(NO_ROOT_KEY.search(refusal(lnd, before[name].data["macaroon"])) for name in ("lnd-consumer-first", "lnd-consumer-second", "lnd-backup"))


@pytest.mark.long
def test_root_key_that_another_run_may_be_about_to_write_is_given_a_minute(publisher, second):
    killed(publisher, Death("by the right clock", "bake", 1, behind=0), TWO)
    orphan = max(publisher.root_key_ids())
    done = publisher.publish(TWO)
    assert done.result["deleted_root_keys"] == [str(orphan)]
    assert done.seconds > 50
    assert_settled(publisher, TWO)


@moments(Death("the first macaroon is baked", "bake", 1), Death("the first Secret is written", "write", 1))
def test_killed_first_run_is_completed_by_the_next_run(publisher, second, death):
    three = [*TWO, {"name": "third", "preset": "lnbits"}, {"name": "fourth", "preset": "backup"}]
    killed(publisher, death, three, ())
    publisher.publish(three)
    assert_settled(publisher, three)
    publisher.publish(TWO)


@moments(Death("its root key is deleted", "delete a root key", 1), Death("its Secret is deleted", "delete a Secret", 1))
def test_killed_revocation_is_completed_by_the_next_run(publisher, everybody_has_access, death):
    publisher.publish([*TWO, {"name": "third", "preset": "lnbits"}])
    killed(publisher, death, TWO, ())
    publisher.publish(TWO)
    everybody_has_access()
    assert_settled(publisher, TWO)
