"""LND's certificate: what is read from it, what is refused, when it is renewed, and that a client knows LND by it."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _credentials, _renewal
from ansible_collections.openlsp.node.plugins.module_utils._certificate import (
    MAX_BYTES, CertificateError, PrivateKeyError, fingerprint, missing, needs_renewal, parse)
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._credentials import CredentialError, Node, NotYet
from ansible_collections.openlsp.node.plugins.module_utils._lnd import Lnd, LndCertificateError, LndError
from certificates import DAY, NAMES, made as made_at
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, strategies

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
# What LND 0.21.3 made.
OF_LND = b"""-----BEGIN CERTIFICATE-----
MIICTzCCAfWgAwIBAgIQXYMIR2JysFZb9xxr93ntcTAKBggqhkjOPQQDAjAvMR8w
HQYDVQQKExZsbmQgYXV0b2dlbmVyYXRlZCBjZXJ0MQwwCgYDVQQDEwNsbmQwHhcN
MjYxMTI3MDAxOTMxWhcNMjgwMTIyMDAxOTMxWjAvMR8wHQYDVQQKExZsbmQgYXV0
b2dlbmVyYXRlZCBjZXJ0MQwwCgYDVQQDEwNsbmQwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ4D+PIJzggMbxg5pf8+CoznGFnw/nRHfiH/C6K/VtN3ETdZI5vH4vS
wIp3bZ91rXFR7jDjVuXJJN+v1YSTzNLDo4HyMIHvMA4GA1UdDwEB/wQEAwICpDAT
BgNVHSUEDDAKBggrBgEFBQcDATAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBQR
EK2eUH8e+pYELtwKnwWEXZSh1jCBlwYDVR0RBIGPMIGMgglsb2NhbGhvc3SCA2xu
ZIIPbG5kLmNlcnRpZmljYXRlghNsbmQuY2VydGlmaWNhdGUuc3ZjgiFsbmQuY2Vy
dGlmaWNhdGUuc3ZjLmNsdXN0ZXIubG9jYWyCBHVuaXiCCnVuaXhwYWNrZXSCB2J1
ZmNvbm6HBH8AAAGHEAAAAAAAAAAAAAAAAAAAAAEwCgYIKoZIzj0EAwIDSAAwRQIh
AIxMMbsAqqkAqfdKumOTE4SdkqTZU9Uke823ZxUWr980AiB3Ix//ze7UTilD1LnU
2Yq+R8fWCGJfHM1Zzlo2+nOZKw==
-----END CERTIFICATE-----
"""


def made(at=NOW, **of):
    return made_at(at, **of)


CERTIFICATE, KEY = made()


# --- what is read --------------------------------------------------------------------------------------------------

def test_a_certificate_of_lnd_is_read():
    read = parse(OF_LND)
    assert read.expires == datetime(2028, 1, 22, 0, 19, 31, tzinfo=timezone.utc)
    assert read.starts == datetime(2026, 11, 27, 0, 19, 31, tzinfo=timezone.utc)
    assert read.names == ("localhost", "lnd", "lnd.certificate", "lnd.certificate.svc", "lnd.certificate.svc.cluster.local",
                          "unix", "unixpacket", "bufconn", "127.0.0.1", "::1")
    assert read.sha256 == "db32956b21718db737f7b16c7624ba06212be4dc187f455238b445d1b6810590"
    assert read.by_lnd
    assert read.pem == OF_LND


def test_names_are_host_names_and_addresses_of_both_families_in_their_order():
    assert parse(CERTIFICATE).names == NAMES


def test_a_certificate_without_alternative_names_has_no_names():
    assert parse(made(names=None)[0]).names == ()


def test_the_fingerprint_is_what_openssl_shows():
    assert parse(CERTIFICATE).sha256 == x509.load_pem_x509_certificate(CERTIFICATE).fingerprint(hashes.SHA256()).hex()


def test_a_certificate_that_lnd_did_not_make_is_told():
    assert not parse(made(organisation="Example Inc.")[0]).by_lnd


@pytest.mark.parametrize("change", [lambda pem: pem.replace(b"\n", b"\r\n"), lambda pem: b"\n" + pem + b"\n\n", bytes.rstrip],
                         ids=["line-ends-of-windows", "empty-lines", "no-line-end"])
def test_white_space_around_it_does_not_matter(change):
    assert parse(change(CERTIFICATE)).sha256 == parse(CERTIFICATE).sha256


def test_reading_it_is_not_paid_for_by_a_module_that_reads_none():
    program = "import sys; from ansible_collections.openlsp.node.plugins.module_utils import _certificate; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0


# --- what is refused -----------------------------------------------------------------------------------------------

DER = ssl.PEM_cert_to_DER_cert(CERTIFICATE.decode())

REFUSED = {
    "nothing": (b"", "it is empty"),
    "white-space": (b" \n", "it is empty"),
    "64-KiB-and-a-byte": (CERTIFICATE + b"\n" * (MAX_BYTES + 1 - len(CERTIFICATE)), "it has 65537 bytes; no certificate of LND is larger than 65536"),
    "der": (DER, "it is binary (DER); the text form (PEM) is needed"),
    "text": (b"not a certificate", "it holds no certificate: there is no -----BEGIN CERTIFICATE-----"),
    "binary": (bytes(range(1, 200)), "it holds no certificate"),
    "two": (CERTIFICATE * 2, "it holds 2 certificates; LND shows its clients one"),
    "a-request": (CERTIFICATE.replace(b" CERTIFICATE-", b" CERTIFICATE REQUEST-"), "it holds a CERTIFICATE REQUEST; one CERTIFICATE is needed"),
    "a-public-key": (CERTIFICATE.replace(b" CERTIFICATE-", b" PUBLIC KEY-"), "it holds a PUBLIC KEY;"),
    "the-first-half": (CERTIFICATE[:300], "it breaks off: there is no -----END CERTIFICATE-----"),
    "the-middle-missing": (CERTIFICATE[:200] + CERTIFICATE[300:], "what it holds between its BEGIN and END is no certificate ("),
    "text-before": (b"Subject: lnd\n" + CERTIFICATE, "it holds something else before, in or behind its certificate"),
    "text-behind": (CERTIFICATE + b"password", "it holds something else before, in or behind its certificate"),
    "bytes-inside": (CERTIFICATE[:100] + b"\xff" + CERTIFICATE[101:], "it holds something else before, in or behind its certificate"),
    "a-version-there-is-not": (ssl.DER_cert_to_PEM_cert(DER[:12] + b"\3" + DER[13:]).encode(), "what it holds between its BEGIN and END is no certificate (3"),
    "no-content": (b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n", "what it holds between"),
    "other-content": (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "what it holds between"),
}


@pytest.mark.parametrize("content, words", REFUSED.values(), ids=REFUSED)
def test_what_is_not_one_certificate_is_refused_by_name(content, words):
    with pytest.raises(CertificateError) as refusal:
        parse(content)
    assert str(refusal.value).startswith(words)
    assert not isinstance(refusal.value, PrivateKeyError)


@pytest.mark.parametrize("content", [KEY, CERTIFICATE + KEY, KEY + CERTIFICATE, KEY.replace(b"EC ", b""), KEY.replace(b"EC ", b"ENCRYPTED ")],
                         ids=["alone", "behind-the-certificate", "before-it", "pkcs8", "encrypted"])
def test_a_private_key_is_refused_without_showing_it(content, shows):
    with pytest.raises(PrivateKeyError, match="it holds a private key, which must never be published; move it into tls.key") as refusal:
        parse(content)
    assert not shows(refusal.value, KEY.split(b"\n")[1])


@given(strategies.one_of(
    strategies.binary(max_size=300),
    strategies.binary(max_size=300).map(lambda junk: b"-----BEGIN CERTIFICATE-----\n" + junk + b"\n-----END CERTIFICATE-----\n"),
    strategies.tuples(strategies.integers(0, len(DER) - 1), strategies.integers(1, 255)).map(
        lambda change: ssl.DER_cert_to_PEM_cert(bytes(byte ^ (change[1] if i == change[0] else 0) for i, byte in enumerate(DER))).encode())))
def test_no_content_ends_in_another_error(content):
    try:
        parse(content)
    except CertificateError:
        pass


# --- its names -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["lnd", "LND", "lnd.alice.svc.cluster.local", "127.0.0.1", "::1", "2001:DB8:0::A", "::ffff:127.0.0.1"])
def test_a_name_it_holds_is_not_missing(name):
    assert missing(parse(CERTIFICATE), [name]) == []


@pytest.mark.parametrize("name", ["lnd.bob", "192.0.2.1", "2001:db8::b", "lnd.alice", ""])
def test_a_name_it_does_not_hold_is_missing(name):
    assert missing(parse(CERTIFICATE), ["lnd", name, "localhost"]) == [name]


def test_an_asterisk_stands_for_one_label():
    read = parse(made(names=["*.lnd.example"])[0])
    assert missing(read, ["a.lnd.example", "*.lnd.example", "lnd.example", "a.b.lnd.example", "a.example"]) == [
        "lnd.example", "a.b.lnd.example", "a.example"]


# --- its renewal ---------------------------------------------------------------------------------------------------

# What was made how long ago for how long, days before the end; what is said.
RENEWAL = {
    "new": (0 * DAY, 420 * DAY, 30, None),
    "31-days-left": (389 * DAY, 420 * DAY, 30, None),
    "30-days-left": (390 * DAY, 420 * DAY, 30, None),
    "less-than-30-days-left": (390.1 * DAY, 420 * DAY, 30, "it expires on 2026-12-28 09:36 UTC"),
    "expired": (421 * DAY, 420 * DAY, 30, "it expired on 2026-11-27 12:00 UTC"),
    "expired-in-this-second": (420 * DAY, 420 * DAY, 30, "it expired on 2026-11-28 12:00 UTC"),
    "left-to-lnd": (419.9 * DAY, 420 * DAY, 0, None),
    "left-to-lnd-and-expired": (421 * DAY, 420 * DAY, 0, "it expired on 2026-11-27 12:00 UTC"),
    "not-yet-valid": (-2 * DAY, 420 * DAY, 30, "it is not valid before 2026-11-29 12:00 UTC"),
    "made-a-moment-ahead-of-our-clock": (-0.1 * DAY, 420 * DAY, 30, None),
    # A short life: LND's option tlscertduration.
    "new-for-a-day": (0 * DAY, 1 * DAY, 30, None),
    "half-of-a-day": (0.5 * DAY, 1 * DAY, 30, None),
    "end-of-a-day": (0.7 * DAY, 1 * DAY, 30, "it expires on 2026-11-28 19:12 UTC"),
}


@pytest.mark.parametrize("ago, life, days, reason", RENEWAL.values(), ids=RENEWAL)
def test_a_certificate_is_renewed_in_time_and_not_before(ago, life, days, reason):
    assert needs_renewal(parse(made(at=NOW - ago, life=life)[0]), NOW, days) == reason


def test_a_certificate_that_somebody_else_made_is_his_to_renew():
    assert needs_renewal(parse(made(at=NOW - 421 * DAY, organisation="Example Inc.")[0]), NOW, 30) is None


@given(life=strategies.timedeltas(timedelta(minutes=1), 9000 * DAY), days=strategies.integers(0, 4000))
def test_a_new_certificate_is_never_renewed_at_once(life, days):
    """Or each run would restart LND. The times in a certificate are whole seconds."""
    assert needs_renewal(parse(made(life=life)[0]), NOW + timedelta(seconds=10), days) is None


class Pod:
    """LND's container as ``renew`` sees it: what its tls.cert holds after each look, None for a container that is down."""

    def __init__(self, *later):
        self.later, self.commands = list(later), []

    def run(self, _cluster, _namespace, _pod, _container, command, *_timeout):
        self.commands.append(command)
        if command[0] == "sh":
            return b""
        content = self.later.pop(0) if len(self.later) > 1 else self.later[0]
        if isinstance(content, Exception):
            raise content
        return content


