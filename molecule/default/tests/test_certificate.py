"""LND's certificate: its names, its renewal, and that the Secret holds what LND shows its clients."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _certificate, _lnd, _pod
from certificates import DAY, made
from conftest import NODE, eventually, on_node
from newcomer import TLS_NAMES

PUBLISH = "openlsp.node.lnd : Publish certificate and macaroons as Secrets"
APPLY = "openlsp.node.lnd : Apply the manifests of LND"


@pytest.fixture
def served(cluster, carol) -> Callable[[], _certificate.Certificate]:
    """The certificate that carol's LND shows whoever connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def ask() -> _certificate.Certificate:
        with context.wrap_socket(_pod.forward(cluster, carol.name, "lnd-0", _lnd.REST_PORT)) as connection:
            return _certificate.parse(ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True)).encode())
    return ask


@pytest.fixture
def published(core, secret, carol) -> Callable[[], _certificate.Certificate]:
    """The certificate in her Secret, which says of itself what it holds."""
    def read() -> _certificate.Certificate:
        certificate = _certificate.parse(secret(carol.name, "lnd-tls")["cert"])
        annotations = core.read_namespaced_secret("lnd-tls", carol.name).metadata.annotations
        assert annotations["openlsp.org/certificate-sha256"] == certificate.sha256
        assert datetime.fromisoformat(annotations["openlsp.org/certificate-expires"].replace("Z", "+00:00")) == certificate.expires
        return certificate
    return read


@pytest.fixture
def serving(core, carol, served) -> Callable[[bytes, bytes], None]:
    """Make carol's LND serve another certificate."""
    def serve(certificate: bytes, key: bytes) -> None:
        for name, content in (("tls.cert", certificate), ("tls.key", key)):
            # Into the file that is there, which belongs to LND.
            assert on_node("sh", "-c", 'printf %s "$1" > "$2"', "sh", content.decode(), carol.on_volume(name)).returncode == 0
        restart(core, carol)
        wanted = _certificate.parse(certificate).sha256
        eventually(lambda: quietly(lambda: served().sha256) == wanted, "LND does not serve that certificate", 60)
    return serve


def restart(core, carol) -> None:
    """As a power cut would; returns when the old pod is gone."""
    old = core.read_namespaced_pod("lnd-0", carol.name).metadata.uid
    carol.restart_lnd()
    eventually(lambda: old not in {each.metadata.uid for each in core.list_namespaced_pod(carol.name).items}, "the old pod stays")


def quietly(attempt):
    """The result, or None while LND starts, when anything may go wrong on the way."""
    try:
        return attempt()
    except Exception:  # pylint: disable=broad-except
        return None


def test_certificate_names_every_way_to_the_node(served, carol):
    service = [f"lnd.{carol.name}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local")]
    assert _certificate.missing(served(), ["lnd", *service, "localhost", "127.0.0.1", *TLS_NAMES]) == []


def test_certificate_that_lnd_made_anew_is_noticed_by_the_next_run(core, carol, served, published):
    before = published()
    assert on_node("rm", carol.on_volume("tls.cert"), carol.on_volume("tls.key")).returncode == 0
    restart(core, carol)
    assert carol.settle().changed_tasks == [PUBLISH]
    assert before.sha256 != published().sha256 == served().sha256


def near_its_end(names) -> tuple[bytes, bytes]:
    """LND keeps it: it has not expired, and its names are those that LND is told. 20 days are left."""
    return made(datetime.now(timezone.utc) - 400 * DAY, names=names)


def assert_new_and_published(served, published) -> None:
    assert published().sha256 == served().sha256
    assert published().expires - datetime.now(timezone.utc) > 300 * DAY


@pytest.mark.long
def test_certificate_near_its_end_is_renewed_and_the_secret_follows(carol, served, published, serving):
    serving(*near_its_end(served().names))
    foretold = carol.settle("--check")
    assert foretold.changed_tasks == [PUBLISH]
    assert served().expires - datetime.now(timezone.utc) < 30 * DAY
    assert carol.settle().changed_tasks == [PUBLISH]
    assert_new_and_published(served, published)
    assert carol.settle().changed == {carol.name: 0}


@pytest.mark.long
def test_renewal_that_was_killed_is_completed_by_the_next_run(carol, served, published, serving):
    certificate, key = near_its_end(served().names)
    serving(certificate, key)
    # It is gone for a second; a look from here takes as long.
    watch = ["podman", "exec", f"openlsp-{NODE}", "timeout", "300", "sh", "-c", 'while [ -e "$0" ]; do sleep 0.02; done', carol.on_volume("tls.key")]
    with subprocess.Popen(watch) as gone:
        try:
            carol.mortal_run().kill_when(lambda: gone.poll() is not None)
        finally:
            gone.kill()
    carol.settle()
    assert_new_and_published(served, published)


@pytest.mark.long
def test_lnd_whose_certificate_has_expired_is_still_known_and_renews_it(carol, served, published, serving):
    """LND looks every ten minutes only."""
    life = timedelta(seconds=40)
    serving(*made(datetime.now(timezone.utc), life, served().names))
    eventually(lambda: datetime.now(timezone.utc) > served().expires, "it does not expire")
    carol.settle()
    assert_new_and_published(served, published)


@pytest.mark.long
def test_changed_name_reaches_the_certificate_and_the_secret(carol, served, published):
    run = carol.settle("-e", json.dumps({"lnd_tls_names": [*TLS_NAMES, "new.example"]}))
    assert run.changed_tasks == [APPLY, PUBLISH]
    assert _certificate.missing(served(), ["new.example", *TLS_NAMES]) == []
    assert published().sha256 == served().sha256
    carol.settle()
    assert _certificate.missing(published(), ["new.example", *TLS_NAMES]) == ["new.example"]
