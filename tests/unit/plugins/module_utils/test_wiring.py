"""A healthy node has no finding; each thing that can be wrong with it has its own, and no other."""

from __future__ import annotations

import pathlib
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils import _observation, _wiring
from ansible_collections.openlsp.node.plugins.module_utils._certificate import Certificate
from ansible_collections.openlsp.node.plugins.module_utils._observation import (
    Bitcoind, Claim, Endpoint, Lnd, Macaroon, Observation, Policy, Program, Reach, Service, Tor)
from ansible_collections.openlsp.node.plugins.module_utils._rpcauth import rpcauth

ROOT = pathlib.Path(__file__).resolve().parents[4]

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
LONG_AGO, JUST_NOW = NOW - timedelta(days=3), NOW - timedelta(seconds=20)
HOST = "bitcoind.ns.svc.cluster.local"
ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
OTHER_ONION = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"

BITCOIN_CONF = f"""\
chain=regtest

[regtest]
rpcport=18443
rpcauth={rpcauth("lnd", "secret", "00")}
rpcwhitelistdefault=0
rpcwhitelist=lnd:{','.join(sorted(_wiring.RPC_CALLS))}
zmqpubrawblock=tcp://0.0.0.0:28332
zmqpubrawtx=tcp://0.0.0.0:28333
"""
LND_CONF = f"""\
; Made by openlsp.node.
[Application Options]
bitcoin.regtest=true
bitcoin.node=bitcoind
bitcoind.rpchost={HOST}:18443
bitcoind.zmqpubrawblock=tcp://{HOST}:28332
bitcoind.zmqpubrawtx=tcp://{HOST}:28333
"""
ZMQ = {"zmqpubrawblock": f"tcp://{HOST}:28332", "zmqpubrawtx": f"tcp://{HOST}:28333"}


def hashed(text):
    return _observation.hashlib.sha256(text.encode()).hexdigest()


def program(name, configuration="", **of_program):
    return Program(name, **{
        "since": LONG_AGO, "image": "an:1", "wanted_image": "an:1", "network": "regtest", "configuration": hashed(configuration),
        "labels": {"app.kubernetes.io/name": name}, "claims": (Claim(f"data-{name}-0", "Bound", "pv", path="/srv/data", kept=True),),
        **of_program})


def service(name, of_program, ports, **of_service):
    return Service(name, frozenset({f"10.0.0.{len(name)}"}), {"app.kubernetes.io/name": of_program}, ports, **of_service)


HEALTHY = Observation(
    "ns", "regtest", NOW, pod_security="restricted",
    programs={
        "bitcoind": program("bitcoind", BITCOIN_CONF, ports={"rpc": 18443, "p2p": 18444}, configmaps=frozenset({"bitcoind"})),
        "lnd": program("lnd", LND_CONF, rpc_digest="5f0d1c9e", secrets=frozenset({"bitcoind-rpc"}), configmaps=frozenset({"lnd"})),
        "tor": program("tor"),
    },
    services=(service("bitcoind", "bitcoind", {18443: "rpc", 28332: 28332, 28333: 28333}), service("bitcoind-p2p", "bitcoind", {18444: "p2p"}),
              service("lnd", "lnd", {8080: "rest"})),
    policies=(Policy("all", {}, frozenset({"Ingress"})),),
    secrets=frozenset({"bitcoind-rpc"}),
    configmaps={"bitcoind": {"bitcoin.conf": BITCOIN_CONF}, "lnd": {"lnd.conf": LND_CONF}, "bitcoind-zmq": ZMQ, "tor": {"torrc": "SocksPort 9050"}},
    rpc_user="lnd", rpc_digest="5f0d1c9e", rpc_fits=True, rpc_status=200,
    certificate=Certificate(b"", LONG_AGO, NOW + timedelta(days=300), "", ("localhost", "lnd.ns.svc", "lnd.ns.svc.cluster.local"), True),
    macaroons=(Macaroon("lnd-admin"), Macaroon("lnd-readonly")),
    bitcoind=Bitcoind(network="regtest", blocks=100, headers=100, peers=1,
                      zmq=(Endpoint("rawblock", "0.0.0.0", 28332), Endpoint("rawtx", "0.0.0.0", 28333))),
    lnd=Lnd("", "SERVER_ACTIVE", True, "regtest", 100, 0.1, True, True, NOW, 2, (f"02ab@{ONION}:9735", "02ab@192.0.2.1:9735")),
    tor=Tor(100, {"lnd-p2p": 9735}, {"lnd-p2p": ONION}),
    reached=(Reach(f"{ONION}:9735", True), Reach("192.0.2.1:9735", True)),
)


