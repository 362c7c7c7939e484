"""Five volumes with what was there before, made by a run that lost its power and one after it."""

from __future__ import annotations

import json
import pathlib

import disks
import pytest
from conftest import VOLUMES
from power_cut import MOMENTS, cut_power

DESCRIBE = (pathlib.Path(__file__).parents[1] / "files/describe.py").read_text()
MIB = 1 << 20


@pytest.fixture
def files(root):
    """What a directory holds, with everything that a file has."""
    def read(command: str) -> dict:
        root(f"cat > /run/describe.py <<'END'\n{DESCRIBE}\nEND")
        return json.loads(root(command))
    return read


def test_each_mount_is_the_mount(mounts):
    assert {path: each["source"] for path, each in mounts().items()} == {path: f"/dev/mapper/nvmedisk-{name}" for name, path in VOLUMES.items()}


def test_each_is_mounted_by_its_uuid_and_may_be_missing(root, mounts):
    lines = [line.split() for line in root("cat /etc/fstab").splitlines() if "btrfs" in line]
    assert {fields[1]: fields[0] for fields in lines} == {path: f"UUID={each['uuid']}" for path, each in mounts().items()}
    assert all({"nofail", "x-systemd.device-timeout=90s"} <= set(fields[3].split(",")) for fields in lines)


def test_free_space_is_told_to_the_disk_once_a_week_and_not_at_each_write(root, mounts):
    assert root("systemctl is-enabled fstrim.timer; systemctl is-active fstrim.timer").split() == ["enabled", "active"]
    assert not [path for path, each in mounts().items() if "discard" in each["options"]]


def test_services_wait_for_the_volumes(root):
    assert "local-fs.target" in root("systemctl show --property=Before srv-lightning.mount")


def test_home_lost_no_file(root, files):
    before = json.loads(root("cat /var/lib/home-before"))
    assert len(before) > 10
    assert files("python3 /run/describe.py /home") == before


def test_the_old_home_stays_underneath(root, files):
    before = json.loads(root("cat /var/lib/home-before"))
    assert files("unshare --mount sh -ec 'mount --bind / /mnt; python3 /run/describe.py /mnt/home'") == before


def test_no_mark_of_the_copy_is_left(root):
    assert root("ls -A /home") == "pi\n"


@pytest.mark.parametrize("path", ["/srv/lightning/lnd", "/srv/blockchain/bitcoind"])
def test_the_directory_of_a_pod_belongs_to_it_alone(root, path):
    assert root(f"stat --format '%u:%g %a' {path}") == "1000:1000 700\n"


def test_a_volume_grows_while_it_is_in_use(root, mounts, settled):
    root("echo before > /srv/blockchain/bitcoind/block; sleep infinity > /dev/null 2>&1 < /srv/blockchain/bitcoind/block & echo $! > /run/reader")
    larger = ("-e", '{"test_sizes": {"home": "768MiB", "blockchain": "rest"}}')
    assert settled(*larger).changed == 2
    sizes = {path: int(each["size"]) for path, each in mounts().items()}
    assert sizes["/home"] == 768 * MIB
    assert sizes["/srv/blockchain"] > 4096 * MIB
    seen = root("cat /srv/blockchain/bitcoind/block; kill $(cat /run/reader); vgs --noheadings --options vg_free --units b nvmedisk")
    assert seen.split() == ["before", "0B"]
    assert settled(*larger).changed == 0


def test_a_smaller_size_changes_nothing(settled):
    assert settled("-e", '{"test_sizes": {"home": "300MiB", "blockchain": "1GiB"}}').changed == 0


def test_a_link_that_moved_is_refused_and_its_disk_stays_as_it_was(vm, root, role, tmp_path):
    disk = disks.make(tmp_path / "moved")
    vm.attach(disk, "moved")
    root(f"until [ -e {disks.link('moved')} ]; do sleep 0.5; done")
    refusal = role("-e", f"test_disk={disks.link('moved')}", "-e", "test_serial=moved").refusal()
    vm.detach("moved")
    assert "it is not the data disk, and the volume group nvmedisk is on /dev/nvme0n1 (serial number OPENLSPDATA); the link has moved" in refusal
    assert not any(disk.read_bytes())


@pytest.fixture
def bare(vm):
    """A machine that has never run, with a blank disk."""
    vm.destroy()
    vm.create()
    vm.start()
    yield vm
    vm.destroy()


@pytest.mark.long
def test_a_new_system_takes_over_the_volumes(bare, root, settled, mounts):
    settled()
    # Without its key nobody gets in to switch it off afterwards.
    root("echo kept > /srv/lightning/lnd/wallet; echo old > /home/pi/.profile; : > /home/pi/.ssh/authorized_keys; systemctl poweroff --no-block")
    bare.wait_until_off()
    data = bare.data.rename(bare.state.parent / "data-of-an-earlier-installation")
    bare.destroy()
    bare.create()
    data.rename(bare.data)
    bare.start()
    settled()
    assert set(mounts()) == set(VOLUMES.values())
    assert root("cat /srv/lightning/lnd/wallet /home/pi/.profile") == "kept\nold\n"
    assert settled().changed == 0


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
def test_run_after_a_power_cut_ends_well(bare, settled, mounts, files, moment):
    before = files("python3 /run/describe.py /home")
    cut_power(bare, moment)
    settled()
    assert set(mounts()) == set(VOLUMES.values())
    assert files("python3 /run/describe.py /home") == before
    assert settled().changed == 0
