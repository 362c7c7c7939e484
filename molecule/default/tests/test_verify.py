"""The wiring self-test: silent on a healthy node, and names what is really broken on one. carol is the node; each break undoes itself exactly."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import kubernetes
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _pod, _wiring
from ansible_collections.openlsp.node.plugins.modules import node_verify
from certificates import made
from conftest import KUBECONFIG, eventually, on_node

CLI = ["bitcoin-cli", "-datadir=/data", "-conf=/etc/bitcoin/bitcoin.conf"]

# Seconds that a healthy node may take.
LIMIT = 10

# The user id of a pod, the name of its program, a signal. A control group's name has the id with dashes or, made by systemd, with underscores.
SIGNAL = """
pattern=$(echo "$1" | tr - .)
for each in $(grep -ls "$pattern" /proc/[0-9]*/cgroup); do
  pid=${each%/cgroup}
  [ "$(cat "$pid/comm")" != "$2" ] || kill -s "$3" "${pid#/proc/}"
done
"""

# Found beside another one where a ConfigMap is changed: the pod was made for the earlier one.
CHANGED = {"other-configuration"}


class Patient:
    """carol, and what can be done to her."""

    def __init__(self, name: str, cluster, core, lnd) -> None:
        self.name, self.core, self.lnd = name, core, lnd
        self._cluster, self.apps = cluster, kubernetes.client.AppsV1Api(core.api_client)
        self.networking = kubernetes.client.NetworkingV1Api(core.api_client)

    def verify(self, **options) -> dict:
        """What the module tells of her."""
        return node_verify.run(SimpleNamespace(check_mode=False, params={
            "kubeconfig": str(KUBECONFIG), "context": None, "namespace": self.name, "network": "regtest", "mine": True, "local_paths": {}, **options}))

    def bitcoind(self, *words: str) -> str:
        """The answer to an RPC."""
        return _pod.run(self._cluster, self.name, "bitcoind-0", "bitcoind", [*CLI, *words]).decode().strip()

    def endpoints(self, service: str) -> list:
        """The pods behind a Service."""
        slices = kubernetes.client.DiscoveryV1Api(self.core.api_client).list_namespaced_endpoint_slice(
            self.name, label_selector=f"kubernetes.io/service-name={service}")
        return [each for found in slices.items for each in found.endpoints or ()]

    def admin(self, path: str, body: dict) -> dict:
        """A call of LND by its owner."""
        return self.lnd(self.name, "lnd-admin").call("POST", path, body)

    def restart(self, program: str) -> None:
        """In a new pod."""
        before = self.core.read_namespaced_pod(f"{program}-0", self.name).metadata.uid
        self.core.delete_namespaced_pod(f"{program}-0", self.name, grace_period_seconds=0 if program == "lnd" else None)
        eventually(lambda: self._uid(program) not in ("", before), f"{program} has no new pod")

    def settled(self, seconds: float = 90) -> dict:
        """What verify tells as soon as there is nothing to be found; otherwise the failure says what is."""
        deadline = time.monotonic() + seconds
        while (told := self.verify())["findings"] and time.monotonic() < deadline:
            time.sleep(1)
        assert not told["findings"], f"{self.name} is not in order after {seconds} s: {told['findings']}"
        return told

    def signal(self, program: str, name: str) -> None:
        """To the program's process on the machine."""
        done = on_node("sh", "-c", SIGNAL, "sh", self.core.read_namespaced_pod(f"{program}-0", self.name).metadata.uid, program, name)
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def text(self, configmap: str, key: str, *changes: tuple[str, str]) -> Iterator[None]:
        """A ConfigMap's file with other words."""
        before = self.core.read_namespaced_config_map(configmap, self.name).data[key]
        after = before
        for old, new in changes:
            assert old in after, f"{key} has no {old}"
            after = after.replace(old, new)
        with self._undone(lambda text: self.core.patch_namespaced_config_map(configmap, self.name, {"data": {key: text}}), after, before):
            yield

    @contextlib.contextmanager
    def value(self, secret: str, key: str, new: Callable[[bytes], bytes]) -> Iterator[None]:
        """A Secret's value, replaced."""
        before = self.core.read_namespaced_secret(secret, self.name).data[key]
        after = base64.b64encode(new(base64.b64decode(before))).decode()
        with self._undone(lambda value: self.core.patch_namespaced_secret(secret, self.name, {"data": {key: value}}), after, before):
            yield

    @staticmethod
    @contextlib.contextmanager
    def _undone(put: Callable, after, before) -> Iterator[None]:
        put(after)
        try:
            yield
        finally:
            put(before)

    def _uid(self, program: str) -> str:
        with contextlib.suppress(kubernetes.client.ApiException):
            return self.core.read_namespaced_pod(f"{program}-0", self.name).metadata.uid
        return ""


