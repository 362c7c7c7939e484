# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the data disk is to become and what is on it, and the steps from one to the other. Pure; no input or output.

It fails closed: what is not known to be empty, or to be an earlier installation's, is not touched.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping

GROUP = "nvmedisk"
FILE_SYSTEM = "btrfs"
BY_ID = "/dev/disk/by-id/"
# What stands around our lines in /etc/fstab.
BEGIN, END = "# BEGIN openlsp.node disk_layout", "# END openlsp.node disk_layout"

KIB, MIB = 1 << 10, 1 << 20
UNITS = {"MiB": MIB, "GiB": MIB << 10, "TiB": MIB << 20}
EXTENT = 4 * MIB  # LVM's default
# What LVM keeps for itself in front of the first extent.
HEADER = MIB
# mkfs.btrfs refuses less than 110 MiB, and is of no use below this.
SMALLEST = 256 * MIB
# Sizes that differ by less count as equal: extents, and disks of "1 TB", are never what was asked for to the byte.
TOLERANCE = 0.02

# The user and group of the pods that keep their data on the volumes.
POD_USER = 1000

# Where a mount would hide the system itself.
SYSTEM_DIRECTORIES = ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var", "/var/lib")

# The steps, in the order in which they are taken. The role reads them as attributes: none may be a method of a dict, as copy is.
STEPS = ("repair", "install", "activate", "wipe", "group", "create", "grow", "format", "point", "seal", "migrate", "fstab", "trim", "mount", "resize",
         "directory")

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(MiB|GiB|TiB)")
_PERCENT = re.compile(r"([0-9]+)%")
_NAME = re.compile(r"[a-z][a-z0-9]{0,31}")


class LayoutError(Exception):
    """What keeps the disk from becoming what is wanted, in the operator's words."""


# --- what is wanted ------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Volume:
    """A logical volume with a file system.

    size: as the operator writes it; copy: what is in the mount point goes to the volume first;
    directory: one on the volume that belongs to the pods' user, empty for none.
    """

    name: str
    mount: str
    size: str
    copy: bool = False
    directory: str = ""

    @property
    def device(self) -> str:
        """The path of its device."""
        return f"/dev/{GROUP}/{self.name}"

    @property
    def source(self) -> str:
        """The same as the kernel calls it in its table of mounts."""
        return f"/dev/mapper/{GROUP}-{self.name}"

    @property
    def unit(self) -> str:
        """What systemd calls its mount, see systemd-escape(1)."""
        return self.mount[1:].replace("-", r"\x2d").replace("/", "-") + ".mount"


@dataclass(frozen=True)
class Layout:
    """What the operator wants. confirmed: the serial number of a disk whose content he gives up, empty for none."""

    disk: str
    confirmed: str
    volumes: tuple[Volume, ...]
    options: str


def layout(given: Mapping[str, Any]) -> Layout:
    """The layout from a module's arguments."""
    volumes = tuple(Volume(each["name"], each["mount"], str(each["size"]), each.get("copy") or False, each.get("directory") or "")
                    for each in given["volumes"])
    return Layout(given["disk"], given["confirm_serial"], volumes, given["options"])


# --- what is found -------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Device:
    """A block device as lsblk sees it, with those that are made of it."""

    path: str
    type: str
    size: int
    serial: str = ""
    file_system: str = ""
    mounts: tuple[str, ...] = ()
    read_only: bool = False
    parts: tuple[Device, ...] = ()

    def family(self) -> Iterator[Device]:
        """The device and everything that is made of it."""
        yield self
        for part in self.parts:
            yield from part.family()

    @property
    def mounted(self) -> list[str]:
        """Where it, or anything that is made of it, is mounted."""
        return [mount for each in self.family() for mount in each.mounts]


@dataclass(frozen=True)
class LogicalVolume:
    """A volume of the volume group. filled: bytes that its btrfs knows of; remains: a copy of a superblock is there, the superblock is not."""

    size: int
    filled: int = 0
    active: bool = True
    signatures: tuple[str, ...] = ()
    uuid: str = ""
    remains: bool = False


@dataclass(frozen=True)
class Group:
    """The volume group, sizes in bytes. missing: how many of its disks are not there."""

    size: int
    free: int
    extent: int = EXTENT
    missing: int = 0
    volumes: Mapping[str, LogicalVolume] = field(default_factory=dict)


