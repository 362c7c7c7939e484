# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of one node, and how it is read from the Kubernetes API's objects and the programs' answers. Pure; no input or output.

Nothing in here is secret: of a credential there is only whether it fits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Iterator, Mapping
from urllib.parse import urlsplit

from ansible_collections.openlsp.node.plugins.module_utils import _pod
from ansible_collections.openlsp.node.plugins.module_utils._certificate import Certificate

# bitcoind's names of the networks in getblockchaininfo and in its option chain (util/chaintype.cpp); LND's in getinfo and its options.
BITCOIND_CHAINS = {"main": "mainnet", "test": "testnet3", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}
LND_CHAINS = {"mainnet": "mainnet", "testnet": "testnet3", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}

# bitcoind's own RPC ports (chainparamsbase.cpp).
RPC_PORTS = {"mainnet": 8332, "testnet3": 18332, "testnet4": 48332, "signet": 38332, "regtest": 18443}

# What stands before each answer in the output of bitcoind's pod.
MARK = "=== "

# RPC_IN_WARMUP of rpc/protocol.h: bitcoind loads its block index.
_LOADING = "error code: -28"

Options = Mapping[str, list[str]]


@dataclass(frozen=True)
class Claim:
    """What one of a pod's volumes is. phase: Bound, Pending, Lost, or empty where there is no such claim. path, kept: None where not known."""

    name: str
    phase: str
    volume: str = ""
    going: bool = False  # somebody has deleted it
    foreign: bool = False  # its volume belongs to another claim, or is not there
    path: str | None = None
    kept: bool | None = None  # the volume outlives the claim


@dataclass(frozen=True)
class Program:
    """A StatefulSet with one pod, and its container of the same name. Times are aware."""

    name: str
    replicas: int = 1
    pod: bool = True
    stopping: bool = False
    running: bool = True
    ready: bool = True
    crashing: bool = False
    condition: str = ""  # why it does not run, in the kubelet's words
    last_words: str = ""
    since: datetime | None = None  # its container runs
    restarts: int = 0
    last_end: datetime | None = None
    last_reason: str = ""
    of_older_version: bool = False
    image: str = ""
    wanted_image: str = ""
    network: str = ""
    configuration: str = ""  # the hash of the configuration that the pod was made for
    rpc_digest: str = ""  # the same of bitcoind's credentials
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    configmaps: frozenset[str] = frozenset()
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Service:
    """ports: the port's number: the number or name of the pod's. endpoints: how many pods are behind it, ready or not."""

    name: str
    addresses: frozenset[str]
    selector: Mapping[str, str]
    ports: Mapping[int, int | str]
    endpoints: int = 1


@dataclass(frozen=True)
class Policy:
    """A NetworkPolicy, as far as it says which pods it closes: labels is None where it picks them in another way than by labels."""

    name: str
    labels: Mapping[str, str] | None
    types: frozenset[str]


@dataclass(frozen=True)
class Endpoint:
    """Where bitcoind publishes a topic: ``Endpoint("rawblock", "0.0.0.0", 28332)``."""

    topic: str
    host: str
    port: int


@dataclass(frozen=True)
class Bitcoind:
    """What bitcoind's own command line says. obstacle: why it does not answer."""

    obstacle: str = ""
    loading: bool = False
    busy: bool = False  # it answers what needs none of its locks
    network: str = ""
    blocks: int = 0
    headers: int = 0
    initial_download: bool = False
    progress: float = 1.0
    peers: int = 0
    zmq: tuple[Endpoint, ...] = ()
    clock_offset: float = 0  # seconds that the machine's clock is ahead of this computer's
    mined: bool = False  # just now, to see whether the block reaches LND


@dataclass(frozen=True)
class Lnd:
    """What LND says. obstacle: why it says nothing, or not all; the rest is then as far as it came.

    block: the newest that reached it by ZMQ. waited: seconds that were given to a block to come.
    """

    obstacle: str = ""
    state: str = ""
    certificate_served: bool | None = None
    network: str = ""
    block: int | None = None
    waited: float = 0
    synced_to_chain: bool | None = None
    synced_to_graph: bool | None = None
    newest_header: datetime | None = None
    peers: int = 0
    uris: tuple[str, ...] = ()


