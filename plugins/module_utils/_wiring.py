# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wired wrongly in a node: from an observation to findings. Pure; no input or output."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Iterable, Iterator

from ansible_collections.openlsp.node.plugins.module_utils import _certificate
from ansible_collections.openlsp.node.plugins.module_utils._observation import (
    BITCOIND_CHAINS, LND_CHAINS, RPC_PORTS, Claim, Observation, Program, Service, configuration_hashes, host_and_port)

# The user whom the role bitcoind makes for LND, and what he calls: roles/bitcoind/vars/main.yml, which a test compares.
RPC_CALLS = frozenset((
    "estimatesmartfee", "getbestblockhash", "getblock", "getblockchaininfo", "getblockcount", "getblockhash", "getblockheader",
    "getdeploymentinfo", "getindexinfo", "getinfo", "getmempoolinfo", "getnetworkinfo", "getnodeaddresses", "getpeerinfo", "getrawmempool",
    "getrawtransaction", "gettxout", "gettxspendingprevout", "getzmqnotifications", "sendrawtransaction", "submitpackage", "testmempoolaccept",
    "uptime"))

# LND refuses to work without these two.
TOPICS = ("rawblock", "rawtx")

# What every node has. Where there is no tor there is nothing to say of it.
NEEDED = ("bitcoind", "lnd")

# A pod that has just started has this long to become ready, to find peers and to publish its onions: a probe every 30 s, Tor's first minute.
SETTLING = timedelta(seconds=120)

# A bitcoind that was down for days catches up for an hour without being in an initial block download.
CATCHING_UP = timedelta(hours=1)

# Headers come before their blocks; so many are no more than the newest blocks on their way.
HEADERS_AHEAD = 2

# Seconds: Tor refuses at an hour, bitcoind at two; both work long before, and the check itself is a second off.
CLOCK_LIMIT = 300

# Restarts, the newest of them within an hour: after a power cut LND starts twice, because the cluster's DNS comes later.
RESTARTS = 3


@dataclass(frozen=True)
class Kind:
    """What may be found; severity: error, warning, or wait for what passes by itself."""

    severity: str
    what: str
    remedy: str


_SITE = "Run the site, which sets it right."
_INVENTORY = "Correct it in the inventory and run the site."
_LOG = "Read its log with kubectl logs; correct what it complains of in the inventory and run the site."

