"""alice pays bob where nothing may leave but through Tor: each pod's own kernel counts where its packets go."""

from __future__ import annotations

import json

import pytest
from conftest import eventually, on_node, running

pytestmark = pytest.mark.long

# In a pod's network: how often it turns to Tor, and where else it goes. Answers, such as those to the kubelet's probes, are nothing that it begins; those on
# connections from before these rules come from a port on which it listens.
RULES = """
table inet witness {{
  counter tor {{ }}
  set elsewhere {{ type ipv4_addr . inet_proto . inet_service; flags dynamic; }}
  set elsewhere6 {{ type ipv6_addr . inet_proto . inet_service; flags dynamic; }}
  chain output {{
    type filter hook output priority 0;
    oifname "lo" accept
    ct direction reply accept
    tcp sport {{ {listening} }} accept
    ip daddr {{ {tor} }} counter name tor accept
    ip6 daddr {{ {tor6} }} counter name tor accept
    ip daddr {{ {allowed} }} accept
    ip6 daddr {{ {allowed6} }} accept
    meta l4proto {{ tcp, udp }} add @elsewhere {{ ip daddr . meta l4proto . th dport }}
    meta l4proto {{ tcp, udp }} add @elsewhere6 {{ ip6 daddr . meta l4proto . th dport }}
  }}
}}
"""
LISTENING = {"bitcoind": "18443, 18444, 18445, 28332, 28333, 28334, 28335", "lnd": "8080, 8989, 9735, 10009"}
NODES, PROGRAMS = ("alice", "bob"), ("bitcoind", "lnd")


@pytest.fixture(scope="module")
def addresses(core):
    """The onion addresses of a kind: ``addresses("lnd-p2p")["bob"]``."""
    import base64

    def of(name):
        secrets = {node: core.read_namespaced_secret(f"tor-onion-{name}", node).data["hostname"] for node in NODES}
        return {node: base64.b64decode(value).decode().strip() for node, value in secrets.items()}
    return of


@pytest.fixture(scope="module")
def tor_only(site, addresses):
    """Both nodes have nothing but Tor; afterwards they are as before."""
    peers = [f"{address}:18444" for address in addresses("bitcoind-p2p").values()]
    run = site("-e", json.dumps({"openlsp_tor_only": True, "openlsp_exposure": ["onion"], "bitcoind_peers": peers}))
    assert run.code == 0, run.output[-4000:]
    yield
    run = site()
    assert run.code == 0, run.output[-4000:]


class Witness:
    """The counters in one pod's network."""

    def __init__(self, core, namespace: str, program: str) -> None:
        def addresses(*services: tuple[str, str], six: bool) -> str:
            every = (core.read_namespaced_service(name, where).spec.cluster_ips for where, name in services)
            return ", ".join(each for ips in every for each in ips if (":" in each) == six)
        tor, allowed = [(namespace, "tor")], [("kube-system", "kube-dns"), *([(namespace, "bitcoind")] if program == "lnd" else [])]
        uid = running(core, namespace, f"{program}-0").metadata.uid.replace("-", "[-_]")
        self._pid = on_node("sh", "-c", f"grep -l {uid} /proc/[0-9]*/cgroup").stdout.split()[0].split("/")[2]
        self._nft("delete table inet witness")
        made = self._nft(RULES.format(listening=LISTENING[program], tor=addresses(*tor, six=False), tor6=addresses(*tor, six=True),
                                      allowed=addresses(*allowed, six=False), allowed6=addresses(*allowed, six=True)))
        assert made.returncode == 0, made.stderr

    def _nft(self, commands: str):
        return on_node("sh", "-c", f"nsenter -t {self._pid} -n nft -f - <<'END'\n{commands}\nEND")

    def seen(self) -> tuple[int, list]:
        """Packets to Tor, and every other address that it turned to, with protocol and port."""
        listed = json.loads(on_node("nsenter", "-t", self._pid, "-n", "nft", "-j", "list", "table", "inet", "witness").stdout)["nftables"]
        elsewhere = [each["set"].get("elem", []) for each in listed if "set" in each]
        return next(each["counter"]["packets"] for each in listed if "counter" in each), [address for elements in elsewhere for address in elements]


def test_alice_pays_bob_over_onions_alone(core, lnd, tor_only, addresses):
    alice, bob = lnd("alice", "lnd-admin"), lnd("bob", "lnd-admin")
    witnesses = {(node, program): Witness(core, node, program) for node in NODES for program in PROGRAMS}
    identity, onion = bob.call("GET", "/v1/getinfo")["identity_pubkey"], addresses("lnd-p2p")["bob"]

    def is_peer_by_onion():
        """Begin anew until it is: an LND that knew the other from before tries that address first."""
        peer = next((each for each in alice.call("GET", "/v1/peers")["peers"] if each["pub_key"] == identity), None)
        if peer and not peer["inbound"] and onion in peer["address"]:
            return True
        if peer:
            _try(lambda: alice.call("DELETE", f"/v1/peers/{identity}"))
        _try(lambda: alice.call("POST", "/v1/peers", {"addr": {"pubkey": identity, "host": f"{onion}:9735"}, "timeout": "60"}))
        return False
    eventually(is_peer_by_onion, "alice does not reach bob by his onion address", 180)
    eventually(lambda: alice.call("GET", "/v1/channels?active_only=true")["channels"], "the channel is not active", 120)
    for node in (alice, bob):
        eventually(lambda node=node: node.call("GET", "/v1/getinfo")["synced_to_chain"], "LND is not synced", 120)

    before = int(bob.call("GET", "/v1/channels")["channels"][0]["local_balance"])
    invoice = bob.call("POST", "/v1/invoices", {"value": "1000", "memo": "onion"})
    paid = alice.call("POST", "/v2/router/send", {"payment_request": invoice["payment_request"], "timeout_seconds": 60, "fee_limit_sat": "10",
                                                  "no_inflight_updates": True})
    assert paid["result"]["status"] == "SUCCEEDED", paid
    eventually(lambda: int(bob.call("GET", "/v1/channels")["channels"][0]["local_balance"]) == before + 1000, "bob's balance does not grow", 30)

    seen = {"/".join(who): witness.seen() for who, witness in witnesses.items()}
    assert {who: elsewhere for who, (_tor, elsewhere) in seen.items() if elsewhere} == {}
    assert seen["alice/lnd"][0] > 0


def _try(call):
    try:
        call()
    except Exception:  # pylint: disable=broad-except  # Tor may still be building its way; the next attempt tells.
        pass