def with_program(name, **changes):
    return replace(HEALTHY, programs={**HEALTHY.programs, name: replace(HEALTHY.programs[name], **changes)})


def with_claim(**changes):
    return with_program("lnd", claims=(replace(HEALTHY.programs["lnd"].claims[0], **changes),))


def with_bitcoind(**changes):
    return replace(HEALTHY, bitcoind=replace(HEALTHY.bitcoind, **changes))


def with_lnd(**changes):
    return replace(HEALTHY, lnd=replace(HEALTHY.lnd, **changes))


def with_tor(**changes):
    return replace(HEALTHY, tor=replace(HEALTHY.tor, **changes))


def configured(bitcoin=BITCOIN_CONF, lnd=LND_CONF, zmq=None, **changes):
    """Both programs run with these configurations."""
    programs = {**HEALTHY.programs, "bitcoind": replace(HEALTHY.programs["bitcoind"], configuration=hashed(bitcoin)),
                "lnd": replace(HEALTHY.programs["lnd"], configuration=hashed(lnd))}
    return replace(HEALTHY, programs=programs, configmaps={
        **HEALTHY.configmaps, "bitcoind": {"bitcoin.conf": bitcoin}, "lnd": {"lnd.conf": lnd}, "bitcoind-zmq": ZMQ if zmq is None else zmq}, **changes)


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def swapped(text):
    return text.replace("28332", "@").replace("28333", "28332").replace("@", "28333")


DOWN = {"running": False, "ready": False, "since": None}
SILENT = {"bitcoind": None, "rpc_status": None}
CERTIFICATE = HEALTHY.certificate

