"""Onion services' keys: made once, brought along in either form, never replaced, never shown."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _onion
from ansible_collections.openlsp.node.plugins.module_utils._secret import ForeignSecretError
from ansible_collections.openlsp.node.plugins.modules import tor_onion_secret
from kube_store import KubeStore

OURS = {"app.kubernetes.io/managed-by": "openlsp.node"}
NAME = "tor-onion-lnd-p2p"


@pytest.fixture
def store(api):
    store = KubeStore()
    api.otherwise = store.answer
    return store


@pytest.fixture
def run(store, kubeconfig):
    """The module's result for ``lnd-p2p``, or for these services."""
    def ran(*services, authorised=(), keys=None, check_mode=False):
        return tor_onion_secret.run(SimpleNamespace(check_mode=check_mode, params={
            "kubeconfig": str(kubeconfig), "context": None, "namespace": "ns", "services": list(services) or ["lnd-p2p"],
            "authorised": authorised, "keys": keys or {}, "control": "tor-control", "labels": {}}))
    return ran


def held(store, name=NAME):
    return {key: base64.b64decode(value) for key, value in store.secrets["ns", name]["data"].items()}


def put(store, name=NAME, labels=OURS, **data):  # pylint: disable=dangerous-default-value
    store.put("ns", name, {key: base64.b64encode(value).decode() for key, value in data.items()}, labels)


def files(key):
    return {"hostname": key.hostname_file, "hs_ed25519_public_key": key.public_file, "hs_ed25519_secret_key": key.secret_file}


def test_a_key_is_made_and_its_files_belong_together(run, store):
    result = run()
    data = held(store)
    key = _onion.checked(data["hs_ed25519_secret_key"], data["hostname"], data["hs_ed25519_public_key"])
    assert result["changed"] and result["addresses"] == {"lnd-p2p": key.address}


def test_a_second_run_changes_nothing(run, store):
    first = run()
    before = {name: held(store, name) for _namespace, name in store.secrets}
    assert run() == {**first, "changed": False, "diff": {"before": "", "after": ""}}
    assert {name: held(store, name) for _namespace, name in store.secrets} == before


@pytest.mark.parametrize("form", [lambda key: key.add_onion, lambda key: base64.b64encode(key.secret_file).decode()], ids=["lnd", "tor"])
def test_a_key_that_is_brought_along_keeps_its_address(run, store, form):
    key = _onion.new_key()
    assert run(keys={"lnd-p2p": form(key)})["addresses"] == {"lnd-p2p": key.address}
    assert held(store) == files(key)
    assert run(keys={"lnd-p2p": form(key)})["changed"] is False


def test_a_key_is_never_replaced_by_one_that_is_brought_along(run, store):
    there, brought = _onion.new_key(), _onion.new_key()
    put(store, **files(there))
    with pytest.raises(_onion.OnionError, match=f"tor_onion_keys: lnd-p2p: it is the key of {brought.address}.*has that of {there.address}; .*never replaced"):
        run(keys={"lnd-p2p": brought.add_onion})
    assert held(store) == files(there)


def test_a_secret_that_was_restored_without_its_labels_is_taken_over(run, store):
    address = run("lnd-rest", authorised=["lnd-rest"])["addresses"]
    before = {name: held(store, name) for _namespace, name in store.secrets}
    for secret in store.secrets.values():
        secret["metadata"]["labels"] = {}
    assert run("lnd-rest", authorised=["lnd-rest"])["addresses"] == address
    assert {name: held(store, name) for _namespace, name in store.secrets} == before
    assert all(secret["metadata"]["labels"] == OURS for secret in store.secrets.values())


def test_anothers_password_is_not_overwritten(run, store):
    put(store, "tor-control", {}, password=b"of another program")
    with pytest.raises(ForeignSecretError, match="the Secret tor-control of namespace ns exists and is not managed by"):
        run()
    assert set(store.secrets) == {("ns", "tor-control")}


@pytest.mark.parametrize("keys", [lambda key: {"bitcoind-p2p": key.add_onion, "lnd-p2p": key.add_onion}, lambda key: {"bitcoind-p2p": key.add_onion}],
                         ids=["brought", "there"])
def test_two_services_do_not_share_a_key(run, store, keys):
    key = _onion.new_key()
    if len(keys(key)) == 1:
        put(store, **files(key))
    with pytest.raises(_onion.OnionError, match=f"bitcoind-p2p and lnd-p2p have one key, that of {key.address}.*tor_onion_keys"):
        run("bitcoind-p2p", "lnd-p2p", keys=keys(key))
    assert not set(store.secrets) - {("ns", NAME)}


