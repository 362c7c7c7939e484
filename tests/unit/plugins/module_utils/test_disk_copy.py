"""What is done with a volume that is empty, half filled, or somebody's home already."""

from __future__ import annotations

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._disk_copy import MARK, missing_keys, strangers, way


@pytest.mark.parametrize("entries, expected", [([], "new"), ([MARK], "resumed"), ([MARK, "pi"], "resumed"), (["pi"], "merged")])
def test_only_a_copy_that_we_began_is_gone_on_with(entries, expected):
    assert way(entries) == expected


@pytest.mark.parametrize("here, there, named", [
    ({"pi": 1000}, {}, []),
    ({"pi": 1000}, {"pi": 1000, "old": 1001}, []),
    ({"pi": 1000, "eve": 1001}, {"pi": 1001, "eve": 1001}, ["pi belongs to user 1001 there and to 1000 here"]),
])
def test_home_directories_of_other_users_are_seen(here, there, named):
    assert strangers(here, there) == named


@pytest.mark.parametrize("now, then, added", [
    (["ssh-ed25519 A pi"], [], ["ssh-ed25519 A pi"]),
    (["ssh-ed25519 A pi"], ["# mine", " ssh-ed25519 A pi "], []),
    (["# new", "", "ssh-ed25519 A pi", "ssh-ed25519 B"], ["ssh-ed25519 B"], ["ssh-ed25519 A pi"]),
])
def test_keys_that_open_an_account_now_go_on_to(now, then, added):
    assert missing_keys(now, then) == added