@dataclass(frozen=True)
class Macaroon:
    """The macaroon of a Secret. refusal: LND's."""

    secret: str
    problem: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class Tor:
    """Tor, where there is one. bootstrapped: the newest percentage in its log. services: the port of each onion in its torrc, by its directory's name."""

    bootstrapped: int | None = None
    services: Mapping[str, int] = field(default_factory=dict)
    onions: Mapping[str, str] = field(default_factory=dict)  # hostname by what the Secret tor-onion-<name> is for


@dataclass(frozen=True)
class Reach:
    """Whether somebody answers at an address that LND announces, or at an onion service of ours; None where this computer cannot tell."""

    address: str
    answers: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Observation:
    """All of one node. network, paths, peers: the inventory's. What could not be looked at is None, or named in ``unseen``."""

    namespace: str
    network: str  # one of RPC_PORTS
    now: datetime
    paths: Mapping[str, str] = field(default_factory=dict)  # of the local volume of a program
    unseen: tuple[str, ...] = ()
    pod_security: str | None = None
    programs: Mapping[str, Program] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    policies: tuple[Policy, ...] | None = ()
    secrets: frozenset[str] = frozenset()
    configmaps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rpc_user: str = ""
    rpc_digest: str = ""
    rpc_fits: bool | None = None  # bitcoin.conf knows the Secret's password
    rpc_status: int | None = None  # what bitcoind itself answered to it, an HTTP status
    certificate: Certificate | None = None
    certificate_problem: str = ""
    macaroons: tuple[Macaroon, ...] = ()
    bitcoind: Bitcoind | None = None
    lnd: Lnd | None = None
    tor: Tor | None = None
    reached: tuple[Reach, ...] = ()

    def configuration(self, program: str, key: str) -> str:
        """A file of the ConfigMap that is named like the program; empty where it is not there."""
        return self.configmaps.get(program, {}).get(key, "")

    @property
    def bitcoin_conf(self) -> Options:
        """What is in force on the network of the file."""
        return options(self.configuration("bitcoind", "bitcoin.conf"))

    @property
    def rpc_port(self) -> int:
        """Of bitcoind."""
        configured = self.bitcoin_conf.get("rpcport", [""])[0]
        return int(configured) if configured.isdecimal() else RPC_PORTS[self.network]

    @property
    def lnd_conf(self) -> Options:
        """The sections of lnd.conf have no meaning."""
        return options(self.configuration("lnd", "lnd.conf"))


def options(text: str) -> dict[str, list[str]]:
    """A configuration file of bitcoind or LND: every value of each name.

    bitcoind's sections count for the network that ``chain`` names alone (common/config.cpp); LND's have names that are no network's.
    """
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and line[0] not in "#;":
            name, _equals, value = line.partition("=")
            chain = found.get("chain", ["main"])[0]
            if section not in BITCOIND_CHAINS or section == chain:
                found.setdefault(name.strip(), []).append(value.strip())
    return found


def program(statefulset: dict, pod: dict | None, claims: tuple[Claim, ...] = (), last_words: str = "") -> Program:
    """A StatefulSet and its pod as the API has them."""
    metadata, spec = statefulset["metadata"], statefulset["spec"]
    name, template = metadata["name"], spec["template"]
    wanted = _container(template["spec"], name)
    needs = {"secrets": frozenset(_needed(template["spec"], "secret", "secretName", "secretRef", "secretKeyRef")),
             "configmaps": frozenset(_needed(template["spec"], "configMap", "name", "configMapRef", "configMapKeyRef"))}
    known = {"replicas": spec.get("replicas", 1), "network": metadata.get("labels", {}).get("openlsp.org/network", ""),
             "labels": template["metadata"].get("labels", {}), "wanted_image": wanted.get("image", ""), "claims": claims, "last_words": last_words,
             "ports": {each["name"]: each["containerPort"] for each in wanted.get("ports", ()) if "name" in each}, **needs}
    if pod is None:
        return Program(name, pod=False, running=False, ready=False, **known)
    status = next((each for each in pod["status"].get("containerStatuses", ()) if each["name"] == name), {})
    state, last = status.get("state", {}), status.get("lastState", {}).get("terminated", {})
    annotations = pod["metadata"].get("annotations", {})
    revision = pod["metadata"].get("labels", {}).get("controller-revision-hash")
    return Program(
        name, stopping="deletionTimestamp" in pod["metadata"], running="running" in state,
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())),
        crashing=state.get("waiting", {}).get("reason") == "CrashLoopBackOff" or ("running" not in state and bool(last)),
        condition="" if "running" in state else _pod.condition(pod), since=moment(state.get("running", {}).get("startedAt")),
        restarts=status.get("restartCount", 0), last_end=moment(last.get("finishedAt")),
        last_reason=f"{last.get('reason', 'ended')}, exit code {last.get('exitCode')}" if last else "",
        of_older_version=revision != statefulset.get("status", {}).get("updateRevision", revision),
        image=_container(pod["spec"], name).get("image", ""), configuration=annotations.get("openlsp.org/configuration", ""),
        rpc_digest=annotations.get("openlsp.org/bitcoind-rpc", ""), **known)


