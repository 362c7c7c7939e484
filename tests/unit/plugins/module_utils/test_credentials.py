"""LND's files: what is taken, what is refused, and what is said of it.

The pod is a directory: its commands run here. There is no LND; what it says of its macaroons is tested on a real one.
"""

from __future__ import annotations

import io
import os
import pathlib
import subprocess
import tarfile
from datetime import datetime, timezone

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _credentials
from ansible_collections.openlsp.node.plugins.module_utils._cluster import ClusterError
from ansible_collections.openlsp.node.plugins.module_utils._credentials import MACAROON_SECRETS, CredentialError, Node, NotYet
from ansible_collections.openlsp.node.plugins.module_utils._macaroon import KINDS, MAX_BYTES, mint
from certificates import made

CERTIFICATE = made(datetime(2026, 11, 28, tzinfo=timezone.utc))[0]
PRIVATE_KEY = b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAf9\n-----END EC PRIVATE KEY-----\n"

every_secret = pytest.mark.parametrize("name, kind", MACAROON_SECRETS.items(), ids=MACAROON_SECRETS)


@pytest.fixture
def of_kind(bake):
    """The macaroon that LND writes into a file."""
    return lambda kind, **given: bake(*map(str, sorted(KINDS[kind])), **given)


def checked(name, kind, content):
    return _credentials.macaroon_of(name, kind, {f"{kind}.macaroon": content})


# --- one macaroon under one name -----------------------------------------------------------------------------------

@every_secret
def test_each_secret_takes_the_macaroon_of_its_name(of_kind, name, kind):
    assert checked(name, kind, of_kind(kind)).raw == of_kind(kind)


def test_an_admin_macaroon_does_not_pass_as_readonly(of_kind):
    with pytest.raises(CredentialError) as refusal:
        checked("lnd-readonly", "readonly", of_kind("admin"))
    assert str(refusal.value).startswith("lnd-readonly: readonly.macaroon holds a macaroon of kind admin (address:read, address:write, ")
    assert "; its name promises exactly address:read, info:read, " in str(refusal.value)


def test_a_weaker_macaroon_does_not_pass_either(of_kind):
    with pytest.raises(CredentialError, match="lnd-admin: admin.macaroon holds a macaroon of kind readonly"):
        checked("lnd-admin", "admin", of_kind("readonly"))


def test_invoice_and_invoices_are_not_the_same(of_kind):
    with pytest.raises(CredentialError, match="lnd-invoices: invoices.macaroon holds a macaroon of kind invoice "):
        checked("lnd-invoices", "invoices", of_kind("invoice"))


def test_a_macaroon_with_other_permissions_is_described_by_them(bake):
    with pytest.raises(CredentialError, match=r"holds a macaroon with other permissions \(uri:/lnrpc.Lightning/GetInfo\)"):
        checked("lnd-readonly", "readonly", bake("uri:/lnrpc.Lightning/GetInfo"))


def test_a_macaroon_that_will_expire_is_refused(of_kind):
    with pytest.raises(CredentialError, match="lnd-admin: admin.macaroon is restricted by the caveat 'time-before 2026-12-01T00:00:00Z'"):
        checked("lnd-admin", "admin", of_kind("admin", caveats=["time-before 2026-12-01T00:00:00Z"]))


@pytest.mark.parametrize("length", [0, 1, 100, -1], ids=["empty", "one-byte", "half", "all-but-one-byte"])
def test_a_file_that_lnd_is_still_writing_is_waited_for(of_kind, length):
    with pytest.raises(NotYet, match="lnd-admin: admin.macaroon is no macaroon: it is "):
        checked("lnd-admin", "admin", of_kind("admin")[:length])


def test_a_file_that_lnd_has_not_written_is_waited_for():
    with pytest.raises(NotYet, match="lnd-router: LND has not written router.macaroon yet"):
        _credentials.macaroon_of("lnd-router", "router", {})


