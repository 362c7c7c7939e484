"""Onion services' keys and addresses: Tor's vectors, both forms of a key, and what is no key or no address."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _onion

# The first key of RFC 8032, 7.1, as Tor expands it; the address is Tor's own (src/test/test_hs_common.c), which tor 0.4.9 gave for these files.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
ADDRESS = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
LNDS = "ED25519-V3:MHyDhk8oM8tCei7xwAoBPP3/J2jZgMCjpSDwBpBN6U+bTwr+KAt0aneGhOdUQlAgV7dHOgPwj5b1o46Sh+Afjw=="


def clamped(raw):
    return bytes([raw[0] & 248]) + raw[1:31] + bytes([raw[31] & 63 | 64]) + raw[32:]


KEY = _onion.OnionKey(clamped(hashlib.sha512(SEED).digest()))


def test_the_address_of_a_key_is_tors():
    assert KEY.public == PUBLIC
    assert KEY.address == ADDRESS


def test_an_address_tells_its_public_key():
    assert _onion.public_of(ADDRESS) == PUBLIC
    assert _onion.public_of(ADDRESS.removesuffix(".onion").upper() + "\n") == PUBLIC


def test_the_files_are_those_of_a_hidden_service_directory():
    assert (len(KEY.secret_file), len(KEY.public_file)) == (96, 64)
    assert KEY.secret_file.startswith(b"== ed25519v1-secret: type0 ==\0\0\0")
    assert KEY.public_file == b"== ed25519v1-public: type0 ==\0\0\0" + PUBLIC
    assert KEY.hostname_file == f"{ADDRESS}\n".encode()


@pytest.mark.parametrize("form", [LNDS, f" {LNDS}\n", LNDS.encode(), KEY.secret_file, base64.b64encode(KEY.secret_file).decode()],
                         ids=["lnd", "lnd-with-a-line-break", "lnds-file", "tors-file", "tors-file-as-base64"])
def test_every_form_of_a_key_is_the_same_key(form):
    assert _onion.parse(form) == KEY


def test_both_forms_are_written_as_they_were_read():
    assert _onion.parse(LNDS).add_onion == LNDS
    assert _onion.parse(KEY.secret_file).secret_file == KEY.secret_file


def test_a_new_key_is_another_one_each_time_and_survives_both_forms():
    one, two = _onion.new_key(), _onion.new_key()
    assert one != two
    assert _onion.parse(one.add_onion) == _onion.parse(one.secret_file) == one
    assert _onion.public_of(one.address) == one.public


@pytest.mark.parametrize("text, complaint", [
    ("expyuzz4wqqyqhjn.onion", "version 2, which Tor dropped"),
    ("a" + ADDRESS[1:], "mistyped: its checksum is wrong"),
    (ADDRESS[:55] + "b.onion", "version 1; 3 is the only one"),
    ("example.org", "is no onion address"),
    (ADDRESS[1:], "is no onion address"),
    ("", "is no onion address"),
    (ADDRESS.replace("z", "1"), "is no onion address"),
], ids=["version-2", "a-wrong-letter", "version-1", "a-name", "too-short", "empty", "not-base32"])
def test_what_is_no_address_is_told_apart(text, complaint):
    with pytest.raises(_onion.OnionError, match=complaint):
        _onion.public_of(text)


@pytest.mark.parametrize("key, complaint", [
    ("RSA1024:MIICXAIBAAKBgQ", "RSA key, of an onion service of version 2"),
    ("-----BEGIN RSA PRIVATE KEY-----", "RSA key, of an onion service of version 2"),
    (KEY.public_file, "the public half"),
    (base64.b64encode(KEY.public_file).decode(), "the public half"),
    (KEY.secret_file[:95], "has 95 bytes"),
    (KEY.secret_file.decode("latin-1"), "read as text, which damages it"),
    (LNDS[:-8], "come 60 bytes"),
    ("ED25519-V3:not base64", "is neither"),
    ("", "has 0 bytes"),
    (b"\xff\x00encrypted", "is neither"),
    (ADDRESS, "is neither"),
], ids=["rsa", "rsa-file", "public", "public-as-base64", "cut", "as-text", "short", "no-base64", "empty", "encrypted", "an-address"])
def test_what_is_no_key_is_told_apart_and_not_shown(key, complaint, shows):
    with pytest.raises(_onion.OnionError, match=complaint) as error:
        _onion.parse(key)
    assert not shows(error.value, KEY.expanded)


def test_a_directory_whose_files_belong_together_is_its_key():
    assert _onion.checked(KEY.secret_file, KEY.hostname_file, KEY.public_file) == KEY
    assert _onion.checked(KEY.secret_file, KEY.hostname_file) == KEY


def test_a_key_that_is_not_the_addresss_names_both():
    other = _onion.new_key()
    with pytest.raises(_onion.OnionError, match=f"its key is that of {other.address}, but its recorded address is {ADDRESS}"):
        _onion.checked(other.secret_file, KEY.hostname_file, KEY.public_file)


def test_a_public_key_that_is_not_the_addresss_is_refused():
    with pytest.raises(_onion.OnionError, match=f"does not belong to {ADDRESS}"):
        _onion.checked(KEY.secret_file, KEY.hostname_file, _onion.new_key().public_file)


def test_a_client_is_told_by_both_of_its_halves():
    # RFC 7748, 6.1: Alice's keys.
    client = _onion.ClientKey(bytes.fromhex("77076d0a7318a57d3c16c17251b26645 db5a8a5cf47c3e5f26b1d1f4a7e2ba2c".replace(" ", "")))
    assert client.authorized.startswith(b"descriptor:x25519:") and client.authorized.endswith(b"\n")
    service, kind, curve, secret = client.private_file(ADDRESS).decode().strip().split(":")
    assert (service, kind, curve) == (ADDRESS.removesuffix(".onion"), "descriptor", "x25519")
    assert base64.b32decode(secret.upper() + "====") == client.secret
    assert _onion.parse_client(client.private_file(ADDRESS)) == client
    assert _onion.new_client_key() != _onion.new_client_key()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff", b"x:descriptor:x25519:aaaa"], ids=["empty", "rubbish", "binary", "short"])
def test_what_is_no_clients_key_is_none(content):
    assert _onion.parse_client(content) is None


def test_a_hashed_password_is_tors():
    # tor 0.4.9 accepts it for the password "secret"; the third part is the count that `tor --hash-password` takes.
    assert _onion.hashed_password("secret", bytes.fromhex("0011223344556677")) == "16:001122334455667760116CC8D6DFE7B19633789019AC8D7BFFAF865F7C"


def test_nothing_shows_a_key(shows):
    assert not shows(repr(KEY), KEY.expanded)
    client = _onion.new_client_key()
    assert not shows(repr(client), client.secret)