# The kind that is found: what is broken, and a part of the evidence.
CASES = {
    "program-missing": (replace(HEALTHY, programs=without(HEALTHY.programs, "lnd"), lnd=None), "namespace ns has no StatefulSet lnd"),
    "scaled-to-zero": (replace(with_program("lnd", replicas=0, pod=False, **DOWN), lnd=None), "the StatefulSet lnd wants 0 pods"),
    "not-running": (replace(with_program("bitcoind", condition="bitcoind: ErrImagePull: no such image", **DOWN), **SILENT), "ErrImagePull"),
    "crash-looping": (replace(with_program("lnd", crashing=True, restarts=2, last_reason="Error, exit code 1", last_words=". Its last words: | no", **DOWN),
                              lnd=None), "lnd-0: 2 restarts; Error, exit code 1. Its last words: | no"),
    "not-ready": (with_program("lnd", ready=False), "lnd-0"),
    "starting": (with_program("bitcoind", ready=False, since=JUST_NOW), "bitcoind-0 runs for 20 s"),
    "restarts": (with_program("lnd", restarts=3, last_end=JUST_NOW, last_reason="Error, exit code 1"), "lnd-0: 3 times, last at 11:59:40 UTC (Error"),
    "older-version": (with_program("lnd", of_older_version=True), "lnd-0"),
    "other-image": (with_program("lnd", wanted_image="an:2", of_older_version=True), "lnd-0 runs an:1, its StatefulSet says an:2"),
    "other-configuration": (with_program("bitcoind", configuration=hashed("earlier")), "bitcoind-0: bitcoin.conf has changed since"),
    "secret-missing": (replace(HEALTHY, secrets=frozenset()), "lnd-0 needs bitcoind-rpc"),
    "configmap-missing": (with_program("tor", configmaps=frozenset({"onions"})), "tor-0 needs onions"),
    "service-without-pod": (replace(HEALTHY, services=(*HEALTHY.services, service("lnd-p2p", "lmd", {}, endpoints=0))),
                            "the Service lnd-p2p looks for pods with app.kubernetes.io/name=lmd"),
    "pod-security": (replace(HEALTHY, pod_security=""), "enforce is not set"),
    "open-pod": (replace(HEALTHY, policies=tuple(Policy(name, {"app.kubernetes.io/name": name}, frozenset({"Ingress"})) for name in ("lnd", "tor"))),
                 "every port of bitcoind-0"),
    "open-namespace": (replace(HEALTHY, policies=tuple(
        Policy(name, {"app.kubernetes.io/name": name}, frozenset({"Ingress", "Egress"})) for name in ("bitcoind", "lnd", "tor"))), "has no policy for all"),
    "claim-missing": (with_claim(phase="", volume="", path=None, kept=None), "data-lnd-0"),
    "claim-lost": (with_claim(phase="Lost"), "data-lnd-0: its volume pv is gone"),
    "claim-deleted": (with_claim(going=True), "data-lnd-0"),
    "other-disk": (replace(HEALTHY, paths={"lnd": "/srv/lightning/"}), "data-lnd-0 is in /srv/data, the inventory says /srv/lightning/"),
    "volume-not-kept": (with_claim(kept=False), "data-lnd-0: pv"),
    "bitcoind-silent": (with_bitcoind(obstacle="error: timeout on transient error"), "bitcoind-0: error: timeout on"),
    "bitcoind-busy": (with_bitcoind(obstacle="error: timeout on transient error", busy=True), "bitcoind-0: error: timeout on"),
    "bitcoind-loading": (with_bitcoind(obstacle="error code: -28", loading=True), "-28"),
    "wrong-network": (with_bitcoind(network="signet"), "bitcoind says signet, the inventory regtest"),
    "initial-block-download": (replace(
        configured(BITCOIN_CONF.replace("regtest", "main"), LND_CONF.replace("regtest", "mainnet")), network="mainnet",
        programs={name: replace(each, network="mainnet", configuration="") for name, each in HEALTHY.programs.items()},
        bitcoind=replace(HEALTHY.bitcoind, network="mainnet", blocks=500, headers=1000, progress=0.123, initial_download=True),
        lnd=replace(HEALTHY.lnd, network="mainnet")), "block 500 of 1000, 12.3% of the work"),
    "catching-up": (replace(with_program("bitcoind", since=JUST_NOW), bitcoind=replace(HEALTHY.bitcoind, headers=103)), "block 100, the newest header is 103"),
    "behind-headers": (with_bitcoind(headers=103), "block 100, the newest header is 103"),
    "bitcoind-alone": (replace(configured(BITCOIN_CONF + "addnode=one.example\n"), bitcoind=replace(HEALTHY.bitcoind, peers=0)), "0 connections after 72 h"),
    "clock": (with_bitcoind(clock_offset=-4000.2), "it is 4000 s behind the clock of this computer"),
    "rpc-refused": (replace(HEALTHY, rpc_status=401), "bitcoind answers user lnd of the Secret with HTTP 401"),
    "rpc-changed": (replace(HEALTHY, rpc_digest="00000000"), "lnd-0 started with 5f0d1c9e, the Secret is now 00000000"),
    "rpc-whitelist": (configured(BITCOIN_CONF + "rpcwhitelist=lnd:getblock,uptime\n", rpc_status=403), "lacks estimatesmartfee, getbestblockhash"),
    "rpc-elsewhere": (configured(lnd=LND_CONF.replace(f"rpchost={HOST}", "rpchost=bitcoind.bob.svc.cluster.local")),
                      "bitcoind.rpchost is bitcoind.bob.svc.cluster.local:18443, which is in namespace bob, not in ns"),
    "rpc-port": (configured(lnd=LND_CONF.replace("18443", "8332")), "which leads to nothing; bitcoind's RPC is on port 18443"),
    "zmq-missing": (configured(zmq={}, bitcoind=replace(HEALTHY.bitcoind, zmq=HEALTHY.bitcoind.zmq[:1])), "bitcoind does not publish rawtx"),
    "zmq-swapped": (configured(lnd=swapped(LND_CONF)), f"LND listens for rawblock at tcp://{HOST}:28333, where bitcoind publishes rawtx"),
    "zmq-port": (configured(lnd=LND_CONF.replace("28333", "28399")), "LND listens for rawtx at tcp://bitcoind.ns.svc.cluster.local:28399; "
                                                                     "bitcoind publishes it on port 28333"),
    "zmq-elsewhere": (configured(lnd=LND_CONF.replace(f"tcp://{HOST}", "tcp://bitcoind.bob")), "rawblock: tcp://bitcoind.bob:28332, which is in namespace bob"),
    "zmq-loopback": (with_bitcoind(zmq=(Endpoint("rawblock", "127.0.0.1", 28332), HEALTHY.bitcoind.zmq[1])), "rawblock is published at 127.0.0.1:28332"),
    "zmq-addresses": (configured(zmq={**ZMQ, "zmqpubhashtx": f"tcp://{HOST}:28335"}), f"hashtx is said to be at tcp://{HOST}:28335"),
    "no-wallet": (with_lnd(state="NON_EXISTING"), "NON_EXISTING"),
    "locked": (with_lnd(state="LOCKED"), "LOCKED"),
    "lnd-silent": (with_lnd(state="", certificate_served=None, obstacle="LND does not answer: no answer within 60 s"), "no answer within 60 s"),
    "lnd-starting": (with_lnd(state="WAITING_TO_START"), "WAITING_TO_START"),
    "lnd-syncing": (with_lnd(synced_to_chain=False, newest_header=NOW - timedelta(hours=30)), "LND has block 100 and does not call itself synced; its "
                                                                                              "newest header is 30 h old"),
    "blocks-stay-away": (with_lnd(block=98, waited=5.01), "LND has block 98, bitcoind has 100; waited 5 s"),
    "graph-syncing": (with_lnd(synced_to_graph=False), "from 2 peers"),
    "certificate-missing": (replace(HEALTHY, certificate=None, certificate_problem="lnd-tls: it is empty"), "lnd-tls: it is empty"),
    "certificate-other": (with_lnd(state="", certificate_served=False, obstacle="LND holds another certificate"), "LND holds another certificate"),
    "certificate-expired": (replace(HEALTHY, certificate=replace(CERTIFICATE, expires=JUST_NOW)), "to 2026-11-28 11:59 UTC"),
    "certificate-names": (replace(HEALTHY, certificate=replace(CERTIFICATE, names=("localhost", "lnd.ns.svc"))), "it lacks lnd.ns.svc.cluster.local"),
    "macaroon-refused": (replace(HEALTHY, macaroons=(Macaroon("lnd-admin", refusal="signature mismatch"),)), "lnd-admin: signature mismatch"),
    "macaroon-damaged": (replace(HEALTHY, macaroons=(Macaroon("lnd-admin", "it has no key macaroon"),)), "lnd-admin: it has no key macaroon"),
    "address-silent": (replace(HEALTHY, reached=(Reach("192.0.2.1:9735", False, "no answer within 3 s"),)), "192.0.2.1:9735: no answer within 3 s"),
    "tor-starting": (replace(with_program("tor", since=JUST_NOW), tor=replace(HEALTHY.tor, bootstrapped=45)), "Bootstrapped 45%"),
    "tor-not-connected": (with_tor(bootstrapped=45), "Bootstrapped 45%"),
    "onion-unserved": (with_tor(onions={"lnd-p2p": ONION, "lnd-rest": OTHER_ONION}), "torrc has no HiddenServiceDir lnd-rest"),
    "onion-without-keys": (with_tor(services={"lnd-p2p": 9735, "lnd-grpc": 10009}), "there is no Secret tor-onion-lnd-grpc"),
    "onion-other": (with_lnd(uris=(f"02ab@{OTHER_ONION}:9735",)), f"LND announces {OTHER_ONION}, the Secret tor-onion-lnd-p2p is {ONION}"),
    "onion-silent": (replace(HEALTHY, reached=(Reach(f"{ONION}:9735", False, "lnd-p2p: Tor answers host unreachable"),)), "host unreachable"),
    "not-seen": (replace(HEALTHY, unseen=("cannot read the namespace ns: forbidden",)), "cannot read the namespace ns"),
}


