"""The data disk is gone: the system starts, nothing is written in its place, and no other disk is taken for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import disks
import pytest
import yaml
from conftest import VOLUMES
from disks import link

BY_ID = "/dev/disk/by-id/"


@pytest.fixture(scope="module", autouse=True)
def unplugged(vm):
    """The machine after a start without its disk."""
    vm.stop()
    vm.unplug()
    vm.start()


def test_the_system_starts_and_mounts_nothing(mounts, vm):
    assert vm.ssh("systemctl is-active ssh").stdout == "active\n"
    assert vm.ssh("findmnt --types btrfs").stdout == ""


def test_the_user_still_gets_in_by_his_old_home(root):
    assert "authorized_keys" in root("ls ~pi/.ssh")


@pytest.mark.parametrize("path", [path for path in VOLUMES.values() if path != "/home"])
def test_not_even_root_writes_to_an_empty_mount_point(vm, path):
    done = vm.ssh(f"sudo sh -c 'touch {path}/file; mkdir -p {path}/bitcoind/blocks; mkdir {path}/lnd; ls -A {path}'")
    assert done.stderr.count("Operation not permitted") == 3
    assert done.stdout == ""


# --- no other disk is taken for it ---------------------------------------------------------------------------------

@dataclass(frozen=True)
class Case:
    """A disk that must stay as it is.

    reason: what the role says, a regular expression; disk: what the inventory names in place of it; serial: what the operator confirms;
    use: what root does with it before.
    """

    reason: str
    content: str = ""
    disk: str = ""
    serial: str = ""
    use: str = ""


CASES = {
    **{content: Case(rf"it is not empty \(({called})\); to lose all that is on it, set disk_layout_confirm_serial to {content}$", content)
       for content, (_maker, called) in disks.CONTENTS.items()},
    "wrongserial": Case("disk_layout_confirm_serial is ELSE, which is another disk", serial="ELSE"),
    "wrongserialfull": Case("disk_layout_confirm_serial is ELSE, which is another disk", "ext4", serial="ELSE"),
    "small": Case("it is too small: the volumes need"),
    "mounted": Case("it is in use at /run/mounted", "ext4", serial="mounted", use="mkdir /run/mounted; mount -o ro,noload {0} /run/mounted"),
    "partmounted": Case("it is in use at /run/partmounted", "dosext4", serial="partmounted",
                        use="mkdir /run/partmounted; mount -o ro,noload {0}-part1 /run/partmounted"),
    "swapon": Case(r"it is in use at \[SWAP\]", "swap", serial="swapon", use="swapon {0}"),
    # As in a container, whose mounts nobody outside sees.
    "hidden": Case("it is in use by the kernel or a program", "ext4", serial="hidden",
                   use="systemd-run --quiet --property=PrivateMounts=yes sh -c \"mount -o ro,noload {0} /mnt && sleep infinity\";"
                       " until lsof=$(grep -l $(stat -L --format %Hr:%Lr {0}) /proc/[0-9]*/mountinfo 2>/dev/null); do sleep 0.5; done"),
    "mapped": Case("in use by /dev/mapper/held", serial="mapped", use="dmsetup create held --table \"0 2048 linear {0} 0\""),
    "readonly": Case("it is read-only", use="blockdev --setro {0}"),
    "nothere": Case("there is no such disk; there are: ", disk=f"{BY_ID}usb-Gone"),
    "partition": Case("is a partition; name the whole disk", disk=f"{link('dosext4')}-part1"),
    "partitionrenamed": Case("which is no whole disk but of type part", "dosext4", disk=f"{BY_ID}other-name",
                             use=f"ln -s {{0}}-part1 {BY_ID}other-name"),
    "kernelname": Case("/dev/sda may be another disk after the next start", disk="/dev/sda"),
    "system": Case("the system itself is on it", disk=f"{BY_ID}system", use=f"ln -s /dev/vda {BY_ID}system"),
    # The kernel of the machine has no driver for real ones.
    "card": Case("it is an SD card", "ext4", disk=f"{BY_ID}card",
                 use=f"mknod /dev/mmcblk1 b $(stat -L --format '%Hr %Lr' {{0}}); ln -s /dev/mmcblk1 {BY_ID}card"),
}


# What shows the same as another.
LONG = {"vfat", "swap", "iso", "raid", "gpt", "unknown", "wrongserialfull", "partmounted", "swapon", "readonly", "partitionrenamed"}


def digest(path) -> str:
    with path.open("rb") as disk:
        return hashlib.file_digest(disk, "sha256").hexdigest()


@pytest.fixture(scope="module")
def refusals(request, vm, root, role, tmp_path_factory, unplugged):
    """The cases that are asked for, as hosts of one run: what it says, and each disk's digest before and after."""
    cases = {item.callspec.params["name"]: CASES[item.callspec.params["name"]] for item in request.session.items if "refusals" in item.fixturenames}
    place = tmp_path_factory.mktemp("disks")
    paths = {name: disks.make(place / name, disks.CONTENTS[case.content][0] if case.content else None)
             for name, case in cases.items() if case.content or not case.disk}
    for name, path in paths.items():
        vm.attach(path, name)
    root(f"until [ $(ls {BY_ID} | grep -c 'HARDDISK_[a-z0-9]*$') = {len(paths)} ]; do sleep 1; done; udevadm settle --timeout=100")
    for name, case in cases.items():
        if case.use:
            root(case.use.format(link(name)))
    before = {name: digest(path) for name, path in paths.items()}
    hosts = {name: {"test_disk": case.disk or link(name), "test_serial": case.serial} for name, case in cases.items()}
    inventory = place / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"machines": {"children": {"cases": {"hosts": hosts}}}}))
    run = role("-i", str(inventory), "--limit", "cases", "--forks", "4")
    return run, before, {name: digest(path) for name, path in paths.items()}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in CASES])
def test_is_refused_and_stays_byte_for_byte_as_it_was(refusals, name):
    run, before, after = refusals
    assert re.search(CASES[name].reason, run.refusal(name)), run.refusal(name)
    assert after.get(name) == before.get(name)


# --- it is back ----------------------------------------------------------------------------------------------------

def test_the_disk_is_plugged_in_again_and_the_next_run_mounts_it(vm, root, mounts, settled):
    vm.plug()
    root(f"until [ -e {BY_ID}nvme-QEMU_NVMe_Ctrl_OPENLSPDATA -a -e /dev/nvmedisk/lightning ]; do sleep 1; done")
    settled()
    assert set(mounts()) == set(VOLUMES.values())
    assert "bitcoind" in root("ls /srv/blockchain")
