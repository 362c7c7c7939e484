"""What validate finds beside contradictions: values of a wrong type, a place where the seed cannot go, and what the cluster says."""

from __future__ import annotations

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.template import Templar, trust_as_template
from ansible_collections.openlsp.node.plugins.action.validate import NEEDED_RIGHTS, ActionModule, _checked, _cluster_mistakes, _message
from ansible_collections.openlsp.node.plugins.plugin_utils import _wallet_file
from ansible_collections.openlsp.node.plugins.plugin_utils._wallet_file import Wallet
from kube_api import Refusal

VAULT = VaultLib([("default", VaultSecret(b"the operator's own"))])
NETWORK = {"type": "str", "choices": ["mainnet", "regtest"]}


# --- one value -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value, option, typed", [
    ("550", {"type": "int"}, 550),
    (31.1, {"type": "str"}, "31.1"),
    ("yes", {"type": "bool"}, True),
    ([1, 2], {"type": "list", "elements": "str"}, ["1", "2"]),
    ("regtest", NETWORK, "regtest"),
], ids=["int", "str", "bool", "list", "choice"])
def test_a_value_gets_the_type_of_its_argument_spec(value, option, typed):
    assert _checked("lnd_x", value, option) == typed


@pytest.mark.parametrize("value, option", [
    ("many", {"type": "int"}), ("maybe", {"type": "bool"}), ("key value", {"type": "dict"}), ("simnet", NETWORK),
], ids=["int", "bool", "dict", "choice"])
def test_a_value_that_does_not_fit_is_refused(value, option):
    with pytest.raises(ValueError, match="lnd_x"):
        _checked("lnd_x", value, option)


def test_a_network_that_is_not_set_comes_with_the_choices():
    with pytest.raises(ValueError, match="it is not set; choose one of mainnet, regtest"):
        _checked("openlsp_network", None, NETWORK)


def test_a_refused_seed_is_not_repeated():
    with pytest.raises(ValueError) as refusal:
        _checked("lnd_wallet_seed", {"zebra": 1}, {"type": "list", "elements": "str", "no_log": True})
    assert "zebra" not in str(refusal.value)


def test_variables_that_the_roles_share_have_types_too():
    """With the text "True" in its place, mainnet was refused where it was allowed."""
    action, mistakes = ActionModule.__new__(ActionModule), []
    action._templar = Templar(loader=DataLoader())
    values = action._values({"openlsp_network": NETWORK}, {}, {"openlsp_network": "mainnet", "openlsp_allow_mainnet": True}, mistakes)
    assert values == {"openlsp_network": "mainnet", "openlsp_allow_mainnet": True}
    assert not mistakes


@pytest.fixture
def valued():
    """The values and the mistakes of a host with these variables."""
    def of(variables, options, defaults):
        action, mistakes = ActionModule.__new__(ActionModule), []
        action._templar = Templar(loader=DataLoader())
        trusted = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in defaults.items()}
        return action._values(options, trusted, variables, mistakes), mistakes
    return of


def test_a_machine_needs_no_network(valued):
    assert valued({}, {"microk8s_timeout": {"type": "int"}}, {"microk8s_timeout": 1200}) == ({"microk8s_timeout": 1200}, [])


def test_a_default_that_leads_nowhere_is_a_mistake_and_no_crash(valued):
    values, mistakes = valued({}, {"microk8s_kubeconfig": {"type": "path"}}, {"microk8s_kubeconfig": "{{ openlsp_kubeconfig }}"})
    assert values == {}
    assert [each for each in mistakes if each.startswith("microk8s_kubeconfig: ") and "'openlsp_kubeconfig' is undefined" in each] == mistakes != []


def test_a_refused_value_has_its_default_instead(valued):
    values, mistakes = valued({"microk8s_timeout": "long"}, {"microk8s_timeout": {"type": "int"}}, {"microk8s_timeout": 1200})
    assert values == {"microk8s_timeout": 1200}
    assert len(mistakes) == 1


def test_a_refused_value_that_roles_share_is_one_mistake(valued):
    values, mistakes = valued({"openlsp_ip_families": {"IPv4": True}}, {"microk8s_ip_families": {"type": "list"}},
                              {"microk8s_ip_families": "{{ openlsp_ip_families | default(['IPv4']) }}"})
    assert values == {"microk8s_ip_families": ["IPv4"]}
    assert [each.split(":")[0] for each in mistakes] == ["openlsp_ip_families"]


# --- where the seed goes -------------------------------------------------------------------------------------------

@pytest.fixture
def loader():
    """The play's, with a Vault password."""
    play = DataLoader()
    play.set_vault_secrets(VAULT.secrets)
    return play


