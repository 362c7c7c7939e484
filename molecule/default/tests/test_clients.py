"""Programs from outside of this project take the Secrets as they are."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import urllib.parse

import lndgrpc
import pytest
from conftest import KUBECONFIG

# Where testbed/build.py puts what it builds for this computer.
PROGRAMS = pathlib.Path(os.environ.get("OPENLSP_CACHE") or pathlib.Path.home() / ".cache/openlsp.node") / "bin"


@contextlib.contextmanager
def forwarded(namespace: str, port: int = 10009):
    """The address on this computer that leads to a port of LND, by kubectl."""
    command = [PROGRAMS / "kubectl", "--kubeconfig", KUBECONFIG, "-n", namespace, "port-forward", "pod/lnd-0", f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.search(r"127\.0\.0\.1:\d+", process.stdout.readline())[0]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def alice():
    with forwarded("alice") as address:
        yield address


@pytest.fixture
def mounted(secret, tmp_path):
    """A Secret as files, as a pod gets it; nothing of it stays."""
    def mount(name: str, namespace: str = "alice") -> pathlib.Path:
        directory = tmp_path / name
        directory.mkdir()
        for key, value in secret(namespace, name).items():
            (directory / key).write_bytes(value)
        return directory
    yield mount
    shutil.rmtree(tmp_path)


def lncli(address: str, certificate: pathlib.Path, macaroon: pathlib.Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run([PROGRAMS / "lncli", "--rpcserver", address, "--tlscertpath", certificate, "--macaroonpath", macaroon,
                           "--network", "regtest", *command], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("name", "allowed", "refused"), [
    ("lnd-admin", ["walletbalance"], None),
    ("lnd-readonly", ["getinfo"], ["newaddress", "p2tr"]),
    ("lnd-invoice", ["listinvoices"], ["getinfo"]),
])
def test_lncli_takes_certificate_and_macaroon(alice, mounted, name, allowed, refused):
    files = mounted("lnd-tls") / "cert", mounted(name) / "macaroon"
    answer = lncli(alice, *files, *allowed)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)
    if refused:
        assert "permission denied" in lncli(alice, *files, *refused).stderr


def test_lncli_does_not_take_another_nodes_certificate(alice, mounted):
    refused = lncli(alice, mounted("lnd-tls", "bob") / "cert", mounted("lnd-readonly") / "macaroon", "getinfo")
    assert refused.returncode != 0
    assert "certificate" in refused.stderr


@pytest.fixture
def refused(capsys):
    """Whether LND refuses a call of lnd-grpc-client, which prints that."""
    def refused(call, *arguments) -> bool:
        capsys.readouterr()
        return call(*arguments) is None and "permission denied" in capsys.readouterr().out
    return refused


def test_lnd_grpc_client_takes_certificate_and_macaroon(alice, mounted, refused):
    """lnd-grpc-client, from the files that a pod has."""
    client = lndgrpc.LNDClient(alice, cert_filepath=str(mounted("lnd-tls") / "cert"), macaroon_filepath=str(mounted("lnd-readonly") / "macaroon"))
    assert client.get_info().alias == "alice"
    assert refused(client.add_invoice, 1)


def test_lnd_grpc_client_takes_the_bytes(alice, secret, refused):
    """As a program that reads the Secrets through the API gives them: the certificate as it is, the macaroon in hexadecimal."""
    client = lndgrpc.LNDClient(alice, cert=secret("alice", "lnd-tls")["cert"], macaroon=secret("alice", "lnd-invoice")["macaroon"].hex())
    assert client.list_invoices() is not None
    assert refused(client.get_info)


def decoded(address: str) -> tuple[str, bytes, bytes]:
    """An lndconnect address as apps read it: host and port, certificate (DER), macaroon.

    https://github.com/LN-Zap/lndconnect/blob/master/lnd_connect_uri.md: the parameters are base64url without padding, the certificate DER.
    """
    parts = urllib.parse.urlsplit(address)
    assert parts.scheme == "lndconnect"
    assert "=" not in "".join(each.split("=", 1)[1] for each in parts.query.split("&"))
    values = {key: base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)) for key, value in urllib.parse.parse_qsl(parts.query, strict_parsing=True)}
    return parts.netloc, values["cert"], values["macaroon"]


@pytest.fixture(scope="module")
def shop(bare_lnd):
    """A consumer's Secret."""
    run = bare_lnd.publish(consumers=[{"name": "shop", "permissions": ["info:read", "invoices:read", "invoices:write"]}])
    assert run.code == 0, run.complaint
    yield bare_lnd.secrets()["lnd-consumer-shop"]
    bare_lnd.publish()


def from_keys(consumer) -> tuple[bytes, bytes]:
    return consumer["cert"], consumer["macaroon"]


def from_address(consumer) -> tuple[bytes, bytes]:
    _host, certificate, macaroon = decoded(consumer["lndconnect"].decode())
    return ssl.DER_cert_to_PEM_cert(certificate).encode(), macaroon


@pytest.mark.parametrize("reads", [from_keys, from_address])
def test_consumer_gets_what_it_was_given_and_no_more(shop, refused, reads):
    certificate, macaroon = reads(shop)
    with forwarded("bare", int(shop["grpc_port"])) as address:
        client = lndgrpc.LNDClient(address, cert=certificate, macaroon=macaroon.hex())
        assert client.get_info().identity_pubkey
        assert refused(client.wallet_balance)


def test_lndconnect_address_says_what_the_keys_say(shop):
    host, certificate, macaroon = decoded(shop["lndconnect"].decode())
    assert host == f"{shop['host'].decode()}:{shop['grpc_port'].decode()}"
    assert (certificate, macaroon) == (ssl.PEM_cert_to_DER_cert(shop["cert"].decode()), shop["macaroon"])
