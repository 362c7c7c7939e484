# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes an inventory wrong although each of its values is well formed. Pure; no input or output.

Each check takes the roles' variables of one host and yields its complaints: variable, value, remedy.
"""

from __future__ import annotations

import ipaddress
import re
from difflib import get_close_matches
from typing import Any, Iterable, Iterator, Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _bootstrap, _consumers, _weak

# Variables that the collection's roles share, with their types; each role's own are in its argument_specs.yml.
SHARED = {"openlsp_network": "str", "openlsp_namespace": "str", "openlsp_kubeconfig": "str", "openlsp_context": "str",
          "openlsp_allow_mainnet": "bool", "openlsp_retain_volumes": "bool", "openlsp_ip_families": "list"}

MAX_ALIAS_BYTES = 32  # BOLT 7, node_announcement

# The lowest version without a known hole, for each release line. From one line to the next the fixes are not cumulative.
CORE_FLOORS = {30: (30, 3), 31: (31, 1), 32: (32, 1)}
LND_FLOORS = {(0, 20): (0, 20, 7), (0, 21): (0, 21, 8)}

# Twice bitcoind's least: it halves the target between the two chains (Bitcoin Core, doc/assumeutxo.md).
SNAPSHOT_PRUNE_MIB = 1100

# LND reads bitcoind's taproot state from a field that Core 32 no longer has (lnd#10683).
LND_FOR_CORE_32 = (0, 21)

# Options of the two programs that would undo what the roles promise.
FORBIDDEN_OPTIONS = {
    "lnd_options": {
        "no-macaroons": "whoever reaches LND would own its money",
        "noseedbackup": "nobody could restore the wallet",
        "wallet-unlock-password-file": "the role sets it",
        "lnddir": "the role sets it", "datadir": "the role sets it", "tlscertpath": "the role reads the certificate from LND's directory",
        "tlskeypath": "the role renews the certificate in LND's directory",
        "tlsextradomain": "set lnd_tls_names, to which the role adds those of its Services", "tlsextraip": "set lnd_tls_names",
        "tlsautorefresh": "a name that changes in lnd_tls_names would not reach the certificate",
    },
    "bitcoind_options": {
        "datadir": "the role sets it", "chain": "set openlsp_network", "testnet": "set openlsp_network", "testnet4": "set openlsp_network",
        "signet": "set openlsp_network", "regtest": "set openlsp_network", "prune": "set bitcoind_prune_mib",
        "dbcache": "set bitcoind_dbcache_mib, from which the memory limit follows", "rpcauth": "set bitcoind_rpcauth",
        "rpcpassword": "passwords do not belong into a ConfigMap; set bitcoind_rpcauth", "rpcuser": "set bitcoind_rpcauth",
    },
}

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

# A host name, or one with an asterisk for its first label. The underscore is in no standard, and in many networks.
_HOST_LABEL = r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?!.{{254}})(\*\.)?({_HOST_LABEL}\.)*(?![0-9]+$){_HOST_LABEL}", re.IGNORECASE | re.ASCII)


def unknown_variables(present: Iterable[str], known: Iterable[str], prefixes: Iterable[str]) -> Iterator[str]:
    """Variables that look like a role's but are none: most likely misspelt."""
    known = set(known) | set(SHARED)
    for name in sorted(present):
        if name in known or not name.startswith(tuple(f"{prefix}_" for prefix in (*prefixes, "openlsp"))):
            continue
        close = get_close_matches(name, known, n=1)
        yield f"{name}: there is no such variable" + (f"; did you mean {close[0]}?" if close else "")


def contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """Everything that can be said without looking at a file or a cluster."""
    yield from _networks(values)
    yield from _versions(values)
    yield from _names(values)
    yield from _certificate(values)
    yield from _storage(values)
    yield from _blockchain(values)
    yield from _options(values)
    yield from _passwords(values)
    try:
        _consumers.wanted(values["lnd_consumers"], str(values["lnd_namespace"]))
    except _consumers.ConsumerError as error:
        yield f"lnd_consumers: {error}"
    seed = " ".join(values["lnd_wallet_seed"]).split()
    if len(seed) not in (0, 24):
        yield f"lnd_wallet_seed: it has {len(seed)} words; an aezeed has 24"


