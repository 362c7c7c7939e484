# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes an inventory wrong although each of its values is well formed. Pure; no input or output.

Each check takes the roles' variables of one host and yields its complaints: variable, value, remedy.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Iterable, Iterator, Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _bootstrap, _consumers, _exposure, _onion, _weak

# Variables that the collection's roles share, with their types; each role's own are in its argument_specs.yml.
SHARED = {"openlsp_network": "str", "openlsp_namespace": "str", "openlsp_kubeconfig": "str", "openlsp_context": "str",
          "openlsp_allow_mainnet": "bool", "openlsp_retain_volumes": "bool", "openlsp_ip_families": "list",
          "openlsp_exposure": "list", "openlsp_tor": "bool", "openlsp_tor_only": "bool", "openlsp_monitoring": "bool",
          "openlsp_monitoring_namespace": "str"}

MAX_ALIAS_BYTES = 32  # BOLT 7, node_announcement

# The lowest version without a known hole, for each release line. From one line to the next the fixes are not cumulative.
CORE_FLOORS = {30: (30, 3), 31: (31, 1), 32: (32, 1)}
LND_FLOORS = {(0, 20): (0, 20, 7), (0, 21): (0, 21, 8)}

# Twice bitcoind's least: it halves the target between the two chains (Bitcoin Core, doc/assumeutxo.md).
SNAPSHOT_PRUNE_MIB = 1100

# LND reads bitcoind's taproot state from a field that Core 32 no longer has (lnd#10683).
LND_FOR_CORE_32 = (0, 21)

# The consumer that role lnd adds where the node is watched.
EXPORTER = {"name": "exporter", "preset": "exporter"}

# Options of the two programs that would undo what the roles promise.
FORBIDDEN_OPTIONS = {
    "lnd_options": {
        "no-macaroons": "whoever reaches LND would own its money",
        "noseedbackup": "nobody could restore the wallet",
        "wallet-unlock-password-file": "the role sets it",
        "lnddir": "the role sets it", "datadir": "the role sets it", "tlscertpath": "the role reads the certificate from LND's directory",
        "tlskeypath": "the role renews the certificate in LND's directory",
        "tlsextradomain": "set lnd_tls_names, to which the role adds those of its Services", "tlsextraip": "set lnd_tls_names",
        "tor.active": "set openlsp_tor", "tor.socks": "set openlsp_tor", "tor.v3": "the role tor has the onion service, with a key that outlives LND",
        "tlsautorefresh": "a name that changes in lnd_tls_names would not reach the certificate",
    },
    "bitcoind_options": {
        "datadir": "the role sets it", "chain": "set openlsp_network", "testnet": "set openlsp_network", "testnet4": "set openlsp_network",
        "signet": "set openlsp_network", "regtest": "set openlsp_network", "prune": "set bitcoind_prune_mib",
        "dbcache": "set bitcoind_dbcache_mib, from which the memory limit follows", "rpcauth": "set bitcoind_rpcauth",
        "onion": "set openlsp_tor", "proxy": "set openlsp_tor and openlsp_tor_only", "listenonion": "the role tor has the onion service",
        "torcontrol": "the role tor has the onion service",
        "rpcpassword": "passwords do not belong into a ConfigMap; set bitcoind_rpcauth", "rpcuser": "set bitcoind_rpcauth",
    },
}

# Options of Tor by which it would be another's, or which the role sets with what belongs to them.
_TOR_ROLE_SETS = "the role sets it"
_TOR_ONIONS = "the role sets the onion services; set openlsp_exposure or tor_onion_apis"
_TOR_CONTROL = "whoever steers Tor reads who talks to this node; the role opens the control port with a password, in the Secret tor-control"
TOR_OPTIONS = {
    **dict.fromkeys(("DataDirectory", "User", "RunAsDaemon", "SocksPort", "MetricsPort", "KeyDirectory", "CacheDirectory", "DisableNetwork",
                     "%include"), _TOR_ROLE_SETS),
    **dict.fromkeys(("ControlPort", "ControlSocket", "ControlPortWriteToFile", "HashedControlPassword", "CookieAuthentication", "CookieAuthFile",
                     "__ControlPort"), _TOR_CONTROL),
    **dict.fromkeys(("HiddenServiceDir", "HiddenServicePort", "HiddenServiceNonAnonymousMode", "HiddenServiceSingleHopMode"), _TOR_ONIONS),
    "MaxMemInQueues": "set tor_memory_limit_mib, from which it follows", "Bridge": "set tor_bridges", "UseBridges": "set tor_bridges",
    **dict.fromkeys(("ORPort", "DirPort", "ExitRelay", "BridgeRelay"), "a Lightning node is no relay: it would announce its own address"),
}

