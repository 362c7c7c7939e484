# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What opens one LND: its Secrets as far as they may be shown, and what the running LND says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Callable, Iterable, Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _certificate, _consumers, _lnd, _macaroon, _mounts
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._consumers import CERTIFICATE_KEY, CONSUMER, MACAROON_KEY, OUR_IDS
from ansible_collections.openlsp.node.plugins.module_utils._credentials import MACAROON_SECRETS, TLS_SECRET
from ansible_collections.openlsp.node.plugins.module_utils._secret import Secret, digest

# LND's own root key, of its files.
_LNDS_ID = 0

# Of the calls that a macaroon may make, in a line for a reader in a hurry.
_CALLS_SHOWN = 4

# Those that may ask LND about macaroons.
_ASKERS = ("lnd-admin", "lnd-readonly")


@dataclass(frozen=True)
class Credential:
    """One Secret with a macaroon, parsed. problem: why there is no macaroon in it."""

    namespace: str
    secret: Secret
    macaroon: _macaroon.Macaroon | None
    problem: str = ""

    @property
    def consumer(self) -> str:
        """The program that it was made for; empty for LND's own macaroons."""
        return self.secret.labels.get(CONSUMER, "")

    @property
    def retiring(self) -> list[int]:
        """The root key ids that a rotation has replaced and not yet deleted."""
        return [int(word) for word in _consumers.retiring(self.secret)]


@dataclass(frozen=True)
class Verdict:
    """Whether LND accepts a macaroon, or None where nobody can tell; with the reason where it does not or cannot be told."""

    accepted: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Answers:
    """What the running LND says. obstacle: why it says nothing, or not all. By a macaroon's digest: ``verdicts``."""

    obstacle: str = ""
    certificate_served: bool | None = None
    root_key_ids: frozenset[int] | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


def credentials(namespace: str, found: Mapping[str, Mapping[str, Secret]]) -> list[Credential]:
    """Those that open this LND: its own, whether they are there or not, then its consumers'.

    namespace: the node's. found: the Secrets by namespace and name.
    """
    missing = "there is no such Secret; run the site, which makes it"
    own = [_read(namespace, found[namespace][name]) if name in found[namespace] else Credential(namespace, Secret(name, {}), None, missing)
           for name in MACAROON_SECRETS]
    return own + [
        _read(where, secret) for where, secrets in sorted(found.items()) for _name, secret in sorted(secrets.items())
        if _consumers.of_node(secret, namespace)]


def _read(namespace: str, secret: Secret) -> Credential:
    if MACAROON_KEY not in secret.data:
        return Credential(namespace, secret, None, f"it has no key {MACAROON_KEY}")
    try:
        macaroon = _macaroon.parse(secret.data[MACAROON_KEY])
    except _macaroon.MacaroonError as error:
        return Credential(namespace, secret, None, f"no macaroon: {error}")
    promised = MACAROON_SECRETS.get(secret.name)
    if promised and macaroon.permissions != _macaroon.KINDS[promised]:
        return Credential(namespace, secret, macaroon, f"it does not hold what LND's {promised}.macaroon may do")
    return Credential(namespace, secret, macaroon)


def ask(connect: Callable[[bytes], _lnd.Lnd], certificate: bytes | None, listed: Iterable[Credential]) -> Answers:
    """One connection to LND, on which it is asked about every macaroon.

    connect: makes a client that trusts one certificate. Raises nothing where LND is down: the answers say so.
    """
    if certificate is None:
        return Answers(f"it cannot be known for sure without the Secret {TLS_SECRET}")
    with connect(certificate) as lnd:
        try:
            state = lnd.state()
        except _lnd.LndCertificateError as error:
            return Answers(f"{error}, which the Secret {TLS_SECRET} holds; run the site, which publishes the new one", False)
        except (_lnd.LndError, ClusterError) as error:
            return Answers(str(error))
        if state not in _lnd.ACTIVE_STATES:
            return Answers(f"LND is in state {state}", True)
        return _ask_about(lnd, [each for each in listed if each.macaroon])


def _ask_about(lnd: _lnd.Lnd, listed: list[Credential]) -> Answers:
    verdicts, ids, asker = {}, None, None
    try:
        for each in (each for each in listed if each.secret.name in _ASKERS and not each.consumer):
            # A refusal of the one that asks would look like a refusal of the one that is asked about.
            try:
                ids, asker = lnd.root_key_ids(each.macaroon.raw), each.macaroon.raw
                break
            except _lnd.LndError as error:
                if error.passes:
                    raise
                verdicts[each.macaroon.digest] = Verdict(False, str(error))
        if asker is None:
            return Answers(f"LND answers, but refuses {' and '.join(_ASKERS)}, with which it could be asked about the others", True, None, verdicts)
        for each in listed:
            if each.macaroon.digest not in verdicts:
                verdicts[each.macaroon.digest] = _verdict(lnd, each.macaroon, asker)
    except (_lnd.LndError, ClusterError) as error:
        return Answers(str(error), True, ids, verdicts)
    return Answers("", True, ids, verdicts)


def _verdict(lnd: _lnd.Lnd, macaroon: _macaroon.Macaroon, asker: bytes) -> Verdict:
    if not macaroon.permissions:
        return Verdict(None, "it may do nothing, so there is nothing to ask LND for")
    reason = lnd.accepts(macaroon.raw, macaroon.permissions, asker)
    # The address that LND sees is this module's, not the consumer's.
    if reason and _lnd.OTHER_ADDRESS in reason:
        return Verdict(None, "its caveat wants another address than the one from which this was asked")
    return Verdict(not reason, reason or "")


