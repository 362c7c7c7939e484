"""A copy that is complete, or says that it is not; with a stand-in for rsync, which the tests in the virtual machine run for real."""

from __future__ import annotations

import filecmp
import os
import shutil

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._disk_copy import MARK, CopyError
from ansible_collections.openlsp.node.plugins.modules.disk_layout_copy import ROUNDS, Copier


class Rsync:
    """Copies as the options say, and answers as run_command does. answers: exit codes of the next calls in place of copying."""

    def __init__(self, *answers: int) -> None:
        self._answers, self.calls = list(answers), []

    def run_command(self, command, environ_update):
        del environ_update
        *options, source, target = command[1:]
        self.calls.append(options)
        if self._answers:
            code = self._answers.pop(0)
            return code, ">f..t...... work" if code == 0 else "", "no space left" if code else ""
        changed = []
        for place, _directories, files in os.walk(source):
            for name in files:
                old, new = os.path.join(place, name), os.path.join(target, os.path.relpath(os.path.join(place, name), source))
                if os.path.exists(new) and ("--ignore-existing" in options or filecmp.cmp(old, new, shallow=False)):
                    continue
                os.makedirs(os.path.dirname(new), exist_ok=True)
                shutil.copy2(old, new)
                changed.append(name)
        return 0, "\n".join(changed), ""


@pytest.fixture
def home(tmp_path):
    """Two directories: /home and the volume."""
    for name in ("home", "volume"):
        (tmp_path / name).mkdir()
    write(tmp_path / "home/pi/.ssh/authorized_keys", "ssh-ed25519 NOW\n")
    write(tmp_path / "home/pi/file", "new")
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def copy(home, rsync):
    return Copier(rsync, str(home / "home"), str(home / "volume")).run()


def test_a_new_volume_gets_everything_and_is_compared(home):
    rsync = Rsync()
    assert copy(home, rsync) == "new"
    assert (home / "volume/pi/file").read_text() == "new"
    assert not (home / "volume" / MARK).exists()
    assert ["--checksum" in options for options in rsync.calls] == [False, True]


def test_a_copy_that_breaks_off_is_marked_and_gone_on_with(home):
    with pytest.raises(CopyError, match="no space left"):
        copy(home, Rsync(11))
    assert (home / "volume" / MARK).exists()
    assert copy(home, Rsync()) == "resumed"
    assert not (home / "volume" / MARK).exists()


@pytest.mark.parametrize("answers", [(24,), (24, 0, 0), (0, 24, 24)], ids=["first", "then-changes", "later"])
def test_files_that_vanish_or_change_meanwhile_are_for_the_next_round(home, answers):
    rsync = Rsync(*answers)
    assert copy(home, rsync) == "new"
    # The first that copies, and one more that finds nothing to do.
    assert len(rsync.calls) == len(answers) + 2
    assert (home / "volume/pi/file").exists()


def test_a_directory_that_never_rests_is_not_taken_for_copied(home):
    with pytest.raises(CopyError, match="changes faster than it can be copied"):
        copy(home, Rsync(*[0] * (ROUNDS + 1)))
    assert (home / "volume" / MARK).exists()


def test_files_of_an_earlier_installation_win_and_nothing_is_deleted(home):
    write(home / "volume/pi/file", "old")
    write(home / "volume/old/file", "old")
    rsync = Rsync()
    assert copy(home, rsync) == "merged"
    assert (home / "volume/pi/file").read_text() == "old"
    assert (home / "volume/old/file").exists()
    assert not [options for options in rsync.calls if "--delete" in options]


@pytest.mark.parametrize("before", ["ssh-ed25519 THEN\n", "ssh-ed25519 THEN"])
def test_keys_that_open_an_account_now_are_added_to_those_of_an_earlier_installation(home, before):
    write(home / "volume/pi/.ssh/authorized_keys", before)
    copy(home, Rsync())
    assert (home / "volume/pi/.ssh/authorized_keys").read_text().split("\n") == [*before.split("\n"), *(["ssh-ed25519 NOW", ""])]
    copy(home, Rsync())
    assert (home / "volume/pi/.ssh/authorized_keys").read_text().count("NOW") == 1


def test_a_home_of_another_user_is_refused(home, monkeypatch):
    write(home / "volume/pi/file", "old")
    monkeypatch.setattr("ansible_collections.openlsp.node.plugins.module_utils._disk_copy.strangers", lambda *_owners: ["pi belongs to user 1001"])
    with pytest.raises(CopyError, match="of other users under the same names: pi belongs to user 1001"):
        copy(home, Rsync())
