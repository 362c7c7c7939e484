"""The first words of a peer, against the vectors of BOLT 8 and against peers that say the wrong thing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _handshake
from ansible_collections.openlsp.node.plugins.module_utils._handshake import MAGIC, HandshakeError, Noise

# BOLT 8, appendix A, "successful handshake".
REMOTE = bytes.fromhex("028d7500dd4c12685d1f568b4c2b5048e8534b873319f3a8daa612b469132ec7f7")
EPHEMERAL = int("12" * 32, 16)
ACT_ONE = "00036360e856310ce5d294e8be33fc807077dc56ac80d95d9cd4ddbd21325eff73f70df6086551151f58b8afe6c195782c6a"
ACT_TWO = "0002466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276e2470b93aac583c9ef6eafca3f730ae"


@pytest.fixture
def peer():
    """A socket to somebody who says these bytes when he has heard something, and then hangs up."""
    ends = []

    def says(*answers):
        ours, theirs = socket.socketpair()
        ours.settimeout(2)

        def talk():
            with contextlib.suppress(OSError), theirs:
                for each in answers or [b""]:
                    heard = theirs.recv(4096)
                    theirs.sendall(each(heard) if callable(each) else each)
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        ends.append((ours, thread))
        return ours
    yield says
    for ours, thread in ends:
        ours.close()
        thread.join(5)


# --- Lightning -----------------------------------------------------------------------------------------------------

def test_the_acts_are_those_of_the_specification():
    noise = Noise(REMOTE, EPHEMERAL)
    assert noise.act_one().hex() == ACT_ONE
    noise.check_act_two(bytes.fromhex(ACT_TWO))


@pytest.mark.parametrize(("act", "words"), [
    # The specification's own failures.
    ("0102466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276e2470b93aac583c9ef6eafca3f730ae", "no Lightning node"),
    ("0004466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276e2470b93aac583c9ef6eafca3f730ae", "no public key"),
    ("0002466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276e2470b93aac583c9ef6eafca3f730af", "another node"),
], ids=["bad-version", "bad-key", "bad-mac"])
def test_an_answer_of_somebody_else_is_refused(act, words):
    noise = Noise(REMOTE, EPHEMERAL)
    noise.act_one()
    with pytest.raises(HandshakeError, match=words):
        noise.check_act_two(bytes.fromhex(act))


def test_a_node_that_answers_is_known(peer, monkeypatch):
    monkeypatch.setattr(_handshake.secrets, "randbelow", lambda _n: EPHEMERAL - 1)
    _handshake.lightning(peer(bytes.fromhex(ACT_TWO)), REMOTE)


def test_who_hangs_up_at_act_one_is_another_node(peer):
    with pytest.raises(HandshakeError, match="is not this node"):
        _handshake.lightning(peer(), REMOTE)


@pytest.mark.parametrize("key", [b"", REMOTE[:-1], b"\4" + REMOTE[1:], b"\2" + b"\xff" * 32, b"\2" + (5).to_bytes(32, "big")],
                         ids=["none", "short", "uncompressed", "beyond-the-field", "not-on-the-curve"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(HandshakeError, match="no public key"):
        Noise(key, EPHEMERAL)


# --- Bitcoin -------------------------------------------------------------------------------------------------------

def version_of(agent, network="regtest", command=b"version", length=None):
    payload = b"\0" * 80 + bytes([len(agent)]) + agent + struct.pack("<i?", 7, True)
    head = struct.pack("<4s12sI4s", MAGIC[network], command, length or len(payload), b"\0" * 4)
    return head + payload


def test_a_bitcoin_node_says_what_it_is(peer):
    assert _handshake.bitcoin(peer(version_of(b"/Satoshi:31.1.0/")), "regtest") == "/Satoshi:31.1.0/"


def test_our_version_message_is_whole(peer):
    heard = []
    with pytest.raises(HandshakeError, match="a node of regtest answers there, not one of signet"):
        _handshake.bitcoin(peer(lambda said: heard.append(said) or version_of(b"/x/")), "signet")
    magic, command, length, _checksum = struct.unpack("<4s12sI4s", heard[0][:24])
    assert (magic, command.rstrip(b"\0"), length) == (MAGIC["signet"], b"version", len(heard[0]) - 24)


@pytest.mark.parametrize(("answer", "words"), [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something that is no Bitcoin node"),
    (version_of(b"/x/", "mainnet"), "a node of mainnet answers there, not one of regtest"),
    (version_of(b"/x/", command=b"ping"), "not with its version"),
    (version_of(b"/x/", length=2**31), "not with its version"),
    (version_of(b"/x/")[:30], "ended without an answer"),
], ids=["http", "another-network", "another-message", "endless", "cut"])
def test_who_says_the_wrong_thing_is_no_node_of_ours(peer, answer, words):
    with pytest.raises(HandshakeError, match=words):
        _handshake.bitcoin(peer(answer), "regtest")


def test_silence_is_told_from_an_end():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.05)
    with ours, theirs, pytest.raises(HandshakeError, match="the connection stands, but no answer comes"):
        _handshake.bitcoin(ours, "regtest")


# --- SOCKS ---------------------------------------------------------------------------------------------------------

def test_a_proxy_is_given_the_name_and_not_an_address(peer):
    heard = []
    _handshake.socks(peer(b"\5\0", lambda said: heard.append(said) or b"\5\0\0\1" + bytes(6)), "a.onion", 9735)
    assert heard == [b"\5\1\0\3\x07a.onion" + struct.pack("!H", 9735)]


@pytest.mark.parametrize(("answers", "words"), [
    ([b"\5\xff"], "wants a password, or is none"),
    ([b"\5\0", b"\5\xf0\0\1" + bytes(6)], "there is no descriptor of this onion service"),
    ([b"\5\0", b"\5\x63\0\1" + bytes(6)], "error 99"),
], ids=["password", "no-descriptor", "unknown"])
def test_a_proxy_that_refuses_is_quoted(peer, answers, words):
    with pytest.raises(HandshakeError, match=words):
        _handshake.socks(peer(*answers), "a.onion", 9735)