def test_a_macaroon_of_a_published_root_key_is_refused():
    held = mint(bytes(32), "0", KINDS["admin"], b"n" * 16).raw
    with pytest.raises(CredentialError, match="lnd-admin: admin.macaroon was made with a root key that Warnet published: anybody can open this LND"):
        checked("lnd-admin", "admin", held)


@every_secret
def test_a_refusal_does_not_give_the_macaroon_away(of_kind, shows, name, kind):
    wrong = of_kind("readonly" if kind == "admin" else "admin")
    with pytest.raises(CredentialError) as refusal:
        checked(name, kind, wrong)
    assert not shows(refusal.value, wrong)


# --- the certificate -----------------------------------------------------------------------------------------------

def certificate_of(content):
    return _credentials.certificate_of({"tls.cert": content})


def test_a_certificate_is_taken_as_it_is():
    assert certificate_of(CERTIFICATE).pem == CERTIFICATE


@pytest.mark.parametrize("content", [PRIVATE_KEY, CERTIFICATE + PRIVATE_KEY, PRIVATE_KEY.replace(b"EC ", b"")],
                         ids=["alone", "behind-the-certificate", "pkcs8"])
def test_a_private_key_is_never_published(content, shows):
    with pytest.raises(CredentialError, match="tls.cert: it holds a private key") as refusal:
        certificate_of(content)
    assert not shows(refusal.value, b"MHcCAQEEIAf9")


@pytest.mark.parametrize("content", [b"", CERTIFICATE[:40], CERTIFICATE * 2, b"\x30\x82\x01"], ids=["empty", "half", "two", "der"])
def test_what_is_not_one_whole_certificate_is_waited_for(content):
    with pytest.raises(NotYet, match="tls.cert: it "):
        certificate_of(content)


def test_a_certificate_that_lnd_has_not_written_is_waited_for():
    with pytest.raises(NotYet, match="LND has not written tls.cert yet"):
        _credentials.certificate_of({})


# --- LND's directory -----------------------------------------------------------------------------------------------

@pytest.fixture
def node(tmp_path, monkeypatch):
    """LND's directory, and a pod whose commands run in it."""

    def run(_api, _namespace, _pod, _container, command):
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise ClusterError(f"{command[0]} failed: {done.stderr.decode()}")
        return done.stdout

    monkeypatch.setattr(_credentials._pod, "run", run)
    (tmp_path / "data/chain/bitcoin/signet").mkdir(parents=True)
    return Node(None, "ns", "lnd-0", "lnd", str(tmp_path), "signet")


@pytest.fixture
def chain(node):
    """The directory of the macaroons."""
    return pathlib.Path(node.lnd_dir) / "data/chain/bitcoin/signet"


def test_all_files_are_read_at_once(node, chain, of_kind):
    (chain.parents[3] / "tls.cert").write_bytes(CERTIFICATE)
    files = {"tls.cert": CERTIFICATE}
    for kind in KINDS:
        files[f"{kind}.macaroon"] = of_kind(kind)
        (chain / f"{kind}.macaroon").write_bytes(of_kind(kind))
    assert _credentials.read_files(node) == files


def test_files_that_are_not_there_are_left_out(node, chain):
    (chain / "admin.macaroon").write_bytes(b"x")
    assert _credentials.read_files(node) == {"admin.macaroon": b"x"}


def test_an_empty_directory_has_no_files(node):
    assert _credentials.read_files(node) == {}


def test_a_missing_directory_is_said(node, chain):
    with pytest.raises(ClusterError, match="sh failed"):
        _credentials.read_files(Node(None, "ns", "lnd-0", "lnd", node.lnd_dir + "/nowhere", "signet"))


def test_other_files_are_not_even_read(node, chain):
    (chain / "admin.macaroon").write_bytes(b"x")
    (chain / "wallet.db").write_bytes(b"the wallet")
    (chain.parents[3] / "tls.key").write_bytes(PRIVATE_KEY)
    assert set(_credentials.read_files(node)) == {"admin.macaroon"}


