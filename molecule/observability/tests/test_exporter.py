"""The exporter in its pod: its numbers are those of bitcoind and LND, it moves nothing, tells nothing old, and costs little."""

from __future__ import annotations

import base64
import http.client
import json
import time

import dashboards
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _pod
from conftest import NAME, eventually
from prometheus_client.parser import text_string_to_metric_families

METRICS = f"/api/v1/namespaces/{NAME}/pods/exporter-0:9797/proxy/metrics"

# What the test node does not have: sensors, onions, a copy of the backup, channels and payments, peers that went away, estimates, a time server.
EMPTY = {"Temperature", "Undervoltage", "Onions", "Backup's copy", "Nearest HTLC", "Longest inactive", "Blocks until the nearest HTLC expires", "Fees",
         "Calls of LND"}


@pytest.fixture(scope="module")
def scrape(cluster):
    """The samples of a scrape of its own: name, or name and the values of its labels."""
    def scraped() -> dict:
        families = text_string_to_metric_families(cluster.text(METRICS, {}))
        return {(sample.name, *sample.labels.values()) if sample.labels else sample.name: sample.value for each in families for sample in each.samples}

    return scraped


def names(found: dict) -> set[str]:
    return {each if isinstance(each, str) else each[0] for each in found}


def test_its_numbers_are_those_of_bitcoin_cli(node, scrape):
    node.mine()
    chain, network, mempool, peers = (json.loads(node.bitcoin_cli(f"get{each}info")) for each in ("blockchain", "network", "mempool", "peer"))
    found = scrape()
    assert {name: found[f"bitcoind_{name}"] for name in ("blocks", "headers", "size_on_disk_bytes", "best_block_timestamp_seconds", "network_active")} == {
        "blocks": chain["blocks"], "headers": chain["headers"], "size_on_disk_bytes": chain["size_on_disk"],
        "best_block_timestamp_seconds": chain["time"], "network_active": 1}
    assert found["bitcoind_info", "regtest", network["subversion"]] == 1
    assert found["bitcoind_mempool_transactions"] == mempool["size"]
    assert found["bitcoind_mempool_max_bytes"] == mempool["maxmempool"]
    assert sum(value for name, value in found.items() if name[0] == "bitcoind_connections") == len(peers) > 0
    assert found["bitcoind_zmq_publishers", "pubrawblock"] == found["bitcoind_zmq_publishers", "pubrawtx"] == 1


def test_its_numbers_are_those_of_lncli(node, scrape):
    node.mine()
    eventually(lambda: json.loads(node.lncli("getinfo"))["synced_to_chain"], "LND does not see the block")
    info, wallet = json.loads(node.lncli("getinfo")), json.loads(node.lncli("walletbalance"))
    found = scrape()
    assert {name: found[f"lnd_{name}"] for name in ("block_height", "peers", "synced_to_chain", "best_header_timestamp_seconds")} == {
        "block_height": info["block_height"], "peers": info["num_peers"], "synced_to_chain": 1,
        "best_header_timestamp_seconds": int(info["best_header_timestamp"])}
    assert found["lnd_channels", "active"] == info["num_active_channels"] and found["lnd_channels", "inactive"] == info["num_inactive_channels"]
    assert found["lnd_wallet_confirmed_sat"] == int(wallet["confirmed_balance"])
    assert found["lnd_info", "regtest", info["version"].split(" ")[0]] == found["lnd_state", "SERVER_ACTIVE"] == 1


@pytest.mark.parametrize("method, path, body", [
    ("POST", "/v1/transactions", {"addr": "no address", "amount": "1"}),
    ("POST", "/v1/channels", {"node_pubkey_string": "02" * 33, "local_funding_amount": "1"}),
    ("POST", "/v1/invoices", {"value": "1"}),
    ("POST", "/v1/macaroon", {"permissions": [{"entity": "info", "action": "read"}]}),
    ("POST", "/v1/channels/backup/restore", {}),
    ("POST", "/v2/router/send", {"payment_request": "lnbcrt1", "timeout_seconds": 1}),
    ("GET", "/v1/payments", None),
    ("GET", "/v1/invoices", None),
], ids=lambda given: given if isinstance(given, str) and given.startswith("/") else "")
def test_its_macaroon_moves_nothing_and_shows_no_payment(cluster, node, method, path, body):
    secret = node.secret("lnd-consumer-exporter")
    with _lnd.Lnd(lambda: _pod.forward(cluster, NAME, "lnd-0", _lnd.REST_PORT), secret["cert"]) as client:
        assert client.call("GET", "/v1/getinfo", macaroon=secret["macaroon"])["version"]
        with pytest.raises(_lnd.LndError, match="permission denied"):
            client.call(method, path, body, secret["macaroon"])


def test_its_rpc_user_may_make_its_calls_and_no_other(cluster, node):
    secret = node.secret("bitcoind-rpc-exporter")

    def status(call: str) -> int:
        connection = http.client.HTTPConnection("bitcoind")
        connection.sock = _pod.forward(cluster, NAME, "bitcoind-0", 18443)
        credential = base64.b64encode(secret["username"] + b":" + secret["password"]).decode()
        connection.request("POST", "/", json.dumps({"id": 0, "method": call, "params": []}), {"Authorization": f"Basic {credential}"})
        answer = connection.getresponse().status
        connection.close()
        return answer

    assert status("uptime") == 200
    forbidden = ("stop", "sendrawtransaction", "createwallet", "setnetworkactive", "invalidateblock", "getblock", "getrawtransaction", "help")
    assert {call: status(call) for call in forbidden} == dict.fromkeys(forbidden, 403)


def test_while_lnd_is_away_nothing_old_is_told_and_then_it_recovers_by_itself(cluster, node, scrape):
    before = cluster.request("GET", f"/api/v1/namespaces/{NAME}/pods/exporter-0")["metadata"]["uid"]
    assert scrape()["lnd_up"] == 1
    node.scale("lnd", 0)
    eventually(lambda: scrape()["lnd_up"] == 0, "LND does not go")
    end, scrapes = time.monotonic() + 60, 0
    while time.monotonic() < end:
        found = scrape()
        assert {name for name in names(found) if name.startswith("lnd_")} == {"lnd_up"} and found["bitcoind_up"] == 1
        scrapes += 1
        time.sleep(2)
    assert scrapes > 5
    node.scale("lnd", 1)
    eventually(lambda: scrape().get("lnd_synced_to_chain") == 1, "LND's values do not come back", 240)
    pod = cluster.request("GET", f"/api/v1/namespaces/{NAME}/pods/exporter-0")
    assert pod["metadata"]["uid"] == before and pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_it_costs_little(scrape):
    """1 % of a core at a scrape every 30 s is 0.3 s; the machine may be building at the same time, and a Pi is slower: a third of that."""
    before, started = scrape(), time.monotonic()
    for _each in range(20):
        found = scrape()
    assert (time.monotonic() - started) / 20 < 1
    # Prometheus scrapes as well, a few times.
    assert (found["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]) / 20 < 0.1
    assert found["process_resident_memory_bytes"] < 60 * 2 ** 20


def test_every_panel_has_data(prometheus):
    instance = prometheus.get("query", query="node_load1")["result"][0]["metric"]["instance"]

    def empty():
        return {(name, panel) for name, panel, query in dashboards.queries(NAME, instance)
                if panel not in EMPTY and not prometheus.get("query", query=query)["result"]}
    # The kubelet measures the volumes of a new pod within two minutes.
    eventually(lambda: not empty(), f"panels without data: {empty()}", 180)