@dataclass(frozen=True)
class Mount:
    """What is mounted, topmost, at a place; size of the file system in bytes."""

    source: str
    size: int
    read_only: bool = False


@dataclass(frozen=True)
class Place:
    """A directory while nothing is mounted there. used: bytes in it, where they are to be copied."""

    kind: str = "missing"  # or directory, or other: a symbolic link, a file
    entries: tuple[str, ...] = ()
    sealed: bool = False
    used: int = 0


@dataclass(frozen=True)
class Found:
    """The machine as it is.

    target: where the operator's link leads, None for nowhere; candidates: the links that lead to whole disks;
    labels: volume group by device that carries an LVM label, "" for none, None for one that cannot be read;
    signatures: of the operator's disk itself; zeros: its first mebibyte is empty; busy: the kernel holds it;
    group: None where there is none, or no lvm2 to ask; owners: user ids of the volumes' directories, by path;
    missing: packages that are not installed; interrupted: dpkg was stopped at its work; trim: whether fstrim.timer is enabled.
    """

    target: str | None
    devices: tuple[Device, ...] = ()
    candidates: tuple[str, ...] = ()
    labels: Mapping[str, str | None] = field(default_factory=dict)
    signatures: tuple[str, ...] = ()
    zeros: bool = True
    busy: bool = False
    group: Group | None = None
    mounts: Mapping[str, Mount] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    owners: Mapping[str, int] = field(default_factory=dict)
    fstab: str = ""
    missing: tuple[str, ...] = ()
    interrupted: bool = False
    trim: bool = True

    @property
    def disk(self) -> Device | None:
        """The device that the operator's link leads to."""
        return next((each for top in self.devices for each in top.family() if each.path == self.target), None)

    @property
    def carriers(self) -> list[Device]:
        """The disks that our volume group is on."""
        return [top for top in self.devices if any(self.labels.get(each.path) == GROUP for each in top.family())]


def devices(answer: Mapping[str, Any]) -> tuple[Device, ...]:
    """The devices from ``lsblk --json --bytes``; before util-linux 2.39 numbers and flags may come as text."""
    return tuple(_device(each) for each in answer["blockdevices"])


def _device(node: Mapping[str, Any]) -> Device:
    return Device(
        path=node["path"], type=node["type"], size=int(node["size"] or 0), serial=(node.get("serial") or "").strip(),
        file_system=node.get("fstype") or "", mounts=tuple(filter(None, node.get("mountpoints") or ())),
        read_only=node.get("ro") in (True, "1"), parts=tuple(map(_device, node.get("children", ()))))


def mounts(answer: Mapping[str, Any]) -> dict[str, Mount]:
    """What is mounted where, from ``findmnt --json --bytes --list``; the last one at a place hides those before it."""
    return {each["target"]: Mount(each["source"], int(each["size"] or 0), "ro" in each["options"].split(",")) for each in answer["filesystems"]}


def group(answer_of_vgs: Mapping[str, Any], answer_of_lvs: Mapping[str, Any]) -> Group:
    """The volume group from the JSON reports of vgs and lvs, in bytes."""
    found, = answer_of_vgs["report"][0]["vg"]
    volumes = {each["lv_name"]: LogicalVolume(int(each["lv_size"]), active=each["lv_active"] == "active") for each in answer_of_lvs["report"][0]["lv"]}
    return Group(int(found["vg_size"]), int(found["vg_free"]), int(found["vg_extent_size"]), int(found["vg_missing_pv_count"]), volumes)


def btrfs_size(read: Callable[[int, int], bytes]) -> tuple[int, bool]:
    """The size of a btrfs by its superblock, 0 without one; and whether only a copy of one is left.

    Format: "On-disk Format" of btrfs: the superblock and its copies, the magic at 64 and total_bytes at 112 of each.
    """
    first, *copies = (read(offset, 120) for offset in (64 * KIB, 64 * MIB, 256 << 30))
    if first[64:72] == b"_BHRfS_M":
        return struct.unpack_from("<Q", first, 112)[0], False
    return 0, any(each[64:72] == b"_BHRfS_M" for each in copies)