def machines(names: Iterable[str]) -> Iterator[str]:
    """What is wrong with the group of that name."""
    names = list(names)
    if len(names) > 1:
        yield f"machines: {', '.join(names)}; joining several machines to one cluster comes later, so name one"


def version(text: Any) -> tuple[int, ...]:
    """The numbers of a version: ``0.21.8-beta.rc1`` is (0, 21, 8). Raises ValueError."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", str(text))
    if not found:
        raise ValueError(text)
    return tuple(map(int, found[1].split(".")))


def _networks(values: Mapping[str, Any]) -> Iterator[str]:
    network = values["bitcoind_network"]
    if network != values["lnd_network"]:
        yield f"lnd_network: {values['lnd_network']}, but bitcoind_network is {network}; set openlsp_network and neither of them"
    if "mainnet" in (network, values["lnd_network"]) and values.get("openlsp_allow_mainnet") is not True:
        yield "openlsp_allow_mainnet: mainnet is real money; set it to true when you mean it"


def _versions(values: Mapping[str, Any]) -> Iterator[str]:
    mainnet = values["bitcoind_network"] == "mainnet"
    numbers = {}
    for name in ("bitcoind_version", "lnd_version"):
        try:
            numbers[name] = version(values[name])
        except ValueError:
            yield f"{name}: {values[name]!r} is no version number such as 31.1 or 0.21.8-beta"
    core, lnd = numbers.get("bitcoind_version"), numbers.get("lnd_version")
    is_core = values["bitcoind_implementation"] == "core"
    if mainnet and not is_core:
        yield ("bitcoind_implementation: knots left Bitcoin's chain at block 961,632 of mainnet, where LND would watch the wrong one; "
               "set it to core")
    if mainnet and is_core and core:
        yield from _below(core, core[0], CORE_FLOORS, "bitcoind_version", values["bitcoind_version"])
    if mainnet and lnd:
        yield from _below(lnd, lnd[:2], LND_FLOORS, "lnd_version", values["lnd_version"])
    if is_core and core and lnd and core[0] >= 32 and lnd < LND_FOR_CORE_32:
        yield (f"lnd_version: LND {values['lnd_version']} does not understand Bitcoin Core {values['bitcoind_version']}; "
               "take LND 0.21.8 or later, or Bitcoin Core 31.1")


def _below(number: tuple, line: Any, floors: Mapping[Any, tuple], name: str, value: Any) -> Iterator[str]:
    """line: the release line of the version; one newer than every known line passes, one older fails."""
    if line > max(floors):
        return
    if line not in floors or number < floors[line]:
        good = ", ".join(".".join(map(str, floor)) for floor in floors.values())
        yield f"{name}: {value} has known holes and is refused on mainnet; take {good} or later of the same line"


def _names(values: Mapping[str, Any]) -> Iterator[str]:
    alias = str(values["lnd_alias"])
    if len(alias.encode()) > MAX_ALIAS_BYTES:
        yield f"lnd_alias: {alias!r} has {len(alias.encode())} bytes; other nodes accept {MAX_ALIAS_BYTES}"
    if "\n" in alias:
        yield "lnd_alias: it has a line break"
    for name in ("namespace_name", "bitcoind_namespace", "lnd_namespace"):
        if not _LABEL.fullmatch(str(values[name])):
            yield (f"{name}: {values[name]!r} is no name of a namespace (lower case letters, digits and hyphens, at most 63); "
                   "set openlsp_namespace or rename the host")
    if len({values["namespace_name"], values["bitcoind_namespace"], values["lnd_namespace"]}) > 1:
        yield "lnd_namespace: a Lightning node lives in one namespace; set openlsp_namespace and none of the roles' own"


def _certificate(values: Mapping[str, Any]) -> Iterator[str]:
    """LND takes any text for a name. One that is not ASCII ends it at its start; one that no client can ask for is of no use."""
    for name in values["lnd_tls_names"]:
        if not _is_address(name) and not _HOST_NAME.fullmatch(name):
            hint = "; write it as its clients do, in ASCII (xn--...)" if not name.isascii() else " such as lnd.example, *.lnd.example or 192.0.2.1"
            yield f"lnd_tls_names: {name!r} is no host name or address{hint}"
    if values["lnd_tls_renew_days"] < 0:
        yield f"lnd_tls_renew_days: {values['lnd_tls_renew_days']}; a certificate is renewed before it expires, so 0 or more"


def _is_address(name: str) -> bool:
    """Without a zone, such as the %eth0 of fe80::1%eth0, which LND does not understand."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return "%" not in name