# What may be published as an onion service, by the role that has it.
ONION_SERVICES = ("bitcoind-p2p", "lnd-p2p", "lnd-rest", "lnd-grpc")

# The lowest version with proof of work against floods.
TOR_FLOOR = (0, 4, 8)

# [transport] address:port [fingerprint] [name=value ...]: torrc's Bridge.
_BRIDGE = re.compile(r"(?:(?P<transport>[a-z_][a-z0-9_]*) )?(?P<host>\[[0-9a-f:.]+\]|[0-9.]+):(?P<port>[0-9]{1,5})(?: [0-9A-F]{40})?(?: [^ =]+=[^ ]*)*",
                     re.IGNORECASE | re.ASCII)
_ONION_NAME = re.compile(r"(?:^|[\[/@ ])([a-z2-7]+\.onion)\b", re.IGNORECASE)

SEVERITIES = ("critical", "warning", "info", "none")

# Least, most and why, of each threshold of an alert. Beyond them it would fire for ever, or never.
THRESHOLDS = {
    "observability_block_late_seconds": (1800, 86400, "by chance a block takes longer than half an hour seven times a day, and longer than a day never"),
    "observability_no_block_seconds": (1800, 86400, "by chance a block takes longer than half an hour seven times a day, and longer than a day never"),
    "observability_bitcoind_peers": (1, 10, "bitcoind opens ten connections"),
    "observability_mempool_percent": (1, 100, "it is a part of the whole"),
    "observability_mempool_fee": (0, 10000, "it is a fee in sat/vB"),
    "observability_fee_sat_per_vbyte": (1, 10000, "it is a fee in sat/vB"),
    "observability_bitcoind_free_gib": (1, 10000, "bitcoind needs some room to end in order"),
    "observability_lnd_free_percent": (11, 99, "LND ends itself at 10 %, so the alert has to come before"),
    "observability_volume_days": (1, 60, "six hours do not foretell more than two months"),
    "observability_inactive_percent": (1, 99, "it is a part of the whole"),
    "observability_inactive_days": (1, 365, "peers restart"),
    "observability_htlc_blocks": (11, 144, "LND goes on the chain 10 blocks before the end, and an HTLC of the last hop may have no more than 144 in all"),
    "observability_certificate_days": (2, 365, "LndCertificateExpired speaks at the last day"),
    "observability_credential_days": (1, 365, "an alert has to come before"),
    "observability_backup_days": (1, 365, "it is an age"),
    "observability_restarts": (1, 20, "an upgrade is a restart"),
    "observability_filesystem_percent": (1, 99, "it is a part of the whole"),
    "observability_memory_percent": (1, 99, "it is a part of the whole"),
    "observability_clock_error_seconds": (1, 16, "the kernel's estimate ends at 16"),
    "observability_temperature_celsius": (40, 100, "below it is a warm room, above the machine is off"),
    "observability_memory_limit_mib": (64, 1024, "Python and its library take 40"),
    "observability_prometheus_memory_limit_mib": (400, 65536, "Prometheus with its own series alone takes 200"),
}

# What Kubernetes takes for a size, less its exotic forms. Its client has a parser, whose import takes a second of every run.
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_UNITS = {"": 1, **{unit: 1000 ** power for power, unit in enumerate("kMGTP", 1)}, **{f"{unit}i": 1024 ** power for power, unit in enumerate("KMGTP", 1)}}

# Bytes of mainnet's whole chain with its chainstate, in the middle of 2026; below that a download cannot end.
MAINNET_BYTES = 800 * 10**9
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
    yield from _exposure.variable_mistakes(values)
    yield from _options(values)
    yield from _passwords(values)
    yield from _tor(values)
    try:
        _consumers.wanted([*values["lnd_consumers"], *([EXPORTER] if values.get("openlsp_monitoring") is True else [])], str(values["lnd_namespace"]))
    except _consumers.ConsumerError as error:
        yield f"lnd_consumers: {error}"
    seed = " ".join(values["lnd_wallet_seed"]).split()
    if len(seed) not in (0, 24):
        yield f"lnd_wallet_seed: it has {len(seed)} words; an aezeed has 24"


