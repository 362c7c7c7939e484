"""Grafana's dashboards of the node: the one place where they are written. Makes roles/observability/files/dashboards/*.json.

    python tests/dashboards.py

The JSON is Grafana's model of a dashboard (schema 39, Grafana 10.4 and newer). ``$namespace`` is the Lightning node, ``$instance`` the machine.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

TARGET = pathlib.Path(__file__).resolve().parents[1] / "roles/observability/files/dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # of Grafana's grid
GREEN, YELLOW, RED = "green", "yellow", "red"

Query = tuple[str, str]  # legend, PromQL


@dataclass(frozen=True)
class Panel:
    """steps: (from this value on, this colour). words: value: the text to show in its place. to: the largest value.

    named: shows the legend and no value.
    """

    title: str
    queries: tuple[Query, ...]
    about: str
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    words: tuple[tuple[float, str], ...] = ()
    stacked: bool = False
    named: bool = False
    to: float | None = None

    def model(self, number: int, x: int, y: int) -> dict:
        """Grafana's JSON of it."""
        defaults = {
            "unit": self.unit,
            "min": 0 if self.to is not None else None,
            "max": self.to,
            "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in self.steps]},
            "mappings": [{"type": "value", "options": {str(value): {"text": text} for value, text in self.words}}] if self.words else [],
            "custom": {"fillOpacity": 20 if self.stacked else 0, "spanNulls": False, "stacking": {"mode": "normal" if self.stacked else "none"}},
        }
        options = {
            "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
            "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none", "textMode": "name" if self.named else "auto"},
        }
        if self.kind == "stat":
            del defaults["custom"]
        return {
            "id": number, "type": self.kind, "title": self.title, "description": self.about, "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": {name: value for name, value in defaults.items() if value is not None}, "overrides": []},
            "options": options[self.kind],
            "targets": [{"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": written_out(query), "legendFormat": legend or "__auto",
                         "instant": self.kind == "stat", "range": self.kind != "stat"} for index, (legend, query) in enumerate(self.queries)],
        }


def one(title: str, query: str, about: str, **more) -> Panel:
    """One value, large."""
    return Panel(title, ((more.pop("legend", title), query),), about, kind="stat", **{"width": 4, "height": 4, **more})


def yes(title: str, query: str, about: str, words: tuple[str, str] = ("no", "yes"), **more) -> Panel:
    """Whether something is as it should be."""
    return one(title, query, about, steps=((None, RED), (1, GREEN)), words=tuple(enumerate(words)), **more)


def course(title: str, about: str, *queries: Query, **more) -> Panel:
    """What was, over time."""
    return Panel(title, queries, about, **more)


# In a query: matchers of the node or the machine that was chosen, and of real file systems.
SHORT = {
    "$n": 'namespace="$namespace"',
    "$m": 'instance="$instance"',
    "$disks": 'fstype!~"tmpfs|overlay|squashfs|nsfs|ramfs|fuse.*"',
}
FREE = ((None, RED), (0.1, YELLOW), (0.2, GREEN))


def written_out(query: str) -> str:
    """The PromQL of it."""
    return re.sub(r"\$(n|m|disks)\b", lambda found: SHORT[found[0]], query)


