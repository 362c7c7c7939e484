# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LND's files turned into Secrets: read at once, parsed, compared with what their names promise, proved against the running LND."""

from __future__ import annotations

import io
import tarfile
import time
from dataclasses import dataclass
from typing import Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _macaroon, _pod
from ansible_collections.openlsp.node.plugins.module_utils._cluster import Cluster, ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._secret import Secret, digest

TLS_SECRET, TLS_KEY, TLS_FILE = "lnd-tls", "cert", "tls.cert"
MACAROON_KEY = "macaroon"

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
_ARCHIVE = 'cd "$0" || exit; for f; do shift; [ ! -e "$f" ] || set -- "$@" "$f"; done; [ $# = 0 ] || exec tar -cf - "$@"'


class NotYet(Exception):
    """LND is on its way: asking again may help."""


class CredentialError(Exception):
    """A file is not what its name promises, or LND does not stand by it: asking again will not help."""


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


def collect(node: Node, timeout: float) -> list[Secret]:
    """Every Secret of one LND without labels, proved; waits at most ``timeout`` seconds for LND to be ready.

    Raises NotYet with what was missing last, CredentialError, or ClusterError for a refusal of the Kubernetes API.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return _collect_now(node)
        except ClusterError as error:
            if error.status in (401, 403) or time.monotonic() > deadline:
                raise
        except NotYet:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


def _collect_now(node: Node) -> list[Secret]:
    files = _read_files(node)
    if TLS_FILE not in files:
        raise NotYet(f"LND has not written {TLS_FILE} yet")
    certificate = _checked_certificate(files[TLS_FILE])
    with node.client(certificate) as client:
        try:
            _require_active(client.state())
            macaroons = {name: _checked_macaroon(name, kind, files) for name, kind in MACAROON_SECRETS.items()}
            _prove(client, macaroons)
        except _lnd.LndError as error:
            raise NotYet(str(error)) from error
    return [Secret(TLS_SECRET, {TLS_KEY: certificate}),
            *(Secret(name, {MACAROON_KEY: macaroon.raw}) for name, macaroon in macaroons.items())]


def _read_files(node: Node) -> dict[str, bytes]:
    """LND's certificate and macaroons by file name; one exec. What LND has not written is absent."""
    directory = f"data/chain/bitcoin/{NETWORK_DIRECTORIES[node.network]}"
    names = [TLS_FILE, *(f"{directory}/{kind}.macaroon" for kind in MACAROON_SECRETS.values())]
    archive = _pod.run(node.cluster, node.namespace, node.pod, node.container, ["sh", "-c", _ARCHIVE, node.lnd_dir, *names])
    if not archive:
        return {}
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


def _checked_certificate(data: bytes) -> bytes:
    if b"PRIVATE KEY" in data:
        raise CredentialError(f"{TLS_FILE} holds a private key, which must never be published; move it into tls.key")
    if data.count(b"-----BEGIN CERTIFICATE-----") != 1 or b"-----END CERTIFICATE-----" not in data:
        raise NotYet(f"{TLS_FILE} does not hold one whole certificate (yet)")
    return data


def _checked_macaroon(name: str, kind: str, files: Mapping[str, bytes]) -> _macaroon.Macaroon:
    file = f"{kind}.macaroon"
    if file not in files:
        raise NotYet(f"{name}: LND has not written {file} yet")
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
    return macaroon


def _require_active(state: str) -> None:
    if state == "NON_EXISTING":
        raise CredentialError("LND has no wallet; create one with openlsp.node.lnd_wallet")
    if state not in _lnd.ACTIVE_STATES:
        hint = "; it unlocks itself with its password file, look at its log" if state == "LOCKED" else ""
        raise NotYet(f"LND is in state {state}{hint}")


def _prove(client: _lnd.Lnd, macaroons: Mapping[str, _macaroon.Macaroon]) -> None:
    admin = macaroons["lnd-admin"].raw
    refused = {name: client.accepts(macaroon.raw, macaroon.permissions, admin) for name, macaroon in macaroons.items()}
    complaints = [f"{name} ({reason})" for name, reason in refused.items() if reason]
    if complaints:
        raise CredentialError(
            f"the running LND does not accept the macaroons in its own files: {'; '.join(complaints)}; "
            "after a restore or a new root key delete the *.macaroon files and restart LND, which writes them anew")


def describe(secret: Secret | None) -> str:
    """What a diff shows of a Secret: names, digests and permissions, never a value."""
    if secret is None:
        return ""
    lines = []
    for key, value in sorted(secret.data.items()):
        line = f"{secret.name}/{key}: {len(value)} bytes, sha256 {digest(value)}"
        if key == MACAROON_KEY:
            try:
                macaroon = _macaroon.parse(value)
                line += f", root key {macaroon.root_key_id}, may {_macaroon.words(macaroon.permissions)}"
            except _macaroon.MacaroonError as error:
                line += f", no macaroon: {error}"
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)