def observability(values: Mapping[str, Any], alerts: Iterable[str]) -> Iterator[str]:
    """alerts: the names of all there are."""
    alerts = set(alerts)
    for alert, severity in values["observability_severities"].items():
        if alert not in alerts:
            close = get_close_matches(str(alert), alerts, n=1)
            yield f"observability_severities: there is no alert {alert}" + (f"; did you mean {close[0]}?" if close else "")
        elif severity not in SEVERITIES:
            yield f"observability_severities: {alert}: {severity} is no severity; choose one of {', '.join(SEVERITIES)}"
    for name, (least, most, why) in THRESHOLDS.items():
        if not least <= values[name] <= most:
            yield f"{name}: {values[name]} cannot be: {why}; choose {least} to {most}"
    if values["observability_no_block_seconds"] <= values["observability_block_late_seconds"]:
        yield (f"observability_no_block_seconds: {values['observability_no_block_seconds']} is not after the warning, "
               f"observability_block_late_seconds, {values['observability_block_late_seconds']}; raise it")
    if not re.fullmatch(r"[0-9]+(MB|GB|TB)", values["observability_prometheus_retention_size"]):
        yield f"observability_prometheus_retention_size: {values['observability_prometheus_retention_size']!r} is no size such as 2GB"
    try:
        re.compile(values["observability_mountpoints"])
    except re.error as error:
        yield f"observability_mountpoints: {values['observability_mountpoints']!r} is no regular expression: {error}"
    if set('"\\') & set(values["observability_mountpoints"]):
        yield "observability_mountpoints: it may have no quote and no backslash; write a dot for a special character"


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
    for name in ("tor_network", "observability_network"):
        if values.get(name, network) != network:
            yield f"{name}: {values[name]}, but bitcoind_network is {network}; set openlsp_network and none of the roles' own"
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
    watcher = values.get("openlsp_monitoring_namespace", "observability")
    if not _LABEL.fullmatch(str(watcher)):
        yield f"openlsp_monitoring_namespace: {watcher!r} is no name of a namespace; write the one in which Prometheus is"
    if len({values["namespace_name"], values["bitcoind_namespace"], values["lnd_namespace"]}) > 1:
        yield "lnd_namespace: a Lightning node lives in one namespace; set openlsp_namespace and none of the roles' own"
    for name in ("tor_namespace", "observability_namespace"):
        if values.get(name, values["namespace_name"]) != values["namespace_name"]:
            yield f"{name}: {values[name]}, but the node lives in {values['namespace_name']}; set openlsp_namespace and none of the roles' own"


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


def size_in_bytes(size: Any) -> int | None:
    """The bytes of a size as Kubernetes writes it (apimachinery's resource.Quantity); None where it is none."""
    found = _QUANTITY.fullmatch(str(size))
    return int(Decimal(found[1]) * _UNITS[found[2] or ""]) if found else None


def other_volume(values: Mapping[str, Any], statefulset: Mapping[str, Any], namespace: str) -> Iterator[str]:
    """Where the inventory wants another volume than the one that is in use. The API refuses that too, half-way and in its own words: of a StatefulSet's
    claims nothing may change (kubernetes, pkg/apis/apps/validation, ValidateStatefulSetUpdate)."""
    role = statefulset["metadata"]["name"]
    if role not in ("bitcoind", "lnd"):
        return
    claim, path, wanted_class, size = (values[f"{role}_storage_{what}"] for what in ("claim", "local_path", "class", "size"))
    templates = [each["spec"] for each in statefulset["spec"].get("volumeClaimTemplates") or ()]
    if bool(claim) == bool(templates):
        yield (f"{role}_storage_claim: {claim or 'empty'}, but {role} in namespace {namespace} has {'a volume of its own' if claim else 'a claim of yours'}; "
               "nothing brings its data along: set it back")
    if claim or not templates:
        return
    there = templates[0].get("storageClassName")
    if ("" if path else wanted_class or None) != there:
        made = "from a directory of a machine" if there == "" else f"by the StorageClass {there}" if there else "by the cluster's default StorageClass"
        which = f"local_path: {path}" if path else f"class: {wanted_class or 'empty'}"
        yield f"{role}_storage_{which}, but the volume of {role} in namespace {namespace} was made {made}; nothing brings its data along: set it back"
    before = templates[0]["resources"]["requests"]["storage"]
    if size_in_bytes(size) not in (None, size_in_bytes(before)):
        grow = (": nothing enforces it for a directory" if there == "" else
                f""", or, where its StorageClass can enlarge volumes: kubectl -n {namespace} patch pvc data-{role}-0 -p """
                f"""'{{"spec":{{"resources":{{"requests":{{"storage":"{size}"}}}}}}}}', then """
                f"kubectl -n {namespace} delete statefulset {role} --cascade=orphan, which leaves the pod running, and the site again")
        yield f"{role}_storage_size: {size}, but the volume of {role} in namespace {namespace} was asked for with {before}; set it back{grow}"


