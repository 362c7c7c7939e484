# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new certificate for LND before the old one expires."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from ansible_collections.openlsp.node.plugins.module_utils import _certificate, _pod
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._credentials import CredentialError, Node, NotYet

# LND makes a new pair at its start where one of the two files is missing (generateCertPair of lnd/tls_manager.go); by itself it does so only once the
# certificate has expired. Without the key, but with the certificate, everything goes on as before until that start, however long it takes:
# LND has both in its memory, and lncli, the probes and this collection read the certificate alone. So it does not matter where this breaks off.
# Process 1 is LND; the kubelet starts its container anew. The pod stays, and with it its address.
_RENEW = 'rm -f "$0/tls.key" && kill 1'


def renew(node: Node, old: _certificate.Certificate, days: float, timeout: float) -> _certificate.Certificate:
    """Have LND make a new certificate, which restarts it, and wait at most ``timeout`` seconds until it has.

    The new one is in tls.cert when this returns; LND is still starting. Raises ClusterError, NotYet when the time is up, and
    CredentialError where the new one would have to be renewed at once.
    """
    _pod.run(node.cluster, node.namespace, node.pod, node.container, ["sh", "-c", _RENEW, node.lnd_dir])
    deadline = time.monotonic() + timeout
    while True:
        new = _whole(node)
        if new and new.sha256 != old.sha256:
            break
        if time.monotonic() > deadline:
            raise NotYet("LND was ended to make a new certificate and has not made one; look at its log, and whether LND is process 1 of its container")
        time.sleep(1)
    reason = _certificate.needs_renewal(new, datetime.now(timezone.utc), days)
    if reason:
        raise CredentialError(f"LND made a new certificate, but {reason}; do the clocks of LND's machine and of this one agree?")
    return new


def _whole(node: Node) -> _certificate.Certificate | None:
    """The certificate in tls.cert; None while LND is down or writes it."""
    try:
        return _certificate.parse(node.certificate())
    except _certificate.CertificateError:
        return None
    except ClusterError as error:
        if error.status in (401, 403):
            raise
        return None