# docs/verify.md has the same table, and a test compares the two.
KINDS = {
    "program-missing": Kind("error", "A part of the node does not exist", _SITE),
    "scaled-to-zero": Kind("error", "A part of the node is switched off", "Scale its StatefulSet to 1: kubectl scale statefulset NAME --replicas=1."),
    "not-running": Kind("error", "A pod does not run", "Do what the evidence asks for; kubectl describe pod shows all of it."),
    "crash-looping": Kind("error", "A program ends again and again", _LOG),
    "not-ready": Kind("error", "A pod runs and is not ready", _LOG),
    "starting": Kind("wait", "A program has only just started", "Wait two minutes and verify again."),
    "restarts": Kind("warning", "A program has been started again several times", "Read the end of its last life with kubectl logs --previous."),
    "older-version": Kind("error", "A pod is of an older version of its StatefulSet", "Delete the pod; its StatefulSet makes the newest one."),
    "other-image": Kind("error", "A pod runs another image than its StatefulSet says", "Delete the pod; its StatefulSet makes the right one."),
    "other-configuration": Kind("error", "A pod was made for another configuration than its ConfigMap holds", _SITE),
    "secret-missing": Kind("error", "A Secret that a pod needs is missing", _SITE),
    "configmap-missing": Kind("error", "A ConfigMap that a pod needs is missing", _SITE),
    "service-without-pod": Kind("error", "A Service leads to no pod", _SITE),
    "pod-security": Kind("error", "The namespace does not enforce the Pod Security Standard restricted", _SITE),
    "open-pod": Kind("error", "No NetworkPolicy closes a pod", _SITE),
    "open-namespace": Kind("error", "No NetworkPolicy closes the pods that nobody thought of", _SITE),
    "claim-missing": Kind("error", "A pod's volume claim is missing", "Find its PersistentVolume, which is kept; start no new wallet beside it."),
    "claim-lost": Kind("error", "A volume claim has lost its volume", "Stop the pod and bind the claim to its PersistentVolume again."),
    "claim-deleted": Kind("error", "A volume claim is deleted as soon as its pod stops", "Do not stop the pod; make a backup of the channels now."),
    "other-disk": Kind("error", "A volume lies in another directory than the inventory says", "Stop, and find out which of the two has the data."),
    "volume-not-kept": Kind("warning", "A volume is deleted with its claim", "Run the site, which sets its reclaim policy to Retain."),
    "bitcoind-silent": Kind("error", "bitcoind runs and does not answer", _LOG),
    "bitcoind-busy": Kind("wait", "bitcoind is too busy to answer, as when it writes its cache to the disk", "Wait some minutes and verify again."),
    "bitcoind-loading": Kind("wait", "bitcoind loads its block index", "Wait; this takes minutes, after a crash hours."),
    "wrong-network": Kind("error", "A part of the node is on another network", "Make openlsp_network what this node has been made for, and run the site."),
    "initial-block-download": Kind("wait", "bitcoind downloads the chain", "Wait; LND follows by itself."),
    "catching-up": Kind("wait", "bitcoind has the headers of newer blocks and fetches these", "Wait some minutes and verify again."),
    "behind-headers": Kind("error", "bitcoind does not get the blocks whose headers it has", "See that it has peers with whole blocks, and a disk with room."),
    "bitcoind-alone": Kind("error", "bitcoind has no peer", "Let its pod reach other nodes, or name some in bitcoind_peers."),
    "clock": Kind("error", "The machine's clock is off", "Let it reach a time server: UDP port 123; or set this computer's clock."),
    "rpc-refused": Kind("error", "bitcoind does not know the password of the Secret bitcoind-rpc", "Run the site, which gives both the same one."),
    "rpc-changed": Kind("error", "The Secret bitcoind-rpc has changed since LND started", "Run the site, which restarts LND."),
    "rpc-whitelist": Kind("error", "bitcoind refuses calls that LND needs", "Take rpcwhitelist out of bitcoind_options and run the site."),
    "rpc-elsewhere": Kind("error", "LND's bitcoind is not that of its namespace", "Take bitcoind.rpchost out of lnd_options and run the site."),
    "rpc-port": Kind("error", "LND calls bitcoind on a port where its RPC is not", "Take bitcoind.rpchost out of lnd_options and run the site."),
    "zmq-missing": Kind("error", "bitcoind does not publish what LND needs, or LND does not ask for it", _SITE),
    "zmq-swapped": Kind("error", "LND listens for one topic where bitcoind publishes another", _SITE),
    "zmq-port": Kind("error", "LND listens on a port where bitcoind publishes nothing", _SITE),
    "zmq-elsewhere": Kind("error", "LND listens to something else than the bitcoind of its namespace", _SITE),
    "zmq-loopback": Kind("error", "bitcoind publishes where only its own pod hears it", "Take zmqpub* out of bitcoind_options and run the site."),
    "zmq-addresses": Kind("warning", "The ConfigMap bitcoind-zmq tells other programs wrong addresses", _SITE),
    "no-wallet": Kind("error", "LND has no wallet", "Run the site, which creates or restores it."),
    "locked": Kind("error", "LND's wallet is locked",
                   "Run the site, after deleting the Secret lnd-wallet-password where the wallet file has another password: the run makes it from that."),
    "lnd-silent": Kind("error", "LND runs and does not answer", _LOG),
    "lnd-starting": Kind("wait", "LND is starting", "Wait a minute and verify again."),
    "lnd-syncing": Kind("wait", "LND's wallet follows the chain", "Wait; it needs bitcoind at the end of the chain first."),
    "blocks-stay-away": Kind("error", "bitcoind's newest block has not reached LND", "Correct what is found of ZMQ; else delete the pod lnd-0 (lnd#9353)."),
    "graph-syncing": Kind("wait", "LND fetches the network's channels from its peers", "Wait some minutes and verify again."),
    "certificate-missing": Kind("error", "The Secret lnd-tls holds no certificate", _SITE),
    "certificate-other": Kind("error", "LND shows another certificate than the Secret lnd-tls holds", "Run the site, which publishes LND's own."),
    "certificate-expired": Kind("error", "LND's certificate is not valid today", "Run the site, which lets LND make a new one."),
    "certificate-names": Kind("error", "LND's certificate lacks names of its Service", "Run the site, which lets LND make a new one."),
    "macaroon-refused": Kind("error", "LND refuses a macaroon that a Secret holds", "Run the site, which publishes the macaroons that LND accepts."),
    "macaroon-damaged": Kind("error", "A Secret does not hold the macaroon that it promises", _SITE),
    "address-silent": Kind("warning", "LND announces an address that does not answer this computer",
                           "Try it from outside of your network; forward the port, or take the address out of the inventory."),
    "tor-starting": Kind("wait", "Tor is connecting, or publishes the onions", "Wait two minutes and verify again."),
    "tor-not-connected": Kind("error", "Tor has no connection to its network", "Let its pod reach the internet, or name bridges; see the clock too."),
    "onion-unserved": Kind("warning", "Tor does not serve an onion for which there are keys",
                           "Name it in the inventory and run the site, or delete its Secret where the address is not wanted again."),
    "onion-without-keys": Kind("error", "Tor serves an onion whose keys are in no Secret", _SITE),
    "onion-other": Kind("error", "LND announces another onion than ours", _SITE),
    "onion-silent": Kind("error", "An onion does not answer through Tor", "Read the log of the pod tor-0; delete the pod if it says nothing."),
    "not-seen": Kind("warning", "This user may not look at everything", "Give this user the right to read it, or let somebody verify who has it."),
}


