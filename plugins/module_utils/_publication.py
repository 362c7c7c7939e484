# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One LND's credentials as Secrets: what is there is proved, what is missing is made, what is not wanted any more is revoked.

Everything begins with what the Secrets and LND say, so that the next call completes one that was interrupted, wherever that was. The order of
a change: all that is needed is made and proved; it is written; the programs that use it start again with it; then the old root keys end.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Iterable

from ansible_collections.openlsp.node.plugins.module_utils import (
    _certificate, _consumers, _credentials, _lnd, _macaroon, _mounts, _renewal, _secret, _weak)
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._consumers import CERTIFICATE_KEY, CONSUMER_NAMESPACES, MACAROON_KEY, Consumer
from ansible_collections.openlsp.node.plugins.module_utils._credentials import MACAROON_SECRETS, TLS_SECRET, CredentialError, Node, NotYet
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import KINDS, Macaroon, Permission
from ansible_collections.openlsp.node.plugins.module_utils._secret import ANNOTATIONS, Change, Secret

CERTIFICATE_EXPIRES = ANNOTATIONS + "certificate-expires"
CERTIFICATE_SHA256 = ANNOTATIONS + "certificate-sha256"

# When a Secret's content became another, as long as not every program that uses it has started again.
CHANGED = ANNOTATIONS + "changed"

ADMIN = "lnd-admin"

# Seconds for which a root key that no Secret names may belong to another call, which has yet to write its Secret.
_ORPHANED_AFTER = 60

# HTTP statuses after which the same may go well. Without one the API did not answer. 404: no pod yet. 409: another call came first.
_PASSING = (None, 404, 409, 429, 500, 502, 503, 504)

Place = tuple[str, str]  # namespace and name of a Secret


@dataclass(frozen=True)
class Wanted:
    """What a call shall bring about. rotate: names of consumers. renew_days: how long before its end LND's certificate is renewed."""

    consumers: tuple[Consumer, ...]
    labels: dict[str, str]
    rotate: frozenset[str] = frozenset()
    adopt: bool = False
    renew_days: int = 30


@dataclass(frozen=True)
class Need:
    """What one Secret shall hold. macaroon: None for the certificate, and for one that is still to be baked, which ``why`` gives the reason for.

    retiring: root keys that its macaroon replaces and that LND still has.
    """

    place: Place
    permissions: frozenset[Permission] = frozenset()
    consumer: Consumer | None = None
    macaroon: Macaroon | None = None
    retiring: tuple[str, ...] = ()
    why: str = ""


@dataclass
class Outcome:
    """What was done, or in check mode would be. warnings: what is left to the operator."""

    changes: dict[Place, Change] = field(default_factory=dict)
    needs: dict[Place, Need] = field(default_factory=dict)
    revoked: dict[Place, Secret] = field(default_factory=dict)
    deleted_root_keys: set[int] = field(default_factory=set)
    restarted: list[str] = field(default_factory=list)
    renewed: str = ""
    warnings: list[str] = field(default_factory=list)
    # Consumers that have their new macaroon, where a try has to be repeated.
    rotated: set[Place] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        return bool(any(each.action != "keep" for each in self.changes.values()) or self.revoked or self.deleted_root_keys
                    or self.restarted or self.renewed)

    def note(self, change: Change) -> None:
        """Remember what was to be done with a Secret first, and what it is to hold in the end: when it is planned once more, the first may be done."""
        known = self.changes.get(change.place)
        self.changes[change.place] = change if known is None or known.action == "keep" else replace(known, wanted=change.wanted)

    def note_needs(self, needs: Iterable[Need]) -> None:
        """Remember what each Secret is to hold, and the first reason for a new macaroon."""
        for need in needs:
            known = self.needs.get(need.place)
            self.needs[need.place] = replace(need, why=need.why or known.why) if known else need


def publish(node: Node, wanted: Wanted, timeout: float, check_mode: bool) -> Outcome:
    """Bring it about; waits at most ``timeout`` seconds for LND, and as long for programs that start again.

    Raises NotYet with what was missing last, CredentialError and ConsumerError, or ClusterError for a refusal of the Kubernetes API.
    """
    deadline = time.monotonic() + timeout
    outcome = Outcome()
    while True:
        try:
            _Attempt(node, wanted, timeout, check_mode, outcome).run()
            return outcome
        except _secret.ForeignSecretError:
            raise
        except _Renewed:
            deadline = time.monotonic() + timeout
        except ClusterError as error:
            if error.status not in _PASSING or time.monotonic() > deadline:
                raise
        except NotYet:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


