"""A stateless LND: its macaroons are in Secrets, on no disk, and whatever is lost on the way is had again."""

from __future__ import annotations

import pytest
from conftest import eventually
from test_crash import WALLET_TASK
from test_root_key import FILES, Keyring, assert_nothing_of_before_opens

STATELESS = ("-e", '{"lnd_stateless_init": true}')


@pytest.fixture(scope="module")
def stateless(carol, cluster, site):
    """carol, whose LND is stateless from its first day."""
    arguments = carol.arguments
    carol.lose_lightning()
    carol.wallet_file.unlink(missing_ok=True)
    carol.arguments += STATELESS
    carol.settle()
    yield Keyring(carol, cluster, site)
    carol.arguments = arguments
    carol.settle()


def assert_no_macaroon_is_on_the_disk(stateless) -> None:
    assert "file" not in stateless.files().values()


def test_a_new_node_has_its_macaroons_in_secrets_alone(stateless):
    assert stateless.complaint() is None
    assert_no_macaroon_is_on_the_disk(stateless)
    assert stateless.node.settle().changed == {stateless.node.name: 0}


@pytest.mark.long
def test_a_restart_writes_none(stateless):
    stateless.node.restart_lnd()
    eventually(lambda: not stateless.complaint(), "LND does not come back")
    assert_no_macaroon_is_on_the_disk(stateless)


@pytest.mark.long
@pytest.mark.parametrize("loss", ["deleted", "damaged"])
def test_a_lost_admin_macaroon_is_had_again(stateless, core, loss):
    others = {name: each for name, each in stateless.macaroons().items() if name != "lnd-admin"}
    if loss == "deleted":
        core.delete_namespaced_secret("lnd-admin", stateless.node.name)
    else:
        core.patch_namespaced_secret("lnd-admin", stateless.node.name, {"data": {"macaroon": "cnViYmlzaA=="}})
    stateless.node.settle()
    assert stateless.complaint() is None
    assert others.items() <= stateless.macaroons().items()
    assert_no_macaroon_is_on_the_disk(stateless)


@pytest.mark.long
def test_a_run_killed_before_the_admin_macaroon_was_kept_is_made_good(stateless):
    stateless.node.lose_lightning()
    stateless.node.wallet_file.unlink()
    run = stateless.node.mortal_run()
    run.kill_when(lambda: run.at_task(WALLET_TASK) and stateless.node.has_wallet_db())
    stateless.node.settle()
    assert stateless.complaint() is None
    assert_no_macaroon_is_on_the_disk(stateless)


@pytest.mark.long
def test_new_root_keys_come_with_a_new_admin_macaroon_in_the_secret(stateless):
    stateless.remember()
    run = stateless.rotate()
    assert run.code == 0, run.output[-4000:]
    assert_nothing_of_before_opens(stateless)
    assert stateless.complaint() is None
    assert_no_macaroon_is_on_the_disk(stateless)
    assert stateless.node.settle().changed == {stateless.node.name: 0}


@pytest.mark.long
def test_a_node_becomes_stateless_and_is_so_no_more(stateless):
    stateless.node.settle("-e", '{"lnd_stateless_init": false}')
    assert stateless.files() == FILES
    assert stateless.complaint() is None
    stateless.node.settle()
    assert_no_macaroon_is_on_the_disk(stateless)
    assert stateless.complaint() is None
