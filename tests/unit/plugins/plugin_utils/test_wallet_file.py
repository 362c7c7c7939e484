"""The operator's copy of a wallet: complete or not there, readable for him alone, and never in place of another one."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret, VaultSecretsContext
from ansible.template import Templar, trust_as_template
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file
from ansible_collections.openlsp.node.plugins.plugin_utils._wallet_file import Wallet, WalletFileError, read, write
from hypothesis import given, settings
from hypothesis import strategies as st

SEED = tuple("absent dilemma mango firm hero green wide rebel pigeon custom town stadium "
             "shock bind ocean seek enforce during bird honey enrich number wealth thunder".split())
WALLET = Wallet("alice", "signet", "sesame-password", SEED, "sesame-passphrase")


def vault_of(password):
    return VaultLib([("default", VaultSecret(password))])


VAULT = vault_of(b"the operator's own")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wallets" / "alice.yml"


def everything_below(directory):
    """The bytes of all files, the hidden ones too."""
    return {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def in_clear(directory):
    """What of the wallet can be read without the Vault password."""
    content = b"".join(everything_below(directory).values())
    return [word for word in (*SEED, "sesame", " ".join(SEED[:3])) if word.encode() in content]


# --- written and read ----------------------------------------------------------------------------------------------

def test_a_wallet_is_read_back_as_it_was_written(path):
    write(path, WALLET, VAULT)
    assert read(path, VAULT) == WALLET


def test_where_no_file_is_there_is_no_wallet(path):
    assert read(path, VAULT) is None


def test_the_operator_reads_it_with_ansible_vault(path, tmp_path):
    write(path, WALLET, VAULT)
    password = tmp_path / "password"
    password.write_text("the operator's own")
    shown = subprocess.run([sys.executable, "-m", "ansible", "vault", "view", "--vault-password-file", password, path],
                           cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert " ".join(SEED) in shown and "The Lightning wallet of alice (signet)" in shown


odd = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\n\r\t'\"#:{}[]!&*%@`|>-\\ \0\x85\u2028\ufeff")))


@given(password=odd, passphrase=odd)
@settings(max_examples=40)  # Vault stretches its password each time.
def test_odd_characters_survive(tmp_path_factory, password, passphrase):
    path = tmp_path_factory.mktemp("odd") / "alice.yml"
    wallet = replace(WALLET, password=password, passphrase=passphrase)
    write(path, wallet, VAULT)
    assert read(path, VAULT) == wallet


@pytest.mark.parametrize("word", ["", "null", "~", "yes", "12345678", "1e3", "2026-11-22", "0x10", "- a", "{a: b}", "!vault x", "<<"])
def test_a_word_that_means_something_in_yaml_stays_a_word(path, word):
    write(path, replace(WALLET, password=word, passphrase=word), VAULT)
    assert read(path, VAULT) == replace(WALLET, password=word, passphrase=word)


@pytest.fixture
def from_inventory(monkeypatch):
    """A value as an action gets it: out of an inventory, through a template, with Ansible's tags on it."""
    def value(line):
        loader = DataLoader()
        loader.set_vault_secrets(VAULT.secrets)
        monkeypatch.setattr(VaultSecretsContext, "_current", VaultSecretsContext(VAULT.secrets))
        variables = loader.load(line, file_name="/inventory.yml")
        return Templar(loader=loader, variables=variables).template(trust_as_template("{{ secret }}"))
    return value


ENCRYPTED = VAULT.encrypt("Zitrönchen").decode().replace("\n", "\n  ")


@pytest.mark.parametrize("line", ["secret: Zitrönchen\n", f"secret: !vault |\n  {ENCRYPTED}"], ids=["in-clear", "inline-vault"])
def test_a_passphrase_may_come_from_the_inventory(path, from_inventory, line):
    passphrase = from_inventory(line)
    assert passphrase.__class__ is not str
    write(path, replace(WALLET, passphrase=passphrase), VAULT)
    assert read(path, VAULT).passphrase == "Zitrönchen"