OVERVIEW = (
    one("Alerts", 'count(ALERTS{$n, alertstate="firing", alertname!="Watchdog"}) or vector(0)', "What fires now, for this node.",
        steps=((None, GREEN), (1, RED))),
    yes("LND", 'lnd_state{$n, state="SERVER_ACTIVE"} or (lnd_up{$n} == 0)', "It runs, its wallet is open, and it takes calls.", ("not ready", "runs")),
    yes("bitcoind", "bitcoind_up{$n}", "It answers.", ("away", "runs")),
    yes("LND sees the chain", "lnd_synced_to_chain{$n}", "LND has worked on bitcoind's newest block."),
    one("Blocks behind", "bitcoind_headers{$n} - bitcoind_blocks{$n}", "Headers that are known without their blocks.",
        steps=((None, GREEN), (3, YELLOW), (10, RED))),
    one("Last block", "time() - bitcoind_best_block_timestamp_seconds{$n}", "One in ten comes later than 23 minutes, one in 2,000 later than 76.", unit="s",
        steps=((None, GREEN), (6000, YELLOW), (9000, RED))),
    one("Active channels", 'lnd_channels{$n, state="active"}', "The peer is there and payments can pass."),
    one("Inactive channels", 'lnd_channels{$n, state="inactive"}', "The peer is away.", steps=((None, GREEN), (1, YELLOW))),
    one("Closing channels", 'sum(lnd_pending_channels{$n, state=~"closing|force_closing"})', "Coins on their way back.", steps=((None, GREEN), (1, YELLOW))),
    one("Can send", "lnd_channels_local_balance_sat{$n}", "Satoshis of yours in open channels.", unit="locale"),
    one("Can receive", "lnd_channels_remote_balance_sat{$n}", "Satoshis of the others in open channels.", unit="locale"),
    one("On the chain", "lnd_wallet_confirmed_sat{$n}", "Confirmed satoshis of the wallet.", unit="locale"),
    one("Earned in 7 days", "increase(lnd_forward_fees_sat_total{$n}[7d])", "Fees of forwarded payments, satoshis.", unit="locale"),
    one("Nearest HTLC", "min(lnd_pending_htlc_blocks_to_expiry{$n})", "Blocks until it expires; nothing where there is none.",
        steps=((None, RED), (13, YELLOW), (40, GREEN))),
    one("Certificate ends in", "(openlsp_certificate_expiry_timestamp_seconds{$n} - time()) / 86400", "LND's certificate.", unit="d",
        steps=((None, RED), (7, YELLOW), (20, GREEN))),
    yes("Onions", "min(openlsp_onion_reachable{$n})", "A connection to every onion of the node went through Tor and back.", ("not all", "reachable")),
    yes("Backup's copy", "openlsp_backup_copy_valid{$n} * (openlsp_backup_copy_missing_channels{$n} == bool 0) or openlsp_backup_copy_valid{$n}",
        "LND can read the copy of the channel backup, and it has every channel.", ("not good", "good")),
    yes("Exporter", "min(openlsp_exporter_part_success{$n})", "Every part of the last scrape worked.", ("in part", "works")),
    course("Free space", "Of the node's volumes, where the kubelet can tell.",
           ("{{persistentvolumeclaim}}", "kubelet_volume_stats_available_bytes{$n} / kubelet_volume_stats_capacity_bytes{$n}"),
           unit="percentunit", to=1, steps=FREE),
    course("Channels", "Open channels by state.", ("{{state}}", "lnd_channels{$n}"), stacked=True),
    course("Peers", "Of both networks.", ("Lightning", "lnd_peers{$n}"), ("Bitcoin", "sum(bitcoind_connections{$n})")),
)

