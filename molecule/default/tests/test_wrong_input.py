"""Wrong input: one clear message, before anything is touched."""

from __future__ import annotations

import json
import socket
import stat

import kubernetes
import pytest
import yaml
from conftest import KUBECONFIG

MAINNET = {"openlsp_network": "mainnet", "openlsp_allow_mainnet": True, "bitcoind_implementation": "core",
           "bitcoind_version": "31.1", "lnd_version": "0.21.8-beta", "openlsp_namespace": "elsewhere", "bitcoind_storage_size": "1500Gi"}


def refusal(site, variables: dict, **environment: str) -> list[str]:
    """The complaints that the site has about alice with these variables."""
    run = site("--limit", "alice", "-e", json.dumps(variables), **environment)
    assert run.code != 0, run.output
    assert "nothing was touched" in run.output, run.output
    assert run.changed == {"alice": 0}
    fatal = run.output.split("fatal: [alice]", 1)[1]
    return [line.strip()[2:] for line in fatal.splitlines() if line.strip().startswith("- ")]


@pytest.mark.parametrize(("variables", "complaint"), [
    ({"openlsp_network": "mainet"},
     "openlsp_network: value of openlsp_network must be one of: mainnet, testnet3, testnet4, signet, regtest, got: mainet"),
    ({**MAINNET, "openlsp_allow_mainnet": False}, "openlsp_allow_mainnet: mainnet is real money; set it to true when you mean it"),
    ({**MAINNET, "bitcoind_implementation": "knots"}, "bitcoind_implementation: knots left Bitcoin's chain"),
    ({**MAINNET, "lnd_version": "0.21.3-beta"}, "lnd_version: 0.21.3-beta has known holes"),
    ({"bitcoind_implementation": "core", "bitcoind_version": "32.1", "lnd_version": "0.20.7-beta"}, "lnd_version: LND 0.20.7-beta does not understand"),
    ({"lnd_alias": "a name that goes on for far too long"}, "lnd_alias: 'a name that goes on for far too long' has 36 bytes"),
    ({"lnd_allias": "x"}, "lnd_allias: there is no such variable; did you mean lnd_alias?"),
    ({"lnd_wallet_vault_password_file": ""}, "lnd_wallet_vault_password_file: no Vault password was given"),
    ({"lnd_wallet_vault_password_file": "/nowhere"}, "lnd_wallet_vault_password_file: the Vault password file /nowhere cannot be used"),
    ({"lnd_wallet_file": "/proc/alice.yml", "openlsp_namespace": "elsewhere"}, "lnd_wallet_file: /proc/alice.yml could not be written"),
    ({"openlsp_kubeconfig": "/nowhere/kubeconfig"}, "openlsp_kubeconfig: the kubeconfig /nowhere/kubeconfig does not exist"),
    ({"openlsp_network": "signet", "lnd_wallet_file": "/tmp/unused.yml"},
     "openlsp_network: signet, but data-bitcoind-0 in namespace alice holds data of regtest"),
    ({"lnd_storage_size": "2Gi"}, "lnd_storage_size: 2Gi, but the volume of lnd in namespace alice was asked for with 1Gi"),
    ({"openlsp_network": "signet", "openlsp_namespace": "elsewhere"}, "holds the wallet of alice on regtest, not of alice on signet"),
], ids=lambda value: value.split(":")[0] if isinstance(value, str) else "")
def test_is_refused_before_anything_is_touched(site, variables, complaint):
    assert [each for each in refusal(site, variables) if complaint in each]


def test_all_mistakes_are_shown_at_once(site):
    complaints = refusal(site, {"lnd_allias": "x", "openlsp_network": "mainet", "bitcoind_prune_mib": 5, "openlsp_kubeconfig": "/nowhere"})
    assert [each.split(":")[0] for each in complaints] == ["lnd_allias", "openlsp_network", "bitcoind_prune_mib", "openlsp_kubeconfig"]


def test_a_machine_s_mistakes_are_shown_before_it_is_touched(site):
    run = site("--limit", "pi", "-e", json.dumps({"microk8s_chanel": "x", "microk8s_channel": "1.28/stable", "disk_layout_confirm_serial": "1"}))
    assert run.changed == {"pi": 0}
    fatal = run.output.split("fatal: [pi]", 1)[1]
    complaints = [line.strip()[2:].split(":")[0] for line in fatal.splitlines() if line.strip().startswith("- ")]
    assert complaints == ["microk8s_chanel", "disk_layout_confirm_serial", "microk8s_channel"]


def test_unreadable_password_file_is_refused(site, tmp_path):
    """A file that is no text, because root may read any file."""
    (tmp_path / "password").write_bytes(b"")
    complaint, = refusal(site, {"lnd_wallet_vault_password_file": str(tmp_path / "password")})
    assert complaint.startswith("lnd_wallet_vault_password_file: ")


@pytest.fixture
def kubeconfig(tmp_path):
    """Write a variation of the administrator's kubeconfig; returns its path."""
    def write(change) -> str:
        content = yaml.safe_load(KUBECONFIG.read_text())
        change(content)
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        return str(path)
    return write


def test_cluster_that_does_not_answer_is_given_up(site, kubeconfig):
    """A listening socket that never accepts: the connection stands, and no answer comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = kubeconfig(lambda content: content["clusters"][0]["cluster"].update(server=f"https://127.0.0.1:{silent.getsockname()[1]}"))
        complaint, = refusal(site, {"openlsp_kubeconfig": path})
    assert "the Kubernetes API does not answer" in complaint


def test_cluster_that_refuses_connections_is_given_up(site, kubeconfig):
    path = kubeconfig(lambda content: content["clusters"][0]["cluster"].update(server="https://127.0.0.1:1"))
    complaint, = refusal(site, {"openlsp_kubeconfig": path})
    assert "the Kubernetes API does not answer" in complaint


@pytest.fixture
def reader(core):
    """A token of a user who may read alice's namespace and nothing else."""
    rbac = kubernetes.client.RbacAuthorizationV1Api(core.api_client)
    core.create_namespaced_service_account("default", {"metadata": {"name": "reader"}})
    rbac.create_namespaced_role_binding("alice", {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}]})
    yield core.create_namespaced_service_account_token("reader", "default", {"spec": {"audiences": None}}).status.token
    rbac.delete_namespaced_role_binding("reader", "alice")
    core.delete_namespaced_service_account("reader", "default")


def test_namespace_without_the_right_to_write_is_refused(site, kubeconfig, reader):
    path = kubeconfig(lambda content: content["users"][0].update(user={"token": reader}))
    complaints = refusal(site, {"openlsp_kubeconfig": path})
    assert [each for each in complaints if each.startswith("openlsp_namespace: in alice you have no right to") and "create secrets" in each]
    assert [each for each in complaints if each.startswith("namespace_create: you have no right to make the namespace alice")]