def test_a_healthy_node_has_no_finding():
    assert _wiring.findings(HEALTHY) == []


@pytest.mark.parametrize("name", CASES)
def test_what_is_broken_is_found_by_name_and_nothing_else(name):
    seen, evidence = CASES[name]
    found = _wiring.findings(seen)
    assert {each.name for each in found} == {name}, found
    assert any(evidence in each.evidence for each in found), found


def test_everything_that_can_be_found_has_a_case():
    assert CASES.keys() == _wiring.KINDS.keys()


# The same by other ways.
@pytest.mark.parametrize("name, seen, evidence", [
    ("rpc-refused", replace(HEALTHY, rpc_fits=False, rpc_status=None), "no rpcauth of bitcoin.conf fits user lnd"),
    ("rpc-refused", replace(HEALTHY, rpc_status=403), "with HTTP 403"),
    ("rpc-whitelist", configured(BITCOIN_CONF.replace("rpcwhitelist=lnd:", "rpcwhitelist=app:").replace("default=0", "default=1")), "lacks estimatesmartfee"),
    ("rpc-elsewhere", configured(lnd=LND_CONF.replace(f"rpchost={HOST}", "rpchost=192.0.2.7")), "192.0.2.7:18443, which is no Service of bitcoind"),
    ("rpc-elsewhere", configured(lnd=LND_CONF.replace(f"rpchost={HOST}", "rpchost=lnd.ns.svc")), "which is not bitcoind's Service"),
    ("rpc-port", configured(lnd=LND_CONF.replace(":18443", ":28332")), "which leads to 28332"),
    ("zmq-missing", configured(lnd=LND_CONF.replace("bitcoind.zmqpubrawtx", ";")), "lnd.conf has no bitcoind.zmqpubrawtx"),
    ("zmq-swapped", configured(swapped(BITCOIN_CONF), **SILENT, zmq={}), "where bitcoind publishes rawtx"),
    ("wrong-network", configured(lnd=LND_CONF.replace("bitcoin.regtest", "bitcoin.signet")), "lnd.conf says signet"),
    ("wrong-network", configured(BITCOIN_CONF.replace("=regtest", "=signet"), zmq={}), "bitcoin.conf says signet"),
    ("wrong-network", with_program("lnd", network="testnet4"), "the StatefulSet lnd says testnet4"),
    ("wrong-network", with_lnd(network="testnet"), "LND says testnet3"),
    ("claim-lost", with_claim(foreign=True), "another claim's, or gone"),
    ("starting", with_program("bitcoind", stopping=True), "bitcoind-0 is stopping"),
    ("not-running", replace(with_program("lnd", pod=False, **DOWN), lnd=None), "lnd-0: there is no such pod"),
    ("lnd-starting", replace(with_program("lnd", since=JUST_NOW), lnd=Lnd("LND does not answer: refused")), "refused"),
    ("lnd-starting", replace(with_program("lnd", since=JUST_NOW), lnd=Lnd("", "LOCKED", True)), "LOCKED"),
    ("lnd-starting", replace(with_program("lnd", since=JUST_NOW), lnd=replace(HEALTHY.lnd, obstacle="still starting")), "still starting"),
    ("lnd-silent", with_lnd(block=None, synced_to_chain=None, obstacle="LND does not answer: no answer within 4 s"), "lnd-0: LND does not answer: no answer"),
    ("lnd-syncing", with_lnd(state="RPC_ACTIVE", block=None, synced_to_chain=None), "RPC_ACTIVE"),
    ("blocks-stay-away", with_lnd(block=None, waited=5.01), "LND has no block, bitcoind has 100; waited 5 s"),
    ("tor-starting", replace(with_program("tor", since=JUST_NOW), reached=(Reach(f"{ONION}:9735", False, "no"),)), "no"),
    ("clock", with_bitcoind(clock_offset=4000), "ahead of"),
])
def test_the_same_is_found_by_other_signs(name, seen, evidence):
    found = _wiring.findings(seen)
    assert any(each.name == name and evidence in each.evidence for each in found), found


