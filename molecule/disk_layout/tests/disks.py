"""Disks that must not be touched, as files: what a tool would write, as far as the tools that look at a disk look at it.

Tools that this machine has write their own; of the others only the beginning is made, from their published formats.
python disks.py CONTENT FILE writes one of them into a file.
"""

from __future__ import annotations

import pathlib
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

MIB = 1 << 20
SIZE = 16 * MIB
SECTOR = 512
# Where the partition of the partitioned ones is.
START, LENGTH = 2048, 8 * MIB // SECTOR


def bytes_at(*pieces: tuple[int, bytes]) -> Callable[[pathlib.Path], None]:
    """A maker of disks that hold these bytes at these places; a negative place counts from the end."""
    def make(path: pathlib.Path) -> None:
        with path.open("r+b") as disk:
            for place, piece in pieces:
                disk.seek(place % SIZE)
                disk.write(piece)
    return make


def tool(*command: str) -> Callable[[pathlib.Path], None]:
    """A maker that lets a tool write the disk."""
    return lambda path: subprocess.run([*command, str(path)], check=True, capture_output=True) and None


def both(*makers: Callable[[pathlib.Path], None]) -> Callable[[pathlib.Path], None]:
    """A maker that does one after the other."""
    def make(path: pathlib.Path) -> None:
        for each in makers:
            each(path)
    return make


def in_partition(maker: Callable[[pathlib.Path], None]) -> Callable[[pathlib.Path], None]:
    """A maker that does to the first partition what the given one does to a disk."""
    def make(path: pathlib.Path) -> None:
        part = path.with_suffix(".part")
        with part.open("wb") as stream:
            stream.truncate(LENGTH * SECTOR)
        maker(part)
        with path.open("r+b") as disk:
            disk.seek(START * SECTOR)
            disk.write(part.read_bytes())
        part.unlink()
    return make


def dos_table(kind: int = 0x83) -> tuple[int, bytes]:
    """A partition table as fdisk has written it for forty years, with one partition."""
    entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", START, LENGTH)
    return 440, b"DISK\0\0" + entry + bytes(48) + b"\x55\xaa"


def gpt() -> list[tuple[int, bytes]]:
    """A GUID partition table (UEFI, chapter 5) with its copy at the end, and one partition."""
    entry = b"\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4" + b"P" * 16 + struct.pack("<QQQ", START, START + LENGTH - 1, 0)
    entries = entry.ljust(128 * 128, b"\0")
    last = SIZE // SECTOR - 1

    def header(here: int, there: int, at: int) -> bytes:
        def fields(checksum: int) -> bytes:
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, here, there, 34, last - 33, b"D" * 16, at, 128, 128,
                               zlib.crc32(entries))
        return fields(zlib.crc32(fields(0)))

    protection = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, last)
    return [(446, protection + bytes(48) + b"\x55\xaa"), (SECTOR, header(1, last, 2)), (2 * SECTOR, entries),
            ((last - 32) * SECTOR, entries), (last * SECTOR, header(last, 1, last - 32))]


def raid_member() -> tuple[int, bytes]:
    """The superblock of `mdadm --create`, version 1.2: linux/raid/md_p.h, struct mdp_superblock_1."""
    def fields(checksum: int) -> bytes:
        return struct.pack("<IIII16s32sQIIQII", 0xA92B4EFC, 1, 0, 0, b"R" * 16, b"raspberrypi:0", 0, 1, 0, 8192, 0, 2).ljust(128, b"\0") + struct.pack(
            "<QQQQII16sBB6xQQQIII", 2048, 8192, 8, 0, 0, 0, b"D" * 16, 0, 0, 0, 1, 0, checksum, 2, 0).ljust(128, b"\0") + struct.pack("<HH", 0, 1)
    total = sum(struct.unpack("<65I", fields(0)))
    return 4096, fields((total & 0xFFFFFFFF) + (total >> 32))


def volume_group(name: bytes) -> list[tuple[int, bytes]]:
    """What `pvcreate` and `vgcreate` write: LVM2 lib/format_text/layout.h."""
    pairs = [(MIB, 0), (0, 0), (4096, MIB - 4096), (0, 0)]
    header = b"u" * 32 + struct.pack("<Q", SIZE) + b"".join(struct.pack("<QQ", *pair) for pair in pairs) + struct.pack("<II", 2, 1)
    checked = (struct.pack("<I", 32) + b"LVM2 001" + header).ljust(SECTOR - 20, b"\0")
    checksum = zlib.crc32(checked, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    text = name + b' {\nid = "x"\nseqno = 1\n}\n\0'
    area = bytes(4) + b" LVM2 x[5A%r0N*>" + struct.pack("<IQQQQII", 1, 4096, MIB - 4096, 512, len(text), 0, 0)
    return [(SECTOR, b"LABELONE" + struct.pack("<QI", 1, checksum) + checked), (4096, area), (4096 + 512, text)]


# What is on a disk, and what the role says of it: a regular expression.
CONTENTS: dict[str, tuple[Callable[[pathlib.Path], None], str]] = {
    "ext4": (tool("mkfs.ext4", "-q"), "ext4"),
    "vfat": (tool("mkfs.vfat"), "vfat"),
    "swap": (tool("mkswap"), "swap"),
    "iso": (bytes_at((0x8000, b"\x01CD001\x01"), (0x8800, b"\xffCD001\x01")), "iso9660"),
    "luks": (bytes_at((0, b"LUKS\xba\xbe\x00\x02" + struct.pack(">Q", 0x4000))), "crypto_LUKS"),
    "raid": (bytes_at(raid_member()), "linux_raid_member"),
    "lvm": (bytes_at(*volume_group(b"photos")), "LVM2_member of the volume group photos"),
    "dosext4": (both(bytes_at(dos_table()), in_partition(tool("mkfs.ext4", "-q"))), "dos, partition /dev/sd[a-z]+1 with ext4"),
    "doslvm": (both(bytes_at(dos_table(0x8E)), in_partition(bytes_at(*volume_group(b"photos")))), "dos, partition /dev/sd[a-z]+1 with LVM2_member"),
    "gpt": (bytes_at(*gpt()), "gpt, PMBR, partition /dev/sd[a-z]+1"),
    "unknown": (bytes_at((100 << 10, b"old data")), "data of an unknown kind"),
}


def link(serial: str) -> str:
    """The name of a disk that Vm.attach() plugged in."""
    return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"


def make(path: pathlib.Path, maker: Callable[[pathlib.Path], None] | None = None) -> pathlib.Path:
    """A disk of SIZE bytes, empty but for what the maker writes."""
    with path.open("wb") as disk:
        disk.truncate(SIZE)
    if maker:
        maker(path)
    return path


if __name__ == "__main__":
    CONTENTS[sys.argv[1]][0](pathlib.Path(sys.argv[2]))
