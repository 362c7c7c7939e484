# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses in LND's node announcement: what is wanted, what it holds, and the update from one to the other.

An LND whose configuration has no externalip goes on with the addresses that it announced last (lnd's server.go, setSelfNode), and those of a name stay
when it starts with another. Only the call UpdateNodeAnnouncement takes one away (lnrpc/peersrpc/peers.proto).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Callable, Iterable

Resolver = Callable[[str], Iterable[str]]

# Of LND where nobody says otherwise: lnd's config.go.
PORT = 9735


@dataclass(frozen=True)
class Update:
    """add, remove: addresses as LND writes them, host:port."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def body(self) -> dict:
        """Of a POST to /v2/peers/nodeannouncement."""
        updates = [("REMOVE", each) for each in self.remove] + [("ADD", each) for each in self.add]
        return {"address_updates": [{"action": action, "address": address} for action, address in updates]}


def held(uris: Iterable[str]) -> tuple[str, ...]:
    """The addresses of the field uris of getinfo, each ``public key@host:port``."""
    return tuple(uri.rpartition("@")[2] for uri in uris)


def split(address: str, default: int = PORT) -> tuple[str, int]:
    """Host and port of ``host:port``, that of IPv6 without its brackets. Without a port, as LND's options may be, it is the default."""
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]") or (":" in host and not host.endswith("]")):
        return address.strip("[]"), default
    return host.strip("[]"), int(port)


def plan(wanted: Iterable[str], found: Iterable[str], resolve: Resolver) -> Update:
    """wanted: host:port or host, which may be a name, of which LND announces the addresses. resolve: the addresses of a name; none where it has none now."""
    there = {_written(*split(each)): each for each in found}
    exact, ports_of_names = {}, set()
    for each in wanted:
        host, port = split(each)
        if _is_name(host):
            addresses = {_written(address, port) for address in resolve(host)}
            exact.update(dict.fromkeys(addresses, False))
            # LND asks another DNS than we do, and at another time: where it announces none of ours, what it has is not ours to judge.
            if not addresses & there.keys():
                ports_of_names.add(port)
        else:
            exact[_written(host, port)] = True
    return Update(
        # LND's own resolver adds those of names, every five minutes (lnd's netann/host_ann.go).
        add=tuple(each for each, ours in exact.items() if ours and each not in there),
        remove=tuple(as_lnd_has_it for each, as_lnd_has_it in there.items() if each not in exact and split(each)[1] not in ports_of_names))


def addresses_of(name: str) -> list[str]:
    """What a name resolves to on this computer."""
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not host.endswith(".onion")
    return False


def _written(host: str, port: int) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{host}:{port}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
