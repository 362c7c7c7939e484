"""What the role pi_boot decides about a machine, rendered by Ansible from the role's own variables; no task of the role runs."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROLE = pathlib.Path(__file__).parents[3] / "roles/pi_boot"

CGROUPS = "cgroup_enable=cpuset cgroup_enable=memory cgroup_memory=1"
FILE = "/boot/firmware/cmdline.txt"

# A Pi on which everything was done.
PI = {
    "architecture": "aarch64", "userland_bits": 64, "memory_mib": 7811, "hostname": "pi", "kernel": "6.8.0-1013-raspi", "boot_id": "boot-2",
    "kernel_command_line": "cgroup_disable=memory root=LABEL=writable", "cgroup_version": 2, "cgroup_controllers": ["cpu", "cpuset", "io", "memory", "pids"],
    "command_line_files": [{"path": FILE, "content": f"root=LABEL=writable {CGROUPS}\n"}],
    "clock_synchronised": True, "clock_service": "active", "throttling": [], "on_sd_card": [],
    "modules": {"br_netfilter": "present", "vxlan": "present"}, "sysctls": {"vm.swappiness": "10", "net.mptcp.enabled": None},
    "packages": {"linux-modules-extra-raspi": "installed"}, "files": {"/var/lib/misc/openlsp-pi_boot.json": None},
}


def restarted(lacking, boot_id="boot-1", lines=(f"root=LABEL=writable {CGROUPS}\n",)):
    return {"files": {"/var/lib/misc/openlsp-pi_boot.json": json.dumps({"boot_id": boot_id, "lacking": lacking, "command_lines": lines})}}


NO_MEMORY = {"cgroup_controllers": ["cpu", "cpuset", "io", "pids"]}
NO_MODULE = {"modules": {"br_netfilter": "loadable", "vxlan": "missing"}}

# Each machine: what is different about it, and what is said and done then.
MACHINES = {
    "all-is-well": ({}, {}),
    "32-bit-programs": ({"userland_bits": 32}, {"refused": "its programs have 32 bits, whatever its kernel has (aarch64); install the 64-bit image"}),
    "too-little-memory": ({"memory_mib": 3792}, {"refused": "it has 3792 MiB of memory; take one with 8 GB, or set pi_boot_minimum_memory_mib"}),
    "too-little-memory-accepted": ({"memory_mib": 3792, "pi_boot_minimum_memory_mib": 3000}, {}),
    "an-upper-case-name": ({"hostname": "RaspberryPi"}, {"refused": "its hostname RaspberryPi"}),
    "an-underscore": ({"hostname": "my_pi"}, {"refused": "its hostname my_pi"}),
    "a-name-with-a-domain": ({"hostname": "pi.home.arpa"}, {}),
    "a-name-that-is-too-long": ({"hostname": "p" * 64}, {"refused": "its hostname ppp"}),
    "data-on-an-sd-card": ({"on_sd_card": ["/srv/blockchain", "/srv/lightning"]}, {
        "refused": "/srv/blockchain, /srv/lightning would be on its SD card; set disk_layout_disk to an SSD, or pi_boot_allow_sd_card"}),
    "a-disk-is-named": ({"on_sd_card": ["/srv/blockchain"], "disk_layout_disk": "/dev/disk/by-id/nvme-x"}, {}),
    "an-sd-card-accepted": ({"on_sd_card": ["/srv/blockchain"], "pi_boot_allow_sd_card": True}, {}),
    "an-sd-card-not-accepted-in-text": ({"on_sd_card": ["/srv/blockchain"], "pi_boot_allow_sd_card": "false"}, {
        "refused": "/srv/blockchain would be on its SD card"}),
    "undervoltage": ({"throttling": ["undervoltage now", "throttled since the start"]}, {
        "refused": "its firmware reports undervoltage now, throttled since the start;"}),
    "undervoltage-accepted": ({"throttling": ["undervoltage now"], "pi_boot_allow_throttling": True}, {}),
    "undervoltage-not-accepted-in-text": ({"throttling": ["undervoltage now"], "pi_boot_allow_throttling": "no"}, {
        "refused": "its firmware reports undervoltage now;"}),
    "no-memory-controller": (NO_MEMORY, {"restarts_for": ["cgroup controller memory"]}),
    "no-memory-controller-and-no-file": ({**NO_MEMORY, "command_line_files": []}, {
        "refused": f"lacks cgroup controller memory, and there is no cmdline.txt to change that in; start it with {CGROUPS}",
        "restarts_for": ["cgroup controller memory"]}),
    "the-first-hierarchy": ({"cgroup_version": 1}, {"restarts_for": ["cgroup version 2"]}),
    "the-first-hierarchy-and-no-file": ({"cgroup_version": 1, "command_line_files": []}, {
        "refused": "(or set pi_boot_allow_cgroup_v1)", "restarts_for": ["cgroup version 2"]}),
    "the-first-hierarchy-not-accepted-in-text": ({"cgroup_version": 1, "pi_boot_allow_cgroup_v1": "false"}, {"restarts_for": ["cgroup version 2"]}),
    "the-first-hierarchy-accepted": ({"cgroup_version": 1, "pi_boot_allow_cgroup_v1": True, "command_line_files": []}, {}),
    "restarted-in-vain": ({**NO_MEMORY, **restarted(["cgroup controller memory"])}, {
        "refused": 'lacks cgroup controller memory although it was restarted for that; it was started with "cgroup_disable=memory root=LABEL=writable"',
        "restarts_for": ["cgroup controller memory"]}),
    "restarted-and-half-cured": ({**NO_MEMORY, **restarted(["cgroup controller cpuset", "cgroup controller memory"])}, {
        "refused": "although it was restarted for that", "restarts_for": ["cgroup controller memory"]}),
    "killed-before-the-restart": ({**NO_MEMORY, **restarted(["cgroup controller memory"], boot_id="boot-2")}, {"restarts_for": ["cgroup controller memory"]}),
    "restarted-with-another-file": ({**NO_MEMORY, **restarted(["cgroup controller memory"], lines=["root=LABEL=writable\n"])}, {
        "restarts_for": ["cgroup controller memory"]}),
    "restarted-for-something-else": ({**NO_MEMORY, **restarted(["module vxlan"])}, {"restarts_for": ["cgroup controller memory"]}),
    "restarted-and-cured": (restarted(["cgroup controller memory"]), {}),
    "a-module-in-a-package": ({**NO_MODULE, "packages": {"linux-modules-extra-raspi": "available"}}, {
        "installs": True, "restarts_for": ["module vxlan"], "loads": ["br_netfilter"]}),
    "a-module-and-no-package-lists": ({**NO_MODULE, "packages": {"linux-modules-extra-raspi": "unknown"}}, {
        "installs": True, "restarts_for": ["module vxlan"], "loads": ["br_netfilter"]}),
    "a-module-that-no-package-has": ({**NO_MODULE, "kernel": "6.12.47+rpt-rpi-v8", "packages": {"linux-modules-extra-raspi": "unknown"}}, {
        "refused": "there is no module vxlan for its kernel 6.12.47+rpt-rpi-v8", "restarts_for": ["module vxlan"], "loads": ["br_netfilter"]}),
    "no-package-and-no-need": ({"packages": {"linux-modules-extra-raspi": "unknown"}}, {}),
    "two-mistakes": ({"userland_bits": 32, "memory_mib": 900}, {"refused": "its programs have 32 bits"}),
    "a-file-to-change": ({"command_line_files": [{"path": FILE, "content": "root=LABEL=writable cgroup_disable=memory systemd.unified_cgroup_hierarchy=0"}]}, {
        "boot_files": [{"path": FILE, "content": f"root=LABEL=writable {CGROUPS}", "backup": True}]}),
    "a-setting-to-change": ({"sysctls": {"vm.swappiness": "60", "net.mptcp.enabled": None}}, {"applies": {"vm.swappiness": "10"}}),
    "a-kernel-with-mptcp": ({"sysctls": {"vm.swappiness": "10", "net.mptcp.enabled": "1"}}, {"applies": {"vm.swappiness": "10", "net.mptcp.enabled": "0"}}),
}

PLAY = """
- hosts: all
  gather_facts: false
  roles:
    # Its variables count for the whole play; of its tasks only the check of the arguments runs.
    - {role: openlsp.node.pi_boot, tags: [never]}
  tasks:
    - ansible.builtin.set_fact:
        decided:
          refused: "{{ _pi_boot_refusals | selectattr('given') | map(attribute='reason') | map('trim') | list }}"
          restarts_for: "{{ _pi_boot_lacking }}"
          installs: "{{ _pi_boot_extra_modules_needed }}"
          loads: "{{ _pi_boot_loadable_modules }}"
          applies: "{{ _pi_boot_sysctls if _pi_boot_sysctls != _pi_boot_live_sysctls else {} }}"
          boot_files: "{{ _pi_boot_boot_files }}"
          files: "{{ _pi_boot_files }}"
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/decided.json"
        content: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'decided'))) | to_json }}"
        mode: "0600"
      run_once: true