def _container(spec: dict, name: str) -> dict:
    return next((each for each in spec["containers"] if each["name"] == name), {})


def _needed(spec: dict, volume_kind: str, volume_key: str, of_all: str, of_one: str) -> Iterator[str]:
    """The Secrets, or the ConfigMaps, without which the kubelet does not start a pod."""
    references = [(each.get(volume_kind), volume_key) for each in spec.get("volumes", ())]
    references += [(source.get(volume_kind), "name") for each in spec.get("volumes", ()) for source in each.get("projected", {}).get("sources", ())]
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        references += [(each.get(of_all), "name") for each in container.get("envFrom", ())]
        references += [(each.get("valueFrom", {}).get(of_one), "name") for each in container.get("env", ())]
    for reference, key in references:
        if reference and not reference.get("optional"):
            yield reference[key]


def claim_names(statefulset: dict) -> list[str]:
    """The claims of its one pod: those that it names, and those that it makes."""
    name, spec = statefulset["metadata"]["name"], statefulset["spec"]
    named = [each["persistentVolumeClaim"]["claimName"] for each in spec["template"]["spec"].get("volumes", ()) if "persistentVolumeClaim" in each]
    return named + [f"{each['metadata']['name']}-{name}-0" for each in spec.get("volumeClaimTemplates", ())]


def claim(name: str, found: dict | None, volume: dict | None, volumes_seen: bool) -> Claim:
    """A PersistentVolumeClaim and its PersistentVolume; volumes_seen: whether those may be read at all."""
    if found is None:
        return Claim(name, "")
    read = Claim(name, found.get("status", {}).get("phase", "Pending"), found["spec"].get("volumeName", ""), "deletionTimestamp" in found["metadata"])
    if not volumes_seen or not read.volume:
        return read
    if volume is None:
        return Claim(name, read.phase, read.volume, read.going, foreign=True)
    spec = volume["spec"]
    return Claim(name, read.phase, read.volume, read.going,
                 foreign=spec.get("claimRef", {}).get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"],
                 path=(spec.get("local") or spec.get("hostPath") or {}).get("path"), kept=spec.get("persistentVolumeReclaimPolicy") == "Retain")


