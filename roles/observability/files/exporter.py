# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of one Lightning node for Prometheus: what bitcoind, LND and the node's credentials say at the moment of the scrape.

docs/metrics.md says what each metric means. Needs Python 3.11 and prometheus_client, which lies beside it as a zip in PYTHONPATH.

A scrape is made of parts, each in a thread of its own and all under one limit of time: a part gives all its metrics or none, and what LND said in
an earlier scrape is not told again. Credentials are read from their files at each scrape, so a rotation is followed without a restart.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import http.client
import io
import json
import logging
import re
import signal
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

# The calls below and no other. The preset `exporter` and the RPC whitelist of the exporter's user hold the same: tests/unit/test_exporter.py.
LND_CALLS = {
    "GetInfo": ("GET", "/v1/getinfo"),
    "ListChannels": ("GET", "/v1/channels"),
    "PendingChannels": ("GET", "/v1/channels/pending"),
    "WalletBalance": ("GET", "/v1/balance/blockchain"),
    "ForwardingHistory": ("POST", "/v1/switch"),
    "ExportAllChannelBackups": ("GET", "/v1/channels/backup"),
    "VerifyChanBackup": ("POST", "/v1/channels/backup/verify"),
}
BITCOIND_CALLS = ("getblockchaininfo", "getnetworkinfo", "getpeerinfo", "getmempoolinfo", "getnettotals", "getzmqnotifications", "uptime")
BITCOIND_FEE_CALL = ("estimatesmartfee", [6])

# lnrpc/stateservice.proto. In the last two LND takes calls that need a macaroon.
LND_STATES = ("WAITING_TO_START", "NON_EXISTING", "LOCKED", "UNLOCKED", "RPC_ACTIVE", "SERVER_ACTIVE")
NETWORKS = ("ipv4", "ipv6", "onion", "other")
ZMQ_TYPES = ("pubrawblock", "pubrawtx", "pubhashblock", "pubhashtx")

# LND's words for a macaroon that it does not take; its code is 2, "unknown", for most of them. Each was seen: tests/unit/test_exporter.py.
LND_REFUSES = ("macaroon", "permission denied", "verification failed", "unmarshal v2")

# bitcoind's code while it loads (RPC_IN_WARMUP in rpc/protocol.h).
WARMING_UP = -28

# Bytes of one answer: the list of about 3,000 channels. More would take memory that the container does not have.
LARGEST_ANSWER = 8 * 2 ** 20
# Forwards of one answer, about half a megabyte.
FORWARDS = 1000
# Seconds between two tries to reach the node's own onions, and for one try. Older than two tries, a result is not told.
ONION_EVERY = 300
ONION_TRY = 60
ONION_OLD = 2 * ONION_EVERY + ONION_TRY

log = logging.getLogger("exporter")


