"""Text files that are written in one go."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.openlsp.node.plugins.modules import text_files


@pytest.fixture
def run():
    """Run the module as Ansible does: its result."""
    def ran(*files: dict, check_mode: bool = False) -> dict:
        arguments = {"ANSIBLE_MODULE_ARGS": {"files": [{**each, "path": str(each["path"])} for each in files], "_ansible_check_mode": check_mode}}
        done = subprocess.run([sys.executable, "-m", text_files.__name__], input=json.dumps(arguments), capture_output=True, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        return json.loads(done.stdout)
    return ran


def test_a_file_and_its_directory_are_made(run, tmp_path):
    path = tmp_path / "a/b/c.conf"
    result = run({"path": path, "content": "x\n"})
    assert result["changed"] and result["paths"] == [str(path)]
    assert path.read_text() == "x\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["c.conf"]


def test_what_is_as_it_should_be_is_left_alone(run, tmp_path):
    path = tmp_path / "c.conf"
    path.write_text("x\n")
    before = path.stat().st_ino
    result = run({"path": path, "content": "x\n", "backup": True}, {"path": tmp_path / "none", "content": ""})
    assert not result["changed"] and result["paths"] == []
    assert path.stat().st_ino == before
    assert not (tmp_path / "c.conf.bak").exists()


def test_the_mode_stays_and_the_old_file_is_kept_on_demand(run, tmp_path):
    path = tmp_path / "cmdline.txt"
    path.write_bytes(b"a\r\n")
    path.chmod(0o600)
    run({"path": path, "content": "b\n", "backup": True})
    assert path.read_bytes() == b"b\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "cmdline.txt.bak").read_bytes() == b"a\r\n"


def test_without_content_there_is_no_file(run, tmp_path):
    path = tmp_path / "c.conf"
    path.write_text("x\n")
    assert run({"path": path, "content": ""})["paths"] == [str(path)]
    assert list(tmp_path.iterdir()) == []


def test_line_breaks_alone_are_a_difference(run, tmp_path):
    path = tmp_path / "cmdline.txt"
    path.write_bytes(b"a\r\n")
    assert run({"path": path, "content": "a\n"})["changed"]


def test_check_mode_says_all_and_does_nothing(run, tmp_path):
    (tmp_path / "old").write_text("x\n")
    result = run({"path": tmp_path / "old", "content": "", "backup": True}, {"path": tmp_path / "d/new", "content": "y\n"}, check_mode=True)
    assert [(each["before"], each["after"]) for each in result["diff"]] == [("x\n", ""), ("", "y\n")]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "x\n")]


def test_a_failure_names_the_file(run, tmp_path):
    (tmp_path / "file").write_text("x")
    assert str(tmp_path / "file/below") in run({"path": tmp_path / "file/below", "content": "y\n"})["msg"]


def test_the_new_text_is_on_the_disk_before_it_takes_the_old_one_s_name(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(text_files.os, "fsync", lambda file: events.append(os.readlink(f"/proc/self/fd/{file}")))
    monkeypatch.setattr(text_files.pathlib.Path, "replace", lambda new, path: events.append(f"{new.name} -> {path.name}"))
    text_files.write(tmp_path / "cmdline.txt", "a\n")
    assert events == [str(tmp_path / "cmdline.txt.new"), "cmdline.txt.new -> cmdline.txt", str(tmp_path)]


def test_a_file_system_without_modes_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(1, "Operation not permitted")
    monkeypatch.setattr(text_files.os, "fchmod", refuse)
    text_files.write(tmp_path / "cmdline.txt", "a\n")
    assert (tmp_path / "cmdline.txt").read_text() == "a\n"