# --- who may read it -----------------------------------------------------------------------------------------------

@pytest.fixture
def careless():
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_file_is_for_the_operator_alone(path, careless):
    write(path, WALLET, VAULT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_new_directory_is_for_the_operator_alone(path, careless):
    write(path, WALLET, VAULT)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_directory_that_was_there_keeps_its_mode(path):
    path.parent.mkdir(mode=0o750)
    write(path, WALLET, VAULT)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_nothing_of_the_wallet_is_in_clear_on_the_disk(path, tmp_path):
    write(path, WALLET, VAULT)
    assert everything_below(tmp_path) and not in_clear(tmp_path)


def test_printing_a_wallet_shows_nothing_of_it():
    assert not [word for word in (*SEED, "sesame") if word in f"{WALLET} {WALLET!r}"]


# --- never overwritten ---------------------------------------------------------------------------------------------

def test_a_second_wallet_does_not_replace_the_first(path, tmp_path):
    write(path, WALLET, VAULT)
    before = everything_below(tmp_path)
    with pytest.raises(WalletFileError, match="alice.yml exists; a wallet file is never overwritten"):
        write(path, replace(WALLET, seed=SEED[::-1]), VAULT)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("make", [lambda path: path.write_text("notes"), lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere")],
                         ids=["a-file", "a-directory", "a-dead-link"])
def test_whatever_has_the_name_stays(path, make):
    path.parent.mkdir()
    make(path)
    with pytest.raises(WalletFileError, match="exists; a wallet file is never overwritten"):
        write(path, WALLET, VAULT)
    assert list(path.parent.iterdir()) == [path]


def test_of_two_writers_at_once_one_wins_whole(path, monkeypatch):
    """Both have written their parts before either gives them the name."""
    meeting, link = threading.Barrier(2, timeout=10), os.link
    monkeypatch.setattr(os, "link", lambda *names: (meeting.wait(), link(*names)))
    outcomes = {}

    def attempt(password):
        try:
            write(path, replace(WALLET, password=password), VAULT)
            outcomes[password] = "written"
        except WalletFileError as error:
            outcomes[password] = str(error)

    writers = [threading.Thread(target=attempt, args=[password]) for password in ("first", "second")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(outcomes.values()) == [f"{path} exists; a wallet file is never overwritten", "written"]
    assert outcomes[read(path, VAULT).password] == "written"
    assert list(path.parent.iterdir()) == [path]


# --- a failure leaves nothing --------------------------------------------------------------------------------------

def failing(reason):
    def fail(*_args, **_kwargs):
        raise OSError(reason, os.strerror(reason))
    return fail


@pytest.mark.parametrize("call", ["fsync", "link", "open", "fdopen"])
def test_a_full_disk_leaves_no_part_of_a_file(path, tmp_path, monkeypatch, call):
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(WalletFileError, match="alice.yml cannot be written: No space left on device; no wallet was made"):
        write(path, WALLET, VAULT)
    monkeypatch.undo()
    assert everything_below(tmp_path) == {}


def test_what_is_on_the_disk_for_a_moment_is_encrypted(path, tmp_path, monkeypatch):
    moments, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (moments.append((len(everything_below(tmp_path)), in_clear(tmp_path))), sync(handle)))
    write(path, WALLET, VAULT)
    assert moments == [(1, []), (1, [])]  # the file, and the directory that names it


def test_a_failed_encryption_leaves_no_file(path, tmp_path):
    with pytest.raises(AnsibleError):
        write(path, WALLET, VaultLib([]))
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_no_part_of_a_file(path, tmp_path, monkeypatch):
    def interrupted(_handle):
        raise KeyboardInterrupt
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, WALLET, VAULT)
    assert everything_below(tmp_path) == {}


def test_a_path_through_a_file_is_named(tmp_path):
    (tmp_path / "wallets").write_text("")
    with pytest.raises(WalletFileError, match="wallets/alice.yml cannot be written: "):
        write(tmp_path / "wallets" / "alice.yml", WALLET, VAULT)


def test_a_disk_that_forgets_is_noticed(path, monkeypatch):
    monkeypatch.setattr(_wallet_file, "_write_synced", lambda part, content: part.write_bytes(content[:-100]))
    with pytest.raises(WalletFileError):
        write(path, WALLET, VAULT)


def test_no_refusal_shows_the_wallet(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(WalletFileError) as refusal:
        write(path, WALLET, VAULT)
    assert not [word for word in (*SEED, "sesame") if word in str(refusal.value)]


# --- files that do not fit -----------------------------------------------------------------------------------------

def test_the_wrong_vault_password_is_said(path):
    write(path, WALLET, VAULT)
    with pytest.raises(WalletFileError, match="alice.yml cannot be decrypted; give the Vault password that it was made with"):
        read(path, vault_of(b"another one"))


def test_a_file_that_lost_a_byte_is_not_believed(path):
    write(path, WALLET, VAULT)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(WalletFileError, match="alice.yml cannot be decrypted"):
        read(path, VAULT)


@pytest.mark.parametrize("content", [
    "", "just words", "[1, 2]", "lnd_wallet:", "lnd_wallet: {node: alice}", "a: [", "\x00",
    yaml.safe_dump({"lnd_wallet": {"node": "alice", "network": "signet", "password": "x", "aezeed": 5, "aezeed_passphrase": ""}}),
], ids=["empty", "text", "list", "no-wallet", "half-a-wallet", "not-yaml", "binary", "no-seed"])
def test_somebody_elses_vault_file_is_not_taken_for_a_wallet(path, content):
    path.parent.mkdir()
    path.write_bytes(VAULT.encrypt(content))
    with pytest.raises(WalletFileError, match="alice.yml is no wallet file of openlsp.node"):
        read(path, VAULT)


def test_a_file_that_is_not_encrypted_is_refused(path):
    path.parent.mkdir()
    path.write_text("lnd_wallet: {}\n")
    with pytest.raises(WalletFileError, match="alice.yml is not encrypted"):
        read(path, VAULT)


def test_a_directory_in_its_place_is_named(path):
    path.mkdir(parents=True)
    with pytest.raises(WalletFileError, match="alice.yml cannot be read: Is a directory"):
        read(path, VAULT)


# --- the Vault password --------------------------------------------------------------------------------------------

def test_a_password_file_of_its_own_encrypts(path, tmp_path):
    (tmp_path / "password").write_text("the operator's own\n")
    write(path, WALLET, _wallet_file.vault(str(tmp_path / "password"), DataLoader()))
    assert read(path, VAULT) == WALLET


def test_a_program_may_print_the_password(path, tmp_path):
    program = tmp_path / "password.sh"
    program.write_text("#!/bin/sh\necho \"the operator's own\"\n")
    program.chmod(0o700)
    write(path, WALLET, _wallet_file.vault(str(program), DataLoader()))
    assert read(path, VAULT) == WALLET


def test_without_a_file_the_plays_password_encrypts(path):
    loader = DataLoader()
    loader.set_vault_secrets(VAULT.secrets)
    write(path, WALLET, _wallet_file.vault(None, loader))
    assert read(path, VAULT) == WALLET


@pytest.mark.parametrize("password_file", [None, ""], ids=["none", "empty"])
def test_without_any_password_it_is_said_before_there_is_a_seed(password_file):
    with pytest.raises(WalletFileError, match="no Vault password was given, so a seed could not be encrypted; use --vault-password-file"):
        _wallet_file.vault(password_file, DataLoader())


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
def test_a_password_file_that_gives_none_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "password").write_text(content)
    with pytest.raises(WalletFileError, match="the Vault password file .*/password cannot be used: "):
        _wallet_file.vault(str(tmp_path / "password"), DataLoader())