# --- what is said once -----------------------------------------------------------------------------------------------

BOTH_ONIONS = replace(HEALTHY, tor=Tor(100, {"lnd-p2p": 9735, "bitcoind-p2p": 18444}, {"lnd-p2p": ONION, "bitcoind-p2p": OTHER_ONION}),
                      reached=(Reach(f"{ONION}:9735", False, "no"), Reach(f"{OTHER_ONION}:18444", False, "no")))


@pytest.mark.parametrize("changes, reason, onions", [
    pytest.param({"bitcoind": CASES["bitcoind-loading"][0].bitcoind}, "bitcoind-loading", [f"{ONION}:9735: no"], id="bitcoind loads"),
    pytest.param({"lnd": Lnd("", "LOCKED", True)}, "locked", [f"{OTHER_ONION}:18444: no"], id="LND is locked"),
    pytest.param({"lnd": None, "programs": with_program("lnd", crashing=True, **DOWN).programs}, "crash-looping", [f"{OTHER_ONION}:18444: no"],
                 id="LND crashes"),
    pytest.param({"lnd": Lnd("", "RPC_ACTIVE", True)}, "lnd-syncing", [f"{ONION}:9735: no", f"{OTHER_ONION}:18444: no"], id="LND syncs, and takes peers"),
])
def test_of_an_onion_whose_program_does_not_answer_tor_is_not_to_blame(changes, reason, onions):
    found = _wiring.findings(replace(BOTH_ONIONS, **changes))
    assert {each.name for each in found} == {reason, "onion-silent"}
    assert [each.evidence for each in found if each.name == "onion-silent"] == onions