@pytest.fixture(scope="module")
def patient(carol, cluster, core, lnd):
    """carol when nothing is wrong with her: LND opens its channels after the first block of its chain."""
    patient = Patient(carol.name, cluster, core, lnd)
    patient.settled(120)
    return patient


# --- healthy ---------------------------------------------------------------------------------------------------------

def test_a_healthy_node_has_no_finding_and_is_verified_within_seconds(patient):
    told = patient.settled()
    assert told["errors"] == 0 and told["changed"]
    assert told["seconds"] <= LIMIT


def test_a_mined_block_reaches_lnd(patient):
    height = int(patient.bitcoind("getblockcount"))
    told = patient.verify()
    assert (told["block"], told["findings"]) == (height + 1, [])


def test_check_mode_mines_nothing(patient):
    height = patient.bitcoind("getblockcount")
    told = node_verify.run(SimpleNamespace(check_mode=True, params={
        "kubeconfig": str(KUBECONFIG), "context": None, "namespace": patient.name, "network": "regtest", "mine": True, "local_paths": {}}))
    assert (told["changed"], told["findings"], patient.bitcoind("getblockcount")) == (False, [], height)


def test_the_playbook_says_that_every_node_is_in_order(site):
    begin = time.monotonic()
    run = site(playbook="playbooks/verify.yml")
    assert run.code == 0, run.output[-4000:]
    for node in ("alice", "bob"):
        assert f"{node} is in order (" in run.output
    # Two nodes, one after the other, and Ansible's own start.
    assert time.monotonic() - begin < 2 * LIMIT


def test_the_playbook_fails_and_says_what_is_wrong_and_what_to_do(patient, carol, site):
    with patient.text("bitcoind", "bitcoin.conf", ("getblockheader,", "")):
        run = site(*carol.arguments, playbook="playbooks/verify.yml")
    assert run.code == 2, run.output[-4000:]
    assert "carol is NOT in order" in run.output
    assert "ERROR      rpc-whitelist: bitcoind refuses calls that LND needs" in run.output
    assert "seen: rpcwhitelist of user lnd lacks getblockheader" in run.output
    assert f"do:   {_wiring.KINDS['rpc-whitelist'].remedy}" in run.output


# --- broken ----------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def zmq_swapped_behind_the_service(patient):
    """LND's addresses are right, and lead to the wrong ports."""
    service = patient.core.read_namespaced_service("bitcoind", patient.name)
    ports = [port.to_dict() for port in service.spec.ports]

    def put(targets):
        patient.core.patch_namespaced_service("bitcoind", patient.name, {"spec": {"ports": [
            {"name": port["name"], "port": port["port"], "protocol": "TCP", "targetPort": targets.get(port["port"], port["target_port"])}
            for port in ports]}})

    put({28332: 28333, 28333: 28332})
    try:
        yield
    finally:
        put({})


