"""alice pays bob where nothing may leave but through Tor: each pod's own kernel counts where its packets go."""

from __future__ import annotations

import json

import pytest
from conftest import eventually, on_node, running

pytestmark = pytest.mark.long

# In a pod's network: what it begins itself, by where it goes. Answers, such as those to the kubelet's probes, do not count.
COUNT = """
table inet witness {{
  counter tor {{ }}
  counter other {{ }}
  chain output {{
    type filter hook output priority 0;
    oifname "lo" accept
    ct direction reply accept
    ip daddr {tor} counter name tor accept
    ip daddr {{ {allowed} }} accept
    meta l4proto {{ tcp, udp }} counter name other
  }}
}}
"""
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
        address = {name: core.read_namespaced_service(name, namespace).spec.cluster_ip for name in ("tor", "bitcoind")}
        dns = core.read_namespaced_service("kube-dns", "kube-system").spec.cluster_ip
        uid = running(core, namespace, f"{program}-0").metadata.uid.replace("-", "[-_]")
        self._pid = on_node("sh", "-c", f"grep -l {uid} /proc/[0-9]*/cgroup").stdout.split()[0].split("/")[2]
        self._nft("delete table inet witness")
        rules = COUNT.format(tor=address["tor"], allowed=f"{address['bitcoind']}, {dns}" if program == "lnd" else dns)
        made = self._nft(rules)
        assert made.returncode == 0, made.stderr

    def _nft(self, commands: str):
        return on_node("sh", "-c", f"nsenter -t {self._pid} -n nft -f - <<'END'\n{commands}\nEND")

    def packets(self) -> dict[str, int]:
        """By counter."""
        listed = json.loads(on_node("nsenter", "-t", self._pid, "-n", "nft", "-j", "list", "counters", "table", "inet", "witness").stdout)
        return {each["counter"]["name"]: each["counter"]["packets"] for each in listed["nftables"] if "counter" in each}


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

    counted = {"/".join(who): witness.packets() for who, witness in witnesses.items()}
    assert {who: packets["other"] for who, packets in counted.items() if packets["other"]} == {}
    assert counted["alice/lnd"]["tor"] > 0


def _try(call):
    try:
        call()
    except Exception:  # pylint: disable=broad-except  # Tor may still be building its way; the next attempt tells.
        pass
