# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LND's own files: read at once, parsed, compared with what their names promise."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from typing import Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _certificate, _lnd, _macaroon, _pod, _weak
from ansible_collections.openlsp.node.plugins.module_utils._cluster import Cluster

TLS_SECRET, TLS_FILE = "lnd-tls", "tls.cert"

# Secret: LND's name for the file, without ".macaroon".
MACAROON_SECRETS = {
    "lnd-admin": "admin",
    "lnd-chain-notifier": "chainnotifier",
    "lnd-invoice": "invoice",
    "lnd-invoices": "invoices",
    "lnd-readonly": "readonly",
    "lnd-router": "router",
    "lnd-signer": "signer",
    "lnd-walletkit": "walletkit",
}

# The directory names of lnd's chain data, lncfg/config.go.
NETWORK_DIRECTORIES = {
    "mainnet": "mainnet", "testnet3": "testnet", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}

# Lists those of the files that exist into one archive on the standard output; sh, test and tar are in every LND image.
_ARCHIVE = 'cd "$0" || exit; for f; do shift; [ ! -f "$f" ] || set -- "$@" "$f"; done; [ $# = 0 ] || exec tar -cf - "$@"'

# Two blocks of zero bytes (POSIX, pax, ustar Interchange Format).
_END_OF_ARCHIVE = bytes(1024)


class NotYet(Exception):
    """LND is on its way: asking again may help."""


class CredentialError(Exception):
    """Something is not what its name promises, or LND does not stand by it: asking again will not help."""


@dataclass(frozen=True)
class Node:
    """Where one LND runs."""

    cluster: Cluster
    namespace: str
    pod: str
    container: str
    lnd_dir: str
    network: str

    def client(self, certificate: bytes) -> _lnd.Lnd:
        """LND's REST API through the Kubernetes API; TLS ends in LND."""
        return _lnd.Lnd(lambda: _pod.forward(self.cluster, self.namespace, self.pod, _lnd.REST_PORT), certificate)

    def certificate(self) -> bytes:
        """LND's tls.cert. Raises ClusterError where the pod does not run or the file is not there yet."""
        return _pod.run(self.cluster, self.namespace, self.pod, self.container, ["cat", f"{self.lnd_dir}/{TLS_FILE}"])


def read_files(node: Node) -> dict[str, bytes]:
    """LND's certificate and macaroons by file name; one exec. What LND has not written is absent."""
    directory = f"data/chain/bitcoin/{NETWORK_DIRECTORIES[node.network]}"
    names = [TLS_FILE, *(f"{directory}/{kind}.macaroon" for kind in MACAROON_SECRETS.values())]
    archive = _pod.run(node.cluster, node.namespace, node.pod, node.container, ["sh", "-c", _ARCHIVE, node.lnd_dir, *names])
    if not archive:
        return {}
    # Cut between two files it would look whole, and what it lacks as if LND kept no file of it.
    if not archive.endswith(_END_OF_ARCHIVE):
        raise NotYet("the archive of LND's files broke off")
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            return {member.name.rsplit("/", 1)[-1]: _content(tar, member) for member in tar}
    except tarfile.TarError as error:
        raise NotYet(f"the archive of LND's files broke off ({error})") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    # A link would let whoever writes into LND's directory choose which file is published.
    if not member.isfile():
        raise CredentialError(f"{member.name} is not a regular file")
    if member.size > _macaroon.MAX_BYTES:
        raise CredentialError(f"{member.name} has {member.size} bytes; at most {_macaroon.MAX_BYTES} make sense")
    return tar.extractfile(member).read()


def certificate_of(files: Mapping[str, bytes]) -> _certificate.Certificate:
    """Raises NotYet where LND has not written it, or not all of it, and CredentialError for what must not be published."""
    if TLS_FILE not in files:
        raise NotYet(f"LND has not written {TLS_FILE} yet")
    try:
        return _certificate.parse(files[TLS_FILE])
    except _certificate.PrivateKeyError as error:
        raise CredentialError(f"{TLS_FILE}: {error}") from None
    except _certificate.CertificateError as error:
        raise NotYet(f"{TLS_FILE}: {error}") from None


def macaroon_of(name: str, kind: str, files: Mapping[str, bytes]) -> _macaroon.Macaroon:
    """What one of the files holds. name: of its Secret. Raises NotYet where LND has not written all of it, CredentialError for another macaroon."""
    file = f"{kind}.macaroon"
    if file not in files:
        never = "; a stateless one never does, and hands over another to the next run of the site" if kind == "admin" else ""
        raise NotYet(f"{name}: LND has not written {file} yet{never}")
    try:
        macaroon = _macaroon.parse(files[file])
    except _macaroon.MacaroonError as error:
        # LND does not write its files atomically (os.WriteFile): an empty or short one may be whole a moment later.
        raise NotYet(f"{name}: {file} is no macaroon: {error}") from error
    promised = _macaroon.KINDS[kind]
    if macaroon.permissions != promised:
        held = f"a macaroon of kind {macaroon.kind}" if macaroon.kind else "a macaroon with other permissions"
        raise CredentialError(
            f"{name}: {file} holds {held} ({_macaroon.words(macaroon.permissions)}); "
            f"its name promises exactly {_macaroon.words(promised)}; is the file in its place?")
    if macaroon.caveats:
        raise CredentialError(f"{name}: {file} is restricted by the caveat {macaroon.caveats[0]!r}; LND's own file has none")
    whose = _weak.weak_root_key(macaroon)
    if whose:
        raise CredentialError(f"{name}: {file} was made with a root key that {whose} published: anybody can open this LND; give it new ones with "
                              "the playbook openlsp.node.rotate_root_key")
    return macaroon


def require_active(state: str) -> None:
    """Raises NotYet for a state that passes, CredentialError for one that does not."""
    if state == "NON_EXISTING":
        raise CredentialError("LND has no wallet; create one with openlsp.node.lnd_wallet")
    if state not in _lnd.ACTIVE_STATES:
        hint = "; it unlocks itself with its password file, look at its log" if state == "LOCKED" else ""
        raise NotYet(f"LND is in state {state}{hint}")