@contextlib.contextmanager
def service_of_nobody(patient):
    def put(name):
        patient.core.patch_namespaced_service("bitcoind", patient.name, {"spec": {"selector": {"app.kubernetes.io/name": name}}})

    put("bitcoimd")
    try:
        eventually(lambda: not patient.endpoints("bitcoind"), "its endpoints stay", 20)
        yield
    finally:
        put("bitcoind")
        eventually(lambda: patient.endpoints("bitcoind"), "it has no endpoints", 20)


@contextlib.contextmanager
def no_policies(patient):
    def put(label):
        for policy in patient.networking.list_namespaced_network_policy(patient.name).items:
            patient.networking.patch_namespaced_network_policy(
                policy.metadata.name, patient.name, {"spec": {"podSelector": {"matchLabels": {"nobody-has": label}}}})

    put("this")
    try:
        yield
    finally:
        put(None)


@contextlib.contextmanager
def namespace_without_pod_security(patient):
    name = "pod-security.kubernetes.io/enforce"
    patient.core.patch_namespace(patient.name, {"metadata": {"labels": {name: None}}})
    try:
        yield
    finally:
        patient.core.patch_namespace(patient.name, {"metadata": {"labels": {name: "restricted"}}})


@contextlib.contextmanager
def no_wallet_password(patient):
    secret = patient.core.read_namespaced_secret("lnd-wallet-password", patient.name)
    patient.core.delete_namespaced_secret("lnd-wallet-password", patient.name)
    try:
        yield
    finally:
        patient.core.create_namespaced_secret(patient.name, {
            "metadata": {"name": secret.metadata.name, "labels": secret.metadata.labels, "annotations": secret.metadata.annotations}, "data": secret.data})


@contextlib.contextmanager
def volume_that_goes_with_its_claim(patient):
    volume = patient.core.read_namespaced_persistent_volume_claim("data-lnd-0", patient.name).spec.volume_name

    def put(policy):
        patient.core.patch_persistent_volume(volume, {"spec": {"persistentVolumeReclaimPolicy": policy}})

    put("Delete")
    try:
        yield
    finally:
        put("Retain")


@contextlib.contextmanager
def newer_image_that_no_pod_has(patient):
    image = patient.apps.read_namespaced_stateful_set("lnd", patient.name).spec.template.spec.containers[0].image

    def put(name, strategy):
        patient.apps.patch_namespaced_stateful_set("lnd", patient.name, {"spec": {
            "updateStrategy": {"type": strategy, "rollingUpdate": {"partition": 0} if strategy == "RollingUpdate" else None},
            "template": {"spec": {"containers": [{"name": "lnd", "image": name}]}}}})

    put("localhost/openlsp/lnd:next", "OnDelete")
    try:
        yield
    finally:
        put(image, "OnDelete")
        # The pod is of the newest version again, before anybody may replace it.
        eventually(lambda: patient.apps.read_namespaced_stateful_set("lnd", patient.name).status.update_revision
                   == patient.core.read_namespaced_pod("lnd-0", patient.name).metadata.labels["controller-revision-hash"], "it stays old", 20)
        put(image, "RollingUpdate")


@contextlib.contextmanager
def headers_without_blocks(patient):
    """Three headers, mined here; their blocks exist nowhere."""
    best = patient.bitcoind("getbestblockhash")
    previous, begin = bytes.fromhex(best)[::-1], int(time.time())
    for number in range(3):
        previous, header = mined_header(previous, begin + number)
        patient.bitcoind("submitheader", header.hex())
    try:
        yield
    finally:
        patient.bitcoind("generatetodescriptor", "4", "raw(6a)")


def mined_header(previous: bytes, when: int) -> tuple[bytes, bytes]:
    """Hash and header of a block of a regtest, whose target half of all hashes meet."""
    for nonce in range(1000):
        header = struct.pack("<i32s32sIII", 0x20000000, previous, secrets.token_bytes(32), when, 0x207FFFFF, nonce)
        digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
        if int.from_bytes(digest, "little") <= 0x7FFFFF << 8 * 29:
            return digest, header
    raise AssertionError("no nonce fits")


