"""Onion services in a Tor network of the node's own: alice is reached through bob's Tor, and her addresses stay."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import time

import kubernetes
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _onion, _pod
from conftest import KUBECONFIG, NODE, eventually
from newcomer import if_there
from onions import Control, Unreached, speaks_bitcoin, speaks_lightning, through_tor

# From a restart to an onion service that answers.
BACK = 120
BITCOIN, LIGHTNING, REST = 18444, 9735, 8080


@pytest.fixture
def onion(secret):
    """The address of one of alice's onion services."""
    return lambda name: secret("alice", f"tor-onion-{name}")["hostname"].decode().strip()


@pytest.fixture
def reaches(cluster):
    """Whether a service answers through bob's Tor within the time; where not, fails with what was last in the way."""
    def reached(address, port, spoken, seconds=BACK):
        deadline, obstacle = time.monotonic() + seconds, "nothing was tried"
        while time.monotonic() < deadline:
            try:
                with through_tor(cluster, "bob", address, port, deadline - time.monotonic() + 1) as connection:
                    if spoken(connection):
                        return True
                    obstacle = "it speaks another language"
            except Unreached as error:
                obstacle = str(error)
            time.sleep(1)
        pytest.fail(f"{address}:{port} does not answer within {seconds} s: {obstacle}")
    return reached


@pytest.fixture
def lightning(lnd, onion, reaches):
    """alice's LND is reached by her onion address, and is who it should be."""
    def reached(seconds=BACK):
        identity = lnd("alice").call("GET", "/v1/getinfo")["identity_pubkey"]
        return reaches(onion("lnd-p2p"), LIGHTNING, lambda connection: speaks_lightning(connection, identity), seconds)
    return reached


@pytest.fixture
def bitcoin(onion, reaches):
    return lambda seconds=BACK: reaches(onion("bitcoind-p2p"), BITCOIN, speaks_bitcoin, seconds)


@pytest.fixture
def tor_pod(core):
    """alice's Tor as it runs: what is another one later was restarted."""
    def running():
        pod = core.read_namespaced_pod("tor-0", "alice")
        return pod.metadata.uid, pod.status.container_statuses[0].restart_count
    return running


def test_lnd_is_reached_by_its_onion_address(lightning):
    assert lightning()


def test_bitcoind_is_reached_by_its_onion_address(bitcoin):
    assert bitcoin()


def test_lnd_announces_its_onion_address(lnd, onion):
    uris = lnd("alice").call("GET", "/v1/getinfo")["uris"]
    assert [uri for uri in uris if uri.endswith(f"@{onion('lnd-p2p')}:9735")]


def test_who_comes_to_bitcoind_by_its_onion_address_is_known_as_such(cluster, onion, bitcoin):
    """bitcoind tells him nothing of its other addresses then."""
    assert bitcoin()
    with through_tor(cluster, "bob", onion("bitcoind-p2p"), BITCOIN) as connection:
        assert speaks_bitcoin(connection)
        peers = _bitcoind(cluster, "getpeerinfo")
    assert [peer for peer in peers if peer["inbound"] and peer["network"] == "onion"]


def test_bitcoind_announces_its_onion_address_and_uses_tor_for_others(cluster, onion):
    info = _bitcoind(cluster, "getnetworkinfo")
    assert (onion("bitcoind-p2p"), BITCOIN) in {(each["address"], each["port"]) for each in info["localaddresses"]}
    proxies = {network["name"]: network["proxy"] for network in info["networks"]}
    assert proxies["onion"].endswith(":9050")
    assert proxies["ipv4"] == ""


def _bitcoind(cluster, call):
    """What alice's bitcoind answers to a call."""
    return json.loads(_pod.run(cluster, "alice", "bitcoind-0", "bitcoind", ["bitcoin-cli", "-datadir=/data", "-conf=/etc/bitcoin/bitcoin.conf", call]))


def test_rest_is_found_by_who_has_the_clients_key_and_by_nobody_else(cluster, secret, onion):
    address = onion("lnd-rest")
    with pytest.raises(Unreached), through_tor(cluster, "bob", address, REST):
        pass
    control = Control(cluster, "bob", secret("bob", "tor-control")["password"])
    control.know(secret("alice", "tor-client-lnd-rest")["client.auth_private"])
    try:
        certificate, macaroon = secret("alice", "lnd-tls")["cert"], secret("alice", "lnd-readonly")["macaroon"]
        eventually(lambda: _rest(cluster, address, certificate, macaroon), f"{address} does not answer")
    finally:
        control.forget(address)
        control.close()


def _rest(cluster, address, certificate, macaroon):
    """Whether LND's REST answers under its onion name, with a certificate for that name."""
    try:
        with through_tor(cluster, "bob", address, REST) as plain:
            context = ssl.create_default_context(cadata=certificate.decode())
            with context.wrap_socket(plain, server_hostname=address) as connection:
                connection.sendall(f"GET /v1/getinfo HTTP/1.0\r\nGrpc-Metadata-macaroon: {macaroon.hex()}\r\n\r\n".encode())
                return b'"alias":"alice"' in b"".join(iter(lambda: connection.recv(65536), b"")).replace(b" ", b"")
    except Unreached:
        return False


def test_control_port_is_closed_to_who_has_no_password(cluster):
    with pytest.raises(AssertionError, match="515"):
        Control(cluster, "bob", b"guessed")


