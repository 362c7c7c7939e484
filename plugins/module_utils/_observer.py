# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at one node from everywhere at once: the Kubernetes API, bitcoind's and LND's own answers, the addresses that it announces."""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Callable, Iterator, Mapping

from ansible_collections.openlsp.node.plugins.module_utils import _certificate, _lnd, _observation, _overview, _pod, _secret
from ansible_collections.openlsp.node.plugins.module_utils._cluster import Cluster, ClusterError, explained
from ansible_collections.openlsp.node.plugins.module_utils._consumers import CERTIFICATE_KEY, MACAROON_KEY
from ansible_collections.openlsp.node.plugins.module_utils._credentials import TLS_SECRET
from ansible_collections.openlsp.node.plugins.module_utils._observation import MARK, Observation, Reach

PROGRAMS = ("bitcoind", "lnd", "tor")

ONION_SECRET = "tor-onion-"

# The onions that anybody may reach; those of REST and gRPC want a client's key.
OPEN_ONIONS = ("bitcoind-p2p", "lnd-p2p")

SOCKS_PORT = 9050

# Seconds: for a block from bitcoind to LND, for an announced address, for circuits to an onion and between them, for one answer of bitcoind or LND.
BLOCK_LIMIT = 5
ADDRESS_LIMIT = 3
ONION_LIMIT = 8
ONION_PAUSE = 1
ANSWER_LIMIT = 4

# One shell for all that bitcoind is asked. The block, where one is wanted, goes to a script that nobody can spend: OP_RETURN.
ASK_BITCOIND = f"""
cli="bitcoin-cli -datadir=/data -conf=/etc/bitcoin/bitcoin.conf -rpcclienttimeout={ANSWER_LIMIT}"
echo "{MARK}date"; date +%s
[ "$1" != mine ] || {{ echo "{MARK}generatetodescriptor"; $cli generatetodescriptor 1 "raw(6a)" 2>&1; }}
for each in getblockchaininfo getnetworkinfo getzmqnotifications; do echo "{MARK}$each"; $cli "$each" 2>&1 || break; done
echo "{MARK}getrpcinfo"; $cli getrpcinfo 2>&1
exit 0
"""


@dataclass(frozen=True)
class Given:
    """What the operator wants to be looked at. mine: one block, on a regtest."""

    cluster: Cluster
    namespace: str
    network: str
    mine: bool
    paths: Mapping[str, str]


def observe(given: Given) -> Observation:
    """Everything that can be seen; changes nothing but that it mines a block where that is wanted. Raises ClusterError."""
    seen, secrets = _of_api(given)
    listed = _overview.credentials(given.namespace, {given.namespace: secrets})
    pem = secrets[TLS_SECRET].data.get(CERTIFICATE_KEY) if TLS_SECRET in secrets else None
    seen = replace(seen, macaroons=tuple(_observation.Macaroon(each.secret.name, each.problem) for each in listed), **_certificate_of(pem))
    running = {name: seen.programs[name].running for name in seen.programs}

    with _client(given, pem or b"") as client, ThreadPoolExecutor() as pool:
        lnd = _state(client) if running.get("lnd") and pem else None
        if lnd and lnd.state in _lnd.ACTIVE_STATES:
            seen = replace(seen, macaroons=_judged(given, pem, listed))
        status = pool.submit(_rpc_status, given, seen, secrets) if running.get("bitcoind") else None
        bitcoind = _ask_bitcoind(given, bool(lnd) and lnd.state in _lnd.ACTIVE_STATES) if running.get("bitcoind") else None
        tor = _tor(given, seen, secrets) if "tor" in seen.programs else None
        onions = [pool.submit(_onion, given, name, tor.onions[name], port) for name, port in tor.services.items()
                  if name in OPEN_ONIONS and name in tor.onions and port] if tor and running["tor"] else []
        readonly = secrets["lnd-readonly"].data.get(MACAROON_KEY) if "lnd-readonly" in secrets else None
        addresses = []
        # LND asks bitcoind before it answers.
        if lnd and lnd.state in _lnd.ACTIVE_STATES and readonly and bitcoind and not bitcoind.obstacle:
            lnd = _told(client, lnd, readonly)
            addresses = [pool.submit(_address, each.rpartition("@")[2]) for each in lnd.uris if ".onion" not in each]
            lnd = _followed(client, lnd, readonly, bitcoind.blocks)
        reached = tuple(each.result() for each in (*onions, *addresses))
        return replace(seen, bitcoind=bitcoind, lnd=lnd, tor=tor, reached=reached, rpc_status=status.result() if status else None)