"""


@pytest.fixture(scope="module")
def decisions(tmp_path_factory):
    """What is decided about each machine."""
    directory = tmp_path_factory.mktemp("pi_boot")
    hosts = {name: {**{key: value for key, value in changes.items() if key not in PI},
                    "__pi_boot_machine": {**PI, **{key: value for key, value in changes.items() if key in PI}}}
             for name, (changes, _decided) in MACHINES.items()}
    interpreter = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": interpreter}}))
    (directory / "play.yml").write_text(PLAY)
    done = subprocess.run([sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "play.yml"], cwd=directory,
                          env={**os.environ, "ANSIBLE_CONFIG": str(ROLE.parents[1] / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "2"},
                          capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((directory / "decided.json").read_text())


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_decided(decisions, name):
    decided, expected = decisions[name], MACHINES[name][1]
    assert ("refused" in expected) == bool(decided["refused"]), decided["refused"]
    assert expected.get("refused", "") in "; ".join(decided["refused"])
    for what in ("restarts_for", "installs", "loads", "applies"):
        assert decided[what] == expected.get(what, type(decided[what])()), what
    assert decided["boot_files"] == expected.get("boot_files", decided["boot_files"])


def test_all_reasons_are_given_at_once(decisions):
    assert len(decisions["two-mistakes"]["refused"]) == 2


def test_no_reason_has_a_line_break(decisions):
    assert not [reason for decided in decisions.values() for reason in decided["refused"] if "\n" in reason]


def test_the_files_say_what_the_defaults_say(decisions):
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    files = {each["path"]: each["content"] for each in decisions["all-is-well"]["files"]}
    assert files == {
        "/etc/modules-load.d/openlsp.conf": "".join(f"{name}\n" for name in defaults["pi_boot_modules"]),
        "/etc/sysctl.d/90-openlsp.conf": "vm.swappiness = 10\n",  # of this kernel's settings
        "/etc/systemd/journald.conf.d/openlsp.conf": "[Journal]\nSystemMaxUse=500M\n",
        "/etc/systemd/system.conf.d/openlsp.conf": "",
    }