class Failure(Exception):
    """A part did not work: ``reason`` is one of those in docs/metrics.md, the message is for the log and holds nothing secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotAsked(Exception):
    """LND is not in a state in which this can be asked."""


@dataclass(frozen=True)
class Settings:
    """Where everything is. Directories hold one file a key, as Kubernetes mounts a Secret."""

    bitcoind: tuple[str, int]
    bitcoind_secret: Path  # username, password
    lnd: tuple[str, int]
    lnd_secret: Path  # macaroon, cert
    backup_secret: Path | None  # channel.backup, timestamp
    tor: tuple[str, int] | None
    onions: dict[str, tuple[Path, int]]  # the file that holds the address, and the port
    limit: float  # seconds for a scrape


@dataclass
class Outcome:
    """What a part brought: its metrics, or why there are none."""

    metrics: list[Metric] = field(default_factory=list)
    failure: Failure | None = None
    asked: bool = True
    seconds: float = 0.0


class Scrape:
    """One scrape: its deadline, and what one part tells another."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._end = time.monotonic() + settings.limit
        self.lnd_state: Future[str] = Future()  # cancelled when LND did not say
        self.facts: dict[str, object] = {}

    def left(self) -> float:
        """Seconds until the scrape has to be answered; Failure when there are none."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise Failure("timeout", f"no complete answer within {self.settings.limit:g} s")
        return seconds

    def lnd_is_ready(self) -> None:
        """Wait for what LND's state is; NotAsked where it takes no calls."""
        try:
            state = self.lnd_state.result(self.left())
        except Exception:
            raise NotAsked from None
        if state not in LND_STATES[-2:]:
            raise NotAsked

    def lnd(self, call: str, body: dict | None = None) -> dict:
        """The answer of LND to one of LND_CALLS."""
        self.lnd_is_ready()
        secret = self.settings.lnd_secret
        macaroon = read(secret / "macaroon").hex()
        return self.lnd_request(*LND_CALLS[call], {"Grpc-Metadata-macaroon": macaroon}, body)

    def lnd_request(self, method: str, path: str, headers: dict[str, str] | None = None, body: dict | None = None) -> dict:
        """The same for any path. The certificate is compared before anything is sent."""
        secret = self.settings.lnd_secret
        wanted = der(read(secret / "cert"))
        with self._connected(self.settings.lnd) as plain, tls().wrap_socket(plain) as connection:
            served = connection.getpeercert(binary_form=True)
            if served != wanted:
                raise Failure("certificate", "LND holds another certificate than the one in the Secret")
            status, content = self._exchange(connection, self.settings.lnd[0], method, path, headers or {}, body)
        answer = parsed(content, status)
        if status == 200:
            return answer
        words = answer.get("message") if isinstance(answer, dict) else None
        refused = status in (401, 403) or any(each in str(words) for each in LND_REFUSES)
        raise Failure("refused" if refused else "answer", f"LND answers {path} with {status}: {words}")

    def bitcoind(self, calls: Iterable[tuple[str, list]], may_fail: str = "") -> list:
        """The results of these calls, in one request; Failure when one of them has none, but for the one that may fail, whose result is None then."""
        user, password = (read(self.settings.bitcoind_secret / name) for name in ("username", "password"))
        header = {"Authorization": "Basic " + base64.b64encode(user + b":" + password).decode()}
        batch = [{"jsonrpc": "2.0", "id": index, "method": name, "params": given} for index, (name, given) in enumerate(calls)]
        with self._connected(self.settings.bitcoind) as connection:
            status, content = self._exchange(connection, self.settings.bitcoind[0], "POST", "/", header, batch)
        if status in (401, 403):
            raise Failure("refused", f"bitcoind answers {status}: " + ("unknown user or password" if status == 401 else "a call is not on the whitelist"))
        answers = sorted(parsed(content, status), key=lambda each: each["id"])
        errors = {each["id"]: each["error"] for each in answers if each.get("error")}
        loading = any(error["code"] == WARMING_UP for error in errors.values())
        if loading:
            self.facts["warming_up"] = True
        spared = {each["id"] for each in batch if each["method"] == may_fail}
        if status != 200 or loading or errors.keys() - spared or [each["id"] for each in answers] != [each["id"] for each in batch]:
            raise Failure("answer", f"bitcoind answers {status}: {list(errors.values())[:1]}")
        self.facts["warming_up"] = False
        return [each["result"] for each in answers]

    def _connected(self, address: tuple[str, int]) -> socket.socket:
        connection = socket.create_connection(address, timeout=self.left())
        connection.settimeout(self.left())
        return connection

    def _exchange(self, connection: socket.socket, host: str, method: str, path: str, headers: dict[str, str], body: object) -> tuple[int, bytes]:
        """Status and content of the answer. The time that is left counts for each byte of it."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **headers}.items()]
        connection.settimeout(self.left())
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        answers = io.BufferedReader(_Answers(connection, self.left))
        response = http.client.HTTPResponse(SimpleNamespace(makefile=lambda _mode: answers))
        response.begin()
        received = response.read(LARGEST_ANSWER + 1)
        if len(received) > LARGEST_ANSWER:
            raise Failure("answer", f"the answer to {path} has more than {LARGEST_ANSWER} bytes")
        if response.length:
            raise Failure("answer", f"the answer to {path} ends early")
        return response.status, received


class _Answers(io.RawIOBase):
    """A socket as a file that asks before each read how long it may still take."""

    def __init__(self, connection: socket.socket, left: Callable[[], float]) -> None:
        self._connection, self._left = connection, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._connection.settimeout(self._left())
        return self._connection.recv_into(buffer)


def tls() -> ssl.SSLContext:
    """No authority and no name is checked, nor when the certificate ends: the caller compares the certificate itself, byte for byte."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def read(path: Path) -> bytes:
    """A small file; Failure when it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_ANSWER)
    except OSError as error:
        raise Failure("file", f"{path}: {error.strerror}") from None


def parsed(content: bytes, status: int):
    """The JSON of an answer."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Failure("answer", f"the answer ({status}) is not JSON") from None


