"""The filter openlsp.node.kernel_command_line."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.openlsp.node.plugins.filter.kernel_command_line import FilterModule

CHECKOUT = pathlib.Path(__file__).parents[4]

kernel_command_line = FilterModule().filters()["kernel_command_line"]


def test_a_line_becomes_one_that_says_what_is_wanted():
    assert kernel_command_line("a=0 b c\n", ["a=1"], ["b"]) == "c a=1\n"


def test_an_inventory_finds_it_under_its_full_name():
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", "localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.debug",
         "-a", "msg={{ 'quiet cgroup_disable=memory' | openlsp.node.kernel_command_line(['cgroup_enable=memory']) }}"],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}, capture_output=True, text=True, check=True)
    assert "msg: quiet cgroup_enable=memory\n" in done.stdout


def test_a_quote_that_is_not_closed_is_an_error_of_the_filter():
    with pytest.raises(AnsibleFilterError, match="a quote is opened and not closed"):
        kernel_command_line('a="b', ["c"])