def labelled_group(read: Callable[[int, int], bytes]) -> str | None:
    """The name of the volume group that an LVM label belongs to; "" for a label that belongs to none yet.

    read: gives the bytes of the device at (offset, length). It serves where lvm2 is not installed, as on a new system.
    None: there is no label, or its metadata is elsewhere or broken.
    Format: LVM2 lib/format_text/layout.h and lib/label/label.h; the name is the first word of the metadata.
    """
    head = read(0, 2 * KIB)
    label = next((head[at:at + 512] for at in range(0, len(head), 512) if head[at:at + 8] == b"LABELONE"), b"")
    if label[24:32] != b"LVM2 001":
        return None
    lists, at = [[]], struct.unpack_from("<I", label, 20)[0] + 40  # behind the identifier (32) and the size (8)
    while len(lists) < 3 and at + 16 <= len(label):
        offset, size = struct.unpack_from("<QQ", label, at)
        at += 16
        if offset:
            lists[-1].append((offset, size))
        else:
            lists.append([])
    if len(lists) < 3 or not lists[1]:
        return None
    used = at + 8 <= len(label) and struct.unpack_from("<II", label, at)[1] & 1
    start, length = lists[1][0]
    header = read(start, 512)
    if header[4:20] != b" LVM2 x[5A%r0N*>":
        return None
    offset, size = struct.unpack_from("<QQ", header, 40)
    if not offset or not size:
        return None if used else ""
    # The metadata is a ring buffer behind its header; a name may be broken by its end.
    text = read(start + offset, min(256, length - offset)) + read(start + 512, 256)
    name = re.match(rb"([a-zA-Z0-9+_.-]+) \{", text)
    return name[1].decode() if name else None


# --- mistakes in the variables -------------------------------------------------------------------------------------