def test_a_directory_with_blanks_and_quotes_is_read(node, chain, tmp_path):
    (chain / "admin.macaroon").write_bytes(b"x")
    os.rename(node.lnd_dir + "/data", tmp_path / "data2")
    odd = tmp_path / "it's $HOME; \"x\""
    odd.mkdir()
    os.rename(tmp_path / "data2", odd / "data")
    assert _credentials.read_files(Node(None, "ns", "lnd-0", "lnd", str(odd), "signet")) == {"admin.macaroon": b"x"}


def test_a_link_does_not_choose_what_is_published(node, chain):
    (chain / "wallet.db").write_bytes(b"the wallet")
    (chain / "admin.macaroon").symlink_to("wallet.db")
    with pytest.raises(CredentialError, match="admin.macaroon is not a regular file"):
        _credentials.read_files(node)


def test_a_second_name_of_one_file_does_not_pass(node, chain):
    (chain / "admin.macaroon").write_bytes(b"x")
    os.link(chain / "admin.macaroon", chain / "readonly.macaroon")
    with pytest.raises(CredentialError, match="readonly.macaroon is not a regular file"):
        _credentials.read_files(node)


# --- the archive: what no LND writes, but whoever holds its container might ----------------------------------------

def archive(*members):
    """members: pairs of TarInfo and content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def member(kind=tarfile.REGTYPE, target=""):
    entry = tarfile.TarInfo("data/chain/bitcoin/signet/admin.macaroon")
    entry.type, entry.linkname = kind, target
    return entry


@pytest.fixture
def archived(node, monkeypatch):
    """Reads the files out of an archive that the pod sent."""
    def read(content):
        monkeypatch.setattr(_credentials._pod, "run", lambda *_args: content)
        return _credentials.read_files(node)
    return read


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE],
                         ids=["symbolic-link", "hard-link", "directory", "fifo", "device"])
def test_only_regular_files_are_taken_from_the_archive(archived, kind):
    with pytest.raises(CredentialError, match="admin.macaroon is not a regular file"):
        archived(archive((member(kind, "/etc/passwd"), b"")))


def test_a_file_of_64_KiB_is_taken(archived):
    assert archived(archive((member(), bytes(MAX_BYTES)))) == {"admin.macaroon": bytes(MAX_BYTES)}


def test_a_larger_file_is_refused(archived):
    with pytest.raises(CredentialError, match="admin.macaroon has 65537 bytes; at most 65536 make sense"):
        archived(archive((member(), bytes(MAX_BYTES + 1))))


def test_every_archive_that_breaks_off_is_waited_for(archived):
    first, second = (member() for _number in range(2))
    second.name = second.name.replace("admin", "readonly")
    whole = archive((first, b"x" * 600), (second, b"y"))
    for length in range(1, 6 * 512):  # To the end of the files: each has a header, and its blocks.
        with pytest.raises(NotYet, match="the archive of LND's files broke off"):
            archived(whole[:length])
    assert set(archived(whole)) == {"admin.macaroon", "readonly.macaroon"}


def test_what_is_no_archive_is_waited_for(archived):
    with pytest.raises(NotYet, match="the archive of LND's files broke off"):
        archived(b"tar: not found\n" * 100)


# --- LND's state ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("state", ["RPC_ACTIVE", "SERVER_ACTIVE"])
def test_lnd_is_asked_in_states_in_which_it_answers(state):
    _credentials.require_active(state)


@pytest.mark.parametrize("state", ["WAITING_TO_START", "UNLOCKED", "LOCKED"])
def test_lnd_is_waited_for_in_states_that_pass(state):
    with pytest.raises(NotYet, match=f"LND is in state {state}"):
        _credentials.require_active(state)


def test_an_lnd_without_a_wallet_is_not_waited_for():
    with pytest.raises(CredentialError, match="LND has no wallet; create one with openlsp.node.lnd_wallet"):
        _credentials.require_active("NON_EXISTING")
