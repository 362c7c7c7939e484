# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that talk to LND: what each may do, and the Secret that lets it. Pure; no input or output."""

from __future__ import annotations

import base64
import difflib
import re
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Iterable, Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _macaroon
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import Macaroon, Permission
from ansible_collections.openlsp.node.plugins.module_utils._presets import PRESETS
from ansible_collections.openlsp.node.plugins.module_utils._secret import ANNOTATIONS, Secret

# Label of a consumer's Secret, with its name; and of the node that it opens, by the node's namespace.
CONSUMER = ANNOTATIONS + "consumer"
NODE = ANNOTATIONS + "lightning-node"

# Annotations. While a rotation is under way the Secret names the root keys that its macaroon replaces.
ROOT_KEY_ID = ANNOTATIONS + "root-key-id"
RETIRING = ANNOTATIONS + "retiring-root-key-ids"

# Annotation of lnd-tls: the other namespaces in which this node's consumers have Secrets, comma separated. Without it nobody would find them
# to revoke them.
CONSUMER_NAMESPACES = ANNOTATIONS + "consumer-namespaces"

# The root key ids that this collection allocates are microseconds since 1970: never used twice, sorted by age, told from those that people
# make by hand, and small enough for JSON's numbers.
OUR_IDS = range(10**15, 2**53)

MACAROON_KEY, CERTIFICATE_KEY = "macaroon", "cert"
GRPC_PORT, REST_PORT = 10009, 8080

# A macaroon that ends is replaced when a third of its life is left. The clocks of LND and of this computer may differ.
_LEFT = 1 / 3

# A hundred years; dates end in 9999.
MAX_DAYS = 36500

# With "lnd-consumer-" in front of it, a name in Kubernetes, and the value of a label.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?")


class ConsumerError(ValueError):
    """The list of consumers asks for what cannot be; the message names the consumer."""


@dataclass(frozen=True)
class Consumer:
    """One program. days: how long its macaroon lives, None for ever. ip_range: the network from which it may be used, empty for any."""

    name: str
    secret: str
    namespace: str
    permissions: frozenset[Permission]
    days: int | None = None
    ip_range: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name of its Secret."""
        return self.namespace, self.secret


def backup(namespace: str) -> Consumer:
    """Who fetches the static channel backups. LND has no file for it: its macaroon is baked, as a consumer's is."""
    return Consumer("lnd-backup", "lnd-backup", namespace, PRESETS["backup"])


def wanted(given: Iterable[Mapping[str, Any]], namespace: str) -> list[Consumer]:
    """The consumers that an inventory lists, checked, in the order of their Secrets.

    given: each with name, exactly one of preset, permissions and uris, and maybe namespace, expires (days) and ip_range.
    namespace: the node's. Raises ConsumerError.
    """
    consumers = [backup(namespace), *(_consumer(each, namespace) for each in given)]
    for index, each in enumerate(consumers):
        if each.name in (other.name for other in consumers[:index]):
            raise ConsumerError(f"consumer {each.name} is there twice; give each program a name of its own")
    return sorted(consumers, key=lambda each: each.place)


def _consumer(given: Mapping[str, Any], namespace: str) -> Consumer:
    name = str(given.get("name") or "")
    if not _NAME.fullmatch(name):
        raise ConsumerError(f"consumer {name!r}: a name has lower case letters, digits and hyphens, at most 50")
    if name == "all":
        raise ConsumerError("consumer all: the name stands for every consumer; give it another one")
    sources = [key for key in ("preset", "permissions", "uris") if given.get(key)]
    if len(sources) != 1:
        raise ConsumerError(f"consumer {name}: it needs exactly one of preset, permissions and uris, and has {' and '.join(sources) or 'none'}")
    days, ip_range = given.get("expires"), given.get("ip_range") or ""
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise ConsumerError(f"consumer {name}: expires is {days}; a macaroon lives for 1 to {MAX_DAYS} days, or for ever without it")
    try:
        ip_range = _macaroon.ip_range(ip_range) if ip_range else ""
    except _macaroon.MacaroonError as error:
        raise ConsumerError(f"consumer {name}: ip_range {error}") from None
    return Consumer(name, f"lnd-consumer-{name}", given.get("namespace") or namespace, _permissions(name, sources[0], given[sources[0]]), days, ip_range)


def _permissions(name: str, source: str, value: Any) -> frozenset[Permission]:
    if source == "preset":
        if value not in PRESETS:
            raise ConsumerError(f"consumer {name}: there is no preset {value}; there are {', '.join(sorted(PRESETS))}")
        return PRESETS[value]
    if source == "uris":
        wrong = [uri for uri in value if not re.fullmatch(r"/[\w.]+/\w+", uri)]
        if wrong:
            raise ConsumerError(f"consumer {name}: {wrong[0]!r} is no call of LND; one is written like /lnrpc.Lightning/GetInfo")
        return frozenset(Permission("uri", uri) for uri in value)
    wrong = [word for word in value if not re.fullmatch(r"[a-z]+:(?:[a-z]+|/[\w.]+/\w+)", word)]
    if wrong:
        raise ConsumerError(f"consumer {name}: {wrong[0]!r} is no permission; one is written like invoices:read")
    return _macaroon.permissions(*value)