@dataclass(frozen=True)
class Finding:
    """One kind, and what shows it."""

    name: str
    evidence: str

    @property
    def kind(self) -> Kind:
        """Severity, sentence and remedy."""
        return KINDS[self.name]


def findings(seen: Observation) -> list[Finding]:
    """What is wrong, errors first. What cannot be judged, because something else keeps it from being seen, is not guessed at."""
    checks = (_programs, _namespace, _volumes, _network, _bitcoind, _rpc, _zmq, _lnd, _credentials, _addresses, _tor)
    found = dict.fromkeys(Finding(name, evidence) for check in checks for name, evidence in check(seen))
    return sorted(found, key=lambda each: ("error", "warning", "wait").index(each.kind.severity))


Found = Iterator[tuple[str, str]]


def _programs(seen: Observation) -> Found:
    for name in NEEDED:
        if name not in seen.programs:
            yield "program-missing", f"namespace {seen.namespace} has no StatefulSet {name}"
    for each in seen.programs.values():
        pod = f"{each.name}-0"
        yield from _state(seen, each, pod)
        if each.restarts >= RESTARTS and each.last_end and seen.now - each.last_end < timedelta(hours=1):
            yield "restarts", f"{pod}: {each.restarts} times, last at {each.last_end:%H:%M:%S} UTC ({each.last_reason})"
        if each.pod and each.image != each.wanted_image:
            yield "other-image", f"{pod} runs {each.image}, its StatefulSet says {each.wanted_image}"
        elif each.pod and each.of_older_version:
            yield "older-version", pod
        file = {"bitcoind": "bitcoin.conf", "lnd": "lnd.conf"}.get(each.name)
        text = seen.configuration(each.name, file) if file else ""
        if each.configuration and text and each.configuration not in configuration_hashes(text):
            yield "other-configuration", f"{pod}: {file} has changed since"
        for secret in sorted(each.secrets - seen.secrets):
            yield "secret-missing", f"{pod} needs {secret}"
        for configmap in sorted(each.configmaps - set(seen.configmaps)):
            yield "configmap-missing", f"{pod} needs {configmap}"


