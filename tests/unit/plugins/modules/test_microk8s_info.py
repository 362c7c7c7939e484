"""What the module asks a machine, and what it makes of the answers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._microk8s import MicroK8sError
from ansible_collections.openlsp.node.plugins.modules import microk8s_info

LIST = "Name      Version  Rev   Tracking     Publisher    Notes\nmicrok8s  v1.36.1  8888  1.36/stable  canonical**  classic,held\n"
RUNNING = "microk8s:\n  running: True\naddons:\n" + "".join(
    f"  - name: {name}\n    repository: core\n    status: enabled\n" for name in ("dns", "hostpath-storage", "rbac"))
GIVEN = {"channel": "1.36/stable", "allow_end_of_life": False, "addons": [], "dual_stack": False, "user": "", "timeout": 60}


class Machine:
    """A machine that answers commands by their first words."""

    def __init__(self, answers, snapd=True, **given):
        self.params = {**GIVEN, **given}
        self.asked = []
        self._answers, self._snapd = answers, snapd

    def get_bin_path(self, name):
        return f"/usr/bin/{name}" if self._snapd else None

    def run_command(self, command, data=None):
        self.asked.append(SimpleNamespace(command=command, data=data))
        return self._answers[" ".join(command[:2])]


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """MicroK8s's settings of its network, where there are none."""
    monkeypatch.setattr(microk8s_info, "CNI_SETTINGS", tmp_path / "cni-env")
    return tmp_path / "cni-env"


def answers(status=(0, RUNNING, ""), review=(0, '{"status": {"allowed": false}}', "")):
    return {"snap list": (0, LIST, ""), "/snap/bin/microk8s status": status, "/snap/bin/microk8s kubectl": review}


def test_a_bare_machine_gets_everything():
    result = microk8s_info.run(Machine({"snap list": (1, "", "error: no matching snaps installed")}))
    assert (result["state"], result["version"], result["changed"]) == ("absent", "", False)
    assert result["plan"]["install"] and result["plan"]["enable"] == ("dns", "hostpath-storage", "rbac")


def test_a_machine_that_is_as_wanted_gets_nothing():
    result = microk8s_info.run(Machine(answers()))
    assert (result["state"], result["version"], result["channel"], result["steps"]) == ("running", "v1.36.1", "1.36/stable", [])


def test_the_wait_has_an_end_always():
    """A time-out of 0 would be none."""
    machine = Machine(answers(), timeout=0)
    microk8s_info.run(machine)
    assert machine.asked[1].command[-3:] == ["--wait-ready", "--timeout", "1"]


def test_rights_are_asked_for_in_the_name_of_a_stranger():
    machine = Machine(answers())
    microk8s_info.run(machine)
    assert json.loads(machine.asked[2].data)["spec"]["user"] == "system:anonymous"


def test_an_api_that_obeys_everybody_is_not_taken_for_one_with_rbac():
    with pytest.raises(MicroK8sError, match="allows everything to every account"):
        microk8s_info.run(Machine(answers(review=(0, '{"status": {"allowed": true}}', ""))))


def test_a_stopped_one_is_not_asked_for_rights():
    machine = Machine(answers(status=(0, "microk8s is not running, try microk8s start\n", "")))
    assert microk8s_info.run(machine)["steps"] == ["start it"]
    assert len(machine.asked) == 2


def test_dual_stack_is_what_the_settings_say(settings):
    settings.write_text("IPv6_SUPPORT=true\n")
    assert microk8s_info.run(Machine(answers(), dual_stack=True))["steps"] == []
    settings.write_text("IPv6_SUPPORT=false\n")
    with pytest.raises(MicroK8sError, match="without IPv6"):
        microk8s_info.run(Machine(answers(), dual_stack=True))


@pytest.mark.parametrize(("members", "steps"), [(["root"], []), ([], ["let the user use it"])], ids=["member", "stranger"])
def test_the_group_decides_who_is_let_in(monkeypatch, members, steps):
    monkeypatch.setattr(microk8s_info.grp, "getgrnam", lambda name: SimpleNamespace(gr_mem=members))
    assert microk8s_info.run(Machine(answers(), user="root"))["steps"] == steps


def test_a_user_who_does_not_exist_is_not_made():
    with pytest.raises(MicroK8sError, match="microk8s_user: nobody-of-that-name is no user of this machine"):
        microk8s_info.run(Machine(answers(), user="nobody-of-that-name"))


def test_a_channel_past_its_life_is_refused_before_anything_is_asked():
    machine = Machine(answers(), channel="1.28/stable")
    with pytest.raises(MicroK8sError, match="gets no more fixes"):
        microk8s_info.run(machine)
    assert machine.asked == []


def test_a_machine_without_snapd_is_told_so():
    with pytest.raises(MicroK8sError, match="install the package snapd"):
        microk8s_info.run(Machine({}, snapd=False))