@pytest.fixture
def mistakes(loader):
    """What is wrong with a wallet file for the host alice on signet."""
    def found(path, password_file=""):
        action = object.__new__(ActionModule)  # The check needs nothing of a task but the loader.
        action._loader = loader
        values = {"lnd_wallet_file": str(path), "lnd_wallet_vault_password_file": password_file, "lnd_network": "signet"}
        return list(action._wallet_mistakes(values, "alice"))
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wallets" / "alice.yml"


def test_a_file_that_is_not_there_yet_is_right(mistakes, path):
    assert mistakes(path) == []


def test_this_nodes_own_wallet_is_right(mistakes, path):
    _wallet_file.write(path, Wallet("alice", "signet", "password", (), ""), VAULT)
    assert mistakes(path) == []


@pytest.mark.parametrize("node, network", [("bob", "signet"), ("alice", "mainnet")], ids=["another-node", "another-network"])
def test_another_wallets_file_is_named(mistakes, path, node, network):
    _wallet_file.write(path, Wallet(node, network, "password", (), ""), VAULT)
    assert mistakes(path) == [f"lnd_wallet_file: {path} holds the wallet of {node} on {network}, not of alice on signet; name another file"]


def test_a_wallet_of_another_vault_password_is_named(mistakes, path):
    _wallet_file.write(path, Wallet("alice", "signet", "password", (), ""), VaultLib([("default", VaultSecret(b"another"))]))
    mistake, = mistakes(path)
    assert mistake.startswith(f"lnd_wallet_file: {path} cannot be decrypted")


def test_a_file_in_the_place_of_the_directory_is_named(mistakes, path):
    path.parent.write_text("")
    mistake, = mistakes(path)
    assert mistake.startswith(f"lnd_wallet_file: {path} ")


def test_without_a_vault_password_there_is_no_need_to_begin(mistakes, path, loader):
    loader.set_vault_secrets([])
    mistake, = mistakes(path)
    assert mistake.startswith("lnd_wallet_vault_password_file: no Vault password was given")


def test_a_vault_password_file_that_is_not_there_is_named(mistakes, path, tmp_path):
    mistake, = mistakes(path, str(tmp_path / "nowhere"))
    assert mistake.startswith(f"lnd_wallet_vault_password_file: the Vault password file {tmp_path}/nowhere cannot be used")


def test_validating_writes_nothing(mistakes, path):
    mistakes(path)
    assert not path.parent.exists()


# --- what the cluster says -----------------------------------------------------------------------------------------

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
HOLDERS = {"claim": "/api/v1/namespaces/alice/persistentvolumeclaims", "statefulset": "/apis/apps/v1/namespaces/alice/statefulsets"}


def asked_for(call):
    return call.body["spec"]["resourceAttributes"]


@pytest.fixture
def of_cluster(api, kubeconfig):
    """What is wrong with the namespace alice for a node on signet, for a user who may do all but ``forbidden``."""
    for path in HOLDERS.values():
        api.lay("GET", path, {"items": []})

    def found(forbidden=(), create=True, **more):
        api.lay("POST", REVIEWS, lambda call: {"status": {"allowed": " ".join(filter(None, (
            asked_for(call)["verb"], asked_for(call)["resource"], asked_for(call)["subresource"]))) not in forbidden}})
        return list(_cluster_mistakes({"namespace_name": "alice", "namespace_create": create, "lnd_network": "signet",
                                       "openlsp_kubeconfig": str(kubeconfig), "openlsp_context": None,
                                       "bitcoind_storage_local_path": "", "lnd_storage_local_path": "", **more}))
    return found


def test_a_user_with_every_right_in_an_empty_namespace_may_begin(of_cluster):
    assert of_cluster() == []


def test_the_missing_rights_are_named_together(of_cluster):
    assert of_cluster(["list secrets", "create pods exec"]) == [
        "openlsp_namespace: in alice you have no right to list secrets, create pods/exec; ask for a role with these rights, or name another namespace"]


def test_each_right_is_asked_for_where_it_is_needed(api, of_cluster):
    of_cluster()
    asked = [tuple(asked_for(call)[key] for key in ("verb", "group", "resource", "subresource", "namespace")) for call in api.asked("POST")]
    assert {("patch", "apps", "statefulsets", "", "alice"), ("create", "", "pods", "exec", "alice"), ("patch", "", "namespaces", "", None)} < set(asked)
    assert len(asked) == len(NEEDED_RIGHTS) + 1


def test_without_the_right_to_make_a_namespace_somebody_else_has_to(of_cluster):
    assert of_cluster(["patch namespaces"]) == [
        "namespace_create: you have no right to make the namespace alice; let an administrator make it and set namespace_create to false"]


