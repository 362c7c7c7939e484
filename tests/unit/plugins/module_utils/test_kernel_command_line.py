"""The kernel's command line: real files, and what holds for every one."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils._kernel_command_line import kernel_command_line
from hypothesis import given
from hypothesis import strategies as st

TABLE = yaml.safe_load(pathlib.Path(__file__).with_name("kernel_command_lines.yml").read_text())

CGROUPS = ["cgroup_enable=cpuset", "cgroup_enable=memory", "cgroup_memory=1"]
FIRST_HIERARCHY = ["systemd.unified_cgroup_hierarchy=0"]


@pytest.mark.parametrize("text, becomes", [line.values() for line in TABLE.values()], ids=TABLE)
def test_a_real_file_becomes_what_it_should(text, becomes):
    assert kernel_command_line(text, CGROUPS, FIRST_HIERARCHY) == becomes


@pytest.mark.parametrize("text", [line["becomes"] for line in TABLE.values()], ids=TABLE)
def test_the_second_time_nothing_changes(text):
    assert kernel_command_line(text, CGROUPS, FIRST_HIERARCHY) == text


def test_there_are_fifty_real_files():
    assert len(TABLE) >= 50


def test_a_console_more_does_not_replace_the_others():
    assert kernel_command_line("console=serial0,115200 console=tty1", ["console=tty3"]) == "console=serial0,115200 console=tty1 console=tty3"


def test_a_word_without_a_value_is_a_word():
    assert kernel_command_line("quiet splash", ["splash", "ro"]) == "quiet splash ro"


def test_what_is_wanted_twice_is_said_once():
    assert kernel_command_line("", ["a=1", "a=1"]) == "a=1"


def test_a_quote_that_is_not_closed_would_swallow_what_follows():
    with pytest.raises(ValueError, match="a quote is opened and not closed in 'root=\"LABEL=x rootwait'"):
        kernel_command_line('root="LABEL=x rootwait\n', CGROUPS)


@pytest.mark.parametrize("word", ["", "two words", 'half"a quote', "line\nbreak"], ids=["empty", "two", "quote", "line-break"])
def test_only_single_words_can_be_wanted(word):
    with pytest.raises(ValueError, match="is not one word"):
        kernel_command_line("quiet", [word])


# --- what holds for every file -------------------------------------------------------------------------------------

# Words that the table's files consist of, and the worst that owners do to them.
NAMES = st.sampled_from(["console", "root", "quiet", "cgroup_enable", "cgroup_disable", "cgroup-disable", "cgroup_memory", "--", "é", '"x y"'])
VALUES = st.sampled_from(["", "=", "=memory", "=cpuset", "=memory,cpuset", "=io,memory", "=0", "=1", "=tty1", '="memory"', '="a b"', '=a"\t"b'])
WORDS = st.builds(str.__add__, NAMES, VALUES)
GAPS = st.sampled_from([" ", "  ", "\t", " \t ", "\r"])
LINES = st.lists(st.tuples(WORDS, GAPS)).map(lambda pairs: "".join(word + gap for word, gap in pairs))
TEXTS = st.builds(str.__add__, LINES, st.sampled_from(["", "\n", "\r\n", "\n\n", "\ncgroup_disable=memory\n"]))


def words_of(text):
    return re.findall(r'(?:"[^"]*"|\S)+', text)


def is_about_cgroups(word):
    return word.replace("-", "_").startswith(("cgroup_disable", "cgroup_memory"))


@given(TEXTS)
def test_a_second_time_never_changes_anything(text):
    once = kernel_command_line(text, CGROUPS)
    assert kernel_command_line(once, CGROUPS) == once


@given(TEXTS)
def test_there_is_exactly_one_line(text):
    assert not {"\n", "\r"} & set(kernel_command_line(text, CGROUPS).removesuffix("\n"))


@given(TEXTS)
def test_every_other_word_stays_where_it_was(text):
    before = words_of(text.strip().split("\n")[0])
    after = words_of(kernel_command_line(text, CGROUPS))
    end = before.index("--") if "--" in before else len(before)
    assert [word for word in after if word in before and not is_about_cgroups(word) and word not in CGROUPS] == [
        word for word in before if not is_about_cgroups(word) and word not in CGROUPS]
    assert (after[after.index("--"):] if "--" in after else []) == before[end:]


@given(TEXTS)
def test_what_the_kernel_reads_never_contradicts_what_is_wanted(text):
    words = [word.replace('"', "").replace("-", "_", 1) for word in words_of(kernel_command_line(text, CGROUPS))]
    read = words[:words.index("_-")] if "_-" in words else words
    enabled = {name for word in read if word.startswith("cgroup_enable=") for name in word.split("=")[1].split(",")}
    disabled = {name for word in read if word.startswith("cgroup_disable=") for name in word.split("=")[1].split(",")}
    assert {"cpuset", "memory"} <= enabled
    assert not {"cpuset", "memory"} & disabled
    assert {word for word in read if word.partition("=")[0] == "cgroup_memory"} == {"cgroup_memory=1"}


@given(st.text(st.characters(exclude_characters='"')))
def test_no_text_at_all_breaks_it(text):
    assert set(CGROUPS) <= set(words_of(kernel_command_line(text, CGROUPS)))
