# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bitcoin Core's salted RPC password."""

from __future__ import annotations

import hmac


def rpcauth(username: str, password: str, salt: str) -> str:
    """The value of bitcoind's ``rpcauth`` option: ``<username>:<salt>$<HMAC-SHA256, hexadecimal>``.

    salt: not secret, different for each password; Bitcoin Core makes 32 hexadecimal characters, any text without ``$`` works.
    Raises ValueError where bitcoind would misread the line.
    Format: share/rpcauth/rpcauth.py and CheckUserAuthorized in src/httprpc.cpp of Bitcoin Core.
    """
    if not username or any(c in username for c in ":$#\n"):
        raise ValueError(f"rpcauth: the user name {username!r} is empty or has one of ':', '$', '#' or a line break")
    if not salt or any(c in salt for c in ":$#\n"):
        raise ValueError("rpcauth: the salt is empty or has one of ':', '$', '#' or a line break")
    if not password:
        raise ValueError("rpcauth: the password is empty")
    return f"{username}:{salt}${hmac.new(salt.encode(), password.encode(), 'sha256').hexdigest()}"