def _state(seen: Observation, each: Program, pod: str) -> Found:
    settling = each.since is not None and seen.now - each.since < SETTLING
    if each.replicas == 0:
        yield "scaled-to-zero", f"the StatefulSet {each.name} wants 0 pods"
    elif each.crashing:
        yield "crash-looping", f"{pod}: {each.restarts} restarts; {each.last_reason or each.condition}{each.last_words}"
    elif not each.running:
        yield "not-running", f"{pod}: {each.condition or 'there is no such pod'}{each.last_words}"
    elif each.stopping:
        yield "starting", f"{pod} is stopping; a new one follows"
    elif not each.ready and settling:
        yield "starting", f"{pod} runs for {(seen.now - each.since).seconds} s"
    elif not each.ready and not _explains_itself(seen, each.name):
        yield "not-ready", f"{pod}{each.last_words}"


def _explains_itself(seen: Observation, name: str) -> bool:
    """Whether another finding says why a program is not ready."""
    if name == "bitcoind":
        return seen.bitcoind is not None and bool(seen.bitcoind.obstacle or seen.bitcoind.initial_download)
    return name == "lnd" and seen.lnd is not None and bool(seen.lnd.obstacle or seen.lnd.state not in ("RPC_ACTIVE", "SERVER_ACTIVE"))


def _namespace(seen: Observation) -> Found:
    for each in seen.unseen:
        yield "not-seen", each
    if seen.pod_security not in (None, "restricted"):
        yield "pod-security", f"namespace {seen.namespace}: pod-security.kubernetes.io/enforce is {seen.pod_security or 'not set'}"
    for each in seen.programs.values():
        closed = seen.policies is None or any(
            "Ingress" in policy.types and (policy.labels is None or policy.labels.items() <= each.labels.items()) for policy in seen.policies)
        if not closed:
            yield "open-pod", f"whoever is in the cluster reaches every port of {each.name}-0"
    # Where the node's pods are closed in both directions, a policy for all pods is part of it.
    both = [policy for policy in seen.policies or () if "Egress" in policy.types]
    if both and not any(policy.labels == {} for policy in both):
        yield "open-namespace", f"namespace {seen.namespace} has no policy for all of its pods"
    for service in seen.services:
        if service.selector and not service.endpoints and _expected(seen, service):
            yield "service-without-pod", f"the Service {service.name} looks for pods with {_pairs(service.selector)}"


def _expected(seen: Observation, service: Service) -> bool:
    """Whether a program of ours that is named like the Service has a pod, and so has the one that it leads to; otherwise its absence is found already."""
    programs = seen.programs.values()
    return (any(each.running for each in programs if service.name == each.name or service.name.startswith(f"{each.name}-"))
            and not any(not each.running and service.selector.items() <= each.labels.items() for each in programs))


def _volumes(seen: Observation) -> Found:
    for each in seen.programs.values():
        for claim in each.claims:
            yield from _volume(each.name, claim, seen.paths.get(each.name, ""))


def _volume(name: str, claim: Claim, path: str) -> Found:
    """name: the program's. What Tor keeps on its volume is not missed when it is gone."""
    if not claim.phase:
        yield "claim-missing", claim.name
    elif claim.phase == "Lost" or claim.foreign:
        yield "claim-lost", f"{claim.name}: its volume {claim.volume} is " + ("another claim's, or gone" if claim.foreign else "gone")
    elif claim.going:
        yield "claim-deleted", claim.name
    if path and claim.path and claim.path.rstrip("/") != path.rstrip("/"):
        yield "other-disk", f"{claim.name} is in {claim.path}, the inventory says {path}"
    if claim.kept is False and name in NEEDED:
        yield "volume-not-kept", f"{claim.name}: {claim.volume}"


