"""Inventories that cannot work, each with the variable that the operator has to look at; and inventories that can."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth
from ansible_collections.openlsp.node.plugins.plugin_utils._checks import SHARED, contradictions, machines, unknown_variables, version

ROLES = pathlib.Path(__file__).parents[4] / "roles"
DEFAULTS = {name: value for role in ("namespace", "bitcoind", "lnd")
            for name, value in yaml.safe_load((ROLES / role / "defaults/main.yml").read_text()).items()}

# What the roles' defaults are for a host "alice" of an inventory that sets nothing but the network.
AS_IT_COMES = {
    **DEFAULTS,
    "bitcoind_network": "signet", "lnd_network": "signet", "lnd_alias": "alice",
    "namespace_name": "alice", "bitcoind_namespace": "alice", "lnd_namespace": "alice",
}
LOCAL = {"bitcoind_storage_local_path": "/srv/blockchain/bitcoind", "bitcoind_storage_local_node": "pi"}
# jamaljsr/polar, src/utils/constants.ts
POLARS = "polaruser:5e5e98c21f5c814568f8b55d83b23c1c$066b03f92df30b11de8e4b1b1cd5b1b4281aa25205bd57df9be82caf97a05526"
SNAPSHOT = {"bitcoind_snapshot_file": "/data/utxo.dat", "bitcoind_trust_snapshot": True}
MAINNET = {"bitcoind_network": "mainnet", "lnd_network": "mainnet", "openlsp_allow_mainnet": True}


def complaints(**chosen):
    return list(contradictions({**AS_IT_COMES, **chosen}))


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
    "another-namespace-for-bitcoind": ({"bitcoind_namespace": "bob"}, "lnd_namespace", "lives in one namespace"),
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
                                             "tlskeypath", "tlsextradomain", "tlsextraip", "tlsautorefresh")),
    *(("bitcoind_options", option) for option in ("datadir", "chain", "testnet", "testnet4", "signet", "regtest", "prune", "dbcache",
                                                  "rpcauth", "rpcpassword", "rpcuser")),
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
    return list(unknown_variables(names, KNOWN, ["namespace", "bitcoind", "lnd"]))


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