LIGHTNING = (
    one("State", "lnd_state{$n} == 1", "LND's own word for it.", legend="{{state}}", named=True, width=8),
    yes("Chain", "lnd_synced_to_chain{$n}", "LND has worked on bitcoind's newest block.", ("behind", "in step")),
    yes("Graph", "lnd_synced_to_graph{$n}", "LND has asked its peers for the network's channels.", ("behind", "in step")),
    one("Longest inactive", "time() - lnd_channel_inactive_since_timestamp_seconds{$n}", "As far as the exporter has seen.", unit="s",
        steps=((None, GREEN), (86400, YELLOW), (3 * 86400, RED))),
    one("Version", "lnd_info{$n}", "Of LND.", legend="{{version}}", named=True),
    course("Channels", "Open, by state.", ("{{state}}", "lnd_channels{$n}"), stacked=True),
    course("Channels that open or close", "closing: not confirmed; force_closing: confirmed, coins still locked.", ("{{state}}", "lnd_pending_channels{$n}")),
    course("Peers", "Connected.", ("peers", "lnd_peers{$n}")),
    course("Balance of the channels", "Satoshis.", ("local", "lnd_channels_local_balance_sat{$n}"), ("remote", "lnd_channels_remote_balance_sat{$n}"),
           ("under way", "lnd_channels_unsettled_balance_sat{$n}"), unit="locale", stacked=True),
    course("Wallet", "Satoshis on the chain. Below the reserve, LND cannot pay for closing its anchor channels.",
           ("confirmed", "lnd_wallet_confirmed_sat{$n}"), ("unconfirmed", "lnd_wallet_unconfirmed_sat{$n}"), ("locked", "lnd_wallet_locked_sat{$n}"),
           ("reserve", "lnd_wallet_anchor_reserve_sat{$n}"), ("in closings", "lnd_limbo_balance_sat{$n}"), unit="locale"),
    course("Capacity", "Of all open channels, satoshis.", ("capacity", "lnd_channels_capacity_sat{$n}"), unit="locale"),
    course("HTLCs under way", "", ("{{direction}}", "lnd_pending_htlcs{$n}")),
    course("Blocks until the nearest HTLC expires", "LND closes a channel 10 blocks before an incoming one that it can claim.",
           ("{{direction}}", "lnd_pending_htlc_blocks_to_expiry{$n}")),
    course("Behind bitcoind", "Seconds between the newest block of bitcoind and the newest that LND's wallet was told of. It grows when ZMQ is cut.",
           ("behind", "bitcoind_best_block_timestamp_seconds{$n} - on (namespace) lnd_best_header_timestamp_seconds{$n}"), unit="s"),
    course("Forwards an hour", "", ("forwards", "rate(lnd_forwards_total{$n}[1h]) * 3600")),
    course("Forwarded a day", "Satoshis.", ("forwarded", "increase(lnd_forwarded_sat_total{$n}[1d])"), unit="locale"),
    course("Earned a day", "Satoshis.", ("fees", "increase(lnd_forward_fees_sat_total{$n}[1d])"), unit="locale"),
    course("Calls of LND", "By its own metrics: which programs ask for what, and how it ends.",
           ("{{grpc_method}} {{grpc_code}}", "sum by (grpc_method, grpc_code) (rate(grpc_server_handled_total{$n}[5m])) > 0"), unit="reqps"),
    course("Memory of LND", "Resident.", ("resident", 'process_resident_memory_bytes{$n, job="lnd"}'), unit="bytes"),
    course("Announced addresses", "Under which others may reach the node.", ("{{network}}", "lnd_announced_addresses{$n}")),
)