def _network(seen: Observation) -> Found:
    lnd_option = [LND_CHAINS[name.removeprefix("bitcoin.")] for name, values in seen.lnd_conf.items()
                  if name.removeprefix("bitcoin.") in LND_CHAINS and name.startswith("bitcoin.") and values[-1].lower() in ("true", "1")]
    bitcoin_conf = seen.bitcoin_conf
    told = {
        "bitcoind": seen.bitcoind.network if seen.bitcoind else "",
        "bitcoin.conf": BITCOIND_CHAINS.get(bitcoin_conf.get("chain", ["main"])[0], "") if bitcoin_conf else "",
        "LND": LND_CHAINS.get(seen.lnd.network, seen.lnd.network) if seen.lnd else "",
        "lnd.conf": ", ".join(lnd_option),
        **{f"the StatefulSet {each.name}": each.network for each in seen.programs.values()},
    }
    for who, network in told.items():
        if network and network != seen.network:
            yield "wrong-network", f"{who} says {network}, the inventory {seen.network}"


def _bitcoind(seen: Observation) -> Found:
    chain, program = seen.bitcoind, seen.programs.get("bitcoind")
    if chain is None or program is None:
        return
    if abs(chain.clock_offset) > CLOCK_LIMIT:
        direction = "ahead of" if chain.clock_offset > 0 else "behind"
        yield "clock", f"it is {abs(chain.clock_offset):.0f} s {direction} the clock of this computer"
    running = seen.now - program.since if program.since else CATCHING_UP
    missing = chain.headers - chain.blocks
    if chain.loading:
        yield "bitcoind-loading", chain.obstacle
    elif chain.obstacle:
        yield "bitcoind-busy" if chain.busy else "bitcoind-silent", f"bitcoind-0: {chain.obstacle}"
    # A regtest chain counts as an initial block download until somebody mines.
    elif chain.initial_download and chain.network != "regtest":
        yield "initial-block-download", f"block {chain.blocks} of {max(chain.headers, chain.blocks)}, {chain.progress:.1%} of the work"
    elif missing > HEADERS_AHEAD:
        yield "catching-up" if running < CATCHING_UP else "behind-headers", f"block {chain.blocks}, the newest header is {chain.headers}"
    # Nobody has to be there on a regtest, unless somebody is named.
    named = any(seen.bitcoin_conf.get(name) for name in ("addnode", "connect"))
    if not chain.obstacle and not chain.peers and running > SETTLING and (named or chain.network != "regtest"):
        yield "bitcoind-alone", f"0 connections after {_span(running)}"


def _rpc(seen: Observation) -> Found:
    refused = _refused_calls(seen)
    # 403 is what rpcwhitelist answers.
    if seen.rpc_status == 401 or (seen.rpc_status == 403 and not refused):
        yield "rpc-refused", f"bitcoind answers user {seen.rpc_user} of the Secret with HTTP {seen.rpc_status}"
    elif seen.rpc_fits is False:
        yield "rpc-refused", f"no rpcauth of bitcoin.conf fits user {seen.rpc_user} and the password of the Secret"
    lnd = seen.programs.get("lnd")
    if lnd and lnd.pod and lnd.rpc_digest and seen.rpc_digest and lnd.rpc_digest != seen.rpc_digest:
        yield "rpc-changed", f"lnd-0 started with {lnd.rpc_digest}, the Secret is now {seen.rpc_digest}"
    if refused:
        yield "rpc-whitelist", f"rpcwhitelist of user {seen.rpc_user} lacks {', '.join(refused)}"
    yield from _rpc_host(seen)