def test_the_services_of_a_program_that_is_switched_off_are_not_found_as_well():
    off = replace(with_program("lnd", replicas=0, pod=False, **DOWN), lnd=None, services=(
        *HEALTHY.services[:2], service("lnd", "lnd", {8080: "rest"}, endpoints=0), service("tor-to-lnd", "lnd", {9735: "p2p"}, endpoints=0)))
    assert {each.name for each in _wiring.findings(off)} == {"scaled-to-zero"}


def test_of_an_lnd_that_refuses_the_macaroon_it_is_asked_with_there_is_one_finding():
    seen = replace(with_lnd(obstacle="permission denied"), macaroons=(Macaroon("lnd-readonly", refusal="permission denied"),))
    assert {each.name for each in _wiring.findings(seen)} == {"macaroon-refused"}


# --- what is in order ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seen", [
    pytest.param(with_bitcoind(clock_offset=3.0), id="a clock that is seconds off"),
    pytest.param(configured(BITCOIN_CONF.replace("rpcwhitelistdefault=0", "rpcwhitelistdefault=1"), rpc_status=200), id="a whitelist of LND's own"),
    pytest.param(configured(lnd=LND_CONF + "bitcoin.signet=false\n"), id="a network that is switched off"),
    pytest.param(with_bitcoind(headers=102), id="the newest blocks on their way"),
    pytest.param(with_bitcoind(initial_download=True), id="a regtest without a new block"),
    pytest.param(with_bitcoind(peers=0), id="a regtest alone"),
    pytest.param(with_lnd(peers=0, synced_to_graph=False), id="no peers to learn channels from"),
    pytest.param(with_program("lnd", restarts=2, last_end=JUST_NOW), id="two restarts"),
    pytest.param(with_program("lnd", restarts=9, last_end=LONG_AGO), id="restarts of another day"),
    pytest.param(replace(HEALTHY, programs=without(HEALTHY.programs, "tor"), tor=None), id="no Tor"),
    pytest.param(with_program("tor", claims=(Claim("data-tor-0", "Bound", "pv", kept=False),)), id="Tor's volume, which nobody misses"),
    pytest.param(replace(HEALTHY, reached=(Reach("[2001:db8::1]:9735", None, "Network is unreachable"),)), id="no IPv6 here"),
    pytest.param(replace(HEALTHY, pod_security=None, policies=None), id="what this user may not see"),
    pytest.param(configured(lnd=LND_CONF.replace(HOST, "10.0.0.8")), id="the address of bitcoind's Service"),
    pytest.param(configured(lnd="\n".join(line for line in LND_CONF.splitlines() if "zmq" not in line) + "\nbitcoind.rpcpolling=true"), id="polling"),
    pytest.param(configured(BITCOIN_CONF.replace("rpcwhitelist=", "#")), id="no whitelist"),
    pytest.param(configured(BITCOIN_CONF + "[main]\nrpcport=1\nzmqpubrawtx=tcp://0.0.0.0:1\n"), id="another network's section"),
    pytest.param(with_lnd(block=101), id="a block that bitcoind got meanwhile"),
])
def test_it_is_in_order(seen):
    assert _wiring.findings(seen) == []