BITCOIN = (
    one("Height", "bitcoind_blocks{$n}", "Of the checked chain.", unit="locale"),
    one("Progress", "bitcoind_verification_progress{$n}", "bitcoind's own guess.", unit="percentunit", steps=((None, YELLOW), (0.9999, GREEN))),
    one("First download", "bitcoind_initial_block_download{$n}", "", steps=((None, GREEN), (1, YELLOW)), words=((0, "done"), (1, "under way"))),
    one("Up for", "bitcoind_uptime_seconds{$n}", "", unit="s"),
    one("Warnings", "bitcoind_warnings{$n}", "bitcoin-cli getnetworkinfo shows them.", steps=((None, GREEN), (1, RED))),
    one("Version", "bitcoind_info{$n}", "Of bitcoind.", legend="{{version}} {{chain}}", named=True),
    course("Blocks behind", "", ("behind", "bitcoind_headers{$n} - bitcoind_blocks{$n}")),
    course("Age of the best block", "By the time in its header.", ("age", "time() - bitcoind_best_block_timestamp_seconds{$n}"), unit="s"),
    course("Blocks an hour", "Six are usual.", ("blocks", "delta(bitcoind_blocks{$n}[1h])")),
    course("Peers", "", ("{{direction}} {{network}}", "bitcoind_connections{$n} > 0"), stacked=True),
    course("Traffic", "With peers.", ("received", "rate(bitcoind_received_bytes_total{$n}[5m])"),
           ("sent", "rate(bitcoind_sent_bytes_total{$n}[5m])"), unit="Bps"),
    course("On the disk", "Blocks and undo data.", ("size", "bitcoind_size_on_disk_bytes{$n}"), unit="bytes"),
    course("Mempool", "Transactions.", ("transactions", "bitcoind_mempool_transactions{$n}")),
    course("Memory of the mempool", "", ("used", "bitcoind_mempool_usage_bytes{$n}"), ("limit", "bitcoind_mempool_max_bytes{$n}"), unit="bytes"),
    course("Fees", "Satoshis for a virtual byte.", ("least that is accepted", "bitcoind_mempool_min_fee_sat_per_vbyte{$n}"),
           ("within 6 blocks", "bitcoind_fee_estimate_sat_per_vbyte{$n}")),
    course("ZMQ publishers", "LND needs pubrawblock and pubrawtx.", ("{{type}}", "bitcoind_zmq_publishers{$n}"), width=12),
    course("Memory of bitcoind", "As Kubernetes counts it.",
           ("working set", 'container_memory_working_set_bytes{$n, container="bitcoind"}'), unit="bytes", width=12),
)

HOST = (
    one("Temperature", "max(node_hwmon_temp_celsius{$m} or node_thermal_zone_temp{$m})", "A Pi 4 slows down from 80 on.", unit="celsius",
        steps=((None, GREEN), (70, YELLOW), (80, RED))),
    one("Undervoltage", "max(node_hwmon_in_lcrit_alarm_volts{$m})", "The Pi's own alarm: the power supply is too weak, and the disk may lose data.",
        steps=((None, GREEN), (1, RED)), words=((0, "no"), (1, "yes"))),
    one("Memory available", "node_memory_MemAvailable_bytes{$m} / node_memory_MemTotal_bytes{$m}", "", unit="percentunit", steps=FREE),
    one("Fullest disk", "1 - min(node_filesystem_avail_bytes{$m, $disks} / node_filesystem_size_bytes{$m, $disks})", "", unit="percentunit",
        steps=((None, GREEN), (0.8, YELLOW), (0.9, RED))),
    one("Clock", "node_timex_maxerror_seconds{$m}", "Seconds by which it may be wrong, as the kernel reckons; LND's deadlines need the right time.", unit="s",
        steps=((None, GREEN), (4, YELLOW), (16, RED))),
    yes("Clock is kept", "node_timex_sync_status{$m}", "By a time server."),
    course("Temperature", "", ("{{chip}} {{sensor}}", "node_hwmon_temp_celsius{$m}"), ("{{type}}", "node_thermal_zone_temp{$m}"), unit="celsius"),
    course("CPU", "Busy, of all cores.", ("busy", '1 - avg(rate(node_cpu_seconds_total{$m, mode="idle"}[5m]))'),
           ("waits for the disk", 'avg(rate(node_cpu_seconds_total{$m, mode="iowait"}[5m]))'), unit="percentunit", to=1),
    course("Load", "Processes that run or want to; the Pi 4 has 4 cores.", ("1 minute", "node_load1{$m}")),
    course("Memory", "", ("available", "node_memory_MemAvailable_bytes{$m}"), ("all", "node_memory_MemTotal_bytes{$m}"), unit="bytes"),
    course("Free space by file system", "", ("{{mountpoint}}", "node_filesystem_avail_bytes{$m, $disks} / node_filesystem_size_bytes{$m, $disks}"),
           unit="percentunit", to=1, steps=FREE),
    course("Free space by volume", "Where the kubelet can tell; not for MicroK8s' hostpath storage.",
           ("{{namespace}} {{persistentvolumeclaim}}", "kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes"), unit="percentunit", to=1),
    course("Disks busy", "", ("{{device}}", "rate(node_disk_io_time_seconds_total{$m}[5m])"), unit="percentunit", to=1),
    course("Network", "", ("in {{device}}", 'rate(node_network_receive_bytes_total{$m, device!~"lo|veth.*|cali.*"}[5m])'),
           ("out {{device}}", 'rate(node_network_transmit_bytes_total{$m, device!~"lo|veth.*|cali.*"}[5m])'), unit="Bps"),
    course("Memory budget", "What the containers take, by namespace.",
           ("{{namespace}}", 'sum by (namespace) (container_memory_working_set_bytes{container!=""})'), unit="bytes", stacked=True),
    course("Memory of monitoring", "Below 100 MiB for an exporter.", ("exporter {{namespace}}", 'process_resident_memory_bytes{job="exporter"}'),
           ("{{container}}", 'sum by (container) (container_memory_working_set_bytes{namespace="observability", container!=""})'), unit="bytes", width=12),
    course("CPU of monitoring", "Of one core.", ("exporter {{namespace}}", 'rate(process_cpu_seconds_total{job="exporter"}[10m])'),
           ("{{container}}", 'sum by (container) (rate(container_cpu_usage_seconds_total{namespace="observability", container!=""}[10m]))'),
           unit="percentunit", width=12),
)