def _refused_calls(seen: Observation) -> list[str]:
    """Those that rpcwhitelist leaves out; several lines for a user count where they agree (httprpc.cpp)."""
    conf = seen.bitcoin_conf
    lists = [set(names.replace(" ", "").split(",")) for line in conf.get("rpcwhitelist", ())
             for user, colon, names in [line.partition(":")] if colon and user == seen.rpc_user]
    if not seen.rpc_user or "rpcwhitelist" not in conf:
        return []
    if not lists:
        return sorted(RPC_CALLS) if conf.get("rpcwhitelistdefault", ["1"])[0] != "0" else []
    return sorted(RPC_CALLS - set.intersection(*lists))


def _rpc_host(seen: Observation) -> Found:
    address = seen.lnd_conf.get("bitcoind.rpchost", [""])[-1]
    if not address:
        return
    host, port = host_and_port(address)
    service = _service(seen, host)
    if service is None:
        yield "rpc-elsewhere", f"bitcoind.rpchost is {address}{_whose(seen, host)}"
        return
    behind = _target(seen, service, port or RPC_PORTS[seen.network])
    if seen.bitcoin_conf and behind != seen.rpc_port:
        yield "rpc-port", f"bitcoind.rpchost is {address}, which leads to {behind or 'nothing'}; bitcoind's RPC is on port {seen.rpc_port}"


def _zmq(seen: Observation) -> Found:
    published = _published(seen)
    if published is not None:
        yield from _zmq_of_lnd(seen, published)
        for topic, address in seen.configmaps.get("bitcoind-zmq", {}).items():
            topic = topic.removeprefix("zmqpub")
            if topic not in published.get(_behind(seen, address), ()):
                yield "zmq-addresses", f"{topic} is said to be at {address}"


def _published(seen: Observation) -> dict[int, set[str]] | None:
    """The topics at each of bitcoind's ports: what it says itself, or where it is down what its configuration says."""
    if seen.bitcoind and not seen.bitcoind.obstacle:
        endpoints = [(each.topic, each.port) for each in seen.bitcoind.zmq]
    elif seen.bitcoin_conf:
        endpoints = [(name.removeprefix("zmqpub"), host_and_port(value.removeprefix("tcp://"))[1])
                     for name, values in seen.bitcoin_conf.items() if name.startswith("zmqpub") and not name.endswith("hwm") for value in values]
    else:
        return None
    ports: dict[int, set[str]] = {}
    for topic, port in endpoints:
        ports.setdefault(port, set()).add(topic)
    return ports


def _zmq_of_lnd(seen: Observation, published: dict[int, set[str]]) -> Found:
    conf = seen.lnd_conf
    if not conf or conf.get("bitcoind.rpcpolling", ["false"])[-1].lower() in ("true", "1"):
        return
    for topic in TOPICS:
        everywhere = sorted(port for port, topics in published.items() if topic in topics)
        address = conf.get(f"bitcoind.zmqpub{topic}", [""])[-1]
        if not address:
            yield "zmq-missing", f"lnd.conf has no bitcoind.zmqpub{topic}"
            continue
        host, _port = host_and_port(address.removeprefix("tcp://"))
        port = _behind(seen, address)
        topics = published.get(port, set())
        if _service(seen, host) is None:
            yield "zmq-elsewhere", f"{topic}: {address}{_whose(seen, host)}"
        elif topic in topics:
            yield from _loopback(seen, topic, port)
        elif not everywhere:
            yield "zmq-missing", f"bitcoind does not publish {topic}"
        elif topics:
            yield "zmq-swapped", f"LND listens for {topic} at {address}, where bitcoind publishes {', '.join(sorted(topics))}"
        else:
            yield "zmq-port", f"LND listens for {topic} at {address}; bitcoind publishes it on port {', '.join(map(str, everywhere))}"