def directory_in_use(values: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]], namespace: str) -> Iterator[str]:
    """Where a directory of a machine belongs to something else in the cluster. volumes: its PersistentVolumes."""
    for role in ("bitcoind", "lnd"):
        path, own = values[f"{role}_storage_local_path"], f"{namespace}-{role}"
        for each in volumes if path else ():
            name, claim = each["metadata"]["name"], each["spec"].get("claimRef") or {}
            if name == own and each.get("status", {}).get("phase") == "Released":
                yield (f"{role}_storage_local_path: {path}: its claim was deleted, and Kubernetes gives the entry of a claim that is gone to no other; "
                       f"kubectl delete persistentvolume {name}, which leaves what is in the directory, and run this again")
            elif name != own and _place(each) == (values[f"{role}_storage_local_node"], path.rstrip("/")):
                yield (f"{role}_storage_local_path: {path} is the volume of {claim.get('namespace')}/{claim.get('name')}, and of one directory two programs "
                       f"make a ruin; name another one, or, where that namespace is gone, kubectl delete persistentvolume {name}")


def _place(volume: Mapping[str, Any]) -> tuple[str, str]:
    """Node and directory of a PersistentVolume as the roles make them; of others whatever is there."""
    spec = volume["spec"]
    terms = spec.get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", [])
    nodes = [node for term in terms for each in term.get("matchExpressions", []) for node in each.get("values", [])]
    return ",".join(nodes), spec.get("local", {}).get("path", "").rstrip("/")