class _Renewed(Exception):
    """LND starts with a new certificate."""


class _Attempt:
    """One try. What it did is in ``outcome``, also where it fails."""

    def __init__(self, node: Node, wanted: Wanted, timeout: float, check_mode: bool, outcome: Outcome) -> None:
        self.node, self.wanted, self.timeout, self.check_mode, self.outcome = node, wanted, timeout, check_mode, outcome
        self.now = datetime.now(timezone.utc)
        self.cluster = node.cluster
        self.found = self._read()
        self._files: dict[str, bytes] | None = None
        # Root keys that this try made and that no Secret names so far.
        self.unwritten: set[int] = set()
        self.orphans_in_use = False
        self.last_id = 0

    # -- what is there -------------------------------------------------------------------------------------------------

    def _read(self) -> dict[Place, Secret]:
        """The Secrets of the node's namespace, and of the others in which its consumers have, or get, one."""
        own = _secret.read_all(self.cluster, self.node.namespace)
        others = _consumers.other_namespaces(own.get(TLS_SECRET), (each.namespace for each in self.wanted.consumers), self.node.namespace)
        listed = [own, *(_secret.read_all(self.cluster, other) for other in others)]
        return {(secret.namespace, secret.name): secret for secrets in listed for secret in secrets.values()}

    @property
    def files(self) -> dict[str, bytes]:
        """LND's files, read when the first of them is needed."""
        if self._files is None:
            self._files = _credentials.read_files(self.node)
        return self._files

    def run(self) -> None:
        for certificate in (self._held_certificate, lambda: _credentials.certificate_of(self.files)):
            self.certificate = certificate()
            if self.certificate is None:
                continue
            with self.node.client(self.certificate.pem) as self.lnd:
                try:
                    _credentials.require_active(self.lnd.state())
                    self._settle()
                    return
                except _lnd.LndCertificateError:
                    continue
                except _lnd.LndError as error:
                    if error.passes:
                        raise NotYet(str(error)) from error
                    raise CredentialError(f"LND refuses a call that is made with its admin macaroon: {error}; look at its log") from error
        raise NotYet("LND shows its clients another certificate than its tls.cert; it is starting, or its pod has to be restarted")

    def _held_certificate(self) -> _certificate.Certificate | None:
        """The one in its Secret. While LND shows it, there is no need to read LND's file."""
        held = self.found.get((self.node.namespace, TLS_SECRET))
        try:
            return _certificate.parse(held.data.get(CERTIFICATE_KEY, b"")) if held else None
        except _certificate.CertificateError:
            return None

    # -- from there to what is wanted ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        self._renew_certificate()
        self.admin = self._admin()
        self.ids = self.lnd.root_key_ids(self.admin.raw)
        self.named = Counter(each for secret in self.found.values() if _consumers.of_node(secret, self.node.namespace)
                             for each in _consumers.root_key_ids(secret))
        self.refusals = self._refusals()
        needs = [Need((self.node.namespace, TLS_SECRET)), *map(self._need_of_file, MACAROON_SECRETS), *map(self._need_of_consumer, self.wanted.consumers)]
        self._refuse_unknown_permissions(needs)
        places = {each.place for each in needs}
        self.unwanted = [secret for place, secret in sorted(self.found.items())
                         if _consumers.of_node(secret, self.node.namespace) and place not in places]
        # Also before anything is made: this refuses a Secret that is somebody else's.
        self.orphaned = bool(self._orphans(needs))
        changes = [self._change(need) for need in needs]
        try:
            if not self.check_mode:
                needs = [self._made(need) if need.why else need for need in needs]
                changes = [self._change(need) for need in needs]
            self._carry_out(needs, changes)
        except Exception:
            self._forget_unwritten()
            raise

    def _carry_out(self, needs: list[Need], changes: list[Change]) -> None:
        self.outcome.note_needs(needs)
        self.outcome.warnings = self._names_missing()
        if self.check_mode:
            for change in changes:
                self.outcome.note(change)
            self.outcome.revoked = {(each.namespace, each.name): each for each in self.unwanted}
            self.outcome.deleted_root_keys |= self._orphans(needs)
            return
        for secret in self.unwanted:
            self._revoke(secret, needs)
        there = {change.place: self._write(change, need) for change, need in zip(changes, needs)}
        late = self._restart_programs(there.values())
        for change, need in zip(changes, needs):
            if need.place[0] not in late:
                self._finish(change.wanted, need, there[need.place])
        if late:
            raise ClusterError("; ".join(str(each) for each in late.values()), next(iter(late.values())).status)
        self._delete_orphans(needs)

    def _renew_certificate(self) -> None:
        reason = _certificate.needs_renewal(self.certificate, self.now, self.wanted.renew_days)
        if not reason:
            return
        self.outcome.renewed = reason
        if not self.check_mode:
            _renewal.renew(self.node, self.certificate, self.wanted.renew_days, self.timeout)
            raise _Renewed

    def _names_missing(self) -> list[str]:
        host = _consumers.host(self.node.namespace)
        if len(self.wanted.consumers) < 2 or not _certificate.missing(self.certificate, [host]):
            return []
        return [f"LND's certificate is not good for {host}, the address in its consumers' Secrets; give LND the option tlsextradomain={host}"]

    def _admin(self) -> Macaroon:
        """The macaroon that everything else is asked and made with."""
        held = self._sound(ADMIN)
        if held and not self._refusal(held, held):
            return held
        return self._from_file(ADMIN)

    def _from_file(self, name: str) -> Macaroon:
        """What LND's file for a Secret holds, proved. The admin macaroon is asked about with itself."""
        macaroon = _credentials.macaroon_of(name, MACAROON_SECRETS[name], self.files)
        reason = self._refusal(macaroon, macaroon if name == ADMIN else None)
        if reason:
            raise CredentialError(f"{name}: the running LND does not accept its own {MACAROON_SECRETS[name]}.macaroon ({reason}); "
                                  "after a restore or a new root key delete the *.macaroon files and restart LND, which writes them anew")
        return macaroon

    def _need_of_file(self, name: str) -> Need:
        """One of the macaroons that LND itself makes; baked where it keeps no file of it, as after stateless_init."""
        place, kind = (self.node.namespace, name), MACAROON_SECRETS[name]
        held = self.admin if name == ADMIN else self._sound(name)
        if held and (name == ADMIN or not self.refusals[held.raw]):
            return Need(place, KINDS[kind], macaroon=held)
        if f"{kind}.macaroon" not in self.files:
            return Need(place, KINDS[kind], why="LND keeps no file of it")
        return Need(place, KINDS[kind], macaroon=self._from_file(name))

    def _sound(self, name: str) -> Macaroon | None:
        """What a Secret holds, if it is what its name promises."""
        held = self.found.get((self.node.namespace, name))
        try:
            macaroon = _macaroon.parse(held.data.get(MACAROON_KEY, b"")) if held else None
        except _macaroon.MacaroonError:
            return None
        promised = macaroon and macaroon.permissions == KINDS[MACAROON_SECRETS[name]] and not macaroon.caveats
        return macaroon if promised and not _weak.weak_root_key(macaroon) else None

    def _need_of_consumer(self, consumer: Consumer) -> Need:
        found = self.found.get(consumer.place)
        if found and found.ours and not _consumers.of_node(found, self.node.namespace):
            raise CredentialError(f"the Secret {consumer.secret} of namespace {consumer.namespace} belongs to another Lightning node; "
                                  f"give the consumer {consumer.name} another name")
        replaced = _consumers.root_key_ids(found) & self.ids if found and found.ours else frozenset()
        macaroon, why = self._judged(consumer, found)
        if not why:
            replaced -= {int(macaroon.root_key_id)}
        return Need(consumer.place, consumer.permissions, consumer, None if why else macaroon, tuple(map(str, sorted(replaced))), why)

    def _judged(self, consumer: Consumer, found: Secret | None) -> tuple[Macaroon | None, str]:
        """A consumer's present macaroon, and why it has to be another one."""
        if found is None:
            return None, "there is none"
        try:
            macaroon = _macaroon.parse(found.data.get(MACAROON_KEY, b""))
        except _macaroon.MacaroonError as error:
            return None, f"what is there is no macaroon: {error}"
        why = _consumers.why_new(consumer, macaroon, self.now)
        if not why and self.named[int(macaroon.root_key_id)] > 1:
            # Somebody copied it: to revoke the one would be to revoke the other.
            why = "another Secret has its root key too"
        if not why and consumer.name in self.wanted.rotate and consumer.place not in self.outcome.rotated:
            why = "it is to be rotated"
        if not why:
            reason = self.refusals[macaroon.raw]
            why = f"LND does not accept it: {reason}" if reason else ""
        return macaroon, why

    def _refusal(self, macaroon: Macaroon, asked_with: Macaroon | None = None) -> str:
        """Why LND does not accept a macaroon; empty where it does, for whoever may use it."""
        return _proper(self.lnd.accepts(macaroon.raw, macaroon.permissions, (asked_with or self.admin).raw))

    def _refusals(self) -> dict[bytes, str]:
        """The same of every macaroon that this node's Secrets hold, by its bytes; asked all at once."""
        places = {*((self.node.namespace, name) for name in MACAROON_SECRETS if name != ADMIN), *(each.place for each in self.wanted.consumers)}
        held = []
        for place in sorted(places & self.found.keys()):
            try:
                held.append(_macaroon.parse(self.found[place].data.get(MACAROON_KEY, b"")))
            except _macaroon.MacaroonError:
                continue
        reasons = self.lnd.accepts_each([(each.raw, each.permissions) for each in held], self.admin.raw)
        return {each.raw: _proper(reason) for each, reason in zip(held, reasons)}

    def _refuse_unknown_permissions(self, needs: Iterable[Need]) -> None:
        new = [need.consumer for need in needs if need.consumer and need.why]
        if new:
            known = self.lnd.known_permissions(self.admin.raw)
            for consumer in new:
                _consumers.refuse_unknown(consumer, known)

    def _made(self, need: Need) -> Need:
        """With a new macaroon, proved."""
        root_key_id = self._allocated() if need.consumer else 0
        if root_key_id:
            self.unwritten.add(root_key_id)
        try:
            baked = self.lnd.bake(need.permissions, root_key_id, self.admin.raw)
        except _lnd.LndError as error:
            if error.passes:
                raise
            raise CredentialError(f"{need.place[1]}: LND refuses to make a macaroon with the permissions {_macaroon.words(need.permissions)}: {error}; "
                                  "does this version of LND have all of them (lncli listpermissions)?") from error
        macaroon = _macaroon.parse(baked)
        if need.consumer:
            macaroon = _consumers.constrained(need.consumer, macaroon, self.now)
        reason = self._refusal(macaroon)
        if reason:
            raise CredentialError(f"{need.place[1]}: LND does not accept the macaroon that it has just made ({reason})")
        return replace(need, macaroon=macaroon)

    def _allocated(self) -> int:
        """A root key id that was never used."""
        self.last_id = max(self.last_id + 1, time.time_ns() // 1000)
        while self.last_id in self.ids:
            self.last_id += 1
        return self.last_id

    def _change(self, need: Need) -> Change:
        """From what is there to what is needed, with a note where programs have to start again before it is finished."""
        found = self.found.get(need.place)
        name, annotations = need.place[1], {}
        labels = dict(self.wanted.labels)
        if name == TLS_SECRET:
            data = {CERTIFICATE_KEY: self.certificate.pem}
            # Always there: server-side apply would not remove it again, because it came with the POST.
            annotations[CONSUMER_NAMESPACES] = self._namespaces(self.unwanted)
        elif need.macaroon is None:
            data = {}
        elif need.consumer:
            data = _consumers.content(need.consumer, need.macaroon.raw, self.certificate.pem, self.node.namespace)
            annotations[_consumers.ROOT_KEY_ID] = need.macaroon.root_key_id
        else:
            data = {MACAROON_KEY: need.macaroon.raw}
        if need.consumer:
            labels |= {_consumers.CONSUMER: need.consumer.name, _consumers.NODE: self.node.namespace}
        if CERTIFICATE_KEY in data:
            annotations |= {CERTIFICATE_EXPIRES: f"{self.certificate.expires:%Y-%m-%dT%H:%M:%SZ}", CERTIFICATE_SHA256: self.certificate.sha256}
        if found and not data.items() <= found.data.items():
            annotations[CHANGED] = stamp()
        elif not found and need.consumer and self.orphaned:
            # Somebody may have deleted it while programs used it: it had one of the root keys that are orphans now.
            annotations[CHANGED] = stamp()
        elif found and (CHANGED in found.annotations or need.retiring):
            annotations[CHANGED] = found.annotations.get(CHANGED, stamp())
        if need.retiring:
            annotations[_consumers.RETIRING] = ",".join(need.retiring)
        change = _secret.change(Secret(name, data, labels, annotations, need.place[0]),
                                found, self.wanted.adopt)
        # What is still to be baked differs from what is there in any case.
        return replace(change, action="update") if need.macaroon is None and need.why and found else change

    def _namespaces(self, further: Iterable[Secret]) -> str:
        used = {each.namespace for each in (*self.wanted.consumers, *further)}
        return ",".join(sorted(used - {self.node.namespace}))

    # -- what has to happen, in this order -----------------------------------------------------------------------------

    def _revoke(self, secret: Secret, needs: Iterable[Need]) -> None:
        """But not the root key of a Secret that this one is a copy of: that ends when its owner has another."""
        self._delete_root_keys(_consumers.root_key_ids(secret) - _named(needs))
        _secret.delete(self.cluster, secret)
        self.outcome.revoked[secret.namespace, secret.name] = secret

    def _write(self, change: Change, need: Need) -> Secret:
        """What is there afterwards."""
        self.outcome.note(change)
        if change.action == "keep":
            return change.found
        annotations = change.wanted.annotations
        if CHANGED in annotations and annotations[CHANGED] != (change.found.annotations.get(CHANGED) if change.found else None):
            # Since it was planned, a pod may have been made that has what was there before.
            change = replace(change, wanted=replace(change.wanted, annotations={**annotations, CHANGED: stamp()}))
        try:
            written = _secret.write(self.cluster, change)
        except ClusterError as error:
            # Refused, or nobody knows: then the root key may be the one of the Secret that is there now.
            if need.why and need.consumer and (error.status is None or error.status >= 500):
                self.unwritten.discard(int(need.macaroon.root_key_id))
            if error.status == 404:
                raise CredentialError(f"{error}; make the namespace first, or give the consumer another one") from None
            raise
        if need.why and need.consumer:
            self.unwritten.discard(int(need.macaroon.root_key_id))
            self.outcome.rotated.add(need.place)
        return written

    def _restart_programs(self, there: Iterable[Secret]) -> dict[str, ClusterError]:
        """Let all that use what changed start again with it, and wait until they have; what is not ready in time, by namespace.

        Everybody starts again before the first is waited for: with a new certificate a program is cut off until it does.
        """
        self.left: dict[str, list[_mounts.Workload]] = {}
        late, started = {}, {}
        unfinished = [secret for secret in there if CHANGED in secret.annotations]
        for namespace in sorted({secret.namespace for secret in unfinished}):
            digests = {secret.name: _secret.digest(b"".join(value for _key, value in sorted(secret.data.items())))
                       for secret in unfinished if secret.namespace == namespace}
            users = [each for each in _mounts.of_namespace(self.cluster, namespace) if each.secrets & digests.keys()]
            for workload in users:
                for name in sorted(workload.secrets & digests.keys()):
                    if _mounts.restart(self.cluster, namespace, workload, digests[name]) and str(workload) not in self.outcome.restarted:
                        self.outcome.restarted.append(str(workload))
            started[namespace] = users
        for namespace, users in started.items():
            try:
                self.left[namespace] = _mounts.wait_ready(self.cluster, namespace, users, self.timeout)
            except ClusterError as error:
                late[namespace] = error
        return late

    def _finish(self, wanted: Secret, need: Need, there: Secret) -> None:
        """End the root keys that were replaced, unless a program may still use them."""
        annotations = {key: value for key, value in there.annotations.items() if key.startswith(ANNOTATIONS)}
        if CHANGED in annotations:
            waiting = [each for each in self.left[there.namespace] if there.name in each.secrets and each.made_before(annotations[CHANGED])]
            if waiting:
                self.outcome.warnings += [
                    f"{each} of namespace {there.namespace} still has what the Secret {there.name} held before: {each.by_hand}, then run the site"
                    + (" to end the old macaroon" if need.retiring else "") for each in waiting]
                # Of a Secret that was lost, nobody knows which of the orphans they use.
                self.orphans_in_use |= not need.retiring
                return
            self._delete_root_keys(map(int, need.retiring))
            self._prove_refused(need)
        for name in (CHANGED, _consumers.RETIRING):
            annotations.pop(name, None)
        if there.name == TLS_SECRET:
            annotations[CONSUMER_NAMESPACES] = self._namespaces(())
        change = _secret.change(replace(wanted, annotations=annotations), there, adopt=True)
        if change.action != "keep":
            written = _secret.write(self.cluster, change)
            self.outcome.note(change)
            if CHANGED in written.annotations and CHANGED not in annotations:
                # It came with the POST, so server-side apply leaves it.
                _secret.remove_annotation(self.cluster, written, CHANGED)

    def _prove_refused(self, need: Need) -> None:
        """The macaroon that was in the Secret until now, if there was one."""
        if not need.retiring:
            return
        still = self.lnd.root_key_ids(self.admin.raw) & set(map(int, need.retiring))
        if still:
            raise NotYet(f"{need.place[1]}: LND still has root key {min(still)}, which was deleted")
        try:
            old = _macaroon.parse(self.found[need.place].data.get(MACAROON_KEY, b""))
        except _macaroon.MacaroonError:
            return
        if old.root_key_id in need.retiring and not self._refusal(old):
            raise CredentialError(f"{need.place[1]}: LND still accepts the macaroon that was replaced, although its root key {old.root_key_id} is deleted")

    def _delete_root_keys(self, ids: Iterable[int]) -> None:
        for each in sorted(set(ids) & self.ids):
            self.lnd.delete_root_key(each, self.admin.raw)
            self.outcome.deleted_root_keys.add(each)
        self.ids -= self.outcome.deleted_root_keys

    def _orphans(self, needs: Iterable[Need], secrets: Iterable[Secret] = ()) -> set[int]:
        """Root keys of this collection's range that nothing names."""
        named = _named(needs).union(*map(_consumers.root_key_ids, (*self.found.values(), *secrets)))
        return {each for each in self.ids if each in _consumers.OUR_IDS} - named

    def _delete_orphans(self, needs: Iterable[Need]) -> None:
        orphans = self._orphans(needs)
        if not orphans or self.orphans_in_use:
            return
        age = time.time() - max(orphans) / 1e6
        if age < _ORPHANED_AFTER:
            # Another call may be about to write its Secret.
            time.sleep(min(_ORPHANED_AFTER, _ORPHANED_AFTER - age))
        self._delete_root_keys(self._orphans(needs, self._read().values()))

    def _forget_unwritten(self) -> None:
        """As far as it goes: what stays is an orphan for the next call."""
        for each in sorted(self.unwritten):
            try:
                self.lnd.delete_root_key(each, self.admin.raw)
            except (ClusterError, _lnd.LndError):
                return
        self.unwritten.clear()


def _named(needs: Iterable[Need]) -> set[int]:
    """The root keys that these have, or have until they are finished."""
    return {int(each) for need in needs for each in (*need.retiring, *([need.macaroon.root_key_id] if need.macaroon else []))}


def _proper(reason: str | None) -> str:
    """A reason for which a macaroon has to be replaced; empty where there is none."""
    return "" if reason is None or _lnd.OTHER_ADDRESS in reason else reason


def stamp() -> str:
    """Now, as Kubernetes writes it."""
    return f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


# -- what may be shown -------------------------------------------------------------------------------------------------

def described(secret: Secret | None, need: Need | None = None) -> str:
    """What a diff shows of a Secret: names, digests, and each permission on a line of its own; never a value.

    need: of a Secret whose macaroon is still to be made.
    """
    if secret is None:
        return ""
    macaroon = None
    lines = [f"{secret.namespace}/{secret.name}"]
    for key in (CERTIFICATE_KEY, MACAROON_KEY):
        value = secret.data.get(key)
        if value is None:
            continue
        line = f"  {key}: {len(value)} bytes, sha256 {_secret.digest(value)}"
        if key == MACAROON_KEY:
            try:
                macaroon = _macaroon.parse(value)
                line += f", root key {macaroon.root_key_id}"
            except _macaroon.MacaroonError as error:
                line += f", no macaroon: {error}"
        lines.append(line)
    if need and need.macaroon is None and need.permissions:
        lines.append("  macaroon: a new one")
    held = macaroon.permissions if macaroon else need.permissions if need else ()
    lines += [f"  may {each}" for each in sorted(held)]
    lines += [f"  only {each}" for each in (macaroon.caveats if macaroon else ())]
    lines += [f"  {name.removeprefix(ANNOTATIONS)}: {value}" for name, value in sorted(secret.annotations.items())
              if value and name in (CERTIFICATE_EXPIRES, CONSUMER_NAMESPACES)]
    return "".join(f"{line}\n" for line in lines)