def chosen(consumers: Iterable[Consumer], names: Iterable[str]) -> frozenset[str]:
    """Those of the consumers' names that are given, by themselves or as ``all``. Raises ConsumerError for one that is not among them."""
    known, names = {each.name for each in consumers}, set(names)
    unknown = sorted(names - known - {"all"})
    if unknown:
        raise ConsumerError(f"there is no consumer {unknown[0]}; there are {', '.join(sorted(known))}")
    return frozenset(known if "all" in names else names)


def refuse_unknown(consumer: Consumer, known: Iterable[Permission]) -> None:
    """Raise ConsumerError for a permission that this LND does not have: it would bake such a macaroon, and refuse it later."""
    names = sorted(map(str, known))
    for each in sorted(consumer.permissions):
        if str(each) not in names:
            close = difflib.get_close_matches(str(each), names, 1)
            raise ConsumerError(f"consumer {consumer.name}: this LND has no permission {each}" + (f"; did you mean {close[0]}?" if close else ""))


def why_new(consumer: Consumer, macaroon: Macaroon, now: datetime) -> str:
    """Why a consumer needs another macaroon than the one it has; empty where it may keep it. now: aware."""
    if not our_id(macaroon.root_key_id):
        return "it was not made for this consumer"
    if macaroon.permissions != consumer.permissions:
        return "its permissions are to be others"
    kept = [each for each in macaroon.caveats if not each.startswith("time-before ")]
    if kept != ([consumer.ip_range] if consumer.ip_range else []):
        return "its caveats are to be others"
    if (macaroon.expires is None) != (consumer.days is None):
        return "it is to end at another time"
    if consumer.days:
        life = timedelta(days=consumer.days)
        if macaroon.expires - now < life * _LEFT:
            return f"it ends on {macaroon.expires:%Y-%m-%d}"
        if macaroon.expires - now > life * (1 + _LEFT):
            return "it is to end earlier"
    return ""


def constrained(consumer: Consumer, baked: Macaroon, now: datetime) -> Macaroon:
    """What LND baked, as narrow as the consumer's entry says. now: aware."""
    caveats = [_macaroon.time_before((now + timedelta(days=consumer.days)).replace(microsecond=0))] if consumer.days else []
    return _macaroon.constrain(baked, caveats + ([consumer.ip_range] if consumer.ip_range else []))


def host(node: str) -> str:
    """The name of LND's Service. node: its namespace."""
    return f"lnd.{node}.svc.cluster.local"


def content(consumer: Consumer, macaroon: bytes, certificate: bytes, node: str) -> dict[str, bytes]:
    """The data of a consumer's Secret: all that its program needs to know.

    certificate: PEM. node: the node's namespace. The address for apps: https://github.com/LN-Zap/lndconnect/blob/master/lnd_connect_uri.md
    """
    if consumer.secret == "lnd-backup":
        return {MACAROON_KEY: macaroon}
    binary = ssl.PEM_cert_to_DER_cert(certificate.decode().strip())
    address = f"lndconnect://{host(node)}:{GRPC_PORT}?cert={_url_base64(binary)}&macaroon={_url_base64(macaroon)}"
    return {MACAROON_KEY: macaroon, CERTIFICATE_KEY: certificate, "host": host(node).encode(), "grpc_port": str(GRPC_PORT).encode(),
            "rest_port": str(REST_PORT).encode(), "lndconnect": address.encode()}


def other_namespaces(certificate: Secret | None, further: Iterable[str], node: str) -> list[str]:
    """Where consumers have, or get, a Secret beside the node's namespace. certificate: lnd-tls, which names those that have."""
    named = certificate.annotations.get(CONSUMER_NAMESPACES, "").split(",") if certificate else []
    return sorted({*map(str.strip, named), *further} - {"", node})


def of_node(secret: Secret, node: str) -> bool:
    """Whether a Secret was made for a consumer of this node. node: its namespace."""
    return secret.ours and CONSUMER in secret.labels and secret.labels.get(NODE) == node


def our_id(text: str) -> bool:
    """Whether this collection allocated the root key id."""
    return text.isdecimal() and int(text) in OUR_IDS


def root_key_ids(secret: Secret) -> frozenset[int]:
    """Every root key that a Secret names, of its macaroon and those it replaces."""
    words = [*retiring(secret), secret.annotations.get(ROOT_KEY_ID, "")]
    try:
        words.append(_macaroon.parse(secret.data.get(MACAROON_KEY, b"")).root_key_id)
    except _macaroon.MacaroonError:
        pass
    return frozenset(int(word) for word in words if our_id(word))


def retiring(secret: Secret) -> list[str]:
    """The root key ids that its macaroon replaces and that LND may still have."""
    return [word for word in secret.annotations.get(RETIRING, "").split(",") if our_id(word)]


def _url_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
