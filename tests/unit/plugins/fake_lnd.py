"""An LND in memory: it makes real macaroons under root keys that it keeps, and checks them as LND does."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

from ansible_collections.openlsp.node.plugins.module_utils import _macaroon, _presets
from ansible_collections.openlsp.node.plugins.module_utils._lnd import LndCertificateError, LndError
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import KINDS, Permission

# Codes of gRPC: what LND answers by itself, and to a macaroon that does not hold what a call needs.
_UNKNOWN, _DENIED = 2, 7

WRITES = ("bake", "delete_root_key")


class FakeLnd:
    """``calls`` are the names of what was asked. ``files``: LND's directory, by file name. ``before`` is called with each call's name."""

    def __init__(self, certificate):
        self.certificate, self.root_keys, self.calls = certificate, {0: hashlib.sha256(b"0").digest()}, []
        self.made, self.address, self.now, self.state_now = 0, "127.0.0.1", lambda: datetime.now(timezone.utc), "SERVER_ACTIVE"
        self.before = lambda name: None
        self.known = frozenset().union(*KINDS.values(), *_presets.PRESETS.values())
        self.files = {"tls.cert": certificate, **{f"{kind}.macaroon": self.minted(held) for kind, held in KINDS.items()}}

    def minted(self, held, root_key_id=0):
        """A new macaroon; its root key is made where there is none."""
        self.made += 1
        key = self.root_keys.setdefault(root_key_id, hashlib.sha256(f"{root_key_id} {self.made}".encode()).digest())
        return _macaroon.mint(key, str(root_key_id), held, self.made.to_bytes(16, "big")).raw

    def refusal(self, raw, needed=()):
        """Why LND refuses a macaroon, in its words, or None; signature first, then its caveats, then what it opens."""
        macaroon = _macaroon.parse(raw)
        key = self.root_keys.get(int(macaroon.root_key_id))
        if key is None:
            return "cannot get macaroon: root key with id doesn't exist"
        if not _macaroon.signed_with(macaroon, key):
            return "verification failed: signature mismatch after caveat verification"
        if macaroon.expires and macaroon.expires <= self.now():
            return 'caveat "time-before" not satisfied: macaroon has expired'
        if any(caveat.startswith("iprange ") for caveat in macaroon.caveats) and self.address == "127.0.0.1":
            return 'caveat "iprange" not satisfied: macaroon locked to different IP range'
        return None if set(needed) <= macaroon.permissions else "permission denied"

    def client(self, certificate):
        """What stands for _lnd.Lnd."""
        return _Client(self, certificate)


class _Client:
    def __init__(self, lnd, certificate):
        self._lnd, self._certificate = lnd, certificate

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        """Nothing is open."""

    def _called(self, name, asked_with=None, needed=None):
        self._lnd.before(name)
        self._lnd.calls.append(name)
        if self._certificate != self._lnd.certificate:
            raise LndCertificateError("LND holds another certificate than the one it is known by")
        reason = self._lnd.refusal(asked_with, [Permission("macaroon", needed)]) if needed else None
        if reason:
            raise LndError(reason, _DENIED)

    def state(self):
        self._called("state")
        return self._lnd.state_now

    def accepts(self, macaroon, permissions, asked_with):
        try:
            self._called("accepts", asked_with, "read")
        except LndError as error:
            if error.passes:
                raise
            return str(error)
        return self._lnd.refusal(macaroon, permissions)

    def accepts_each(self, macaroons, asked_with):
        return [self.accepts(macaroon, permissions, asked_with) for macaroon, permissions in macaroons]

    def known_permissions(self, asked_with):
        self._called("known_permissions", asked_with, "read")
        return self._lnd.known

    def bake(self, permissions, root_key_id, asked_with):
        self._called("bake", asked_with, "generate")
        if not set(permissions) <= self._lnd.known:
            raise LndError("invalid permission", _UNKNOWN)
        return self._lnd.minted(permissions, root_key_id)

    def root_key_ids(self, asked_with):
        self._called("root_key_ids", asked_with, "read")
        return frozenset(self._lnd.root_keys)

    def delete_root_key(self, root_key_id, asked_with):
        self._called("delete_root_key", asked_with, "write")
        if not root_key_id:
            raise LndError("the specified ID cannot be deleted", _UNKNOWN)
        # One that is not there is no error to LND.
        self._lnd.root_keys.pop(root_key_id, None)