@pytest.fixture
def pod(monkeypatch):
    def of(*later):
        it = Pod(*later)
        monkeypatch.setattr(_credentials._pod, "run", it.run)
        monkeypatch.setattr(_renewal.time, "sleep", lambda _seconds: None)
        return it
    return of


NODE = Node(None, "ns", "lnd-0", "lnd", "/data", "signet")
OLD = made(at=datetime.now(timezone.utc) - 400 * DAY)[0]
NEW = made(at=datetime.now(timezone.utc))[0]


def test_renewal_waits_for_the_new_certificate_while_lnd_is_down(pod):
    it = pod(OLD, ClusterError("container not found"), b"", NEW[:100], NEW)
    assert _renewal.renew(NODE, parse(OLD), 30, 60) == parse(NEW)
    assert [command[0] for command in it.commands] == ["sh", "cat", "cat", "cat", "cat", "cat"]


def test_renewal_gives_up_when_lnd_keeps_its_certificate(pod):
    pod(OLD)
    with pytest.raises(NotYet, match="LND was ended to make a new certificate and has not made one"):
        _renewal.renew(NODE, parse(OLD), 30, 0)


def test_renewal_without_the_right_to_look_is_given_up_at_once(pod):
    pod(ClusterError("forbidden", 403))
    with pytest.raises(ClusterError, match="forbidden"):
        _renewal.renew(NODE, parse(OLD), 30, 60)


