"""Disks as a machine's tools describe them, and what is done to them: refused with a reason, kept, made, grown."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _disk_layout
from ansible_collections.openlsp.node.plugins.module_utils._disk_layout import (
    EXTENT, GROUP, MIB, Found, Group, Layout, LogicalVolume, Mount, Place, Volume, btrfs_size, bytes_of, devices, labelled_group, mistakes, plan, readable,
    variable_mistakes)

GIB = 1 << 30
LINK = "/dev/disk/by-id/nvme-QEMU_DATA"
SERIAL = "DATA"
OPTIONS = "noatime,nofail"

HOME = Volume("home", "/home", "1GiB", copy=True)
MICROK8S = Volume("microk8s", "/var/snap/microk8s", "10%")
LIGHTNING = Volume("lightning", "/srv/lightning", "512MiB", directory="lnd")
CHAIN = Volume("blockchain", "/srv/blockchain", "rest", directory="bitcoind")
WANTED = Layout(LINK, "", (HOME, MICROK8S, LIGHTNING, CHAIN), OPTIONS)
CONFIRMED = replace(WANTED, confirmed=SERIAL)


# --- a machine, as its tools describe it ---------------------------------------------------------------------------

def node(path, kind="disk", size=8 * GIB, children=(), **more):
    """A line of lsblk."""
    return {"path": path, "type": kind, "size": size, "fstype": None, "serial": None, "ro": False, "mountpoints": [None], "children": list(children), **more}


CARD = node("/dev/mmcblk0", size=64 * GIB, serial="0x1234", children=[
    node("/dev/mmcblk0p1", "part", fstype="vfat", mountpoints=["/boot/firmware"]), node("/dev/mmcblk0p2", "part", fstype="ext4", mountpoints=["/"])])


def machine(disk=None, others=(CARD,), **more):
    """A Pi that runs from a card and has a disk, which is blank unless the case says otherwise."""
    nodes = [*others, *([disk] if disk else [])]
    facts = {"target": disk["path"] if disk else None, "devices": devices({"blockdevices": nodes}), "mounts": {"/": Mount("/dev/mmcblk0p2", 60 * GIB)},
             "places": {"/home": Place("directory", ("pi",), used=MIB)}, "trim": True}
    return Found(**{**facts, **more})


def blank(**more):
    return node("/dev/nvme0n1", **{"serial": SERIAL, **more})


def part(number=1, **more):
    return node(f"/dev/nvme0n1p{number}", "part", GIB, **more)


BLANK = machine(blank())


def volumes(**changed):
    """Our volumes as they are made on 8 GiB, with changes: a number is another size, None is a volume that is not there."""
    sizes = {"home": GIB, "microk8s": 816 * MIB, "lightning": 512 * MIB, "blockchain": 5836 * MIB}
    found = {name: LogicalVolume(size, filled=size, signatures=("btrfs",), uuid=f"uuid-{name}") for name, size in sizes.items()}
    for name, change in changed.items():
        found[name] = replace(found[name], size=change, filled=change) if isinstance(change, int) else change
    return {name: volume for name, volume in found.items() if volume}


def lines(**uuids):
    """The lines of our volumes in /etc/fstab."""
    return [f"UUID={uuids.get(each.name, f'uuid-{each.name}')} {each.mount} btrfs {OPTIONS} 0 0" for each in WANTED.volumes]


def fstab(*entries):
    """/etc/fstab with our block."""
    return "\n".join(["LABEL=writable / ext4 defaults 0 1", "# BEGIN openlsp.node disk_layout", *entries, "# END openlsp.node disk_layout", ""])


def set_up(free=0, group=None, disk=None, **more):
    """A machine on which the role has run."""
    found = volumes() if group is None else group
    disk = disk or blank(fstype="LVM2_member")
    mounts = {"/": Mount("/dev/mmcblk0p2", 60 * GIB),
              **{each.mount: Mount(each.source, found[each.name].size) for each in WANTED.volumes if each.name in found}}
    facts = {"labels": {disk["path"]: GROUP}, "group": Group(8188 * MIB, free, volumes=found), "mounts": mounts, "places": {}, "fstab": fstab(*lines()),
             "owners": {"/srv/lightning/lnd": 1000, "/srv/blockchain/bitcoind": 1000}}
    return machine(disk, **{**facts, **more})


def new_system(**more):
    """A freshly imaged system beside a disk of an earlier installation."""
    return set_up(**{"mounts": BLANK.mounts, "places": BLANK.places, "fstab": "", "owners": {}, **more})


def after(step, **more):
    """A machine whose power failed in the first run, by what had been done until then."""
    raw = {name: replace(volume, signatures=(), uuid="") for name, volume in volumes().items()}
    stages = {
        "pvcreate": lambda: replace(BLANK, signatures=("LVM2_member",), labels={"/dev/nvme0n1": ""}, zeros=False),
        "vgcreate": lambda: new_system(group={}, free=8188 * MIB),
        "two volumes": lambda: new_system(group={name: raw[name] for name in ("home", "microk8s")}, free=6348 * MIB),
        "all volumes": lambda: new_system(group=raw),
        "one file system": lambda: new_system(group={**raw, "home": volumes()["home"]}),
        "all file systems": new_system,
        "fstab": lambda: new_system(fstab=fstab(*lines())),
        "mount of home": lambda: new_system(fstab=fstab(*lines()), places={}, mounts={**BLANK.mounts, "/home": Mount(HOME.source, GIB)}),
    }
    return replace(stages[step](), **more)


def short(steps):
    """Steps as the tables below write them: kind and what it is done to."""
    return [f"{step.do} {step.on}" for step in steps]


FORMATS = [f"format {each.device}" for each in WANTED.volumes]
POINTS = ["point /var/snap/microk8s", "point /srv/lightning", "point /srv/blockchain"]
SEALS = [*POINTS, "seal /var/snap/microk8s", "seal /srv/lightning", "seal /srv/blockchain"]
MOUNTS = [f"mount {each.mount}" for each in WANTED.volumes]
DIRECTORIES = ["directory /srv/lightning/lnd", "directory /srv/blockchain/bitcoind"]
CREATES = ["create home", "create microk8s", "create lightning", "create blockchain"]
FROM_FORMATS_ON = [*FORMATS, *SEALS, "migrate /home", "fstab /etc/fstab", *MOUNTS, *DIRECTORIES]


# --- what is refused -----------------------------------------------------------------------------------------------

# Never, whatever the operator confirms: what is found, and a part of the reason.
NEVER = {
    "no-such-disk": (machine(), "there is no such disk"),
    "no-such-disk-but-others": (machine(candidates=("/dev/disk/by-id/usb-Other",)), "there are: /dev/disk/by-id/usb-Other"),
    "gone-and-our-volumes-elsewhere": (
        machine(others=(CARD, node("/dev/sda", serial="OTHER")), labels={"/dev/sda": GROUP}), "nvmedisk is on /dev/sda (serial number OTHER)"),
    "link-to-a-partition": (machine(blank(children=[part()]), target="/dev/nvme0n1p1"), "leads to /dev/nvme0n1p1, which is no whole disk but of type part"),
    "link-to-a-loop-device": (machine(node("/dev/loop0", "loop")), "which is no whole disk but of type loop"),
    "link-to-a-cd": (machine(node("/dev/sr0", "rom")), "which is no whole disk but of type rom"),
    "link-to-a-volume": (machine(node("/dev/mapper/x-y", "lvm")), "which is no whole disk but of type lvm"),
    "link-to-a-raid": (machine(node("/dev/md0", "raid1")), "which is no whole disk but of type raid1"),
    "link-to-a-file": (machine(blank(), target="/etc/passwd"), "leads to /etc/passwd, which is no whole disk;"),
    "sd-card-that-lsblk-does-not-know": (machine(blank(), target="/dev/mmcblk9"), "it is an SD card"),
    "sd-card": (machine(node("/dev/mmcblk1", serial=SERIAL)), "it is an SD card"),
    "the-system-s-card": (machine(CARD, others=()), "it is an SD card"),
    "the-system-s-disk": (machine(blank(children=[part(mountpoints=["/"])])), "the system itself is on it"),
    "the-system-on-a-volume": (
        machine(blank(children=[part(children=[node("/dev/mapper/ubuntu-root", "lvm", mountpoints=["/"])])])), "the system itself is on it"),
    "the-system-beside-our-volumes": (
        set_up(disk=blank(children=[part(mountpoints=["/"]), part(2)]), labels={"/dev/nvme0n1p2": GROUP}), "the system itself is on it"),
    "mounted": (machine(blank(mountpoints=["/mnt"])), "it is in use at /mnt"),
    "mounted-partition": (machine(blank(children=[part(), part(2, mountpoints=["/mnt", "/srv"])])), "it is in use at /mnt, /srv"),
    "swap-in-use": (machine(blank(mountpoints=["[SWAP]"])), "it is in use at [SWAP]"),
    "raid-that-runs": (machine(blank(children=[node("/dev/md0", "raid1")])), "it is in use by /dev/md0 (raid1)"),
    "luks-that-is-open": (machine(blank(children=[part(children=[node("/dev/mapper/vault", "crypt")])])), "it is in use by /dev/mapper/vault (crypt)"),
    "another-group-that-is-active": (
        machine(blank(children=[node("/dev/mapper/other-data", "lvm")]), labels={"/dev/nvme0n1": "other"}), "in use by /dev/mapper/other-data (lvm)"),
    "held-by-the-kernel": (machine(blank(), busy=True), "it is in use by the kernel or a program"),
    "read-only": (machine(blank(ro=True)), "it is read-only"),
    "read-only-in-older-lsblk": (machine(blank(ro="1")), "it is read-only"),
    "too-small": (machine(blank(size=GIB)), "it is too small: the volumes need"),
    "link-that-moved": (
        machine(blank(), others=(CARD, node("/dev/sda", serial="OTHER")), labels={"/dev/sda": GROUP}),
        "it is not the data disk, and the volume group nvmedisk is on /dev/sda (serial number OTHER); the link has moved"),
    "our-volumes-on-a-partition-elsewhere": (
        machine(blank(), others=(CARD, node("/dev/sda", children=[node("/dev/sda1", "part")])), labels={"/dev/sda1": GROUP}), "it is not the data disk"),
    "our-volumes-twice": (
        machine(blank(), others=(CARD, node("/dev/sda")), labels={"/dev/sda": GROUP, "/dev/nvme0n1": GROUP}), "nvmedisk is also on /dev/sda"),
    "half-of-our-volumes": (set_up(group={}, free=0, labels={"/dev/nvme0n1": GROUP}), "are missing"),
    "a-missing-second-disk": (replace(set_up(), group=Group(8 * GIB, 0, missing=1)), "and on 1 more that is not there"),
    "our-volumes-unreadable": (replace(set_up(), group=None), "LVM cannot read it"),
    # Where the disk itself is in order.
    "mount-point-not-empty": (replace(BLANK, places={"/srv/lightning": Place("directory", ("wallet.db",))}), "/srv/lightning is not empty (wallet.db)"),
    "mount-point-is-a-link": (replace(BLANK, places={"/srv/lightning": Place("other")}), "/srv/lightning is no directory, or is reached by a symbolic link"),
    "something-else-mounted": (
        replace(BLANK, mounts={"/srv/lightning": Mount("/dev/sdb1", GIB)}), "/srv/lightning is mounted from /dev/sdb1 in place of /dev/nvmedisk/lightning"),
    "something-mounted-below": (replace(BLANK, mounts={"/home/pi/stick": Mount("/dev/sdb1", GIB)}), "/home/pi/stick is mounted below /home"),
    "home-too-large": (replace(BLANK, places={"/home": Place("directory", ("pi",), used=3 * GIB)}), "/home holds 3 GiB, more than 1GiB"),
    "fstab-of-somebody-else": (
        replace(BLANK, fstab="LABEL=x / ext4 defaults\n/dev/sdb1 /srv/lightning/ ext4 defaults\n"), "line 2 of /etc/fstab mounts /dev/sdb1 at /srv/lightning"),
    "fstab-of-a-disk-that-is-gone": (replace(BLANK, fstab=fstab(*lines())), "/etc/fstab knows another file system for /srv/lightning, UUID=uuid-lightning"),
    "fstab-of-another-disk": (new_system(fstab=fstab(*lines(lightning="old"))), "knows another file system for /srv/lightning, UUID=old"),
    "fstab-with-half-of-our-marks": (set_up(fstab=fstab(*lines()).replace("# END openlsp.node disk_layout\n", "")), "are no longer one pair"),
    "mounted-read-only": (
        set_up(mounts={**set_up().mounts, "/srv/lightning": Mount(LIGHTNING.source, 512 * MIB, read_only=True)}), "/srv/lightning is read-only"),
    "volume-with-another-file-system": (
        set_up(group=volumes(home=LogicalVolume(GIB, signatures=("ext4",), uuid="x"))), "/dev/nvmedisk/home holds ext4 in place of btrfs"),
    "volume-with-a-broken-superblock": (
        set_up(group=volumes(blockchain=LogicalVolume(GIB, remains=True))), "/dev/nvmedisk/blockchain held a btrfs whose superblock is broken"),
    "no-room-to-grow": (set_up(group=volumes(home=512 * MIB)), "512 MiB are missing: home: grow from 512 MiB to 1 GiB, and 0 MiB are free"),
    "no-room-for-a-new-volume": (set_up(free=100 * MIB, group=volumes(lightning=None)), "412 MiB are missing: lightning: make a volume of 512 MiB"),
    "no-room-for-the-rest": (set_up(free=100 * MIB, group=volumes(blockchain=None)), "156 MiB are missing"),
    "too-few-percent": (machine(blank(size=2400 * MIB), places={}), "microk8s: 10% of 2.3 GiB is too little for btrfs"),
}


@pytest.mark.parametrize("wanted", [WANTED, CONFIRMED], ids=["as-it-is", "confirmed"])
@pytest.mark.parametrize("found, reason", NEVER.values(), ids=NEVER)
def test_is_refused_whatever_is_confirmed(wanted, found, reason):
    complaints = mistakes(wanted, found)
    assert [each for each in complaints if reason in each], complaints


# Unless its serial number is confirmed: signatures of the disk, its partitions, and how the content is called.
CONTENT = {
    "file-system": (("ext4",), [], "ext4"),
    "fat": (("vfat",), [], "vfat"),
    "btrfs": (("btrfs",), [], "btrfs"),
    "swap": (("swap",), [], "swap"),
    "luks": (("crypto_LUKS",), [], "crypto_LUKS"),
    "raid-member": (("linux_raid_member",), [], "linux_raid_member"),
    "zfs-member": (("zfs_member",) * 20, [], "zfs_member)"),
    "physical-volume": (("LVM2_member",), [], "LVM2_member)"),
    "member-of-another-group": (("LVM2_member",), [], "LVM2_member of the volume group other"),
    "empty-partition-table": (("gpt", "PMBR"), [], "gpt, PMBR"),
    "old-partition-table": (("dos",), [part()], "dos, partition /dev/nvme0n1p1"),
    "partition-with-a-file-system": (("gpt",), [part(fstype="ntfs"), part(2)], "gpt, partition /dev/nvme0n1p1 with ntfs, partition /dev/nvme0n1p2"),
    "partition-of-another-group": (("gpt",), [part(fstype="LVM2_member")], "partition /dev/nvme0n1p1 with LVM2_member"),
    "partition-that-no-signature-shows": ((), [part()], "partition /dev/nvme0n1p1"),
    "physical-volume-of-no-group-with-a-partition": (("LVM2_member",), [part()], "LVM2_member, partition /dev/nvme0n1p1"),
    "two-signatures": (("ext4", "linux_raid_member"), [], "ext4, linux_raid_member"),
    "unknown-data": ((), [], "data of an unknown kind"),
}
LABELS = {"physical-volume-of-no-group-with-a-partition": {"/dev/nvme0n1": ""},
          "member-of-another-group": {"/dev/nvme0n1": "other"}, "physical-volume": {"/dev/nvme0n1": None},
          "partition-of-another-group": {"/dev/nvme0n1p1": "other"}}


def with_content(case, **more):
    signatures, parts, _name = CONTENT[case]
    return machine(blank(children=parts, **more), signatures=signatures, zeros=False, labels=LABELS.get(case, {}))


@pytest.mark.parametrize("case", CONTENT)
def test_a_disk_that_is_not_empty_is_refused_by_what_is_on_it(case):
    complaint, = mistakes(WANTED, with_content(case))
    assert complaint.startswith(f"disk_layout_disk: {LINK} (/dev/nvme0n1, 8 GiB, serial number {SERIAL}): it is not empty (")
    assert CONTENT[case][2] in complaint
    assert complaint.endswith(f"set disk_layout_confirm_serial to {SERIAL}")


@pytest.mark.parametrize("case", CONTENT)
def test_and_is_emptied_when_its_serial_number_is_confirmed(case):
    found = with_content(case)
    assert mistakes(CONFIRMED, found) == []
    parts = [f"wipe {each['path']}" for each in CONTENT[case][1]]
    assert short(plan(CONFIRMED, found))[:len(parts) + 2] == [*parts, "wipe /dev/nvme0n1", f"group {GROUP}"]


@pytest.mark.parametrize("serial", ["OTHER", "data", "DAT", "DATA2"])
@pytest.mark.parametrize("found", [BLANK, with_content("file-system"), set_up()], ids=["blank", "not-empty", "set-up"])
def test_another_serial_number_is_refused(serial, found):
    complaint, = mistakes(replace(WANTED, confirmed=serial), found)
    assert f"disk_layout_confirm_serial is {serial}, which is another disk" in complaint


def test_a_disk_without_serial_number_cannot_be_confirmed():
    found = with_content("file-system", serial=None)
    complaint, = mistakes(WANTED, found)
    assert "has no serial number to confirm it by" in complaint
    assert mistakes(CONFIRMED, found)


def test_every_mistake_of_a_volume_is_told_at_once():
    found = replace(BLANK, places={"/srv/lightning": Place("directory", ("a",)), "/srv/blockchain": Place("directory", ("b",))})
    assert len(mistakes(WANTED, found)) == 2


# --- what is done --------------------------------------------------------------------------------------------------

def test_a_blank_disk_becomes_five_volumes():
    found = replace(BLANK, missing=("lvm2", "btrfs-progs"), trim=False)
    assert mistakes(WANTED, found) == []
    assert short(plan(WANTED, found)) == [
        "install lvm2", "install btrfs-progs", f"group {GROUP}", *CREATES, *FORMATS, *SEALS, "migrate /home", "fstab /etc/fstab", "trim fstrim.timer",
        *MOUNTS, *DIRECTORIES]


def test_an_interrupted_installation_is_finished_first():
    assert short(plan(WANTED, replace(BLANK, missing=("lvm2",), interrupted=True)))[:2] == ["repair dpkg", "install lvm2"]
    assert plan(WANTED, set_up(interrupted=True)) == []


def test_sizes_are_whole_extents_and_the_rest_comes_last():
    layout = replace(WANTED, volumes=(CHAIN, HOME, MICROK8S, replace(LIGHTNING, size="301MiB")))
    sizes = {step.on: step.value for step in plan(layout, BLANK) if step.do == "create"}
    assert list(sizes) == ["home", "microk8s", "lightning", "blockchain"]
    assert sizes == {"home": "1024m", "microk8s": "816m", "lightning": "304m", "blockchain": "100%FREE"}


@pytest.mark.parametrize("wanted", [WANTED, CONFIRMED], ids=["as-it-is", "confirmed"])
def test_a_second_run_does_nothing(wanted):
    assert mistakes(wanted, set_up()) == []
    assert plan(wanted, set_up()) == []


@pytest.mark.parametrize("wanted", [WANTED, CONFIRMED], ids=["as-it-is", "confirmed"])
@pytest.mark.parametrize("found", [
    new_system(), new_system(group=None, missing=("lvm2",)),
    new_system(disk=blank(children=[part(fstype="LVM2_member")]), labels={"/dev/nvme0n1p1": GROUP}),
], ids=["with-lvm2", "without-lvm2", "on-a-partition"])
def test_an_earlier_installation_is_kept_even_where_its_disk_is_confirmed(wanted, found):
    assert mistakes(wanted, found) == []
    assert not {step.do for step in plan(wanted, found)} & {"wipe", "group", "create", "format"}


def test_an_earlier_installation_is_announced_before_lvm2_is_there():
    found = replace(new_system(), group=None, missing=("lvm2", "rsync"))
    assert [step.says for step in plan(WANTED, found)] == [
        "install lvm2; the volume group nvmedisk of an earlier installation is on the disk and will be taken over", "install rsync"]


def test_an_earlier_installation_is_activated_before_more_can_be_known():
    idle = {name: LogicalVolume(volume.size, active=False) for name, volume in volumes().items()}
    assert mistakes(WANTED, new_system(group=idle)) == []
    assert short(plan(WANTED, new_system(group=idle))) == ["activate nvmedisk"]
    assert mistakes(WANTED, new_system(group=idle, fstab=fstab(*lines()))) == []


RESUMED = {
    "pvcreate": [f"group {GROUP}", *CREATES, *FROM_FORMATS_ON],
    "vgcreate": [*CREATES, *FROM_FORMATS_ON],
    "two volumes": ["create lightning", "create blockchain", *FROM_FORMATS_ON],
    "all volumes": FROM_FORMATS_ON,
    "one file system": [*FORMATS[1:], *SEALS, "migrate /home", "fstab /etc/fstab", *MOUNTS, *DIRECTORIES],
    "all file systems": [*SEALS, "migrate /home", "fstab /etc/fstab", *MOUNTS, *DIRECTORIES],
    # The line of /home is written when the copy is complete.
    "fstab": [*SEALS, *MOUNTS, *DIRECTORIES],
    "mount of home": [*SEALS, *MOUNTS[1:], *DIRECTORIES],
}


@pytest.mark.parametrize("stage", RESUMED)
def test_after_a_power_cut_the_rest_is_done(stage):
    found = after(stage)
    assert mistakes(WANTED, found) == []
    assert short(plan(WANTED, found)) == RESUMED[stage]


def test_a_power_cut_between_a_volume_and_its_file_system_is_made_good():
    mounted = set_up(mounts={**set_up().mounts, "/home": Mount(HOME.source, 512 * MIB)})
    assert short(plan(WANTED, mounted)) == ["resize /dev/nvmedisk/home"]
    unmounted = after("fstab", group=Group(8188 * MIB, 0, volumes=volumes(home=replace(volumes()["home"], filled=512 * MIB))))
    assert [step for step in short(plan(WANTED, unmounted)) if "resize" in step] == ["resize /dev/nvmedisk/home"]


def test_sealed_mount_points_are_not_sealed_again():
    sealed = {each.mount: Place("directory", sealed=True) for each in WANTED.volumes[1:]}
    found = after("all file systems", places={**BLANK.places, **sealed})
    assert not {step.do for step in plan(WANTED, found)} & {"point", "seal"}


def test_an_empty_home_needs_no_copy_but_a_seal():
    steps = short(plan(WANTED, replace(BLANK, places={"/home": Place("directory")})))
    assert "seal /home" in steps
    assert "migrate /home" not in steps


# What a volume has, what is free, what is wanted of it, and the step that follows.
GROWTH = {
    "larger": ("home", 512, 4096, ["grow home 1024m", "resize /dev/nvmedisk/home", "grow blockchain +100%FREE", "resize /dev/nvmedisk/blockchain"]),
    "rounded": ("home", 1020, 0, []),
    "2-percent": ("home", 1004, 0, []),
    "more-than-2-percent": ("home", 1000, 24, ["grow home 1024m", "resize /dev/nvmedisk/home"]),
    "smaller-than-it-is": ("home", 4096, 0, []),
    "percent": ("microk8s", 400, 416, ["grow microk8s 816m", "resize /dev/nvmedisk/microk8s"]),
    "percent-rounded": ("microk8s", 812, 4, []),
    "rest": ("blockchain", 1024, 4096, ["grow blockchain +100%FREE", "resize /dev/nvmedisk/blockchain"]),
    "rest-less-than-an-extent": ("blockchain", 100, 2, []),
    "rest-rounded": ("blockchain", 5836, 100, []),
}


@pytest.mark.parametrize("name, has, free, steps", GROWTH.values(), ids=GROWTH)
def test_volumes_grow_and_never_shrink(name, has, free, steps):
    found = set_up(group=volumes(**{name: has * MIB}), free=free * MIB)
    assert mistakes(WANTED, found) == []
    done = [" ".join(filter(None, (step.do, step.on, step.value))) for step in plan(WANTED, found)]
    assert sorted(done) == sorted(steps)


def test_a_volume_of_somebody_else_in_the_group_is_left_alone():
    assert plan(WANTED, set_up(group={**volumes(), "backup": LogicalVolume(GIB, active=False)})) == []


def test_a_volume_that_left_the_inventory_stays_mounted():
    fewer = replace(WANTED, volumes=(HOME, MICROK8S, CHAIN))
    assert mistakes(fewer, set_up()) == []
    steps = plan(fewer, set_up())
    assert short(steps) == ["fstab /etc/fstab"]
    home, microk8s, lightning, chain = lines()
    assert steps[0].value == fstab(home, microk8s, chain, lightning)
    assert plan(fewer, set_up(fstab=steps[0].value)) == []


def test_changed_options_are_written_to_fstab():
    found = set_up(fstab=fstab(*(line.replace("noatime", "relatime") for line in lines())))
    step, = plan(WANTED, found)
    assert (step.do, step.value) == ("fstab", fstab(*lines()))


@pytest.mark.parametrize("before, after", [
    ("", ""), ("# mine", "# mine\n"), ("a / ext4\n\n# b\n", "a / ext4\n\n# b\n"),
], ids=["empty", "without-newline", "others"])
def test_other_lines_of_fstab_stay(before, after):
    found = new_system(fstab=before)
    step = next(step for step in plan(WANTED, found) if step.do == "fstab")
    assert step.value.partition("# BEGIN openlsp")[0] == after
    assert step.value.endswith(fstab(*lines()).partition("0 1\n")[2])


@pytest.mark.parametrize("owners", [{}, {"/srv/lightning/lnd": 0}], ids=["missing", "root-s"])
def test_the_directory_of_a_pod_belongs_to_it(owners):
    assert short(plan(WANTED, set_up(owners={"/srv/blockchain/bitcoind": 1000, **owners}))) == ["directory /srv/lightning/lnd"]


def test_what_is_mounted_last_counts():
    answer = {"filesystems": [{"target": "/home", "source": "/dev/sda1", "size": "10", "options": "rw"},
                              {"target": "/home", "source": HOME.source, "size": None, "options": "ro,noatime"}]}
    assert _disk_layout.mounts(answer) == {"/home": Mount(HOME.source, 0, read_only=True)}


def test_mounts_are_named_as_systemd_names_them():
    assert [each.unit for each in (*WANTED.volumes, Volume("a", "/srv/my-data", ""))] == [
        "home.mount", "var-snap-microk8s.mount", "srv-lightning.mount", "srv-blockchain.mount", r"srv-my\x2ddata.mount"]


# --- what is read from a device: the superblock of btrfs, the label of LVM ------------------------------------------

SUPERBLOCK = bytes(64) + b"_BHRfS_M" + bytes(40) + struct.pack("<Q", GIB)


@pytest.mark.parametrize("superblocks, expected", [
    ({64 << 10: SUPERBLOCK, 64 << 20: SUPERBLOCK}, (GIB, False)),
    ({64 << 10: SUPERBLOCK.replace(b"_BHRfS_M", b"!BHRfS_M")}, (0, False)),
    ({64 << 20: SUPERBLOCK}, (0, True)),
    ({256 << 30: SUPERBLOCK}, (0, True)),
    ({}, (0, False)),
], ids=["whole", "being-made", "first-copy", "second-copy", "none"])
def test_the_size_of_a_btrfs_is_in_its_superblock(superblocks, expected):
    assert btrfs_size(lambda offset, length: superblocks.get(offset, b"")[:length]) == expected


AREA = 4096  # where the metadata area of the tests begins


def label(name=b"nvmedisk", used=1, areas=1, magic=b" LVM2 x[5A%r0N*>", sector=1, at=512, length=MIB):
    """A device with the label that pvcreate and vgcreate write."""
    pairs = [(MIB, 0), (0, 0), *[(AREA, length)] * areas, (0, 0)]
    header = b"u" * 32 + struct.pack("<Q", 8 * GIB) + b"".join(struct.pack("<QQ", *pair) for pair in pairs) + struct.pack("<II", 2, used)
    image = bytearray(AREA + length + 512)
    image[sector * 512:sector * 512 + 32 + len(header)] = b"LABELONE" + struct.pack("<QII", sector, 0, 32) + b"LVM2 001" + header
    location = struct.pack("<QQII", at, 2000, 0, 0) if name else bytes(24)
    image[AREA:AREA + 64] = bytes(4) + magic + struct.pack("<IQQ", 1, AREA, length) + location
    metadata = (name or b"") + b' {\nid = "x"\nextent_size = 8192\n' + b"#" * 400
    head = metadata[:length - at]
    image[AREA + at:AREA + at + len(head)] = head
    image[AREA + 512:AREA + 512 + len(metadata) - len(head)] = metadata[len(head):]
    return bytes(image)


LABELLED = {
    "ours": (label(), "nvmedisk"),
    "another": (label(b"other-1.x"), "other-1.x"),
    "in-the-fourth-sector": (label(sector=3), "nvmedisk"),
    "metadata-written-often": (label(at=40960), "nvmedisk"),
    "name-broken-by-the-end-of-the-ring": (label(at=MIB - 3), "nvmedisk"),
    "no-group-yet": (label(None, used=0), ""),
    "metadata-ignored": (label(None, used=1), None),
    "no-metadata-area": (label(areas=0), None),
    "broken-metadata-area": (label(magic=b"?" * 16), None),
    "broken-metadata": (label(b"\xff\xff"), None),
    "no-label": (bytes(MIB), None),
    "too-short": (b"", None),
    "cut-off": (b"LABELONE" + struct.pack("<QII", 0, 0, 400) + b"LVM2 001" + bytes(480), None),
}


@pytest.mark.parametrize("image, name", LABELLED.values(), ids=LABELLED)
def test_the_volume_group_is_read_from_the_label(image, name):
    assert labelled_group(lambda offset, length: image[offset:offset + length]) == name


# --- the variables themselves --------------------------------------------------------------------------------------

def variables(*chosen, disk=LINK, serial=""):
    return {"disk_layout_disk": disk, "disk_layout_confirm_serial": serial, "disk_layout_volumes": list(chosen)}


def volume(name="home", mount="/home", size="1GiB", **more):
    return {"name": name, "mount": mount, "size": size, **more}


GOOD = {
    "nothing": variables(disk=""),
    "usual": variables(volume(), volume("chain", "/srv/chain", "rest", directory="bitcoind", copy=None), serial="X"),
    "percent": variables(volume(size="60%"), volume("b", "/b", "40%")),
    "fraction": variables(volume(size="1.5TiB")),
    "similar-paths": variables(volume(mount="/srv/a"), volume("b", "/srv/ab")),
}


@pytest.mark.parametrize("values", GOOD.values(), ids=GOOD)
def test_good_variables_are_taken(values):
    assert list(variable_mistakes(values)) == []


WRONG = {
    "kernel-name": (variables(disk="/dev/sda"), "disk_layout_disk: /dev/sda may be another disk after the next start"),
    "by-uuid": (variables(disk="/dev/disk/by-uuid/x"), "name it by /dev/disk/by-id/"),
    "partition": (variables(disk=f"{LINK}-part1"), "is a partition; name the whole disk"),
    "serial-without-disk": (variables(disk="", serial="X"), "disk_layout_confirm_serial: it confirms a disk that is not named"),
    "no-unit": (variables(volume(size="32")), "home: '32' is no size such as 32GiB, 10% or rest"),
    "decimal-unit": (variables(volume(size="32GB")), "'32GB' is no size"),
    "negative": (variables(volume(size="-1GiB")), "'-1GiB' is no size"),
    "minus-everything": (variables(volume(size="100%FREE")), "'100%FREE' is no size"),
    "nothing-at-all": (variables(volume(size="0%")), "0% is no size"),
    "tiny": (variables(volume(size="100MiB")), "100MiB is too little for btrfs"),
    "more-than-all": (variables(volume(size="60%"), volume("b", "/b", "41%")), "the volumes want 101 % of the disk"),
    "two-rests": (variables(volume(size="rest"), volume("b", "/b", "rest")), "home and b both want the rest"),
    "same-name": (variables(volume(), volume(mount="/b")), "two volumes have the name home"),
    "same-mount": (variables(volume(), volume("b")), "two volumes have the mount /home"),
    "inside": (variables(volume(), volume("b", "/home/b")), "b: /home/b is inside of home's /home"),
    "relative": (variables(volume(mount="home")), "'home' is no absolute path"),
    "dots": (variables(volume(mount="/srv/../etc")), "'/srv/../etc' is no absolute path"),
    "slash-at-the-end": (variables(volume(mount="/home/")), "'/home/' is no absolute path"),
    "space": (variables(volume(mount="/my home")), "'/my home' is no absolute path"),
    "root": (variables(volume(mount="/")), "'/' is no absolute path"),
    "system": (variables(volume(mount="/usr")), "a volume at /usr would hide the system"),
    "bad-name": (variables(volume(name="my-home")), "'my-home' is no name"),
    "bad-directory": (variables(volume(directory="a/b")), "'a/b' is no name of a directory"),
    "directory-above": (variables(volume(directory="..")), "'..' is no name of a directory"),
}


@pytest.mark.parametrize("values, mistake", WRONG.values(), ids=WRONG)
def test_wrong_variables_are_named(values, mistake):
    found = list(variable_mistakes(values))
    assert len(found) == 1
    assert mistake in found[0]


@pytest.mark.parametrize("size, of, expected", [
    ("1MiB", 0, MIB), ("1.5GiB", 0, 3 * GIB // 2), ("2TiB", 0, 2048 * GIB), ("50%", 9 * EXTENT, 9 * EXTENT // 2), ("rest", GIB, None), ("x", GIB, None)])
def test_sizes_in_bytes(size, of, expected):
    assert bytes_of(size, of) == expected


@pytest.mark.parametrize("size, words", [(0, "0 MiB"), (MIB, "1 MiB"), (1536 * MIB, "1.5 GiB"), (1023 * GIB, "1023 GiB"), (2048 * GIB, "2 TiB")])
def test_sizes_in_words(size, words):
    assert readable(size) == words