def der(pem: bytes) -> bytes:
    """The first certificate of a PEM file, which is the one that a server is known by."""
    found = re.search(b"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", pem, re.S)
    try:
        return binascii.a2b_base64(found[1])
    except (TypeError, binascii.Error):
        raise Failure("file", "LND's certificate is none") from None


def not_after(certificate: bytes) -> float:
    """When a certificate ends. The standard library reads this of certificates only that it trusts.

    Format: RFC 5280, 4.1: Certificate {tbsCertificate {[0] version, serial, algorithm, issuer, validity {notBefore, notAfter}, ...}, ...}
    """
    try:
        _tag, whole = next(elements(certificate))
        _tag, inner = next(elements(whole))
        fields = list(elements(inner))
        tag, text = list(elements(fields[4 if fields[0][0] == 0xA0 else 3][1]))[1]
        moment = datetime.strptime(text.decode(), "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ")
    except (StopIteration, IndexError, ValueError):
        raise Failure("file", "LND's certificate cannot be read") from None
    return moment.replace(tzinfo=timezone.utc).timestamp()


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The DER elements, one after the other, that data is made of."""
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        yield tag, data[start:start + length]
        data = data[start + length:]


def gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, "docs/metrics.md", value=float(value))


def gauges(name: str, labels: tuple[str, ...], values: dict[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, "docs/metrics.md", labels=labels)
    for each, value in values.items():
        family.add_metric(each, float(value))
    return family


def counter(name: str, value: float) -> Metric:
    return CounterMetricFamily(name, "docs/metrics.md", value=float(value))


def counted(things: Iterable[str], known: Iterable[str]) -> dict[tuple[str], float]:
    """How often each of the known things is there, as the values of one label."""
    found = Counter(things)
    return {(each,): found[each] for each in known}


class Parts:
    """Each method is a part of the scrape, and gives the metrics of that part. What is kept from one scrape to the next is counted, never an answer."""

    def __init__(self) -> None:
        self._inactive: dict[str, float] = {}
        self._forwards, self._forwarded_msat, self._fees_msat, self._last_forward = 0, 0, 0, 0
        self._onions: dict[str, tuple[float, bool]] = {}
        self._onions_tried, self._onions_trying = float("-inf"), threading.Lock()

    def files(self, scrape: Scrape) -> Iterator[Metric]:
        secret = scrape.settings.lnd_secret
        yield gauges("openlsp_certificate_expiry_timestamp_seconds", ("certificate",), {("lnd",): not_after(der(read(secret / "cert")))})
        # Caveats are plain text in a macaroon, and a packet's end follows. With several of them the earliest counts.
        ends = re.findall(rb"time-before (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z", read(secret / "macaroon"))
        if ends:
            end = datetime.fromisoformat(min(ends).decode()).replace(tzinfo=timezone.utc).timestamp()
            yield gauges("openlsp_credential_expiry_timestamp_seconds", ("credential",), {("lnd-macaroon",): end})
        backup = scrape.settings.backup_secret
        if backup and (backup / "timestamp").exists():
            yield gauge("openlsp_backup_copy_timestamp_seconds", float(read(backup / "timestamp")))

    def bitcoind(self, scrape: Scrape) -> Iterator[Metric]:
        # With blocksonly=1 bitcoind estimates no fees, and answers with an error.
        chain, network, peers, mempool, traffic, zmq, uptime, fee = scrape.bitcoind(
            [*((name, []) for name in BITCOIND_CALLS), BITCOIND_FEE_CALL], may_fail=BITCOIND_FEE_CALL[0])
        yield gauges("bitcoind_info", ("version", "chain"), {(network["subversion"], chain["chain"]): 1})
        yield gauge("bitcoind_blocks", chain["blocks"])
        yield gauge("bitcoind_headers", chain["headers"])
        yield gauge("bitcoind_verification_progress", chain["verificationprogress"])
        yield gauge("bitcoind_initial_block_download", chain["initialblockdownload"])
        yield gauge("bitcoind_best_block_timestamp_seconds", chain["time"])
        yield gauge("bitcoind_size_on_disk_bytes", chain["size_on_disk"])
        yield gauge("bitcoind_pruned", chain["pruned"])
        if chain["pruned"]:
            yield gauge("bitcoind_prune_height", chain["pruneheight"])
        # A text before Core 28, a list of texts since; both calls show the same ones.
        warnings = [each["warnings"] if isinstance(each["warnings"], list) else [each["warnings"]] for each in (chain, network)]
        yield gauge("bitcoind_warnings", len(set().union(*warnings) - {""}))
        yield gauge("bitcoind_uptime_seconds", uptime)
        yield gauge("bitcoind_network_active", network["networkactive"])
        connections = {(way, each): 0 for way in ("in", "out") for each in NETWORKS}
        for peer in peers:
            connections["in" if peer["inbound"] else "out", peer["network"] if peer["network"] in NETWORKS else "other"] += 1
        yield gauges("bitcoind_connections", ("direction", "network"), connections)
        yield gauge("bitcoind_local_addresses", len(network["localaddresses"]))
        yield counter("bitcoind_received_bytes", traffic["totalbytesrecv"])
        yield counter("bitcoind_sent_bytes", traffic["totalbytessent"])
        yield gauge("bitcoind_mempool_transactions", mempool["size"])
        yield gauge("bitcoind_mempool_bytes", mempool["bytes"])
        yield gauge("bitcoind_mempool_usage_bytes", mempool["usage"])
        yield gauge("bitcoind_mempool_max_bytes", mempool["maxmempool"])
        # bitcoind speaks of BTC for 1,000 vbytes.
        yield gauge("bitcoind_mempool_min_fee_sat_per_vbyte", mempool["mempoolminfee"] * 1e5)
        yield gauges("bitcoind_zmq_publishers", ("type",), counted((each["type"] for each in zmq), ZMQ_TYPES))
        if fee and "feerate" in fee:
            yield gauge("bitcoind_fee_estimate_sat_per_vbyte", fee["feerate"] * 1e5)

    def lnd_state(self, scrape: Scrape) -> Iterator[Metric]:
        try:
            state = scrape.lnd_request("GET", "/v1/state")["state"]
        except BaseException:
            scrape.lnd_state.cancel()
            raise
        scrape.lnd_state.set_result(state)
        yield gauges("lnd_state", ("state",), counted([state], LND_STATES))

    def lnd_info(self, scrape: Scrape) -> Iterator[Metric]:
        info = scrape.lnd("GetInfo")
        scrape.facts["height"] = info["block_height"]
        yield gauges("lnd_info", ("version", "network"), {(info["version"].split(" ")[0], info["chains"][0]["network"]): 1})
        yield gauge("lnd_synced_to_chain", info["synced_to_chain"])
        yield gauge("lnd_synced_to_graph", info["synced_to_graph"])
        yield gauge("lnd_block_height", info["block_height"])
        yield gauge("lnd_best_header_timestamp_seconds", info["best_header_timestamp"])
        yield gauge("lnd_peers", info["num_peers"])
        yield gauges("lnd_announced_addresses", ("network",), counted(map(network_of, info["uris"]), NETWORKS))

    def lnd_channels(self, scrape: Scrape) -> Iterator[Metric]:
        channels, now = scrape.lnd("ListChannels")["channels"], time.time()
        # Those that are gone or active again are forgotten.
        self._inactive = {each["chan_id"]: self._inactive.get(each["chan_id"], now) for each in channels if not each["active"]}
        yield gauges("lnd_channels", ("state",), {("active",): len(channels) - len(self._inactive), ("inactive",): len(self._inactive)})
        if self._inactive:
            yield gauge("lnd_channel_inactive_since_timestamp_seconds", min(self._inactive.values()))
        yield gauge("lnd_channels_capacity_sat", sum(int(each["capacity"]) for each in channels))
        for what in ("local", "remote", "unsettled"):
            yield gauge(f"lnd_channels_{what}_balance_sat", sum(int(each[f"{what}_balance"]) for each in channels))
        expiries: dict[str, list[int]] = {"in": [], "out": []}
        for channel in channels:
            for htlc in channel["pending_htlcs"]:
                expiries["in" if htlc["incoming"] else "out"].append(htlc["expiration_height"])
        yield gauges("lnd_pending_htlcs", ("direction",), {(way,): len(each) for way, each in expiries.items()})
        scrape.facts["expiries"] = {(way,): min(each) for way, each in expiries.items() if each}

    def lnd_pending(self, scrape: Scrape) -> Iterator[Metric]:
        pending = scrape.lnd("PendingChannels")
        yield gauges("lnd_pending_channels", ("state",), {
            ("opening",): len(pending["pending_open_channels"]),
            ("closing",): len(pending["waiting_close_channels"]),
            ("force_closing",): len(pending["pending_force_closing_channels"])})
        yield gauge("lnd_limbo_balance_sat", int(pending["total_limbo_balance"]))

    def lnd_wallet(self, scrape: Scrape) -> Iterator[Metric]:
        wallet = scrape.lnd("WalletBalance")
        for what in ("confirmed", "unconfirmed", "locked"):
            yield gauge(f"lnd_wallet_{what}_sat", int(wallet[f"{what}_balance"]))
        yield gauge("lnd_wallet_anchor_reserve_sat", int(wallet["reserved_balance_anchor_chan"]))

    def lnd_forwards(self, scrape: Scrape) -> Iterator[Metric]:
        # From the second of the last one that was counted; LND keeps their times apart, so each is counted once, whatever is deleted at LND.
        start, offset, complete = self._last_forward // 10 ** 9, 0, False
        while not complete:
            order = {"start_time": str(start), "index_offset": offset, "num_max_events": FORWARDS}
            events = scrape.lnd("ForwardingHistory", order)["forwarding_events"]
            for event in events:
                if int(event["timestamp_ns"]) > self._last_forward:
                    amount, fee = int(event["amt_out_msat"]), int(event["fee_msat"])
                    self._last_forward = int(event["timestamp_ns"])
                    self._forwards, self._forwarded_msat, self._fees_msat = self._forwards + 1, self._forwarded_msat + amount, self._fees_msat + fee
            offset, complete = offset + len(events), len(events) < FORWARDS
        # Counted up to now, or not told: a half of the sum would look like income in the next scrape.
        yield counter("lnd_forwards", self._forwards)
        yield counter("lnd_forwarded_sat", self._forwarded_msat / 1000)
        yield counter("lnd_forward_fees_sat", self._fees_msat / 1000)
        if self._last_forward:
            yield gauge("lnd_last_forward_timestamp_seconds", self._last_forward / 1e9)

    def lnd_backup(self, scrape: Scrape) -> Iterator[Metric]:
        points = scrape.lnd("ExportAllChannelBackups")["multi_chan_backup"]["chan_points"]
        yield gauge("lnd_backup_channels", len(points))
        directory = scrape.settings.backup_secret
        if directory is None or not (directory / "channel.backup").exists():
            return
        copy = base64.b64encode(read(directory / "channel.backup")).decode()
        try:
            found = scrape.lnd("VerifyChanBackup", {"multi_chan_backup": {"multi_chan_backup": copy}})
        except Failure as failure:
            # LND's words for what it cannot decrypt or read (VerifyChanBackup in rpcserver.go).
            if "invalid multi channel backup" not in str(failure):
                raise
            yield gauge("openlsp_backup_copy_valid", 0)
            return
        yield gauge("openlsp_backup_copy_valid", 1)
        # The bytes of a transaction's id are written in reverse where it is shown as text.
        wanted = {f"{base64.b64decode(each['funding_txid_bytes'])[::-1].hex()}:{each['output_index']}" for each in points}
        yield gauge("openlsp_backup_copy_missing_channels", len(wanted - set(found["chan_points"])))

    def onions(self, scrape: Scrape) -> Iterator[Metric]:
        """The results of the last try, which goes on in the background: a connection through Tor takes longer than a scrape."""
        if not scrape.settings.onions or scrape.settings.tor is None:
            raise NotAsked
        now = time.monotonic()
        if now - self._onions_tried > ONION_EVERY and self._onions_trying.acquire(blocking=False):
            self._onions_tried = now
            threading.Thread(target=self._try_onions, args=(scrape.settings,), daemon=True).start()
        yield gauges("openlsp_onion_reachable", ("onion",), {
            (name,): reached for name, (when, reached) in self._onions.items() if now - when < ONION_OLD})

    def _try_onions(self, settings: Settings) -> None:
        try:
            for name, (file, port) in settings.onions.items():
                try:
                    reached = through_tor(settings.tor, read(file).decode().strip(), port)
                except (OSError, Failure, UnicodeError) as error:
                    log.warning("onions: %s: %s", name, shown(error))
                    reached = False
                self._onions = {**self._onions, name: (time.monotonic(), reached)}
        finally:
            self._onions_trying.release()


def through_tor(tor: tuple[str, int], address: str, port: int) -> bool:
    """Whether Tor connects to an onion. Format: RFC 1928, a name as the destination; the last word of Tor's is its address, which nobody needs."""
    name = address.encode("ascii")
    with socket.create_connection(tor, timeout=ONION_TRY) as connection:
        connection.sendall(b"\x05\x01\x00")
        if connection.recv(2, socket.MSG_WAITALL) != b"\x05\x00":
            return False
        connection.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
        return connection.recv(2, socket.MSG_WAITALL) == b"\x05\x00"