def test_a_node_in_its_initial_block_download_has_nothing_but_to_wait():
    seen, _evidence = CASES["initial-block-download"]
    lnd = replace(seen.lnd, state="RPC_ACTIVE", block=None, synced_to_chain=None, synced_to_graph=None, peers=0, uris=())
    programs = {**seen.programs, "bitcoind": replace(seen.programs["bitcoind"], ready=False)}
    found = _wiring.findings(replace(seen, lnd=lnd, programs=programs))
    assert {each.kind.severity for each in found} == {"wait"}
    assert {each.name for each in found} == {"initial-block-download", "lnd-syncing"}


def test_errors_come_first():
    found = _wiring.findings(replace(with_lnd(synced_to_graph=False), rpc_status=401, unseen=("the volumes",)))
    assert [each.kind.severity for each in found] == ["error", "warning", "wait"]


# --- what is written elsewhere too -----------------------------------------------------------------------------------

def test_the_calls_of_lnd_are_those_that_the_role_allows():
    role = yaml.safe_load((ROOT / "roles/bitcoind/vars/main.yml").read_text())
    assert set(role["_bitcoind_rpc_methods"]) == _wiring.RPC_CALLS


def test_the_table_of_the_documentation_is_the_codes():
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*?) \| (.*?) \|$", (ROOT / "docs/verify.md").read_text(), re.M)
    assert rows == [(name, kind.severity, kind.what, kind.remedy) for name, kind in _wiring.KINDS.items()]


@pytest.mark.parametrize("name", _wiring.KINDS)
def test_a_remedy_is_one_sentence(name):
    kind = _wiring.KINDS[name]
    assert kind.severity in ("error", "warning", "wait")
    assert kind.remedy.endswith(".") and kind.remedy.count(". ") == 0 and not kind.what.endswith(".")