def variable_mistakes(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the role's variables themselves, whatever the machine is like."""
    disk, confirmed = values["disk_layout_disk"], values["disk_layout_confirm_serial"]
    if confirmed and not disk:
        yield "disk_layout_confirm_serial: it confirms a disk that is not named; set disk_layout_disk"
    if disk and not disk.startswith(BY_ID):
        yield f"disk_layout_disk: {disk} may be another disk after the next start; name it by {BY_ID}..."
    elif re.search(r"-part[0-9]+$", disk):
        yield f"disk_layout_disk: {disk} is a partition; name the whole disk"
    volumes = [Volume(each["name"], each["mount"], str(each["size"]), directory=each.get("directory") or "")
               for each in values["disk_layout_volumes"]]
    yield from (f"disk_layout_volumes: {mistake}" for mistake in _volume_mistakes(volumes))


def _volume_mistakes(volumes: list[Volume]) -> Iterator[str]:
    for volume in volumes:
        if not _NAME.fullmatch(volume.name):
            yield f"{volume.name!r} is no name (lower case letters and digits, at most 32)"
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", volume.mount) or {".", ".."} & set(volume.mount.split("/")):
            yield f"{volume.name}: {volume.mount!r} is no absolute path of letters, digits, '.', '_' and '-'"
        elif volume.mount in SYSTEM_DIRECTORIES:
            yield f"{volume.name}: a volume at {volume.mount} would hide the system; mount it at a directory of its own"
        if volume.directory and (not re.fullmatch(r"[A-Za-z0-9._-]+", volume.directory) or volume.directory in (".", "..")):
            yield f"{volume.name}: {volume.directory!r} is no name of a directory"
        size = bytes_of(volume.size, 0)
        if size is None and volume.size != "rest":
            yield f"{volume.name}: {volume.size!r} is no size such as 32GiB, 10% or rest"
        elif size is not None and size < SMALLEST and "%" not in volume.size:
            yield f"{volume.name}: {volume.size} is too little for {FILE_SYSTEM}; take {readable(SMALLEST)} or more"
        elif volume.size == "0%":
            yield f"{volume.name}: 0% is no size"
    for what, values in (("name", [volume.name for volume in volumes]), ("mount", [volume.mount for volume in volumes])):
        yield from (f"two volumes have the {what} {value}" for value, count in Counter(values).items() if count > 1)
    for inner in volumes:
        yield from (f"{inner.name}: {inner.mount} is inside of {outer.name}'s {outer.mount}; mount them side by side"
                    for outer in volumes if inner.mount.startswith(f"{outer.mount}/"))
    percent = sum(int(volume.size[:-1]) for volume in volumes if _PERCENT.fullmatch(volume.size))
    if percent > 100:
        yield f"the volumes want {percent} % of the disk; take 100 or less"
    rest = [volume.name for volume in volumes if volume.size == "rest"]
    if len(rest) > 1:
        yield f"{' and '.join(rest)} both want the rest; one can have it"


def bytes_of(size: str, whole: int) -> int | None:
    """A size in bytes, of a group of ``whole`` bytes; None for the rest, and for what is no size."""
    absolute, percent = _SIZE.fullmatch(size), _PERCENT.fullmatch(size)
    if absolute:
        return round(float(absolute[1]) * UNITS[absolute[2]])
    return whole * int(percent[1]) // 100 if percent else None


def readable(size: int) -> str:
    """Bytes as a person writes them."""
    unit = max((each for each in UNITS if abs(size) >= UNITS[each]), key=UNITS.__getitem__, default="MiB")
    return f"{size / UNITS[unit]:.1f}".removesuffix(".0") + f" {unit}"


# --- mistakes on the machine ---------------------------------------------------------------------------------------

def mistakes(wanted: Layout, found: Found) -> list[str]:
    """Why nothing may be done; empty where there is a plan."""
    reason = _refusal(wanted, found)
    if reason:
        return [f"disk_layout_disk: {wanted.disk}{_identity(wanted, found)}: {reason}"]
    complaints = [f"disk_layout_volumes: {mistake}" for volume in wanted.volumes for mistake in _obstacles(wanted, volume, found)]
    if [line.strip() for line in found.fstab.splitlines() if line.strip() in (BEGIN, END)] not in ([], [BEGIN, END]):
        complaints.append(f"/etc/fstab: the lines {BEGIN!r} and {END!r} are no longer one pair around our lines; correct that by hand")
    _steps, short = _allocation(wanted, found)
    if short:
        complaints.append(f"disk_layout_volumes: {short}")
    return complaints


def _identity(wanted: Layout, found: Found) -> str:
    """What else the disk is known by, for the operator to compare with its sticker."""
    disk = found.disk
    return f" ({disk.path}, {readable(disk.size)}, serial number {disk.serial or 'unknown'})" if disk and disk.path != wanted.disk else ""


def _refusal(wanted: Layout, found: Found) -> str | None:
    """Why this disk is not used. The first reason is enough: none of them goes away by another."""
    disk, carriers = found.disk, found.carriers
    elsewhere = " and ".join(f"{each.path} (serial number {each.serial or 'unknown'})" for each in carriers if each is not disk)
    if found.target is None:
        there = f"; there are: {', '.join(found.candidates)}" if found.candidates else ""
        return f"there is no such disk{_and_group(elsewhere)}{there}"
    if found.target.startswith("/dev/mmcblk"):
        return "it is an SD card, which the chain would wear out; use an NVMe disk or an SSD"
    if disk is None or disk not in found.devices or disk.type != "disk":
        return f"it leads to {found.target}, which is no whole disk{_kind(disk)}; name the disk itself"
    if "/" in disk.mounted:
        return "the system itself is on it; use another disk"
    if wanted.confirmed and wanted.confirmed != disk.serial:
        return f"disk_layout_confirm_serial is {wanted.confirmed}, which is another disk; correct one of the two"
    if elsewhere and disk in carriers:
        return (f"the volume group {GROUP} is also on {elsewhere}. Where it is one group over both (sudo pvs -o +vg_uuid), take the further disk out of it "
                "with pvmove and vgreduce; where they are two groups of one name, unplug the disk that is not meant")
    if elsewhere:
        return f"it is not the data disk{_and_group(elsewhere)}; the link has moved, or name that disk"
    if disk.read_only:
        return "it is read-only"
    if disk in carriers:
        return _damage(found)
    return _use(disk, found) or _content(wanted, disk, found) or _shortage(wanted, disk)


def _and_group(elsewhere: str) -> str:
    return f", and the volume group {GROUP} is on {elsewhere}" if elsewhere else ""


def _kind(device: Device | None) -> str:
    return f" but of type {device.type}" if device else ""


def _damage(found: Found) -> str | None:
    """Why an earlier installation cannot be taken over."""
    if "lvm2" in found.missing:
        return None
    if found.group is None:
        return f"the volume group {GROUP} is on it, but LVM cannot read it; see what `vgs {GROUP}` says"
    if found.group.missing:
        return f"the volume group {GROUP} is on it, and on {found.group.missing} more that is not there; plug that in"
    return None


def _use(disk: Device, found: Found) -> str | None:
    """Who uses the disk. No confirmation takes it from him."""
    if disk.mounted:
        return f"it is in use at {', '.join(disk.mounted)}; no confirmation overrides that, unmount it"
    holders = [each for each in disk.family() if each.type not in ("disk", "part")]
    if holders:
        return f"it is in use by {', '.join(f'{each.path} ({each.type})' for each in holders)}; no confirmation overrides that, stop it"
    if found.busy:
        return "it is in use by the kernel or a program (mounted in a container, RAID, swap, ZFS); no confirmation overrides that, stop it"
    return None


def _content(wanted: Layout, disk: Device, found: Found) -> str | None:
    """What would be lost, unless it was given up."""
    content = contents(disk, found)
    if not content or wanted.confirmed:
        return None
    if not disk.serial:
        return f"it is not empty ({', '.join(content)}), and has no serial number to confirm it by; empty it by hand or use another one"
    return f"it is not empty ({', '.join(content)}); to lose all that is on it, set disk_layout_confirm_serial to {disk.serial}"


def contents(disk: Device, found: Found) -> list[str]:
    """What is on a disk that nobody uses; empty where it is blank, or prepared for a volume group that was never made."""
    partitions = [f"partition {each.path}" + (f" with {each.file_system}" if each.file_system else "") for each in disk.parts]
    if found.signatures == ("LVM2_member",) and found.labels.get(disk.path) == "" and not partitions:
        return []
    content = [*_signatures(disk, found), *partitions]
    return content or ([] if found.zeros else ["data of an unknown kind"])


def _signatures(disk: Device, found: Found) -> Iterator[str]:
    for signature in dict.fromkeys(found.signatures):
        other = found.labels.get(disk.path) if signature == "LVM2_member" else None
        yield f"{signature} of the volume group {other}" if other else signature


def _shortage(wanted: Layout, disk: Device) -> str | None:
    whole = _new_group(disk).size
    need = sum(bytes_of(volume.size, whole) or SMALLEST for volume in wanted.volumes)
    if need <= whole:
        return None
    listed = ", ".join(f"{volume.name} {volume.size}" for volume in wanted.volumes)
    return f"it is too small: the volumes need {readable(need)} ({listed}); correct disk_layout_volumes or use a larger disk"


def _obstacles(wanted: Layout, volume: Volume, found: Found) -> Iterator[str]:
    """What is in the way of one volume, on the volume group and in the file system."""
    there = found.group.volumes.get(volume.name) if found.group else None
    if there and there.active:
        if there.signatures not in ((), (FILE_SYSTEM,)):
            yield (f"{volume.name}: {volume.device} holds {', '.join(there.signatures)} in place of {FILE_SYSTEM}; "
                   "it is not formatted again: give the volume another name, or remove it by hand")
        elif there.remains:
            yield (f"{volume.name}: {volume.device} held a {FILE_SYSTEM} whose superblock is broken; it is not formatted again: "
                   f"`btrfs rescue super-recover {volume.device}`, or remove it by hand")
    mounted = found.mounts.get(volume.mount)
    if mounted and mounted.source != volume.source:
        yield f"{volume.name}: {volume.mount} is mounted from {mounted.source} in place of {volume.device}; unmount that"
    elif mounted and mounted.read_only:
        yield f"{volume.name}: {volume.mount} is read-only, which {FILE_SYSTEM} becomes by an error; see `dmesg`"
    elif not mounted:
        wants = bytes_of(volume.size, (found.group or _new_group(found.disk)).size)
        yield from _obstacles_at(volume, found, max(wants or 0, there.size if there else 0))
    yield from _rivals(wanted, volume, found)


def _obstacles_at(volume: Volume, found: Found, size: int) -> Iterator[str]:
    """What is in the way where the volume will be mounted."""
    place = found.places.get(volume.mount, Place())
    if place.kind == "other":
        yield f"{volume.name}: {volume.mount} is no directory, or is reached by a symbolic link; mount the volume elsewhere"
    if place.entries and not volume.copy:
        yield (f"{volume.name}: {volume.mount} is not empty ({', '.join(place.entries[:3])}), and the volume would hide that; "
               "stop what uses it and move it away")
    below = [mount for mount in found.mounts if mount.startswith(f"{volume.mount}/")]
    if below:
        yield f"{volume.name}: {', '.join(below)} is mounted below {volume.mount}; unmount it"
    if size and place.used > size * (1 - TOLERANCE):
        yield f"{volume.name}: {volume.mount} holds {readable(place.used)}, more than {volume.size}; make the volume larger"


def _rivals(wanted: Layout, volume: Volume, found: Found) -> Iterator[str]:
    """Lines of /etc/fstab for the same mount point, which are somebody else's or name a file system that is gone."""
    source = _sources(wanted, found)[volume.name]
    for entry in _entries(found.fstab):
        if entry.mount != volume.mount:
            continue
        if not entry.ours:
            yield f"{volume.name}: line {entry.number} of /etc/fstab mounts {entry.source} at {volume.mount}; remove it, the role writes its own"
        elif source is not None and entry.source != source:
            yield (f"{volume.name}: /etc/fstab knows another file system for {volume.mount}, {entry.source}; plug in the disk that it is on. "
                   f"If that is lost for good, remove line {entry.number} of /etc/fstab")


# --- the plan ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Step:
    """One thing to do: ``do`` is one of STEPS, ``on`` what it is done to, ``value`` what the module needs, ``says`` the sentence."""

    do: str
    on: str
    value: str
    says: str


def plan(wanted: Layout, found: Found) -> list[Step]:
    """What has to happen, in this order; empty where all is as wanted. Only where there are no mistakes.

    It ends where more can be known only after its last step: after lvm2 is installed, or the volume group activated.
    A file system that does not exist yet has no UUID: then the steps that need it are there without.
    """
    ours = found.disk in found.carriers
    kept = f"; the volume group {GROUP} of an earlier installation is on the disk and will be taken over" if ours else ""
    install = [Step("install", package, "", f"install {package}{kept if package == 'lvm2' else ''}") for package in found.missing]
    if found.interrupted and install:
        install.insert(0, Step("repair", "dpkg", "", "let dpkg finish what was interrupted"))
    if ours and found.group is None:
        return install
    if found.group and not all(found.group.volumes[volume.name].active for volume in wanted.volumes if volume.name in found.group.volumes):
        return [*install, Step("activate", GROUP, "", f"activate the volume group {GROUP} of an earlier installation, which is kept")]
    steps = [*install, *_new_disk(wanted, found), *_allocation(wanted, found)[0], *_file_systems(wanted, found)]
    return sorted(steps, key=lambda step: STEPS.index(step.do))


def _new_disk(wanted: Layout, found: Found) -> Iterator[Step]:
    disk = found.disk
    if disk in found.carriers:
        return
    content = contents(disk, found)
    if content:
        for each in (*(part for part in disk.family() if part is not disk), disk):
            yield Step("wipe", each.path, "", f"remove what is on {each.path}: {', '.join(content) if each is disk else each.file_system or 'nothing'}")
    yield Step("group", GROUP, wanted.disk, f"make the volume group {GROUP} on {disk.path} ({readable(disk.size)}, serial number {disk.serial})")


def _new_group(disk: Device) -> Group:
    size = (disk.size - HEADER) // EXTENT * EXTENT
    return Group(size, size)


def _allocation(wanted: Layout, found: Found) -> tuple[list[Step], str | None]:
    """The volumes to make and to grow, and what is short. What is larger than wanted stays; the rest is given away last."""
    if found.disk in found.carriers and found.group is None:
        return [], None
    pool = found.group or _new_group(found.disk)
    steps, free, rest = [], pool.free, None
    for volume in wanted.volumes:
        target = bytes_of(volume.size, pool.size)
        if target is None:
            rest = volume
            continue
        target = -(-target // pool.extent) * pool.extent if "%" not in volume.size else target // pool.extent * pool.extent
        there = pool.volumes.get(volume.name)
        if there is None and target < SMALLEST:
            return [], f"{volume.name}: {volume.size} of {readable(pool.size)} is too little for {FILE_SYSTEM}; take {readable(SMALLEST)} or more"
        if there is None:
            free -= target
            steps.append(Step("create", volume.name, f"{target // MIB}m", f"{volume.name}: make a volume of {readable(target)}"))
        elif there.size < target * (1 - TOLERANCE):
            free -= target - there.size
            steps.append(Step("grow", volume.name, f"{target // MIB}m", f"{volume.name}: grow from {readable(there.size)} to {readable(target)}"))
    there = pool.volumes.get(rest.name) if rest else None
    if free < 0 or (rest and not there and free < SMALLEST):
        need = -free if free < 0 else SMALLEST - free
        return [], (f"{readable(need)} are missing: {'; '.join(step.says for step in steps)}, and {readable(pool.free)} are free; make smaller what is new, "
                    "or free room by hand: nothing here shrinks a volume")
    if rest and not there:
        steps.append(Step("create", rest.name, "100%FREE", f"{rest.name}: make a volume of the rest, {readable(free)}"))
    elif rest and free >= pool.extent and free > there.size * TOLERANCE:
        steps.append(Step("grow", rest.name, "+100%FREE", f"{rest.name}: grow by the rest, {readable(free)}"))
    return steps, None


def _file_systems(wanted: Layout, found: Found) -> Iterator[Step]:
    pool = found.group.volumes if found.group else {}
    growing = {step.on for step in _allocation(wanted, found)[0] if step.do == "grow"}
    for volume in wanted.volumes:
        there, mounted = pool.get(volume.name), found.mounts.get(volume.mount)
        place = found.places.get(volume.mount, Place())
        if not there or not there.signatures:
            yield Step("format", volume.device, volume.name, f"{volume.name}: make a {FILE_SYSTEM} file system")
        if not mounted:
            if place.kind == "missing":
                yield Step("point", volume.mount, "", f"{volume.name}: make the directory {volume.mount}")
            if place.entries:
                if not any(entry.mount == volume.mount for entry in _entries(found.fstab)):
                    yield Step("migrate", volume.mount, volume.device, f"{volume.name}: copy what is in {volume.mount} to the volume")
            elif not place.sealed:
                yield Step("seal", volume.mount, "", f"{volume.name}: make the empty {volume.mount} immutable, so that nothing is written without the volume")
            yield Step("mount", volume.mount, volume.unit, f"{volume.name}: mount it at {volume.mount}")
        if there and there.signatures and (volume.name in growing or (mounted.size if mounted else there.filled) < there.size - MIB):
            yield Step("resize", volume.device, "", f"{volume.name}: let the file system fill its volume")
        path = f"{volume.mount}/{volume.directory}"
        if volume.directory and (not mounted or found.owners.get(path) != POD_USER):
            yield Step("directory", path, "", f"{volume.name}: make {path} for the pods")
    lines = block(wanted, found)
    if lines != [entry.text for entry in _entries(found.fstab) if entry.ours]:
        yield Step("fstab", "/etc/fstab", _with_block(found.fstab, lines), "mount the volumes at each start: " + "; ".join(lines))
    if not found.trim:
        yield Step("trim", "fstrim.timer", "", "tell the disk once a week what is free (fstrim.timer)")


def _sources(wanted: Layout, found: Found) -> dict[str, str | None]:
    """What /etc/fstab calls each volume; "" for one without a file system yet, None where that is not known."""
    if found.group is None and found.disk in found.carriers:
        return {volume.name: None for volume in wanted.volumes}
    pool = found.group.volumes if found.group else {}
    sources = {}
    for volume in wanted.volumes:
        there = pool.get(volume.name)
        sources[volume.name] = None if there and not there.active else f"UUID={there.uuid}" if there and there.uuid else ""
    return sources


@dataclass(frozen=True)
class _Entry:
    """A line of /etc/fstab."""

    number: int
    text: str
    source: str
    mount: str
    ours: bool


def _entries(fstab: str) -> list[_Entry]:
    entries, ours = [], False
    for number, line in enumerate(fstab.splitlines(), 1):
        fields = line.split()
        if line.strip() in (BEGIN, END):
            ours = line.strip() == BEGIN
        elif len(fields) > 1 and not line.lstrip().startswith("#"):
            entries.append(_Entry(number, line, fields[0], fields[1].rstrip("/") or "/", ours))
    return entries


def _with_block(fstab: str, lines: list[str]) -> str:
    """/etc/fstab with our lines at its end, in place of those that we had."""
    others, ours = [], False
    for line in fstab.splitlines():
        ours = ours or line.strip() == BEGIN
        if not ours:
            others.append(line)
        ours = ours and line.strip() != END
    return "\n".join([*others, BEGIN, *lines, END, ""])


def block(wanted: Layout, found: Found) -> list[str]:
    """The lines between our marks in /etc/fstab. A volume that left the inventory keeps its line: its data are still there."""
    sources, places = _sources(wanted, found), {volume.mount for volume in wanted.volumes}
    kept = [entry.text for entry in _entries(found.fstab) if entry.ours and entry.mount not in places]
    return [f"{sources[volume.name] or 'UUID=...'} {volume.mount} {FILE_SYSTEM} {wanted.options} 0 0" for volume in wanted.volumes] + kept