def shown(credential: Credential, answers: Answers, certificate: bytes | None, workloads: Iterable[_mounts.Workload], now: datetime) -> dict:
    """What may be shown of a credential; the keys are described in lnd_macaroon_info. now: aware."""
    macaroon, secret = credential.macaroon, credential.secret
    made = _made(macaroon)
    since = made or (datetime.fromisoformat(secret.created) if secret.created else None)
    verdict = answers.verdicts.get(macaroon.digest, Verdict(None, answers.obstacle)) if macaroon else Verdict(None)
    problems = [credential.problem] if credential.problem else []
    if certificate and secret.data.get(CERTIFICATE_KEY, certificate) != certificate:
        problems.append(f"its certificate is not that of {TLS_SECRET}")
    if credential.retiring:
        problems.append(f"its rotation was interrupted: LND still has root key {', '.join(map(str, credential.retiring))}")
    return {
        "name": secret.name, "namespace": credential.namespace, "consumer": credential.consumer,
        "kind": MACAROON_SECRETS.get(secret.name, ""),
        "digest": macaroon.digest if macaroon else "",
        "summary": summary(macaroon.permissions) if macaroon else "",
        "permissions": sorted(map(str, macaroon.permissions)) if macaroon else [],
        "root_key_id": macaroon.root_key_id if macaroon else "",
        "retiring_root_key_ids": [str(each) for each in credential.retiring],
        "made": _written(made),
        "age_days": (now - since).days if since else None,
        "caveats": list(macaroon.caveats) if macaroon else [],
        "expires": _written(macaroon.expires) if macaroon else "",
        "expired": bool(macaroon and macaroon.expires and macaroon.expires <= now),
        "accepted": verdict.accepted, "reason": verdict.reason,
        "problems": problems,
        "used_by": users(secret.name, workloads),
    }


def shown_certificate(secret: Secret | None, answers: Answers, workloads: Iterable[_mounts.Workload], now: datetime) -> dict:
    """The same of the Secret lnd-tls."""
    problem, certificate = "", None
    try:
        if secret is None:
            problem = "there is no such Secret; run the site, which makes it"
        else:
            certificate = _certificate.parse(secret.data.get(CERTIFICATE_KEY, b""))
    except _certificate.CertificateError as error:
        problem = f"no certificate: {error}"
    return {
        "name": TLS_SECRET,
        "expires": _written(certificate.expires) if certificate else "",
        "days_left": (certificate.expires - now).days if certificate else None,
        "names": list(certificate.names) if certificate else [],
        "sha256": certificate.sha256 if certificate else "",
        "digest": digest(certificate.pem) if certificate else "",
        "served": answers.certificate_served,
        "problems": [problem] if problem else [],
        "used_by": users(TLS_SECRET, workloads),
    }


def shown_bitcoind(secret: Secret | None, workloads: Iterable[_mounts.Workload]) -> dict:
    """The same of bitcoind-rpc. No digest: it would let a password be guessed at leisure."""
    data = secret.data if secret else {}
    username, password = data.get("username", b""), data.get("password", b"")
    return {"present": secret is not None, "username": username.decode(errors="replace"),
            "complete": bool(username and password) and data.get("cookie") == username + b":" + password,
            "used_by": users("bitcoind-rpc", workloads)}


def unnamed_root_keys(answers: Answers, listed: Iterable[Credential]) -> dict[str, list[str]]:
    """Root key ids of LND that no Secret names: orphans are of this collection's range, the others somebody made by hand."""
    unnamed = (answers.root_key_ids or frozenset()) - {_LNDS_ID}.union(*(_consumers.root_key_ids(each.secret) for each in listed))
    return {"orphaned_root_key_ids": [str(each) for each in sorted(unnamed) if each in OUR_IDS],
            "other_root_key_ids": [str(each) for each in sorted(unnamed) if each not in OUR_IDS]}


def summary(held: Iterable[_macaroon.Permission]) -> str:
    """``_macaroon.summary`` with single calls by their names alone: ``reads info; calls GetInfo, ListChannels``; of many, the first of them."""
    held = list(held)
    calls = sorted(each.action.rsplit("/", 1)[-1] for each in held if each.entity == "uri")
    others = [each for each in held if each.entity != "uri"]
    shown_calls, more = calls[:_CALLS_SHOWN], len(calls) - _CALLS_SHOWN
    parts = [_macaroon.summary(others)] if others or not calls else []
    parts += [f"calls {', '.join(shown_calls)}" + (f" and {more} more" if more > 0 else "")] if calls else []
    return "; ".join(parts)


def users(name: str, workloads: Iterable[_mounts.Workload]) -> list[str]:
    """``["Deployment shop"]``"""
    return [str(each) for each in workloads if name in each.secrets]


def _made(macaroon: _macaroon.Macaroon | None) -> datetime | None:
    """When this collection allocated a macaroon's root key id; None for one that it did not allocate."""
    if macaroon is None or not macaroon.root_key_id.isdecimal() or int(macaroon.root_key_id) not in OUR_IDS:
        return None
    return datetime.fromtimestamp(int(macaroon.root_key_id) / 10**6, timezone.utc)


def _written(when: datetime | None) -> str:
    """RFC 3339 in seconds, UTC."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if when else ""