def test_no_key_is_in_the_pods_description_or_in_a_configmap(core, secret, shows_key):
    pod = core.read_namespaced_pod("tor-0", "alice")
    maps = core.list_namespaced_config_map("alice").items
    text = json.dumps([core.api_client.sanitize_for_serialization(each) for each in (pod, *maps)])
    assert not shows_key(text, secret("alice", "tor-onion-lnd-p2p")["hs_ed25519_secret_key"][32:])
    assert not shows_key(text, secret("alice", "tor-control")["password"])


@pytest.fixture
def shows_key():
    return lambda text, value: any(form in text for form in (value.hex(), base64.b64encode(value).decode()[4:40], value.decode("latin-1")))


# --- what is wrong leaves the running Tor alone --------------------------------------------------------------------

@pytest.fixture
def swapped(core):
    """Another key beside alice's recorded address, for as long as the test takes."""
    name, key = "tor-onion-lnd-p2p", _onion.new_key()
    before = core.read_namespaced_secret(name, "alice").data["hs_ed25519_secret_key"]
    core.patch_namespaced_secret(name, "alice", {"data": {"hs_ed25519_secret_key": base64.b64encode(key.secret_file).decode()}})
    yield key
    core.patch_namespaced_secret(name, "alice", {"data": {"hs_ed25519_secret_key": before}})


def test_key_that_is_not_its_addresss_stops_the_rollout(site, swapped, onion, tor_pod):
    before = tor_pod()
    run = site("--limit", "alice")
    assert run.code != 0
    assert f"its key is that of {swapped.address}, but its recorded address is {onion('lnd-p2p')}" in " ".join(run.output.split())
    assert tor_pod() == before


def test_unknown_option_is_refused_by_tor_before_it_runs_with_it(site, core, tor_pod, tmp_path):
    before = tor_pod(), core.read_namespaced_config_map("tor", "alice").data
    options = json.loads((KUBECONFIG.parent / "tor_options.json").read_text())
    run = site("--limit", "alice", "-e", json.dumps({"tor_options": {**options, "Foo": 1}}))
    assert run.code != 0
    assert "Unknown option 'Foo'; look at tor_options" in " ".join(run.output.split())
    assert (tor_pod(), core.read_namespaced_config_map("tor", "alice").data) == before
    assert [pod.metadata.name for pod in core.list_namespaced_pod("alice").items if "check" in pod.metadata.name and not pod.metadata.deletion_timestamp] == []


# --- what restarts is reached again --------------------------------------------------------------------------------

# Ten rounds of all of them are a step of their own in tests/run.py: the machine's restart would be another test's accident.
RESTARTS = {"tor": ["tor-0"], "bitcoind": ["bitcoind-0"], "lnd": ["lnd-0"], "all": ["tor-0", "bitcoind-0", "lnd-0"], "machine": []}


@pytest.mark.parametrize(("_number", "what"), [
    pytest.param(number, what, marks=[pytest.mark.long] * ((number, what) != (1, "tor")), id=f"{what}-{number}")
    for number in range(1, 11) for what in RESTARTS])
def test_what_is_restarted_is_reached_again_by_itself(core, lnd, lightning, bitcoin, _number, what):
    start = restart_pods(core, RESTARTS[what]) if RESTARTS[what] else restart_machine()

    def left():
        return BACK - (time.monotonic() - start)
    eventually(lambda: _synced(lnd), "LND is not synced", left())
    assert lightning(left())
    assert bitcoin(left())


def restart_pods(core, names: list[str]) -> float:
    """Delete them at once; returns when that was, as soon as each is another."""
    old = {name: core.read_namespaced_pod(name, "alice").metadata.uid for name in names}
    start = time.monotonic()
    for name in names:
        core.delete_namespaced_pod(name, "alice")
    for name, uid in old.items():
        eventually(lambda name=name, uid=uid: _other(core, name, uid), f"{name} does not come back", BACK)
    return start


def restart_machine() -> float:
    """An orderly halt, with the network of Tor and bob on it, as `reboot` is; returns when it was switched on again."""
    for command in (["stop", "--time=90"], ["start"]):
        start = time.monotonic()
        done = subprocess.run(["podman", *command, f"openlsp-{NODE}"], text=True, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    return start


def _other(core, name, uid):
    try:
        return core.read_namespaced_pod(name, "alice").metadata.uid != uid
    except kubernetes.client.ApiException:
        return False


def _synced(lnd):
    try:
        return lnd("alice").call("GET", "/v1/getinfo")["synced_to_chain"]
    except Exception:  # pylint: disable=broad-except  # It is starting.
        return False


@pytest.mark.long
def test_addresses_survive_the_loss_of_every_workload(api, core, settled, onion, lightning, bitcoin):
    before = onion("lnd-p2p"), onion("bitcoind-p2p")
    apps = kubernetes.client.AppsV1Api(api)
    with if_there():
        apps.delete_namespaced_stateful_set("tor", "alice")
    with if_there():
        core.delete_namespaced_persistent_volume_claim("data-tor-0", "alice")
    eventually(lambda: not [pod for pod in core.list_namespaced_pod("alice").items if pod.metadata.name == "tor-0"], "the pod stays")
    for name in ("tor-to-lnd", "tor-to-bitcoind"):
        core.delete_namespaced_service(name, "alice")
    settled("--limit", "alice")
    assert (onion("lnd-p2p"), onion("bitcoind-p2p")) == before
    assert lightning()
    assert bitcoin()