def network_of(uri: str) -> str:
    """Of an address as LND announces it: key@host:port."""
    host = uri.rpartition("@")[2].rpartition(":")[0]
    if host.endswith(".onion"):
        return "onion"
    if host.startswith("["):
        return "ipv6"
    return "ipv4" if re.fullmatch(r"[0-9.]+", host) else "other"


def shown(error: BaseException) -> str:
    """For one line of the log."""
    return "".join(each if each.isprintable() else " " for each in str(error) or type(error).__name__)[:300]


class Exporter:
    """What prometheus_client asks at each scrape."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._one_at_a_time, parts = settings, threading.Lock(), Parts()
        self._parts = {name: part for name in vars(Parts) if not name.startswith("_") for part in [getattr(parts, name)]}
        self._threads: dict[str, threading.Thread] = {}
        self._errors: Counter[tuple[str, str]] = Counter()
        self._successes: dict[tuple[str], float] = {}
        self._said: dict[str, str] = {}

    def describe(self) -> list[Metric]:
        """Nothing beforehand: prometheus_client would scrape for it."""
        return []

    def collect(self) -> list[Metric]:
        if not self._one_at_a_time.acquire(timeout=self._settings.limit):
            raise RuntimeError("other scrapes are under way")
        try:
            scrape = Scrape(self._settings)
            outcomes = self._run(scrape)
            return [*self._about(outcomes), *self._between(scrape, outcomes), *(each for outcome in outcomes.values() for each in outcome.metrics)]
        finally:
            self._one_at_a_time.release()

    def _run(self, scrape: Scrape) -> dict[str, Outcome]:
        """Every part, or what there is of them at the deadline. A part that hangs keeps one thread and is not asked again before it has ended."""
        outcomes = {name: Outcome(failure=Failure("timeout", "it did not end in time")) for name in self._parts}
        finished: dict[str, Outcome] = {}
        for name, part in self._parts.items():
            if name not in self._threads or not self._threads[name].is_alive():
                self._threads[name] = threading.Thread(target=self._run_one, args=(name, part, scrape, finished), daemon=True)
                self._threads[name].start()
        # Half a second for those that stop at the deadline by themselves and know more of why.
        end = time.monotonic() + scrape.settings.limit + 0.5
        for thread in self._threads.values():
            thread.join(max(0, end - time.monotonic()))
        outcomes |= dict(finished)
        for name, outcome in outcomes.items():
            self._note(name, outcome)
        return outcomes

    @staticmethod
    def _run_one(name: str, part: Callable[[Scrape], Iterable[Metric]], scrape: Scrape, finished: dict[str, Outcome]) -> None:
        start, outcome = time.monotonic(), Outcome()
        try:
            outcome.metrics = list(part(scrape))
        except NotAsked:
            outcome.asked = False
        except Failure as failure:
            outcome.failure = failure
        except TimeoutError:
            outcome.failure = Failure("timeout", f"no complete answer within {scrape.settings.limit:g} s")
        except (OSError, http.client.HTTPException) as error:
            broken = "answer" if isinstance(error, http.client.HTTPException) else "unreachable"
            outcome.failure = Failure(broken, f"{type(error).__name__}: {error}")
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            outcome.failure = Failure("answer", f"not what was expected: {type(error).__name__}: {error}")
        except Exception as error:
            outcome.failure = Failure("internal", f"{type(error).__name__}: {error}")
        outcome.seconds = time.monotonic() - start
        finished[name] = outcome

    def _note(self, name: str, outcome: Outcome) -> None:
        """Count it, and say once in the log what has changed."""
        if outcome.failure:
            self._errors[name, outcome.failure.reason] += 1
        elif outcome.asked:
            self._successes[name,] = time.time()
        said = f"{outcome.failure.reason}: {shown(outcome.failure)}" if outcome.failure else "works" if outcome.asked else "not asked"
        if said != self._said.get(name):
            self._said[name] = said
            log.warning("%s: %s", name, said)

    def _about(self, outcomes: dict[str, Outcome]) -> Iterator[Metric]:
        """The scrape itself."""
        asked = {(name,): each for name, each in outcomes.items() if each.asked}
        yield gauges("openlsp_exporter_part_success", ("part",), {name: each.failure is None for name, each in asked.items()})
        yield gauges("openlsp_exporter_part_duration_seconds", ("part",), {name: each.seconds for name, each in asked.items()})
        yield gauges("openlsp_exporter_last_success_timestamp_seconds", ("part",), self._successes)
        errors = CounterMetricFamily("openlsp_exporter_errors", "docs/metrics.md", labels=("part", "reason"))
        for labels, value in sorted(self._errors.items()):
            errors.add_metric(labels, value)
        yield errors

    @staticmethod
    def _between(scrape: Scrape, outcomes: dict[str, Outcome]) -> Iterator[Metric]:
        """What follows from how the parts ended, and what needs two of them."""
        failures = {name: each.failure.reason if each.failure else None for name, each in outcomes.items()}
        asked = {name for name, each in outcomes.items() if each.asked}
        yield gauge("bitcoind_up", failures["bitcoind"] is None)
        yield gauge("lnd_up", failures["lnd_state"] is None)
        if "warming_up" in scrape.facts:
            yield gauge("bitcoind_warming_up", scrape.facts["warming_up"])
        if failures["lnd_state"] in (None, "certificate"):
            yield gauges("openlsp_certificate_matches", ("certificate",), {("lnd",): failures["lnd_state"] is None})
        accepted = {(credential,): failures[part] is None for credential, part in (("lnd-macaroon", "lnd_info"), ("bitcoind-rpc", "bitcoind"))
                    if part in asked and failures[part] in (None, "refused")}
        yield gauges("openlsp_credential_accepted", ("credential",), accepted)
        if "lnd_info" in asked and "lnd_channels" in asked and failures["lnd_info"] is failures["lnd_channels"] is None:
            yield gauges("lnd_pending_htlc_blocks_to_expiry", ("direction",), {
                way: height - scrape.facts["height"] for way, height in scrape.facts["expiries"].items()})


class _Handler(WSGIRequestHandler):
    timeout = 30  # for a client that connects and says nothing

    def log_message(self, *_given) -> None:
        """Nothing a request."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Takes IPv4 and IPv6 where there is both."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(settings: Settings, port: int) -> _Server:
    """A server of the metrics, which is not running yet."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(Exporter(settings))
    server = _Server(("", port), _Handler)
    server.set_app(make_wsgi_app(registry))
    return server


def _address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _onion(text: str) -> tuple[str, tuple[Path, int]]:
    name, file, port = text.split(":")
    return name, (Path(file), int(port))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9797)
    parser.add_argument("--bitcoind", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--bitcoind-secret", type=Path, default=Path("/run/secrets/bitcoind"), metavar="DIRECTORY", help="with username and password")
    parser.add_argument("--lnd", type=_address, required=True, metavar="HOST:PORT", help="its REST interface")
    parser.add_argument("--lnd-secret", type=Path, default=Path("/run/secrets/lnd"), metavar="DIRECTORY", help="with macaroon and cert")
    parser.add_argument("--backup-secret", type=Path, metavar="DIRECTORY", help="with channel.backup and timestamp; may be empty")
    parser.add_argument("--tor", type=_address, metavar="HOST:PORT", help="its SOCKS port")
    parser.add_argument("--onion", type=_onion, action="append", default=[], metavar="NAME:FILE:PORT", help="FILE holds the address")
    parser.add_argument("--limit", type=float, default=8, metavar="SECONDS", help="for a scrape; Prometheus gives up after ten")
    given = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    # As process 1 of a container it has no default action for this signal.
    signal.signal(signal.SIGTERM, lambda *_given: sys.exit(0))
    settings = Settings(given.bitcoind, given.bitcoind_secret, given.lnd, given.lnd_secret, given.backup_secret, given.tor, dict(given.onion),
                        given.limit)
    serve(settings, given.port).serve_forever()


if __name__ == "__main__":
    main()