def test_a_namespace_that_is_there_needs_no_right_to_make_it(of_cluster):
    assert of_cluster(["patch namespaces"], create=False) == []


@pytest.mark.parametrize("holder", HOLDERS)
def test_data_of_another_network_is_named(api, of_cluster, holder):
    api.lay("GET", HOLDERS[holder], {"items": [
        {"metadata": {"name": name, "labels": {"openlsp.org/network": network}}, "spec": {}} for name, network in (("mine", "signet"), ("old", "mainnet"))]})
    assert of_cluster() == ["openlsp_network: signet, but old in namespace alice holds data of mainnet; "
                            "set it to mainnet, or set openlsp_namespace to another namespace"]


def test_a_volume_that_is_to_be_another_is_named(api, of_cluster):
    """What makes one another is test_checks.py's."""
    wanted = {f"lnd_storage_{what}": value for what, value in (("claim", ""), ("local_path", ""), ("class", ""), ("size", "40Gi"))}
    api.lay("GET", HOLDERS["statefulset"], {"items": [{
        "metadata": {"name": "lnd", "labels": {"openlsp.org/network": "signet"}},
        "spec": {"volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "20Gi"}}}}]}}]})
    found, = of_cluster(**wanted)
    assert found.startswith("lnd_storage_size: 40Gi, but the volume of lnd in namespace alice was asked for with 20Gi")


def test_a_directory_that_another_namespace_has_is_named(api, of_cluster):
    api.lay("GET", "/api/v1/persistentvolumes", {"items": [{
        "metadata": {"name": "bob-lnd"}, "spec": {"claimRef": {"namespace": "bob", "name": "data-lnd-0"}, "local": {"path": "/srv/lnd"}}}]})
    found, = of_cluster(lnd_storage_local_path="/srv/lnd", lnd_storage_local_node="")
    assert found.startswith("lnd_storage_local_path: /srv/lnd is the volume of bob/data-lnd-0")


@pytest.mark.parametrize("kind, value", [("list", "shop,till"), ("dict", "color=red")])
def test_text_in_the_place_of_a_list_is_refused(kind, value):
    with pytest.raises(ValueError, match=f"^it is text, not a {kind}; on the command line write -e"):
        _checked("lnd_x", value, {"type": kind})


def test_what_is_inside_of_a_list_is_checked_too():
    option = {"type": "list", "elements": "dict", "options": {"name": {"type": "str"}, "expires": {"type": "int"}, "preset": {"type": "str"}}}
    assert _checked("lnd_consumers", [{"name": "shop", "expires": "90"}], option) == [{"name": "shop", "expires": 90}]
    with pytest.raises(ValueError, match="iprange"):
        _checked("lnd_consumers", [{"name": "shop", "iprange": "10.0.0.0/8"}], option)


def test_only_what_holds_data_of_a_network_is_looked_at(api, of_cluster):
    of_cluster()
    assert [call.query for call in api.asked("GET")] == [[("labelSelector", "openlsp.org/network")]] * 2


def test_a_refused_look_is_one_mistake(api, of_cluster):
    api.lay("GET", HOLDERS["claim"], Refusal(403, "no"))
    assert of_cluster() == ["openlsp_kubeconfig: cannot look at what namespace alice holds: no; give this user that right"]


def test_a_kubeconfig_that_is_not_there_is_one_mistake(of_cluster, kubeconfig):
    kubeconfig.unlink()
    assert of_cluster() == [f"openlsp_kubeconfig: the kubeconfig {kubeconfig} does not exist"]


@pytest.mark.parametrize("asked, cluster, count", [(["IPv4", "IPv6"], ["IPv4"], 1), (["IPv4", "IPv6"], ["IPv4", "IPv6"], 0), (["IPv6"], None, 0)],
                         ids=["lacking", "there", "not-told"])
def test_a_family_that_is_asked_for_has_to_be_there(api, of_cluster, asked, cluster, count):
    api.lay("POST", "/api/v1/namespaces/alice/services", {"spec": {"ipFamilies": cluster}} if cluster else Refusal(403))
    found = of_cluster(openlsp_ip_families=asked)
    assert [each.split(":")[0] for each in found] == ["openlsp_ip_families"] * count
    assert not found or "IPv6 is asked for, and this cluster's Services have IPv4 only" in found[0]


# --- all of them ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("given, count", [(["lnd_alias: x"], "one mistake"), (["lnd_alias: x", "lnd_network: y"], "2 mistakes")], ids=["one", "two"])
def test_the_message_counts_the_mistakes_and_has_a_line_for_each(given, count):
    assert _message("alice", given).splitlines() == [
        f"The inventory of alice has {count}; nothing was touched.", *(f"  - {mistake}" for mistake in given)]
