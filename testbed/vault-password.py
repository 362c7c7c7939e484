#!/usr/bin/env python3
"""The Ansible Vault password of a test node: made at random when it is first asked for, kept beside the node's kubeconfig.

Ansible runs it where ANSIBLE_VAULT_PASSWORD_FILE names it; TESTBED says which node. A new node starts with an empty
directory, so each has a password of its own.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import tempfile

STATE = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state")


def vault_password(node: str) -> str:
    """Ansible asks for it once a host, at the same time: the first one's is everybody's, and nobody sees half of it."""
    path = STATE / "openlsp.node" / node / "vault-password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as made, contextlib.suppress(FileExistsError):
            print(secrets.token_urlsafe(24), file=made, flush=True)
            os.link(made.name, path)
    return path.read_text().strip()


if __name__ == "__main__":
    print(vault_password(os.environ.get("TESTBED") or "demo"))