def test_a_key_that_is_not_its_addresss_stops_everything(run, store):
    there, other = _onion.new_key(), _onion.new_key()
    put(store, **{**files(there), "hs_ed25519_secret_key": other.secret_file})
    with pytest.raises(_onion.OnionError, match=f"{NAME}: its key is that of {other.address}, but its recorded address is {there.address}"):
        run("bitcoind-p2p", "lnd-p2p")
    assert set(store.secrets) == {("ns", NAME)}


def test_an_address_whose_key_is_lost_is_not_given_another_one(run, store):
    there = _onion.new_key()
    put(store, hostname=there.hostname_file)
    with pytest.raises(_onion.OnionError, match=f"the key of {there.address} is missing"):
        run()
    assert run(keys={"lnd-p2p": there.add_onion})["addresses"] == {"lnd-p2p": there.address}


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("left", [{}, {"hostname": _onion.new_key().hostname_file}], ids=["nothing", "address"])
def test_a_key_that_only_the_running_tor_has_is_not_given_up(run, store, left, check_mode):
    store.deploy("ns", "tor", NAME, plural="statefulsets")
    if left:
        put(store, **left)
    command = "exec tor-0 -- base64 -w0 /run/tor/onion/lnd-p2p/hs_ed25519_secret_key"
    with pytest.raises(_onion.OnionError, match=f"{NAME} has no key, or is gone, .*{command} .*tor_onion_keys.*delete statefulset tor"):
        run(check_mode=check_mode)
    assert set(store.secrets) <= {("ns", NAME)}


def test_a_key_that_was_saved_from_the_running_tor_is_kept_on(run, store):
    store.deploy("ns", "tor", NAME, plural="statefulsets")
    key = _onion.new_key()
    assert run(keys={"lnd-p2p": base64.b64encode(key.secret_file).decode()})["addresses"] == {"lnd-p2p": key.address}


def test_a_service_that_is_new_to_the_running_tor_gets_a_key(run, store):
    run()
    store.deploy("ns", "tor", NAME, "tor-control", plural="statefulsets")
    assert set(run("lnd-p2p", "bitcoind-p2p")["addresses"]) == {"lnd-p2p", "bitcoind-p2p"}


def test_files_that_follow_from_the_key_are_made_again(run, store):
    there = _onion.new_key()
    put(store, hs_ed25519_secret_key=there.secret_file)
    assert run()["changed"] is True
    assert held(store) == files(there)


@pytest.mark.parametrize("text, complaint", [("RSA1024:abc", "version 2"), ("nonsense!", "neither")])
def test_what_is_no_key_is_refused_by_the_variables_name(run, store, text, complaint):
    with pytest.raises(_onion.OnionError, match=f"tor_onion_keys: lnd-p2p: .*{complaint}"):
        run(keys={"lnd-p2p": text})
    assert store.secrets == {}


def test_a_client_gets_a_key_of_its_own_which_nobody_else_holds(run, store):
    address = run("lnd-rest", authorised=["lnd-rest"])["addresses"]["lnd-rest"]
    private = held(store, "tor-client-lnd-rest")["client.auth_private"]
    assert private.startswith(address.removesuffix(".onion").encode() + b":descriptor:x25519:")
    assert held(store, "tor-onion-lnd-rest")["client.auth"] == _onion.parse_client(private).authorized
    assert run("lnd-rest", authorised=["lnd-rest"])["changed"] is False


def test_the_control_ports_password_is_made_once(run, store):
    run()
    data = held(store, "tor-control")
    salt = bytes.fromhex(data["hashed"].decode()[3:19])
    assert _onion.hashed_password(data["password"].decode(), salt).encode() == data["hashed"]


def test_check_mode_writes_nothing_and_knows_no_address(run, store):
    result = run(check_mode=True)
    assert result["changed"] and result["addresses"] == {"lnd-p2p": "known-after-the-first-run.onion"}
    assert store.secrets == {}
    key = _onion.new_key()
    assert run(keys={"lnd-p2p": key.add_onion}, check_mode=True)["addresses"] == {"lnd-p2p": key.address}


def test_another_key_shows_in_the_digest_and_another_password_does_not(run, store):
    first = run()["digest"]
    del store.secrets["ns", NAME]
    assert run()["digest"] != first


def test_nothing_shows_a_key_or_a_password(run, store, shows):
    result = run("lnd-rest", authorised=["lnd-rest"])
    data = {**held(store, "tor-onion-lnd-rest"), **held(store, "tor-control"), **held(store, "tor-client-lnd-rest")}
    for key in ("hs_ed25519_secret_key", "password"):
        # Without the header of Tor's file, which is no secret.
        assert not shows(result, data[key][-32:])
    assert not shows(result, data["client.auth_private"][-40:])
