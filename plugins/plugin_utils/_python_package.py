# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python package of this computer as a zip from which Python imports it."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

# A ConfigMap holds 1 MiB, and base64 takes a third more.
MAX_BYTES = 700 * 1024

# The earliest time that a zip can hold: the same files make the same bytes, so a second run changes nothing.
_ALWAYS = (1980, 1, 1, 0, 0, 0)


class PackageError(ValueError):
    """The package is not here, or cannot be given away as a zip."""


def zipped(name: str) -> bytes:
    """The modules of an installed package, as an entry of PYTHONPATH (zipimport). Raises PackageError.

    Only packages of pure Python: one with compiled parts works on this computer's kind of machine and on no Raspberry Pi.
    """
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise PackageError(f"the Python package {name} is not installed beside Ansible: pip install -r requirements.txt")
    root = Path(found.submodule_search_locations[0])
    files = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    compiled = [path.name for path in files if path.suffix in (".so", ".pyd", ".dylib")]
    if compiled:
        raise PackageError(f"the Python package {name} has compiled parts: {', '.join(compiled)}")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in files:
            if path.suffix == ".py":
                entry = zipfile.ZipInfo(path.relative_to(root.parent).as_posix(), _ALWAYS)
                entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
                archive.writestr(entry, path.read_bytes(), compresslevel=9)
    if content.tell() > MAX_BYTES:
        raise PackageError(f"the Python package {name} has {content.tell()} bytes as a zip, and a ConfigMap takes {MAX_BYTES}")
    return content.getvalue()