def test_renewal_with_a_wrong_clock_is_told(pod):
    pod(made(at=datetime.now(timezone.utc) - 500 * DAY)[0])
    with pytest.raises(CredentialError, match="LND made a new certificate, but it expired on .*; do the clocks of LND's machine and of this one agree?"):
        _renewal.renew(NODE, parse(OLD), 30, 60)


def test_renewal_removes_the_key_before_it_ends_lnd_and_leaves_the_certificate(pod, tmp_path):
    """Broken off between the two, LND goes on as before: nobody but LND at its start reads the key."""
    for name in ("tls.key", "tls.cert"):
        (tmp_path / name).write_text(name)
    it = pod(NEW)
    _renewal.renew(NODE, parse(OLD), 30, 60)
    shell, option, script, directory = it.commands[0]
    assert directory == "/data"
    done = subprocess.run([shell, option, 'kill() { ls "$0"; echo "ended $1"; }; ' + script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "tls.cert\nended 1\n"


# --- known by it ---------------------------------------------------------------------------------------------------

@contextmanager
def serving(tmp_path, certificate, key):
    """The address of a server with this certificate that takes one connection and answers one call."""
    (tmp_path / "cert").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    received = []

    def answer(listener):
        try:
            with context.wrap_socket(listener.accept()[0], server_side=True) as client:
                received.append(client.recv(4096))
                client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"state": "LOCKED"}')
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        yield listener.getsockname(), received
        thread.join(10)


@pytest.mark.parametrize("of", [{}, {"at": NOW - 4000 * DAY}, {"at": NOW + 40000 * DAY}, {"names": None}, {"organisation": "Example Inc."}],
                         ids=["valid", "expired", "not-yet-valid", "without-names", "somebody-else-s"])
def test_lnd_is_known_by_its_certificate_alone(tmp_path, of):
    certificate, key = made(**of)
    with serving(tmp_path, certificate, key) as (address, _received), Lnd(lambda: socket.create_connection(address), certificate) as lnd:
        assert lnd.state() == "LOCKED"


def test_another_certificate_is_not_taken_for_an_lnd_that_does_not_answer(tmp_path):
    """Nor is anything said to its holder."""
    with serving(tmp_path, *made()) as (address, received):
        with pytest.raises(LndCertificateError, match="LND holds another certificate than the one it is known by") as refusal:
            Lnd(lambda: socket.create_connection(address), CERTIFICATE).call("GET", "/v1/getinfo", macaroon=b"secret")
    assert refusal.value.code is None
    assert received in ([], [b""])


def test_an_lnd_that_does_not_answer_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(LndError) as refusal:
        Lnd(lambda: socket.create_connection(address), CERTIFICATE).state()
    assert not isinstance(refusal.value, LndCertificateError)


def test_what_is_no_certificate_knows_nobody(tmp_path):
    with serving(tmp_path, CERTIFICATE, KEY) as (address, _received):
        with pytest.raises(LndCertificateError, match="the certificate that LND is to be known by is no PEM"):
            Lnd(lambda: socket.create_connection(address), b"rubbish").state()


def test_the_fingerprint_of_what_is_no_pem_is_refused():
    with pytest.raises(ValueError):
        fingerprint(b"rubbish")