def service(item: dict, slices: list[dict]) -> Service:
    """A Service, and the EndpointSlices of its namespace."""
    spec, name = item["spec"], item["metadata"]["name"]
    mine = [each for each in slices if each["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name]
    return Service(name, frozenset(spec.get("clusterIPs", ())), spec.get("selector") or {},
                   {each["port"]: each.get("targetPort", each["port"]) for each in spec.get("ports", ())},
                   sum(len(each.get("endpoints") or ()) for each in mine))


def policy(item: dict) -> Policy:
    """A NetworkPolicy."""
    spec = item["spec"]
    selector = spec.get("podSelector") or {}
    return Policy(item["metadata"]["name"], None if selector.get("matchExpressions") else selector.get("matchLabels", {}),
                  frozenset(spec.get("policyTypes") or ["Ingress"]))


def bitcoind(output: str, before: float, after: float) -> Bitcoind:
    """What the script in its pod wrote: MARK and a name, then the answer. before, after: this computer's time around it, seconds since 1970."""
    answers: dict[str, str] = {}
    for part in f"\n{output}".split(f"\n{MARK}")[1:]:
        name, _newline, answer = part.partition("\n")
        answers[name] = answer
    offset = _offset(answers.get("date", ""), before, after)
    try:
        chain, net, zmq = (json.loads(answers.get(name, "")) for name in ("getblockchaininfo", "getnetworkinfo", "getzmqnotifications"))
    except ValueError:
        complaint = " ".join(answers.get("getblockchaininfo", output).split())
        return Bitcoind(complaint or "it says nothing", _LOADING in complaint, answers.get("getrpcinfo", "").startswith("{"), clock_offset=offset)
    return Bitcoind(
        network=BITCOIND_CHAINS.get(chain["chain"], chain["chain"]), blocks=chain["blocks"], headers=chain["headers"],
        initial_download=chain["initialblockdownload"], progress=chain["verificationprogress"], peers=net["connections"],
        zmq=tuple(endpoint(each["type"].removeprefix("pub"), each["address"]) for each in zmq), clock_offset=offset,
        mined=answers.get("generatetodescriptor", "").lstrip().startswith("["))


def _offset(date: str, before: float, after: float) -> float:
    """How far the other clock is out of the time in which it was read: zero as long as it may be right. date: whole seconds, rounded down."""
    try:
        read = int(date)
    except ValueError:
        return 0
    return max(0, read - after) + min(0, read + 1 - before)


def endpoint(topic: str, address: str) -> Endpoint:
    """``endpoint("rawtx", "tcp://[::]:28333")``; port 0 where it is no address of TCP."""
    host, port = host_and_port(address.removeprefix("tcp://"))
    return Endpoint(topic, host, port if address.startswith("tcp://") else 0)


def host_and_port(address: str) -> tuple[str, int]:
    """``lnd.example:9735``, ``[2001:db8::1]:9735``; port 0 where there is none."""
    try:
        parts = urlsplit(f"//{address}")
        return parts.hostname or "", parts.port or 0
    except ValueError:
        return address, 0


def onion_of(data: Mapping[str, bytes]) -> str:
    """The hostname in the Secret of an onion service."""
    return data.get("hostname", b"").decode(errors="replace").strip()


def tor(log: str, torrc: str, onions: Mapping[str, str]) -> Tor:
    """log: the end of it. torrc: its HiddenServiceDir and HiddenServicePort lines, each onion's first port counts."""
    percentages = [line.rsplit("Bootstrapped ", 1)[1].split("%")[0] for line in log.splitlines() if "Bootstrapped " in line]
    services: dict[str, int] = {}
    name = ""
    for words in (line.split() for line in torrc.splitlines()):
        if len(words) > 1 and words[0].lower() == "hiddenservicedir":
            name = words[1].strip('"').rstrip("/").rsplit("/", 1)[-1]
            services[name] = 0
        elif len(words) > 1 and words[0].lower() == "hiddenserviceport" and name and words[1].isdecimal():
            services[name] = services[name] or int(words[1])
    return Tor(int(percentages[-1]) if percentages and percentages[-1].isdecimal() else None, services, onions)


def rpcauth_fits(lines: list[str], username: str, password: str) -> bool:
    """Whether one of bitcoind's rpcauth lines lets this user in: ``<username>:<salt>$<HMAC-SHA256>`` (CheckUserAuthorized of httprpc.cpp)."""
    for line in lines:
        name, _colon, salted = line.partition(":")
        salt, _dollar, expected = salted.partition("$")
        if name == username and hmac.compare_digest(hmac.new(salt.encode(), password.encode(), "sha256").hexdigest(), expected.lower()):
            return True
    return False


def configuration_hashes(text: str) -> set[str]:
    """What a pod's annotation says of a configuration: the roles hash the template, whose last line break YAML may have moved."""
    return {hashlib.sha256(each.encode()).hexdigest() for each in (text, text.rstrip("\n"), text.rstrip("\n") + "\n")}


def moment(text: Any) -> datetime | None:
    """RFC 3339, as Kubernetes writes it."""
    return datetime.fromisoformat(text) if text else None