def _loopback(seen: Observation, topic: str, port: int) -> Found:
    for each in seen.bitcoind.zmq if seen.bitcoind else ():
        if (each.topic, each.port) == (topic, port) and (each.host in ("localhost", "::1") or each.host.startswith("127.")):
            yield "zmq-loopback", f"{topic} is published at {each.host}:{port}"


def _behind(seen: Observation, address: str) -> int:
    """The port of bitcoind's pod to which an address leads; 0 where it leads elsewhere."""
    host, port = host_and_port(address.removeprefix("tcp://"))
    service = _service(seen, host)
    return _target(seen, service, port) if service else 0


def _service(seen: Observation, host: str) -> Service | None:
    """Which Service of bitcoind a host name or address is."""
    bitcoind = seen.programs.get("bitcoind")
    for each in seen.services:
        names = [each.name, f"{each.name}.{seen.namespace}", f"{each.name}.{seen.namespace}.svc", f"{each.name}.{seen.namespace}.svc.cluster.local"]
        if (host.rstrip(".") in names or host in each.addresses) and bitcoind and each.selector.items() <= bitcoind.labels.items():
            return each
    return None


def _target(seen: Observation, service: Service, port: int) -> int:
    target = service.ports.get(port, 0)
    return seen.programs["bitcoind"].ports.get(target, 0) if isinstance(target, str) else target


def _whose(seen: Observation, host: str) -> str:
    words = host.split(".")
    if len(words) > 2 and words[2] == "svc" or len(words) == 2:
        return f", which is in namespace {words[1]}, not in {seen.namespace}" if words[1] != seen.namespace else ", which is not bitcoind's Service"
    return f", which is no Service of bitcoind in namespace {seen.namespace}"


def _lnd(seen: Observation) -> Found:
    lnd, program = seen.lnd, seen.programs.get("lnd")
    if lnd is None or program is None:
        return
    settling = program.since is not None and seen.now - program.since < SETTLING
    if lnd.state == "NON_EXISTING":
        yield "no-wallet", "LND is in state NON_EXISTING"
    elif lnd.state == "LOCKED" and not settling:
        yield "locked", "LND is in state LOCKED"
    elif lnd.state in ("WAITING_TO_START", "LOCKED", "UNLOCKED"):
        yield "lnd-starting", f"LND is in state {lnd.state}{program.last_words}"
    elif not lnd.state and lnd.certificate_served is not False:
        yield "lnd-starting" if settling else "lnd-silent", f"lnd-0: {lnd.obstacle}{program.last_words}"
    elif lnd.state == "RPC_ACTIVE":
        yield "lnd-syncing", "LND is in state RPC_ACTIVE; it opens its channels when its wallet has caught up with bitcoind"
    elif lnd.obstacle and lnd.state and not _refused(seen, "lnd-readonly"):
        yield "lnd-starting" if settling else "lnd-silent", f"lnd-0: {lnd.obstacle}{program.last_words}"
    elif lnd.waited and _at_the_end(seen) and (lnd.block is None or lnd.block < seen.bitcoind.blocks):
        yield "blocks-stay-away", (f"LND has {'no block' if lnd.block is None else f'block {lnd.block}'}, "
                                   f"bitcoind {'mined' if seen.bitcoind.mined else 'has'} {seen.bitcoind.blocks}; "
                                   f"waited {lnd.waited:.0f} s")
    elif lnd.synced_to_chain is False:
        age = f"; its newest header is {_span(seen.now - lnd.newest_header)} old" if lnd.newest_header else ""
        yield "lnd-syncing", f"LND has block {lnd.block} and does not call itself synced{age}"
    if lnd.synced_to_graph is False and lnd.peers:
        yield "graph-syncing", f"from {lnd.peers} peers"


def _refused(seen: Observation, secret: str) -> bool:
    """Whether LND was asked with a macaroon that is no good, which is found already."""
    return any(each.secret == secret and (each.problem or each.refusal) for each in seen.macaroons)