def neighbours(host: str, values: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Where two hosts would be one node. others: the variables of each other host of the inventory's lightning_nodes, as far as they are set."""
    for name, theirs in sorted(others.items()):
        if (theirs.get("openlsp_namespace") or name) == values["namespace_name"]:
            yield (f"openlsp_namespace: {host} and {name} both are {values['namespace_name']}, and one Lightning node is one namespace; "
                   "set it for each host, not for the group")
        for role in ("bitcoind", "lnd"):
            path, node = (f"{role}_storage_local_{what}" for what in ("path", "node"))
            if values[path] and (values[path], values[node]) == (theirs.get(path), theirs.get(node)):
                yield f"{path}: {values[path]} on {values[node]} is {name}'s too, and of one directory two programs make a ruin; name another one for each host"


def _storage(values: Mapping[str, Any]) -> Iterator[str]:
    for role in ("bitcoind", "lnd"):
        size, claim, path, node = (values[f"{role}_storage_{what}"] for what in ("size", "claim", "local_path", "local_node"))
        if size_in_bytes(size) is None:
            yield f"{role}_storage_size: {size!r} is no size such as 20Gi"
        if claim and path:
            yield f"{role}_storage_claim: {claim}, but {role}_storage_local_path is {path}; a volume has one origin, empty one of them"
        if bool(path) != bool(node):
            yield f"{role}_storage_local_node: a local path needs the name of its node; set both or none"
    prune, size = values["bitcoind_prune_mib"], values["bitcoind_storage_size"]
    whole = values["bitcoind_network"] == "mainnet" and not prune and not values["bitcoind_storage_claim"]
    if whole and (size_in_bytes(size) or MAINNET_BYTES) < MAINNET_BYTES:
        yield (f"bitcoind_storage_size: {size}, but the whole chain takes {MAINNET_BYTES // 10**9} GB on mainnet and grows; set 1500Gi, "
               "or bitcoind_prune_mib to what it may keep")
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


def _tor(values: Mapping[str, Any]) -> Iterator[str]:
    """Tor, and everything that needs it."""
    tor, only = values.get("openlsp_tor") is True, values.get("openlsp_tor_only") is True
    exposures = {name: [str(each) for each in values[name]] for name in ("openlsp_exposure", "bitcoind_exposure", "lnd_exposure") if values.get(name)}
    if only and not tor:
        yield "openlsp_tor_only: nothing could leave; set openlsp_tor to true as well"
    for name, ways in exposures.items():
        if "onion" in ways and not tor:
            yield f"{name}: onion needs Tor; set openlsp_tor to true"
        others = [each for each in ways if each != "onion"]
        if only and others:
            yield f"{name}: {', '.join(others)}, but with openlsp_tor_only nobody is let in but through Tor; take onion, or set openlsp_tor_only to false"
    for name in ("bitcoind_peers", "bitcoind_options", "lnd_options"):
        for address in sorted({found for each in _texts(values[name]) for found in _ONION_NAME.findall(each)}):
            try:
                _onion.public_of(address)
            except _onion.OnionError as error:
                yield f"{name}: {error}"
    if "tor_options" not in values:
        return
    yield from _tor_options(values["tor_options"])
    yield from _bridges(values)
    yield from _onion_keys(values["tor_onion_keys"])
    if size_in_bytes(values["tor_storage_size"]) is None:
        yield f"tor_storage_size: {values['tor_storage_size']!r} is no size such as 200Mi"
    # Tor takes no less than 64 MB for its queues, which get half.
    if values["tor_memory_limit_mib"] < 128:
        yield f"tor_memory_limit_mib: {values['tor_memory_limit_mib']}; Tor needs at least 128"
    if values["tor_onion_apis"] and not tor:
        yield "tor_onion_apis: onion services need Tor; set openlsp_tor to true"
    try:
        if version(values["tor_version"]) < TOR_FLOOR:
            yield f"tor_version: {values['tor_version']} has no proof of work against floods; take 0.4.8 or later"
    except ValueError:
        yield f"tor_version: {values['tor_version']!r} is no version number such as 0.4.9"


def _tor_options(options: Mapping[str, Any]) -> Iterator[str]:
    for option, value in options.items():
        # Tor takes an option's name in any case, shortened, and with a sign that adds to what is set.
        name = str(option).strip().lstrip("+/").lower()
        refused = min((each for each in TOR_OPTIONS if name and each.lower().startswith(name)), key=len, default=None)
        if refused:
            yield f"tor_options: {option} is refused: {TOR_OPTIONS[refused]}"
        elif not re.fullmatch(r"[+/]?[A-Za-z_][A-Za-z0-9_]*", str(option)):
            yield f"tor_options: {option!r} is no name of an option"
        for each in value if isinstance(value, list) else [value]:
            if "\n" in str(each):
                yield f"tor_options: {option!r} has a line break"
            # At the end of a line a backslash joins it with the next one.
            if str(each).rstrip().endswith("\\"):
                yield f"tor_options: {option!r} ends in a backslash, which would swallow the next option"


def _bridges(values: Mapping[str, Any]) -> Iterator[str]:
    plugins = " ".join(str(each) for name, value in values["tor_options"].items() if str(name).lower() == "clienttransportplugin"
                       for each in (value if isinstance(value, list) else [value]))
    for line in map(str, values["tor_bridges"]):
        found = _BRIDGE.fullmatch(line.strip())
        if not found or int(found["port"]) > 65535 or not _is_address(found["host"].strip("[]")):
            yield (f"tor_bridges: {line!r} is no bridge line such as 192.0.2.1:443 <fingerprint>, or obfs4 192.0.2.1:443 <fingerprint> cert=... "
                   "iat-mode=0; leave out the word Bridge")
        elif found["transport"] and found["transport"] not in re.split(r"[ ,]", plugins):
            yield f"tor_bridges: {found['transport']} needs a program of that transport in tor_image; name it in tor_options by ClientTransportPlugin"


def _onion_keys(keys: Mapping[str, Any]) -> Iterator[str]:
    for name, key in keys.items():
        if name not in ONION_SERVICES:
            yield f"tor_onion_keys: {name} is no onion service; there are {', '.join(ONION_SERVICES)}"
            continue
        try:
            _onion.parse(str(key))
        except _onion.OnionError as error:
            yield f"tor_onion_keys: {name}: {error}"


def _texts(value: Any) -> Iterator[str]:
    """Every text in a list, or in the values of a dict of options."""
    for each in value.values() if isinstance(value, Mapping) else value:
        yield from map(str, each if isinstance(each, list) else [each])


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