def _storage(values: Mapping[str, Any]) -> Iterator[str]:
    for role in ("bitcoind", "lnd"):
        size, claim, path, node = (values[f"{role}_storage_{what}"] for what in ("size", "claim", "local_path", "local_node"))
        if not _QUANTITY.fullmatch(str(size)):
            yield f"{role}_storage_size: {size!r} is no size such as 20Gi"
        if claim and path:
            yield f"{role}_storage_claim: {claim}, but {role}_storage_local_path is {path}; a volume has one origin, empty one of them"
        if bool(path) != bool(node):
            yield f"{role}_storage_local_node: a local path needs the name of its node; set both or none"
    prune = values["bitcoind_prune_mib"]
    if prune and prune < 550:
        yield f"bitcoind_prune_mib: {prune}; bitcoind keeps at least 550, or everything with 0"
    if prune and values["bitcoind_options"].get("txindex"):
        yield "bitcoind_options: txindex needs the whole chain; set bitcoind_prune_mib to 0 or remove it"
    if values["bitcoind_dbcache_mib"] < 4:
        yield f"bitcoind_dbcache_mib: {values['bitcoind_dbcache_mib']}; bitcoind uses at least 4"


def _blockchain(values: Mapping[str, Any]) -> Iterator[str]:
    """What is taken over from another node."""
    source, snapshot, prune = (values[f"bitcoind_{what}"] for what in ("bootstrap_from", "snapshot_file", "prune_mib"))
    if snapshot and not snapshot.startswith("/data/"):
        yield f"bitcoind_snapshot_file: {snapshot}; the pod sees its volume as /data, so it begins with /data/"
    if snapshot and values["bitcoind_trust_snapshot"] is not True:
        yield "bitcoind_trust_snapshot: LND would lean on a chain that nobody here has checked; set it to true when you accept that"
    if snapshot and source:
        yield "bitcoind_snapshot_file: a copied blockchain needs no snapshot; empty it or bitcoind_bootstrap_from"
    if snapshot and 0 < prune < SNAPSHOT_PRUNE_MIB:
        yield f"bitcoind_prune_mib: {prune}; with a snapshot bitcoind keeps two chains for a while and needs {SNAPSHOT_PRUNE_MIB}"
    if not source:
        return
    try:
        _bootstrap.login_and_path(source)
    except _bootstrap.BootstrapError as error:
        yield f"bitcoind_bootstrap_from: {source}: {error}"
    if not values["bitcoind_storage_local_path"]:
        yield ("bitcoind_storage_local_path: a blockchain is copied to a directory of a machine; set it and bitcoind_storage_local_node, "
               "or empty bitcoind_bootstrap_from")


def _passwords(values: Mapping[str, Any]) -> Iterator[str]:
    """Passwords that everybody knows. On regtest there is nothing to guard."""
    if values["bitcoind_network"] == "regtest":
        return
    for line in map(str, values["bitcoind_rpcauth"]):
        whose = _weak.weak_rpcauth(line)
        if whose:
            yield (f"bitcoind_rpcauth: the user {line.split(':')[0]} has the published password of {whose}; "
                   "take another and salt it with the filter openlsp.node.rpcauth")


def _options(values: Mapping[str, Any]) -> Iterator[str]:
    for name, forbidden in FORBIDDEN_OPTIONS.items():
        # LND reads the names in its configuration without regard to case.
        for option in sorted(each for each in values[name] if each.lower() in forbidden):
            yield f"{name}: {option} is refused: {forbidden[option.lower()]}"
        for option, value in values[name].items():
            if any("\n" in str(each) for each in (option, *(value if isinstance(value, list) else [value]))):
                yield f"{name}: {option!r} has a line break"