NODE, MACHINE = ("namespace", "Node", "label_values(bitcoind_up, namespace)"), ("instance", "Machine", "label_values(node_load1, instance)")
DASHBOARDS = {
    "overview": ("Lightning node: overview", OVERVIEW, NODE),
    "lightning": ("Lightning node: operations", LIGHTNING, NODE),
    "bitcoin": ("Lightning node: Bitcoin", BITCOIN, NODE),
    "host": ("Lightning node: host", HOST, MACHINE),
}


def placed(panels: tuple[Panel, ...]) -> Iterator[dict]:
    """From left to right, in rows as high as their highest panel."""
    x = y = highest = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y, highest = 0, y + highest, 0
        yield panel.model(number, x, y)
        x, highest = x + panel.width, max(highest, panel.height)


def dashboard(name: str) -> dict:
    """Grafana's JSON of one dashboard."""
    title, panels, (variable, label, values) = DASHBOARDS[name]
    choice = {"type": "query", "name": variable, "label": label, "datasource": SOURCE, "query": {"query": values, "refId": "A"}, "refresh": 2, "sort": 1}
    return {
        "uid": f"openlsp-{name}", "title": title, "tags": ["openlsp"], "schemaVersion": 39, "editable": False, "graphTooltip": 1,
        "timezone": "browser", "time": {"from": "now-24h", "to": "now"}, "refresh": "1m",
        "templating": {"list": [{"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}, choice]},
        "links": [{"type": "dashboards", "title": "openlsp", "tags": ["openlsp"], "asDropdown": True, "includeVars": True, "keepTime": True}],
        "panels": list(placed(panels)),
    }


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"


def queries(namespace: str = "$namespace", instance: str = "$instance") -> Iterator[tuple[str, str, str]]:
    """Dashboard, panel and PromQL of each query, with its variables filled in."""
    for name, (_title, panels, _choice) in DASHBOARDS.items():
        for panel in panels:
            for _legend, query in panel.queries:
                yield name, panel.title, written_out(query).replace("$namespace", namespace).replace("$instance", instance)


def metrics_of(query: str) -> set[str]:
    """The names of metrics in it: what is neither a function, a keyword, a label nor a text."""
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare))
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - {"or", "and", "unless", "bool", "offset", "inf"}


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    for each in DASHBOARDS:
        (TARGET / f"{each}.json").write_text(text(each), encoding="utf-8")
