"""Addresses that answer, that do not, and that this computer cannot judge."""

from __future__ import annotations

import errno
import socket
import threading

import pytest
from ansible_collections.openlsp.node.plugins.module_utils._handshake import HandshakeError
from ansible_collections.openlsp.node.plugins.modules import reachability_info

KEY = "028d7500dd4c12685d1f568b4c2b5048e8534b873319f3a8daa612b469132ec7f7"


def given(**more):
    return {"kubeconfig": None, "context": None, "namespace": "ns", "lightning": [], "bitcoin": [], "public_key": KEY, "network": "regtest",
            "timeout": 1, **more}


@pytest.fixture
def listener():
    """A port that takes connections and says nothing; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def hanging_up():
    """A port that ends every connection at the first word; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            while True:
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(100)
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_who_answers_is_reached(listener, monkeypatch):
    seen = []
    monkeypatch.setattr(reachability_info._handshake, "lightning", lambda _sock, key: seen.append(key.hex()))
    monkeypatch.setattr(reachability_info._handshake, "bitcoin", lambda _sock, network: seen.append(network))
    done = reachability_info.run(given(lightning=[listener], bitcoin=[listener]))
    assert [(each["protocol"], each["reached"]) for each in done["results"]] == [("lightning", True), ("bitcoin", True)]
    assert (sorted(seen), done["unreached"]) == ([KEY, "regtest"], [])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "[::1]"])
def test_without_a_port_it_is_the_one_of_the_protocol(monkeypatch, address):
    seen = []

    def nobody(place, timeout):  # pylint: disable=unused-argument
        seen.append(place)
        raise TimeoutError
    monkeypatch.setattr(reachability_info.socket, "create_connection", nobody)
    reachability_info.run(given(lightning=[address], bitcoin=[address]))
    host = address.strip("[]")
    assert sorted(seen) == [(host, 9735), (host, 18444)]


def test_a_port_that_takes_connections_and_says_nothing_is_not_reached(listener):
    done = reachability_info.run(given(bitcoin=[listener]))
    assert done["unreached"] == [f"bitcoin at {listener}: the connection stands, but no answer comes"]


def test_another_program_in_the_nodes_place_is_not_reached(hanging_up):
    done = reachability_info.run(given(lightning=[hanging_up], bitcoin=[hanging_up]))
    assert done["unreached"] == [f"lightning at {hanging_up}: whoever answers there is not this node: he ended the connection at our first words",
                                 f"bitcoin at {hanging_up}: the connection was ended without an answer"]


def test_a_closed_port_is_not_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert reachability_info.run(given(lightning=[address]))["unreached"] == [f"lightning at {address}: Connection refused"]


def test_what_this_computer_has_no_way_to_is_neither(monkeypatch):
    def no_way(*_arguments, **_options):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")
    monkeypatch.setattr(reachability_info.socket, "create_connection", no_way)
    done = reachability_info.run(given(lightning=["[2a01:4f8::20]:9735"]))
    assert (done["results"][0]["reached"], done["unreached"]) == (None, [])
    assert done["results"][0]["problem"] == "this computer has no way there (Network is unreachable)"


def test_an_onion_address_goes_through_the_nodes_own_tor(monkeypatch):
    asked = []

    class Sock:
        def settimeout(self, seconds):
            asked.append(seconds)

        def close(self):
            asked.append("closed")

    def refuse(_sock, host, port):
        asked.append((host, port))
        raise HandshakeError("the SOCKS proxy says: there is no descriptor of this onion service")
    monkeypatch.setattr(reachability_info._cluster, "connect", lambda *_arguments: "cluster")
    monkeypatch.setattr(reachability_info._pod, "forward", lambda *where: asked.append(where) or Sock())
    monkeypatch.setattr(reachability_info._handshake, "socks", refuse)
    done = reachability_info.run(given(lightning=["a.onion:9735"]))
    assert asked == [("cluster", "ns", "tor-0", 9050), 1, ("a.onion", 9735), "closed"]
    assert "there is no descriptor" in done["unreached"][0]


def test_nothing_to_reach_is_nothing_wrong():
    assert reachability_info.run(given()) == {"changed": False, "results": [], "unreached": []}
