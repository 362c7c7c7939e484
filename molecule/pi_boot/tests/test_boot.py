"""What the kernel says after the restart, not what files say."""

from __future__ import annotations

import json
import pathlib

import yaml
from vm import COMMAND_LINE

DEFAULTS = yaml.safe_load((pathlib.Path(__file__).resolve().parents[3] / "roles/pi_boot/defaults/main.yml").read_text())

BOOT_FILE = "/boot/firmware/cmdline.txt"
CGROUPS = "cgroup_enable=cpuset cgroup_enable=memory cgroup_memory=1"


def test_the_kernel_can_limit_memory(said):
    assert {"cpu", "cpuset", "memory", "pids"} <= set(said("cat /sys/fs/cgroup/cgroup.controllers").split())


def test_the_kernel_was_started_with_the_words_and_without_their_contrary(said):
    assert "cgroup_disable=memory" in COMMAND_LINE
    wanted = COMMAND_LINE.replace(" cgroup_disable=memory", "").replace("\n", f" {CGROUPS}\n")
    assert said("cat /proc/cmdline") == said(f"cat {BOOT_FILE}") == wanted


def test_the_boot_file_as_it_was_is_kept_beside_it_and_nothing_else(said):
    assert said(f"cat {BOOT_FILE}.bak") == COMMAND_LINE
    assert said("ls /boot/firmware").split() == ["cmdline.txt", "cmdline.txt.bak"]


def test_the_machine_was_restarted_once(said):
    boots = said("cat /var/lib/boots").split()
    assert len(boots) == 2
    assert boots[1] == said("cat /proc/sys/kernel/random/boot_id").strip()
    assert json.loads(said("cat /var/lib/misc/openlsp-pi_boot.json"))["boot_id"] == boots[0]


def test_every_setting_is_in_force(said):
    names = list(DEFAULTS["pi_boot_sysctls"])
    assert said(f"cat {' '.join('/proc/sys/' + name.replace('.', '/') for name in names)}").split() == [
        str(DEFAULTS["pi_boot_sysctls"][name]) for name in names]


def test_every_module_is_loaded(said):
    loaded = {line.split()[0] for line in said("cat /proc/modules").splitlines()}
    assert set(DEFAULTS["pi_boot_modules"]) <= loaded


def test_the_clock_is_kept(said):
    assert "NTP=yes\nNTPSynchronized=yes\n" in said("timedatectl show")


def test_the_journal_knows_its_limit(said):
    assert "SystemMaxUse=500M" in said("systemd-analyze cat-config systemd/journald.conf").splitlines()


def test_the_five_volumes_are_mounted(said):
    assert said("findmnt --noheadings --list --types btrfs --output TARGET | sort").split() == [
        "/home", "/srv/blockchain", "/srv/lightning", "/var/lib/containers", "/var/snap/microk8s"]


def test_a_machine_that_cannot_work_is_refused_with_every_reason_and_left_alone(roles, said):
    refused = roles("-e", "pi_boot_minimum_memory_mib=99999", "-e", '{"pi_boot_modules": ["nosuch"]}', "-e", "pi_boot_journal_mib=1")
    assert refused.returncode != 0
    assert "MiB of memory; take one with 8 GB" in refused.stdout
    assert "there is no module nosuch for its kernel" in refused.stdout
    assert "changed=0" in refused.stdout
    assert said("cat /etc/systemd/journald.conf.d/openlsp.conf") == "[Journal]\nSystemMaxUse=500M\n"


def test_what_needs_no_restart_is_in_force_without_one(roles, said):
    sysctls = {**DEFAULTS["pi_boot_sysctls"], "kernel.panic": 17}
    done = roles("-e", json.dumps({"pi_boot_watchdog_seconds": 15, "pi_boot_modules": [*DEFAULTS["pi_boot_modules"], "dummy"], "pi_boot_sysctls": sysctls}))
    assert done.returncode == 0, done.stdout
    assert said("cat /proc/sys/kernel/panic") == "17\n"
    assert "dummy" in said("ls /sys/module").split()
    assert said("systemctl show --property=RuntimeWatchdogUSec") == "RuntimeWatchdogUSec=15s\n"
    assert len(said("cat /var/lib/boots").split()) == 2
