"""Print everything about the files of a directory: python3 describe.py DIRECTORY. Two copies are equal when this is."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys


def description(top: str) -> dict[str, list]:
    """Kind, mode, owners, time, size, holes, content, attributes (ACLs are some) of each file, and which are one under several names."""
    found, names = {}, {}
    for place, directories, files in os.walk(os.fsencode(top)):
        directories[:] = [name for name in directories if name != b".ansible"]
        for name in directories + files:
            path = os.path.join(place, name)
            short, status = os.fsdecode(os.path.relpath(path, os.fsencode(top))), os.lstat(path)
            regular = stat.S_ISREG(status.st_mode)
            found[short] = [
                oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, names.setdefault(status.st_ino, []),
                hashlib.sha256(open(path, "rb").read()).hexdigest() if regular else None,
                # Nearly all of the sparse file is a hole: file systems differ in the rest.
                regular and status.st_blocks * 512 < status.st_size // 2,
                os.fsdecode(os.readlink(path)) if stat.S_ISLNK(status.st_mode) else None,
                {key: os.getxattr(path, key, follow_symlinks=False).hex() for key in os.listxattr(path, follow_symlinks=False)}]
            names[status.st_ino].append(short)
    # Two file systems list a directory in two orders.
    for together in names.values():
        together.sort()
    return found


if __name__ == "__main__":
    print(json.dumps(description(sys.argv[1]), indent=1, sort_keys=True))
