"""Inventories that cannot work, each with the variable that the operator has to look at; and inventories that can."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth
from ansible_collections.openlsp.node.plugins.plugin_utils._checks import (
    SHARED,
    THRESHOLDS,
    contradictions,
    directory_in_use,
    machines,
    neighbours,
    observability,
    other_volume,
    size_in_bytes,
    unknown_variables,
    version,
)

ROLES = pathlib.Path(__file__).parents[4] / "roles"
DEFAULTS = {name: value for role in ("namespace", "tor", "bitcoind", "lnd")
            for name, value in yaml.safe_load((ROLES / role / "defaults/main.yml").read_text()).items()}

# What the roles' defaults are for a host "alice" of an inventory that sets nothing but the network.
AS_IT_COMES = {
    **DEFAULTS,
    "bitcoind_network": "signet", "lnd_network": "signet", "lnd_alias": "alice",
    "namespace_name": "alice", "bitcoind_namespace": "alice", "lnd_namespace": "alice", "bitcoind_exposure": [], "lnd_exposure": [],
}
LOCAL = {"bitcoind_storage_local_path": "/srv/blockchain/bitcoind", "bitcoind_storage_local_node": "pi"}
# jamaljsr/polar, src/utils/constants.ts
POLARS = "polaruser:5e5e98c21f5c814568f8b55d83b23c1c$066b03f92df30b11de8e4b1b1cd5b1b4281aa25205bd57df9be82caf97a05526"
SNAPSHOT = {"bitcoind_snapshot_file": "/data/utxo.dat", "bitcoind_trust_snapshot": True}
TOR = {"openlsp_tor": True}
ONION = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
OBFS4 = f"obfs4 192.0.2.1:443 {FINGERPRINT} cert=q+w/e iat-mode=0"
MAINNET = {"bitcoind_network": "mainnet", "lnd_network": "mainnet", "openlsp_allow_mainnet": True}


def complaints(**chosen):
    values = {**AS_IT_COMES, **chosen}
    # Tor's follow from the same variables of the inventory as the others'.
    of_tor = {"tor_network": values["bitcoind_network"], "tor_namespace": values["namespace_name"]}
    return list(contradictions({**values, **of_tor, **chosen}))


def blamed(found):
    """The variables that complaints begin with."""
    return [complaint.split(":")[0] for complaint in found]


# --- inventories that work -----------------------------------------------------------------------------------------

def pair(core, lnd, **more):
    return {"bitcoind_version": core, "lnd_version": lnd, **more}


GOOD = {
    "as-it-comes": {},
    "as-it-comes-on-mainnet": MAINNET,
    "testnet3": {"bitcoind_network": "testnet3", "lnd_network": "testnet3"},
    "knots-on-regtest": {"bitcoind_network": "regtest", "lnd_network": "regtest", "bitcoind_implementation": "knots", **pair("29.5", "0.21.3-beta")},
    "knots-32-with-an-older-lnd": {"bitcoind_implementation": "knots", **pair("32.1", "0.20.7-beta")},
    "mainnet-core-30.3": {**MAINNET, **pair("30.3", "0.21.8-beta")},
    "mainnet-core-30.10": {**MAINNET, **pair("30.10", "0.21.8-beta")},
    "mainnet-core-31.1": {**MAINNET, **pair("31.1", "0.21.8-beta")},
    "mainnet-core-31.1.1": {**MAINNET, **pair("31.1.1", "0.21.8-beta")},
    "mainnet-core-32.1": {**MAINNET, **pair("32.1", "0.21.8-beta")},
    "mainnet-core-33.0": {**MAINNET, **pair("33.0", "0.21.8-beta")},
    "mainnet-lnd-0.20.7": {**MAINNET, **pair("31.1", "0.20.7-beta")},
    "mainnet-lnd-0.20.10": {**MAINNET, **pair("31.1", "0.20.10-beta")},
    "mainnet-lnd-0.22.0": {**MAINNET, **pair("32.1", "0.22.0-beta")},
    "mainnet-lnd-1.0": {**MAINNET, **pair("32.1", "1.0")},
    "old-versions-on-signet": pair("28.0", "0.18.0-beta"),
    "core-32-with-the-first-lnd-that-understands-it": pair("32.1", "0.21"),
    "version-as-yaml-reads-it": pair(31.1, "0.21.8-beta"),
    "version-with-a-v": pair("v31.1", "v0.21.8-beta"),
    "the-blockchain-of-another-node": {**LOCAL, "bitcoind_bootstrap_from": "bitcoin@umbrel.local:/home/bitcoin/.bitcoin"},
    "a-trusted-snapshot": SNAPSHOT,
    "a-trusted-snapshot-pruned": {**SNAPSHOT, "bitcoind_prune_mib": 1100},
    "alias-of-32-bytes": {"lnd_alias": "a" * 32},
    "alias-of-32-bytes-in-eight-characters": {"lnd_alias": "🍋" * 8},
    "no-alias": {"lnd_alias": ""},
    "namespace-of-63": {name: "n" * 63 for name in ("namespace_name", "bitcoind_namespace", "lnd_namespace")},
    "a-claim": {"bitcoind_storage_claim": "chain", "lnd_storage_claim": "channels"},
    "a-disk": {f"{role}_storage_local_{what}": value for role in ("bitcoind", "lnd") for what, value in (("path", "/srv"), ("node", "pi"))},
    "mainnet-pruned-in-a-small-volume": {**MAINNET, "bitcoind_storage_size": "50Gi", "bitcoind_prune_mib": 20000},
    "mainnet-in-a-claim-of-any-size": {**MAINNET, "bitcoind_storage_size": "50Gi", "bitcoind_storage_claim": "chain"},
    "half-a-tebibyte": {"bitcoind_storage_size": "0.5Ti"},
    "size-in-bytes": {"lnd_storage_size": "20000000000"},
    "pruned-as-far-as-possible": {"bitcoind_prune_mib": 550},
    "txindex-of-the-whole-chain": {"bitcoind_options": {"txindex": 1}},
    "pruned-with-txindex-off": {"bitcoind_prune_mib": 550, "bitcoind_options": {"txindex": 0}},
    "smallest-cache": {"bitcoind_dbcache_mib": 4},
    "own-options": {"bitcoind_options": {"maxconnections": 20, "debug": ["net", "rpc"]}, "lnd_options": {"color": "#3399ff"}},
    "names-and-addresses-of-lnd": {"lnd_tls_names": [
        "lnd.example", "LND", "*.lnd.example", "my_host.lan", "4lnd.example", "xn--bcher-kva.example",
        "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1",
        ".".join(["a" * 63] * 3 + ["a" * 61])]},
    "certificate-renewed-by-lnd-alone": {"lnd_tls_renew_days": 0},
    "known-password-on-regtest": {"bitcoind_network": "regtest", "lnd_network": "regtest", "bitcoind_rpcauth": [POLARS]},
    "unknown-password": {"bitcoind_rpcauth": [rpcauth("monitor", "a password of its own", "a salt")]},
    "tor": TOR,
    "onion": {**TOR, "openlsp_exposure": ["host_port", "onion"]},
    "nothing-but-tor": {**TOR, "openlsp_tor_only": True, "openlsp_exposure": ["onion"], "bitcoind_peers": [f"{ONION}:8333"]},
    "tor-for-other-things": {**TOR, "tor_options": {"SafeLogging": 1, "Log": ["notice stdout"], "HiddenServiceStatistics": 0, "+ExcludeNodes": "{aa}"}},
    "bridges": {**TOR, "tor_bridges": ["192.0.2.1:443", f"[2001:db8::1]:9001 {FINGERPRINT}", OBFS4],
                "tor_options": {"ClientTransportPlugin": "obfs4,webtunnel exec /usr/bin/lyrebird"}},
    "an-onion-of-ones-own": {**TOR, "tor_onion_keys": {
        "lnd-p2p": "ED25519-V3:MHyDhk8oM8tCei7xwAoBPP3/J2jZgMCjpSDwBpBN6U+bTwr+KAt0aneGhOdUQlAgV7dHOgPwj5b1o46Sh+Afjw=="}},
    "reached-at-the-host": {"lnd_exposure": ["host_port"], "bitcoind_exposure": ["host_port"], "openlsp_ip_families": ["IPv4"]},
    "reached-through-a-router": {"lnd_exposure": ["host_port"], "lnd_external_addresses": ["8.8.8.8", "[2001:4860::8]:9736", "node.example.org:9735"]},
    "reached-at-a-node-port": {"lnd_exposure": ["node_port"], "lnd_node_port": 30735, "openlsp_ip_families": ["IPv6", "IPv4"]},
    "reached-over-tor": {"lnd_exposure": ["onion"], "openlsp_tor": True, "openlsp_tor_only": True},
    "private-address-on-regtest": {"bitcoind_network": "regtest", "lnd_network": "regtest", "lnd_exposure": ["host_port"],
                                   "lnd_external_addresses": ["192.168.1.20"]},
    "seed-as-words": {"lnd_wallet_seed": ["word"] * 24},
    "seed-as-one-line": {"lnd_wallet_seed": [" ".join(["word"] * 24)]},
}


@pytest.mark.parametrize("chosen", GOOD.values(), ids=GOOD)
def test_what_works_is_not_complained_about(chosen):
    assert complaints(**chosen) == []


# --- inventories that do not ---------------------------------------------------------------------------------------

# What is chosen, the one variable that is blamed, and words of the complaint.
NO_NAMES = {
    "an-endpoint": "lnd.example:10009", "an-address-with-a-port": "192.0.2.1:10009", "a-url": "https://lnd.example", "nothing": "",
    "a-number": "10009", "half-an-address": "192.0.2", "an-address-of-octal-numbers": "192.0.2.010", "a-network": "192.0.2.0/24",
    "an-address-in-brackets": "[2001:db8::1]", "an-address-of-one-interface": "fe80::1%eth0", "every-name": "*",
    "an-asterisk-inside": "lnd.*.example", "half-an-asterisk": "l*.example", "a-dot-at-the-end": "lnd.example.", "two-dots": "lnd..example",
    "two-lines": "lnd\nno-macaroons=1", "a-line-break-at-the-end": "lnd.example\n", "two-names": "a.example,b.example",
    "a-hyphen-first": "-lnd.example", "a-label-of-64": "a" * 64 + ".example", "a-name-of-254": ".".join(["a" * 63] * 3 + ["a" * 62]),
}

WRONG = {
    "two-networks": ({"lnd_network": "regtest"}, "lnd_network", "regtest, but bitcoind_network is signet; set openlsp_network"),
    "mainnet-by-accident": ({**MAINNET, "openlsp_allow_mainnet": False}, "openlsp_allow_mainnet", "mainnet is real money"),
    "mainnet-allowed-by-a-word": ({**MAINNET, "openlsp_allow_mainnet": "no"}, "openlsp_allow_mainnet", "set it to true"),
    "knots-on-mainnet": ({**MAINNET, "bitcoind_implementation": "knots"}, "bitcoind_implementation", "set it to core"),
    "mainnet-core-29.3": ({**MAINNET, **pair("29.3", "0.21.8-beta")}, "bitcoind_version", "29.3 has known holes"),
    "mainnet-core-30.2": ({**MAINNET, **pair("30.2", "0.21.8-beta")}, "bitcoind_version", "take 30.3, 31.1, 32.1 or later of the same line"),
    "mainnet-core-31.0": ({**MAINNET, **pair("31.0", "0.21.8-beta")}, "bitcoind_version", "31.0 has known holes"),
    "mainnet-core-31": ({**MAINNET, **pair("31", "0.21.8-beta")}, "bitcoind_version", "31 has known holes"),
    "mainnet-core-32.0": ({**MAINNET, **pair("32.0", "0.21.8-beta")}, "bitcoind_version", "32.0 has known holes"),
    "mainnet-core-0.21": ({**MAINNET, **pair("0.21.2", "0.21.8-beta")}, "bitcoind_version", "0.21.2 has known holes"),
    "mainnet-lnd-0.19.3": ({**MAINNET, **pair("31.1", "0.19.3-beta")}, "lnd_version", "take 0.20.7, 0.21.8 or later of the same line"),
    "mainnet-lnd-0.20.6": ({**MAINNET, **pair("31.1", "0.20.6-beta")}, "lnd_version", "0.20.6-beta has known holes"),
    "mainnet-lnd-0.21.7": ({**MAINNET, **pair("31.1", "0.21.7-beta")}, "lnd_version", "0.21.7-beta has known holes"),
    "mainnet-lnd-0.21": ({**MAINNET, **pair("31.1", "0.21")}, "lnd_version", "0.21 has known holes"),
    "mainnet-lnd-0.20.7-core-32.1": ({**MAINNET, **pair("32.1", "0.20.7-beta")}, "lnd_version", "does not understand Bitcoin Core 32.1"),
    "signet-lnd-0.20.7-core-32.1": (pair("32.1", "0.20.7-beta"), "lnd_version", "take LND 0.21.8 or later, or Bitcoin Core 31.1"),
    "core-without-a-number": (pair("latest", "0.21.8-beta"), "bitcoind_version", "'latest' is no version number"),
    "lnd-without-a-number": (pair("31.1", ""), "lnd_version", "'' is no version number"),
    "alias-of-33-bytes": ({"lnd_alias": "a" * 33}, "lnd_alias", "has 33 bytes; other nodes accept 32"),
    "alias-of-33-bytes-in-eleven-characters": ({"lnd_alias": "⚡" * 11}, "lnd_alias", "has 33 bytes"),
    "alias-of-two-lines": ({"lnd_alias": "alice\nno-macaroons=1"}, "lnd_alias", "it has a line break"),
    "another-namespace-for-lnd": ({"lnd_namespace": "bob"}, "lnd_namespace", "lives in one namespace; set openlsp_namespace"),
    "another-namespace-for-tor": ({"tor_namespace": "bob"}, "tor_namespace", "bob, but the node lives in alice; set openlsp_namespace"),
    "another-namespace-for-the-exporter": ({"observability_namespace": "bob"}, "observability_namespace", "bob, but the node lives in alice"),
    "another-network-for-tor": ({"tor_network": "regtest"}, "tor_network", "regtest, but bitcoind_network is signet; set openlsp_network"),
    "another-network-for-the-exporter": ({"observability_network": "regtest"}, "observability_network", "regtest, but bitcoind_network is signet"),
    "another-namespace-for-bitcoind": ({"bitcoind_namespace": "bob"}, "lnd_namespace", "lives in one namespace"),
    "the-whole-chain-in-a-small-volume": ({**MAINNET, "bitcoind_storage_size": "50Gi"}, "bitcoind_storage_size", "the whole chain takes 800 GB on mainnet"),
    "size-in-words": ({"lnd_storage_size": "20 GB"}, "lnd_storage_size", "'20 GB' is no size such as 20Gi"),
    "size-with-a-unit-of-disks": ({"bitcoind_storage_size": "1TB"}, "bitcoind_storage_size", "'1TB' is no size"),
    "no-size": ({"bitcoind_storage_size": ""}, "bitcoind_storage_size", "'' is no size"),
    "claim-and-disk": ({"lnd_storage_claim": "channels", "lnd_storage_local_path": "/srv", "lnd_storage_local_node": "pi"},
                       "lnd_storage_claim", "a volume has one origin"),
    "disk-of-no-node": ({"bitcoind_storage_local_path": "/srv"}, "bitcoind_storage_local_node", "needs the name of its node"),
    "node-without-a-disk": ({"lnd_storage_local_node": "pi"}, "lnd_storage_local_node", "set both or none"),
    "blockchain-of-no-address": ({**LOCAL, "bitcoind_bootstrap_from": "umbrel:/data"}, "bitcoind_bootstrap_from", "umbrel:/data: it is no address"),
    "blockchain-to-no-machine": ({"bitcoind_bootstrap_from": "pi@umbrel:/data"}, "bitcoind_storage_local_path", "copied to a directory of a machine"),
    "snapshot-without-trust": ({"bitcoind_snapshot_file": "/data/utxo.dat"}, "bitcoind_trust_snapshot", "set it to true when you accept that"),
    "snapshot-elsewhere": ({**SNAPSHOT, "bitcoind_snapshot_file": "/srv/utxo.dat"}, "bitcoind_snapshot_file", "begins with /data/"),
    "snapshot-and-copy": ({**LOCAL, **SNAPSHOT, "bitcoind_bootstrap_from": "pi@umbrel:/data"}, "bitcoind_snapshot_file", "needs no snapshot"),
    "snapshot-and-pruned-too-far": ({**SNAPSHOT, "bitcoind_prune_mib": 1099}, "bitcoind_prune_mib", "needs 1100"),
    "pruned-too-far": ({"bitcoind_prune_mib": 549}, "bitcoind_prune_mib", "549; bitcoind keeps at least 550"),
    "pruned-by-hand": ({"bitcoind_prune_mib": 1}, "bitcoind_prune_mib", "at least 550, or everything with 0"),
    "pruned-below-nothing": ({"bitcoind_prune_mib": -1}, "bitcoind_prune_mib", "at least 550"),
    "pruned-with-txindex": ({"bitcoind_prune_mib": 550, "bitcoind_options": {"txindex": 1}}, "bitcoind_options", "txindex needs the whole chain"),
    "no-cache": ({"bitcoind_dbcache_mib": 3}, "bitcoind_dbcache_mib", "3; bitcoind uses at least 4"),
    **{f"certificate-for-{what}": ({"lnd_tls_names": ["lnd.example", name]}, "lnd_tls_names", f"{name!r} is no host name or address such as ")
       for what, name in NO_NAMES.items()},
    "certificate-for-an-umlaut": ({"lnd_tls_names": ["bücher.example"]}, "lnd_tls_names", "write it as its clients do, in ASCII (xn--...)"),
    # Which looks like a K, and is one to whoever compares without regard to case.
    "certificate-for-a-kelvin-sign": ({"lnd_tls_names": ["\u212aeg.example"]}, "lnd_tls_names", "in ASCII (xn--...)"),
    "certificate-renewed-too-late": ({"lnd_tls_renew_days": -1}, "lnd_tls_renew_days", "-1; a certificate is renewed before it expires"),
    "option-of-two-lines": ({"bitcoind_options": {"uacomment": "a\nrpcauth=x"}}, "bitcoind_options", "'uacomment' has a line break"),
    "option-with-a-name-of-two-lines": ({"lnd_options": {"color=#fff\nno-macaroons": 1}}, "lnd_options", "has a line break"),
    "option-with-a-list-of-two-lines": ({"lnd_options": {"externalip": ["a", "b\nc"]}}, "lnd_options", "'externalip' has a line break"),
    "known-password": ({"bitcoind_rpcauth": [POLARS]}, "bitcoind_rpcauth", "the user polaruser has the published password of Polar"),
    "onion-without-tor": ({"openlsp_exposure": ["onion"]}, "openlsp_exposure", "onion needs Tor; set openlsp_tor to true"),
    "onion-of-lnd-without-tor": ({"lnd_exposure": ["onion"]}, "lnd_exposure", "onion needs Tor"),
    "onion-of-an-interface-without-tor": ({"tor_onion_apis": ["lnd-rest"]}, "tor_onion_apis", "need Tor; set openlsp_tor"),
    "nothing-but-tor-without-tor": ({"openlsp_tor_only": True}, "openlsp_tor_only", "set openlsp_tor to true as well"),
    "nothing-but-tor-and-a-port": ({**TOR, "openlsp_tor_only": True, "lnd_exposure": ["onion", "node_port"]},
                                   "lnd_exposure", "node_port, but with openlsp_tor_only"),
    "peer-of-version-2": ({"bitcoind_peers": ["expyuzz4wqqyqhjn.onion:8333"]}, "bitcoind_peers", "an onion address of version 2, which Tor dropped"),
    "mistyped-peer": ({"bitcoind_options": {"seednode": ["a" + ONION[1:]]}}, "bitcoind_options", "is mistyped: its checksum is wrong"),
    "announced-version-2": ({"lnd_options": {"externalip": "expyuzz4wqqyqhjn.onion"}}, "lnd_options", "of version 2"),
    "control-port-without-a-password": ({"tor_options": {"ControlPort": 9051}}, "tor_options", "opens the control port with a password"),
    "control-port-shortened": ({"tor_options": {"controlp": 9051}}, "tor_options", "controlp is refused: whoever steers Tor"),
    "control-port-added": ({"tor_options": {"+ControlPort": "0.0.0.0:1"}}, "tor_options", "+ControlPort is refused: whoever steers Tor"),
    "control-socket": ({"tor_options": {"ControlSocket": "/run/tor/control"}}, "tor_options", "whoever steers Tor"),
    "password-in-the-inventory": ({"tor_options": {"HashedControlPassword": "16:00"}}, "tor_options", "in the Secret tor-control"),
    "socks-port-by-hand": ({"tor_options": {"SOCKSPort": "0.0.0.0:9050"}}, "tor_options", "SOCKSPort is refused: the role sets it"),
    "onion-service-by-hand": ({"tor_options": {"HiddenServiceDir": "/data/x"}}, "tor_options", "set openlsp_exposure or tor_onion_apis"),
    "a-relay": ({"tor_options": {"ORPort": 9001}}, "tor_options", "it would announce its own address"),
    "tor-option-of-two-words": ({"tor_options": {"Foo Bar": 1}}, "tor_options", "'Foo Bar' is no name of an option"),
    "tor-option-of-two-lines": ({"tor_options": {"Nickname": "a\nControlPort 9051"}}, "tor_options", "has a line break"),
    "tor-option-that-swallows-the-next": ({"tor_options": {"Nickname": "a \\"}}, "tor_options", "ends in a backslash"),
    "bridge-with-its-option": ({"tor_bridges": ["Bridge 192.0.2.1:443"]}, "tor_bridges", "needs a program of that transport"),
    "bridge-without-a-port": ({"tor_bridges": ["192.0.2.1"]}, "tor_bridges", "is no bridge line such as"),
    "bridge-by-name": ({"tor_bridges": ["bridge.example:443"]}, "tor_bridges", "is no bridge line"),
    "bridge-with-a-short-fingerprint": ({"tor_bridges": [f"192.0.2.1:443 {FINGERPRINT[1:]}"]}, "tor_bridges", "is no bridge line"),
    "bridge-of-a-port-too-high": ({"tor_bridges": ["192.0.2.1:65536"]}, "tor_bridges", "is no bridge line"),
    "bridge-without-its-transport": ({"tor_bridges": [OBFS4]}, "tor_bridges", "obfs4 needs a program of that transport in tor_image"),
    "onion-key-of-version-2": ({"tor_onion_keys": {"lnd-p2p": "RSA1024:abc"}}, "tor_onion_keys", "lnd-p2p: it is an RSA key"),
    "onion-key-of-nothing": ({"tor_onion_keys": {"lnd": "ED25519-V3:"}}, "tor_onion_keys", "lnd is no onion service; there are bitcoind-p2p, lnd-p2p"),
    "tor-of-2022": ({"tor_version": "0.4.7.8"}, "tor_version", "no proof of work against floods; take 0.4.8"),
    "tor-without-a-number": ({"tor_version": "latest"}, "tor_version", "'latest' is no version number"),
    "tor-in-too-little-memory": ({"tor_memory_limit_mib": 100}, "tor_memory_limit_mib", "needs at least 128"),
    "tor-on-a-volume-in-words": ({"tor_storage_size": "200 MB"}, "tor_storage_size", "is no size such as 200Mi"),
    "monitoring-in-two-namespaces": ({"openlsp_monitoring_namespace": "metrics,observability"}, "openlsp_monitoring_namespace", "is no name of a namespace"),
    "no-family": ({"openlsp_ip_families": []}, "openlsp_ip_families", "write [IPv4, IPv6], [IPv4] or [IPv6]"),
    "a-family-in-small-letters": ({"openlsp_ip_families": ["ipv4"]}, "openlsp_ip_families", "write [IPv4, IPv6]"),
    "a-family-twice": ({"openlsp_ip_families": ["IPv4", "IPv4"]}, "openlsp_ip_families", "write [IPv4, IPv6]"),
    "node-port-too-low": ({"lnd_exposure": ["node_port"], "lnd_node_port": 9735}, "lnd_node_port", "9735 is none of Kubernetes' node ports, 30000 to 32767"),
    "node-port-too-high": ({"lnd_exposure": ["node_port"], "lnd_node_port": 32768}, "lnd_node_port", "32768 is none of"),
    "node-port-for-nothing": ({"lnd_exposure": ["host_port"], "lnd_node_port": 30735}, "lnd_node_port", "lnd_exposure has no node_port"),
    "address-that-leads-nowhere": ({"lnd_external_addresses": ["8.8.8.8"]}, "lnd_external_addresses", "nothing leads peers from there"),
    **{f"address-{what}": ({"lnd_exposure": ["host_port"], "lnd_external_addresses": [address]}, "lnd_external_addresses", "private or reserved range")
       for what, address in {
           "of-a-home": "192.168.1.20", "of-a-carrier": "100.64.0.1:9735", "of-the-machine": "127.0.0.1", "of-documentation": "203.0.113.5",
           "of-a-link": "[fe80::1]:9735", "of-an-unrouted-site": "fd00::1", "of-many": "224.0.0.1", "of-ipv4-in-ipv6": "::ffff:8.8.8.8"}.items()},
    **{f"address-that-is-{what}": ({"lnd_exposure": ["host_port"], "lnd_external_addresses": [address]}, "lnd_external_addresses", words)
       for what, (address, words) in {
           "empty": ("", "this is no address such as"), "a-url": ("https://node.example", "this is no address such as"),
           "of-port-0": ("8.8.8.8:0", "0 is no port"), "of-port-65536": ("8.8.8.8:65536", "65536 is no port"),
           "ipv4-in-brackets": ("[8.8.8.8]:9735", "is no address of IPv6"), "half-an-address": ("8.8.8", "this is no address such as"),
           "one-label": ("router", "this is no address such as"), "of-one-interface": ("fe80::1%eth0", "this is no address such as"),
           "an-onion": ("2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:9735", "add onion to the exposure"),
           "an-old-onion": ("expyuzz4wqqyqhjn.onion", "one of version 2, which Tor no longer knows")}.items()},
    "name-for-bitcoind": ({"bitcoind_exposure": ["host_port"], "bitcoind_external_addresses": ["8.8.8.8", "node.example.org:8334"]},
                          "bitcoind_external_addresses", "node.example.org:8334 is a name, and bitcoind would resolve it at its start alone"),
    "ipv6-address-without-ipv6": ({"lnd_exposure": ["host_port"], "lnd_external_addresses": ["2001:4860::8"], "openlsp_ip_families": ["IPv4"]},
                                  "lnd_external_addresses", "is of IPv6, and openlsp_ip_families has none"),
    "seed-of-23-words": ({"lnd_wallet_seed": ["word"] * 23}, "lnd_wallet_seed", "it has 23 words; an aezeed has 24"),
    "seed-of-12-words": ({"lnd_wallet_seed": ["word " * 12]}, "lnd_wallet_seed", "it has 12 words"),
}


@pytest.mark.parametrize("chosen, variable, words", WRONG.values(), ids=WRONG)
def test_what_cannot_work_is_one_complaint_that_names_the_variable(chosen, variable, words):
    found = complaints(**chosen)
    assert blamed(found) == [variable]
    assert words in found[0]


FORBIDDEN = [
    *(("lnd_options", option) for option in ("no-macaroons", "noseedbackup", "wallet-unlock-password-file", "lnddir", "datadir", "tlscertpath",
                                             "tlskeypath", "tlsextradomain", "tlsextraip", "tlsautorefresh", "tor.active", "tor.socks", "tor.v3")),
    *(("bitcoind_options", option) for option in ("datadir", "chain", "testnet", "testnet4", "signet", "regtest", "prune", "dbcache",
                                                  "rpcauth", "rpcpassword", "rpcuser", "onion", "proxy", "listenonion", "torcontrol")),
]


@pytest.mark.parametrize("variable, option", FORBIDDEN, ids=[f"{variable}-{option}" for variable, option in FORBIDDEN])
@pytest.mark.parametrize("value", [1, "", False], ids=["on", "empty", "off"])
def test_an_option_that_would_undo_a_promise_is_refused_whatever_its_value(variable, option, value):
    found = complaints(**{variable: {option: value}})
    assert blamed(found) == [variable]
    assert found[0].startswith(f"{variable}: {option} is refused: ")


@pytest.mark.parametrize("name", ["Alice", "alice_1", "-alice", "alice-", "a.b", "", "n" * 64, "ålice", "alice\n"],
                         ids=["upper-case", "underscore", "hyphen-first", "hyphen-last", "dot", "empty", "64", "not-ascii", "line-break"])
def test_a_host_whose_name_is_no_namespace_is_told_what_to_set(name):
    found = complaints(namespace_name=name, bitcoind_namespace=name, lnd_namespace=name)
    assert blamed(found) == ["namespace_name", "bitcoind_namespace", "lnd_namespace"]
    assert all("set openlsp_namespace or rename the host" in complaint for complaint in found)


def test_all_mistakes_are_told_at_once():
    found = complaints(**{**MAINNET, "openlsp_allow_mainnet": False}, bitcoind_version="31.0", lnd_alias="a" * 40, bitcoind_prune_mib=1,
                       lnd_options={"noseedbackup": 1, "no-macaroons": 1}, lnd_wallet_seed=["one"])
    assert blamed(found) == ["openlsp_allow_mainnet", "bitcoind_version", "lnd_alias", "bitcoind_prune_mib", "lnd_options", "lnd_options",
                             "lnd_wallet_seed"]


def test_a_complaint_about_a_seed_does_not_repeat_its_words():
    assert "zebra" not in "".join(complaints(lnd_wallet_seed=["zebra"] * 23))


# --- versions ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, numbers", {
    "31.1": (31, 1), "v31.1": (31, 1), "0.21.8-beta": (0, 21, 8), "0.21.8-beta.rc1": (0, 21, 8), "29.3.knots20260508": (29, 3), "31": (31,),
}.items())
def test_a_version_is_its_numbers(text, numbers):
    assert version(text) == numbers


@pytest.mark.parametrize("text", ["", "latest", "beta-0.21", None, ".1"])
def test_what_has_no_number_in_front_is_no_version(text):
    with pytest.raises(ValueError):
        version(text)


# --- misspelt variables --------------------------------------------------------------------------------------------

KNOWN = [*DEFAULTS, "openlsp_network"]


def misspelt(*names):
    return list(unknown_variables(names, KNOWN, ["namespace", "tor", "bitcoind", "lnd"]))


@pytest.mark.parametrize("name, meant", {
    "lnd_allias": "lnd_alias",
    "bitcoind_prune_mb": "bitcoind_prune_mib",
    "bitcoind_dbcache": "bitcoind_dbcache_mib",
    "openlsp_netwrok": "openlsp_network",
    "openlsp_allow_main_net": "openlsp_allow_mainnet",
    "lnd_wallet_seed_passphrase_": "lnd_wallet_seed_passphrase",
}.items())
def test_a_misspelt_variable_comes_with_the_right_one(name, meant):
    assert misspelt(name) == [f"{name}: there is no such variable; did you mean {meant}?"]


def test_a_variable_that_is_like_no_other_is_only_refused():
    assert misspelt("lnd_zzzzzzzzzzzzzzzz") == ["lnd_zzzzzzzzzzzzzzzz: there is no such variable"]


@pytest.mark.parametrize("name", [*DEFAULTS, *SHARED])
def test_a_variable_of_the_roles_is_known(name):
    assert misspelt(name) == []


@pytest.mark.parametrize("name", ["ansible_host", "inventory_hostname", "lndmon_port", "my_lnd_alias", "bitcoin_dir", "_lnd_labels", "namespaces"])
def test_other_programs_variables_are_not_ours_to_judge(name):
    assert misspelt(name) == []


@pytest.mark.parametrize(("names", "complaints"), [
    ((), []), (("pi",), []), (("pi", "pi-2"), ["machines: pi, pi-2; joining several machines to one cluster comes later, so name one"])])
def test_one_machine_is_enough(names, complaints):
    assert list(machines(names)) == complaints


# --- what is watched -----------------------------------------------------------------------------------------------

OBSERVED = yaml.safe_load((ROLES / "observability/defaults/main.yml").read_text())


@pytest.mark.parametrize("chosen, complaint", [
    ({"observability_severities": {"LndDown": "urgent"}}, "observability_severities: LndDown: urgent is no severity; choose one of critical, warning"),
    ({"observability_severities": {"LndDwon": "info"}}, "observability_severities: there is no alert LndDwon; did you mean LndDown?"),
    ({"observability_lnd_free_percent": 10}, "observability_lnd_free_percent: 10 cannot be: LND ends itself at 10 %"),
    ({"observability_block_late_seconds": 600}, "observability_block_late_seconds: 600 cannot be: by chance a block takes longer than half an hour"),
    ({"observability_no_block_seconds": 6600}, "observability_no_block_seconds: 6600 is not after the warning, observability_block_late_seconds"),
    ({"observability_prometheus_retention_size": "2Gi"}, "observability_prometheus_retention_size: '2Gi' is no size such as 2GB"),
    ({"observability_mountpoints": "/srv/("}, "observability_mountpoints: '/srv/(' is no regular expression"),
    ({"observability_mountpoints": '/"'}, "observability_mountpoints: it may have no quote"),
], ids=lambda each: next(iter(each)) if isinstance(each, dict) else "")
def test_an_alert_that_cannot_be_gets_one_message(chosen, complaint):
    found = list(observability({**OBSERVED, **chosen}, {"LndDown", "BitcoindDown"}))
    assert len(found) == 1 and found[0].startswith(complaint), found


def test_alerts_as_they_come_and_changed_severities_are_well():
    assert not list(observability(OBSERVED, {"LndDown"}))
    assert not list(observability({**OBSERVED, "observability_severities": {"LndDown": "none"}}, {"LndDown"}))


def test_every_threshold_has_its_limits():
    thresholds = {name for name, value in OBSERVED.items() if isinstance(value, int)} - {"observability_start_timeout"}
    assert thresholds == set(THRESHOLDS)


def test_the_exporter_is_a_consumer_whose_name_nobody_else_may_have():
    chosen = {"lnd_consumers": [{"name": "exporter", "preset": "rtl"}], "openlsp_monitoring": True}
    assert blamed(complaints(**chosen)) == ["lnd_consumers"]
    assert not complaints(**{**chosen, "openlsp_monitoring": False})


# --- volumes that are in use ---------------------------------------------------------------------------------------

@pytest.mark.parametrize(("size", "count"), [
    ("20Gi", 20 * 2**30), ("20480Mi", 20 * 2**30), ("0.5Ti", 2**39), ("1k", 1000), ("2G", 2 * 10**9), (7, 7), ("1TB", None), ("", None), ("-1Gi", None)])
def test_a_size_is_a_number_of_bytes(size, count):
    assert size_in_bytes(size) == count


def in_use(storage="20Gi", name="lnd", **more):
    return {"metadata": {"name": name}, "spec": {"volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": storage}}, **more}}]}}


FROM_A_DIRECTORY = {"storageClassName": ""}
MY_DIRECTORY = {"lnd_storage_local_path": "/srv/lightning/lnd", "lnd_storage_local_node": "pi"}


@pytest.mark.parametrize(("chosen", "there"), [
    ({}, in_use()), ({"lnd_storage_size": "20480Mi"}, in_use()), ({"lnd_storage_class": "fast"}, in_use(storageClassName="fast")),
    (MY_DIRECTORY, in_use(**FROM_A_DIRECTORY)), ({"lnd_storage_claim": "mine"}, {"metadata": {"name": "lnd"}, "spec": {}}), ({}, in_use("1Gi", "tor"))],
    ids=["as-it-was", "in-other-words", "of-that-class", "that-directory", "that-claim", "of-another-role"])
def test_a_volume_as_the_inventory_has_it_is_no_mistake(chosen, there):
    assert list(other_volume({**AS_IT_COMES, "lnd_storage_size": "20Gi", **chosen}, there, "alice")) == []


@pytest.mark.parametrize(("chosen", "there", "complaint"), [
    ({"lnd_storage_size": "40Gi"}, in_use(), "lnd_storage_size: 40Gi, but the volume of lnd in namespace alice was asked for with 20Gi"),
    ({"lnd_storage_size": "40Gi", **MY_DIRECTORY}, in_use(**FROM_A_DIRECTORY), "nothing enforces it for a directory"),
    ({"lnd_storage_class": "fast"}, in_use(), "lnd_storage_class: fast, but the volume of lnd in namespace alice was made by the cluster's default"),
    ({}, in_use(storageClassName="fast"), "lnd_storage_class: empty, but the volume of lnd in namespace alice was made by the StorageClass fast"),
    (MY_DIRECTORY, in_use(), "lnd_storage_local_path: /srv/lightning/lnd, but the volume of lnd in namespace alice was made by the cluster's default"),
    ({}, in_use(**FROM_A_DIRECTORY), "made from a directory of a machine"),
    ({"lnd_storage_claim": "mine"}, in_use(), "lnd_storage_claim: mine, but lnd in namespace alice has a volume of its own"),
    ({}, {"metadata": {"name": "lnd"}, "spec": {}}, "lnd_storage_claim: empty, but lnd in namespace alice has a claim of yours")],
    ids=["size", "size-of-a-directory", "class", "no-class", "directory", "no-directory", "claim", "no-claim"])
def test_another_volume_than_the_one_in_use_is_named_before_the_api_refuses_it(chosen, there, complaint):
    found, = other_volume({**AS_IT_COMES, "lnd_storage_size": "20Gi", **chosen}, there, "alice")
    assert complaint in found


def test_who_wants_a_larger_volume_is_told_how():
    found, = other_volume({**AS_IT_COMES, "lnd_storage_size": "40Gi"}, in_use("20Gi"), "alice")
    assert """patch pvc data-lnd-0 -p '{"spec":{"resources":{"requests":{"storage":"40Gi"}}}}'""" in found
    assert "kubectl -n alice delete statefulset lnd --cascade=orphan" in found


def directory(name, path="/srv/lightning/lnd", node="pi", phase="Bound", claim="alice/data-lnd-0"):
    namespace, _slash, claim = claim.partition("/")
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {"metadata": {"name": name}, "status": {"phase": phase}, "spec": {
        "claimRef": {"namespace": namespace, "name": claim}, "local": {"path": path},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}}


@pytest.mark.parametrize(("volume", "complaint"), [
    (directory("alice-lnd"), None), (directory("bob-lnd", path="/srv/lightning/bob"), None), (directory("bob-lnd", node="pi2"), None),
    ({"metadata": {"name": "pvc-1"}, "spec": {"hostPath": {"path": "/srv/lightning/lnd"}}}, None),
    (directory("alice-lnd", phase="Released"), "kubectl delete persistentvolume alice-lnd"),
    (directory("bob-lnd", claim="bob/data-lnd-0"), "/srv/lightning/lnd is the volume of bob/data-lnd-0"),
    (directory("bob-lnd", path="/srv/lightning/lnd/"), "is the volume of")],
    ids=["its-own", "another-directory", "of-another-machine", "no-local-one", "its-claim-is-gone", "another-namespaces", "in-another-spelling"])
def test_a_directory_belongs_to_one_volume(volume, complaint):
    found = list(directory_in_use({**AS_IT_COMES, **MY_DIRECTORY}, [volume], "alice"))
    assert [complaint in each for each in found] == [True] if complaint else found == []


def test_without_a_directory_no_volume_is_looked_at():
    assert list(directory_in_use(AS_IT_COMES, [directory("alice-lnd", phase="Released")], "alice")) == []


@pytest.mark.parametrize(("theirs", "blames"), [
    ({}, []), ({"openlsp_namespace": "bob"}, []), (MY_DIRECTORY | {"lnd_storage_local_node": "pi2"}, []),
    ({"openlsp_namespace": "alice"}, ["openlsp_namespace"]),
    (MY_DIRECTORY, ["lnd_storage_local_path"]), ({"openlsp_namespace": "alice", **MY_DIRECTORY}, ["openlsp_namespace", "lnd_storage_local_path"])],
    ids=["another", "another-by-name", "the-directory-of-another-machine", "one-namespace", "one-directory", "both"])
def test_two_hosts_are_two_nodes(theirs, blames):
    assert blamed(neighbours("alice", {**AS_IT_COMES, **MY_DIRECTORY}, {"bob": theirs})) == blames