@contextlib.contextmanager
def stopped(patient, program):
    """A program that hangs."""
    patient.signal(program, "STOP")
    try:
        yield
    finally:
        patient.signal(program, "CONT")


@contextlib.contextmanager
def announced(patient, address):
    """LND announces another address."""
    def put(action):
        patient.admin("/v2/peers/nodeannouncement", {"address_updates": [{"action": action, "address": address}]})

    put("ADD")
    try:
        yield
    finally:
        put("REMOVE")


def other_signature(macaroon: bytes) -> bytes:
    return macaroon[:-32] + secrets.token_bytes(32)


def certificate(**of_certificate) -> Callable[[bytes], bytes]:
    return lambda _old: made(of_certificate.pop("at", datetime.now(timezone.utc)), **of_certificate)[0]


SERVICE = "bitcoind.carol.svc.cluster.local"
LND, BITCOIND = ("lnd", "lnd.conf"), ("bitcoind", "bitcoin.conf")

# The finding: how it is broken, and what else follows from that.
BREAKS = {
    "zmq-swapped": (lambda patient: patient.text(*LND, (":28332", ":1"), (":28333", ":28332"), (":1\n", ":28333\n")), CHANGED),
    "zmq-swapped by the Service": (zmq_swapped_behind_the_service, {"zmq-addresses"}),
    "zmq-port": (lambda patient: patient.text(*LND, (":28332", ":28399")), CHANGED),
    "zmq-missing": (lambda patient: patient.text(*LND, ("bitcoind.zmqpubrawtx=", "; ")), CHANGED),
    "zmq-elsewhere": (lambda patient: patient.text(*LND, (f"tcp://{SERVICE}", "tcp://bitcoind.alice.svc.cluster.local")), CHANGED),
    "zmq-addresses": (lambda patient: patient.text("bitcoind-zmq", "zmqpubhashtx", ("28335", "28334")), set()),
    "rpc-elsewhere": (lambda patient: patient.text(*LND, (f"rpchost={SERVICE}", "rpchost=bitcoind.bob.svc.cluster.local")), CHANGED),
    "rpc-port": (lambda patient: patient.text(*LND, (":18443", ":18444")), CHANGED),
    "rpc-whitelist": (lambda patient: patient.text(*BITCOIND, ("getblockheader,", "")), CHANGED),
    "rpc-refused": (lambda patient: patient.value("bitcoind-rpc", "cookie", lambda _old: b"lnd:yesterday"), {"rpc-changed"}),
    "rpc-changed": (lambda patient: patient.value("bitcoind-rpc", "cookie", lambda _old: b"lnd:yesterday"), {"rpc-refused"}),
    "wrong-network": (lambda patient: patient.text(*BITCOIND, ("chain=regtest", "chain=signet")),
                      {*CHANGED, "rpc-port", "rpc-refused"}),
    "certificate-other": (lambda patient: patient.value("lnd-tls", "cert", certificate(names=("lnd.carol.svc", SERVICE.replace("bitcoind", "lnd")))), set()),
    "certificate-expired": (lambda patient: patient.value("lnd-tls", "cert", certificate(at=datetime.now(timezone.utc) - timedelta(days=500))),
                            {"certificate-other", "certificate-names"}),
    "certificate-names": (lambda patient: patient.value("lnd-tls", "cert", certificate()), {"certificate-other"}),
    "certificate-missing": (lambda patient: patient.value("lnd-tls", "cert", lambda _old: b"rubbish"), set()),
    "macaroon-refused": (lambda patient: patient.value("lnd-invoice", "macaroon", other_signature), set()),
    "macaroon-damaged": (lambda patient: patient.value("lnd-router", "macaroon", lambda old: old[:50]), set()),
    "service-without-pod": (service_of_nobody, {"rpc-elsewhere", "zmq-elsewhere", "zmq-addresses", "not-ready", "lnd-silent", "lnd-starting"}),
    "pod-security": (namespace_without_pod_security, set()),
    "open-pod": (no_policies, {"open-namespace"}),
    "secret-missing": (no_wallet_password, set()),
    "volume-not-kept": (volume_that_goes_with_its_claim, set()),
    "other-image": (newer_image_that_no_pod_has, set()),
    "catching-up": (headers_without_blocks, set()),
    "bitcoind-silent": (lambda patient: stopped(patient, "bitcoind"), set()),
    "lnd-silent": (lambda patient: stopped(patient, "lnd"), set()),
    "address-silent": (lambda patient: announced(patient, "127.0.0.1:1"), set()),
}