def _of_api(given: Given) -> tuple[Observation, dict[str, _secret.Secret]]:
    """What the Kubernetes API says, and the Secrets by their names."""
    cluster, namespace = given.cluster, given.namespace
    core, unseen = f"/api/v1/namespaces/{namespace}", []

    def optional(path: str, what: str) -> Any:
        """One object or list, None where it does not exist or is not for this user to see."""
        try:
            with explained(f"cannot read {what}"):
                return cluster.find(path)
        except ClusterError as error:
            if error.status != 403:
                raise
            unseen.append(str(error))
            return None

    def listed(path: str, what: str) -> list[dict]:
        with explained(f"cannot list the {what} of namespace {namespace}"):
            return cluster.request("GET", path)["items"]

    secrets = _secret.read_all(cluster, namespace)
    pods = {each["metadata"]["name"]: each for each in listed(f"{core}/pods", "pods")}
    configmaps = {each["metadata"]["name"]: each.get("data", {}) for each in listed(f"{core}/configmaps", "ConfigMaps")}
    claims = {each["metadata"]["name"]: each for each in listed(f"{core}/persistentvolumeclaims", "claims")}
    statefulsets = listed(f"/apis/apps/v1/namespaces/{namespace}/statefulsets", "StatefulSets")
    of_namespace = optional(f"/api/v1/namespaces/{namespace}", f"the namespace {namespace}")
    policies = optional(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies", "the NetworkPolicies")
    services = listed(f"{core}/services", "Services")
    slices = optional(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", "the EndpointSlices")
    programs = {}
    for item in statefulsets:
        name = item["metadata"]["name"]
        if name in PROGRAMS:
            theirs = []
            for claim in _observation.claim_names(item):
                volume = claims.get(claim, {}).get("spec", {}).get("volumeName")
                before = len(unseen)
                found = optional(f"/api/v1/persistentvolumes/{volume}", f"the volume {volume}") if volume else None
                theirs.append(_observation.claim(claim, claims.get(claim), found, len(unseen) == before))
            program = _observation.program(item, pods.get(f"{name}-0"), tuple(theirs))
            if program.pod and not program.ready:
                words = _pod.last_words(cluster, namespace, f"{name}-0", name)
                program = replace(program, last_words=" | ".join(words.splitlines()))
            programs[name] = program
    labels = of_namespace["metadata"].get("labels", {}) if of_namespace else None
    seen = Observation(
        namespace, given.network, datetime.now(timezone.utc), given.paths, tuple(unseen),
        labels.get("pod-security.kubernetes.io/enforce", "") if labels is not None else None, programs,
        tuple(_with_endpoints(services, slices)),
        tuple(map(_observation.policy, policies["items"])) if policies else None,
        frozenset(secrets), configmaps)
    return _with_rpc(seen, secrets.get("bitcoind-rpc")), secrets


def _with_endpoints(services: list[dict], slices: dict | None) -> Iterator[_observation.Service]:
    for each in services:
        read = _observation.service(each, slices["items"] if slices else [])
        yield read if slices else replace(read, endpoints=1)


def _with_rpc(seen: Observation, secret: _secret.Secret | None) -> Observation:
    """Whether bitcoin.conf knows what LND reads, which is the Secret's cookie."""
    cookie = secret.data.get("cookie", b"") if secret else b""
    if not cookie:
        return seen
    user, _colon, password = cookie.decode(errors="replace").partition(":")
    lines = seen.bitcoin_conf.get("rpcauth")
    return replace(seen, rpc_user=user, rpc_digest=_secret.digest(cookie),
                   rpc_fits=_observation.rpcauth_fits(lines, user, password) if lines is not None else None)


def _certificate_of(pem: bytes | None) -> dict:
    if pem is None:
        return {"certificate_problem": f"there is no Secret {TLS_SECRET} with a key {CERTIFICATE_KEY}"}
    try:
        return {"certificate": _certificate.parse(pem)}
    except _certificate.CertificateError as error:
        return {"certificate_problem": f"{TLS_SECRET}: {error}"}


def _client(given: Given, pem: bytes) -> _lnd.Lnd:
    return _lnd.Lnd(lambda: _pod.forward(given.cluster, given.namespace, "lnd-0", _lnd.REST_PORT), pem, ANSWER_LIMIT)


def _state(client: _lnd.Lnd) -> _observation.Lnd:
    try:
        return _observation.Lnd(state=client.state(), certificate_served=True)
    except _lnd.LndCertificateError as error:
        return _observation.Lnd(str(error), certificate_served=False)
    except (_lnd.LndError, ClusterError) as error:
        return _observation.Lnd(str(error))


def _judged(given: Given, pem: bytes, listed: list[_overview.Credential]) -> tuple[_observation.Macaroon, ...]:
    """The macaroons with LND's refusals."""
    answers = _overview.ask(lambda trusted: _client(given, trusted), pem, listed)
    refusals = {digest: verdict.reason for digest, verdict in answers.verdicts.items() if verdict.accepted is False}
    return tuple(_observation.Macaroon(each.secret.name, each.problem, refusals.get(each.macaroon.digest, "") if each.macaroon else "")
                 for each in listed)


def _ask_bitcoind(given: Given, lnd_listens: bool) -> _observation.Bitcoind:
    before = time.time()
    try:
        output = _pod.run(given.cluster, given.namespace, "bitcoind-0", "bitcoind",
                          ["sh", "-c", ASK_BITCOIND, "sh", "mine" if given.mine and lnd_listens else "ask"], 4 * ANSWER_LIMIT)
    except ClusterError as error:
        return _observation.Bitcoind(str(error))
    return _observation.bitcoind(output.decode(errors="replace"), before, time.time())


def _rpc_status(given: Given, seen: Observation, secrets: Mapping[str, _secret.Secret]) -> int | None:
    """bitcoind's answer to what LND is given to log in with; None where it does not answer."""
    cookie = secrets["bitcoind-rpc"].data.get("cookie", b"") if "bitcoind-rpc" in secrets else b""
    connection = http.client.HTTPConnection("localhost", timeout=ANSWER_LIMIT)
    try:
        connection.sock = _pod.forward(given.cluster, given.namespace, "bitcoind-0", seen.rpc_port)
        connection.sock.settimeout(ANSWER_LIMIT)
        connection.request("POST", "/", json.dumps({"method": "getblockcount", "params": []}),
                           {"Authorization": f"Basic {base64.b64encode(cookie).decode()}"})
        return connection.getresponse().status
    except (ClusterError, OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _told(client: _lnd.Lnd, lnd: _observation.Lnd, macaroon: bytes) -> _observation.Lnd:
    """What LND says of itself."""
    try:
        info = client.call("GET", "/v1/getinfo", macaroon=macaroon)
    except (_lnd.LndError, ClusterError) as error:
        return replace(lnd, obstacle=str(error))
    header = int(info.get("best_header_timestamp", 0))
    return replace(
        lnd, obstacle="", network=info["chains"][0]["network"] if info.get("chains") else "", synced_to_chain=info["synced_to_chain"],
        synced_to_graph=info["synced_to_graph"], peers=info["num_peers"], uris=tuple(info.get("uris", ())),
        newest_header=datetime.fromtimestamp(header, timezone.utc) if header else None)


def _followed(client: _lnd.Lnd, lnd: _observation.Lnd, macaroon: bytes, blocks: int) -> _observation.Lnd:
    """The same when bitcoind's newest block has reached LND, or has had its time to.

    The height in getinfo is bitcoind's own: what came by ZMQ, LND's notifier says.
    """
    begin = time.monotonic()

    def left() -> float:
        return begin + BLOCK_LIMIT - time.monotonic()

    try:
        while lnd.state != "SERVER_ACTIVE" and left() > 0:
            time.sleep(0.25)
            lnd = replace(lnd, state=client.state())
        if lnd.state != "SERVER_ACTIVE":
            return lnd
        # What it took until LND was ready is not the block's.
        begin = time.monotonic()
        for message in client.stream("POST", "/v2/chainnotifier/register/blocks", {}, macaroon, left()):
            lnd = replace(lnd, block=message["height"])
            if lnd.block >= blocks:
                break
        lnd = replace(lnd, waited=time.monotonic() - begin)
        # Its wallet and its graph are a moment behind the notifier.
        while (lnd := _told(client, lnd, macaroon)).synced_to_chain is False and (lnd.block or 0) >= blocks and left() > 0:
            time.sleep(0.25)
        return lnd
    except (_lnd.LndError, ClusterError) as error:
        return replace(lnd, obstacle=str(error))


def _tor(given: Given, seen: Observation, secrets: Mapping[str, _secret.Secret]) -> _observation.Tor:
    onions = {name.removeprefix(ONION_SECRET): _observation.onion_of(secret.data) for name, secret in secrets.items() if name.startswith(ONION_SECRET)}
    log = ""
    if seen.programs["tor"].pod:
        with explained("no log"):
            log = given.cluster.text(f"/api/v1/namespaces/{given.namespace}/pods/tor-0/log", {"container": "tor", "tailLines": 500})
    return _observation.tor(log, seen.configuration("tor", "torrc"), onions)


def _address(address: str) -> Reach:
    """Whether somebody takes a connection from this computer."""
    return _reach(address, lambda host, port: socket.create_connection((host, port), ADDRESS_LIMIT).close(), ADDRESS_LIMIT)


def _onion(given: Given, name: str, hostname: str, port: int) -> Reach:
    """The same through the node's own Tor."""
    def connect(host: str, at: int) -> None:
        end = time.monotonic() + ONION_LIMIT
        while code := ask(host, at, end - time.monotonic()):
            if code not in _OF_ONE_CIRCUIT or time.monotonic() + ONION_PAUSE > end:
                raise OSError(f"Tor answers {_SOCKS_REPLIES.get(code, f'with code {code}')}")
            time.sleep(ONION_PAUSE)

    def ask(host: str, at: int, limit: float) -> int:
        with contextlib.closing(_pod.forward(given.cluster, given.namespace, "tor-0", SOCKS_PORT)) as sock:
            sock.settimeout(max(limit, 0.1))
            # RFC 1928: version 5, one method, none; connect to a name.
            sock.sendall(b"\x05\x01\x00")
            if _exactly(sock, 2) != b"\x05\x00":
                raise OSError("Tor's SOCKS port wants a password")
            sock.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + at.to_bytes(2, "big"))
            return _exactly(sock, 4)[1]

    reach = _reach(f"{hostname}:{port}", connect, ONION_LIMIT)
    return replace(reach, reason=f"{name}: {reach.reason}") if reach.reason else reach


# RFC 1928, 6; and Tor's own (socks-extensions.txt, ExtendedErrors).
_SOCKS_REPLIES = {
    1: "general failure", 4: "host unreachable", 5: "connection refused", 6: "that the time is up", 0xF0: "that no descriptor is found",
    0xF1: "that the descriptor is invalid", 0xF2: "that the introduction failed", 0xF3: "that the rendezvous failed"}

# Circuits break at any time, and the next one may well arrive.
_OF_ONE_CIRCUIT = {1, 0xF2, 0xF3}


def _exactly(sock: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise OSError("the connection to Tor's SOCKS port broke")
        data += more
    return data


def _reach(address: str, connect: Callable[[str, int], None], limit: float) -> Reach:
    host, port = _observation.host_and_port(address)
    try:
        connect(host, port)
    except TimeoutError:
        return Reach(address, False, f"no answer within {limit:.0f} s")
    except (OSError, ClusterError) as error:
        # This computer has no way there, such as no IPv6: nothing follows for others.
        unknown = getattr(error, "errno", None) in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        return Reach(address, None if unknown else False, str(error))
    return Reach(address, True)