def _at_the_end(seen: Observation) -> bool:
    """Whether bitcoind has the whole chain: before, its blocks come faster than LND takes them."""
    chain = seen.bitcoind
    return (chain is not None and not chain.obstacle and (not chain.initial_download or chain.network == "regtest")
            and chain.headers - chain.blocks <= HEADERS_AHEAD)


def _credentials(seen: Observation) -> Found:
    certificate = seen.certificate
    if seen.certificate_problem:
        yield "certificate-missing", seen.certificate_problem
    if seen.lnd and seen.lnd.certificate_served is False:
        yield "certificate-other", seen.lnd.obstacle
    if certificate and not certificate.starts <= seen.now < certificate.expires:
        yield "certificate-expired", f"it is valid from {certificate.starts:%Y-%m-%d %H:%M} to {certificate.expires:%Y-%m-%d %H:%M} UTC"
    names = [f"lnd.{seen.namespace}.svc", f"lnd.{seen.namespace}.svc.cluster.local"]
    missing = _certificate.missing(certificate, names) if certificate else []
    if missing:
        yield "certificate-names", f"it lacks {', '.join(missing)}"
    for each in seen.macaroons:
        if each.problem:
            yield "macaroon-damaged", f"{each.secret}: {each.problem}"
        elif each.refusal:
            yield "macaroon-refused", f"{each.secret}: {each.refusal}"


def _addresses(seen: Observation) -> Found:
    for each in seen.reached:
        if each.answers is False and not _is_onion(each.address):
            yield "address-silent", f"{each.address}: {each.reason}"


def _tor(seen: Observation) -> Found:
    tor, program = seen.tor, seen.programs.get("tor")
    if tor is None or program is None:
        return
    settling = program.since is not None and seen.now - program.since < SETTLING
    connected = tor.bootstrapped in (None, 100)
    if program.running and not connected:
        yield "tor-starting" if settling else "tor-not-connected", f"its log says: Bootstrapped {tor.bootstrapped}%"
    if seen.configuration("tor", "torrc"):
        for name in sorted(set(tor.onions) - set(tor.services)):
            yield "onion-unserved", f"torrc has no HiddenServiceDir {name}, and there is a Secret tor-onion-{name}"
        for name in sorted(set(tor.services) - set(tor.onions)):
            yield "onion-without-keys", f"torrc has a HiddenServiceDir {name}, and there is no Secret tor-onion-{name}"
    ours = tor.onions.get("lnd-p2p")
    for uri in seen.lnd.uris if seen.lnd else ():
        host, _port = host_and_port(uri.rpartition("@")[2])
        if ours and _is_onion(host) and host != ours:
            yield "onion-other", f"LND announces {host}, the Secret tor-onion-lnd-p2p is {ours}"
    names = {hostname: name for name, hostname in tor.onions.items()}
    for each in seen.reached if connected else ():
        name = names.get(host_and_port(each.address)[0], "")
        if each.answers is False and _is_onion(each.address) and not _is_away(seen, name.partition("-")[0]):
            yield "tor-starting" if settling else "onion-silent", f"{each.address}: {each.reason}"


def _is_away(seen: Observation, name: str) -> bool:
    """Whether it is known why this program lets nobody in, such as those who come through Tor."""
    if name in seen.programs and not seen.programs[name].running:
        return True
    if name == "bitcoind":
        return seen.bitcoind is not None and bool(seen.bitcoind.obstacle)
    return name == "lnd" and seen.lnd is not None and seen.lnd.state not in ("RPC_ACTIVE", "SERVER_ACTIVE")


def _is_onion(address: str) -> bool:
    return host_and_port(address)[0].endswith(".onion")


def _pairs(labels: dict[str, str] | Iterable) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(dict(labels).items()))


def _span(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    return f"{seconds} s" if seconds < 180 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