# What shows the same as another.
LONG = {"zmq-port", "zmq-missing", "rpc-port", "certificate-names", "certificate-missing", "macaroon-damaged", "rpc-changed"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in BREAKS])
def test_what_is_broken_is_found_by_name_and_gone_when_it_is_undone(patient, name):
    broken, follows = BREAKS[name]
    with broken(patient):
        # Without a block, so that it takes no longer than it needs: whether blocks arrive is tested below.
        told = patient.verify(mine=False)
    found, wanted = {each["name"] for each in told["findings"]}, {name.split()[0]}
    if name == "lnd-silent":
        wanted.add("lnd-starting")  # As which it passes in its first two minutes.
    assert found & wanted, told["findings"]
    assert found <= {*wanted, *follows}, told["findings"]
    assert told["seconds"] <= LIMIT
    patient.settled(60)


def test_the_inventory_s_network_is_another(patient):
    told = patient.verify(network="signet")
    assert {each["name"] for each in told["findings"]} >= {"wrong-network"}


def test_an_announced_address_that_answers_is_reached(patient):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with announced(patient, address):
            told = patient.verify()
    assert (address in told["reached"], told["findings"]) == (True, [])


# --- broken, and started so ------------------------------------------------------------------------------------------

@pytest.mark.long
def test_an_lnd_that_listens_to_the_wrong_topic_does_not_get_the_block(patient):
    """The one that nobody sees for hours: LND runs, answers, and its height in getinfo grows."""
    with patient.text(*LND, (":28332", ":1"), (":28333", ":28332"), (":1\n", ":28333\n")):
        patient.restart("lnd")
        eventually(lambda: active(patient), "LND does not start")
        told = patient.verify()
    patient.restart("lnd")
    assert {"zmq-swapped", "blocks-stay-away"} <= {each["name"] for each in told["findings"]}, told["findings"]
    patient.settled()


def active(patient) -> bool:
    """Whether LND takes every call."""
    try:
        return patient.lnd(patient.name, "lnd-readonly").call("GET", "/v1/state")["state"] == "SERVER_ACTIVE"
    except Exception:  # pylint: disable=broad-except  # It is starting: anything may go wrong on the way.
        return False


@pytest.mark.long
def test_an_lnd_that_is_switched_off_is_found(patient):
    patient.apps.patch_namespaced_stateful_set("lnd", patient.name, {"spec": {"replicas": 0}})
    try:
        eventually(lambda: not patient.core.list_namespaced_pod(patient.name, label_selector="app.kubernetes.io/name=lnd").items, "the pod stays")
        told = patient.verify()
    finally:
        patient.apps.patch_namespaced_stateful_set("lnd", patient.name, {"spec": {"replicas": 1}})
    assert "scaled-to-zero" in {each["name"] for each in told["findings"]}
    patient.settled()


@pytest.mark.long
def test_a_bitcoind_that_ends_again_and_again_is_found(patient):
    with patient.text(*BITCOIND, ("dbcache=", "nosuchoption=1\ndbcache=")):
        patient.restart("bitcoind")
        told = eventually(lambda: [told for told in [patient.verify()] if "crash-looping" in {each["name"] for each in told["findings"]}],
                          "it does not crash", 60)[0]
    patient.restart("bitcoind")
    assert "nosuchoption" in str(told["findings"])
    patient.settled(180)
