# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's copy of a wallet: seed and password in one file on the controller, encrypted with Ansible Vault."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, get_file_vault_secret, is_encrypted

_HEADER = """\
# The Lightning wallet of {node} ({network}). Whoever reads this owns its money; whoever loses it cannot get it back.
# Keep a copy of the 24 words away from this computer. Channels need LND's static channel backup in addition.
"""


class WalletFileError(Exception):
    """The file cannot be written, read or decrypted; the message names it and the remedy."""


@dataclass(frozen=True)
class Wallet:
    """What brings one wallet back. Nothing of it is ever shown."""

    node: str
    network: str
    password: str = field(repr=False)
    seed: tuple[str, ...] = field(repr=False)
    passphrase: str = field(repr=False)


def vault(password_file: str | None, loader: Any) -> VaultLib:
    """The means to encrypt and decrypt wallet files.

    password_file: a file with the password, or a program that prints it, as ansible-vault takes; None for the play's own Vault password.
    loader: Ansible's DataLoader. Raises WalletFileError when there is no password.
    """
    if not password_file:
        if not loader._vault.secrets:
            raise WalletFileError("no Vault password was given, so a seed could not be encrypted; "
                                  "use --vault-password-file or --ask-vault-pass, or set lnd_wallet_vault_password_file")
        return loader._vault
    try:
        secret = get_file_vault_secret(filename=password_file, loader=loader)
        secret.load()
    except AnsibleError as error:
        raise WalletFileError(f"the Vault password file {password_file} cannot be used: {error}") from None
    return VaultLib([("default", secret)])


def read(path: Path, vault: Any) -> Wallet | None:
    """The wallet in a file, or None where there is no file.

    vault: an ansible.parsing.vault.VaultLib with the operator's secrets. Raises WalletFileError.
    """
    try:
        encrypted = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WalletFileError(f"{path} cannot be read: {error.strerror}") from None
    if not is_encrypted(encrypted):
        raise WalletFileError(f"{path} is not encrypted; use ansible-vault encrypt, or move it away")
    try:
        content = yaml.safe_load(vault.decrypt(encrypted))["lnd_wallet"]
        return Wallet(content["node"], content["network"], content["password"],
                      tuple(content["aezeed"].split()), content["aezeed_passphrase"])
    except AnsibleError:
        raise WalletFileError(f"{path} cannot be decrypted; give the Vault password that it was made with") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise WalletFileError(f"{path} is no wallet file of openlsp.node; move it away or correct lnd_wallet_file") from None


def write(path: Path, wallet: Wallet, vault: Any) -> None:
    """Write a file that did not exist, mode 0600, and read it back.

    The file appears complete or not at all, and never in place of another one. Raises WalletFileError.
    """
    text = _HEADER.format(node=wallet.node, network=wallet.network) + yaml.safe_dump({"lnd_wallet": {
        # str(): Ansible's own strings carry where they come from, which no dumper writes down, and AnsibleDumper an inline !vault as it was.
        "node": str(wallet.node), "network": str(wallet.network), "password": str(wallet.password),
        "aezeed": " ".join(wallet.seed), "aezeed_passphrase": str(wallet.passphrase)}}, sort_keys=False, width=1000)
    encrypted = vault.encrypt(text)
    # Only ciphertext is ever on the disk, under the temporary name too.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _write_synced(part, encrypted)
            os.link(part, path)
        except FileExistsError:
            raise WalletFileError(f"{path} exists; a wallet file is never overwritten") from None
        finally:
            part.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise WalletFileError(f"{path} cannot be written: {error.strerror}; no wallet was made") from None
    if read(path, vault) != wallet:
        raise WalletFileError(f"{path} does not read back as it was written; no wallet was made")


def _write_synced(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
