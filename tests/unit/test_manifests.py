"""Every manifest fits the Kubernetes API's own schema, whatever an operator chooses.

Ansible itself renders them, from a role's defaults and vars and an inventory whose hosts are the choices below. The roles'
tasks do not run, but their argument specs are checked: a choice here that a role would refuse fails.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from ansible_collections.openlsp.node.plugins.module_utils._edges import Node, policy_spec

ROLES = [path.parent for path in sorted((pathlib.Path(__file__).parents[2] / "roles").glob("*/templates"))
         if next(path.glob("*.yaml.j2"), None)]
KUBERNETES = "1.36"
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by")}

# What the cluster would have said of the ways that lead to peers.
EXPOSED = {"families": ["IPv4", "IPv6"], "external_ips": [], "announced": ["8.8.8.8:9735", "[2001:4860::8]:9735", "node.example.org:9735"],
           "announced_names": ["node.example.org:9735"]}

# What an operator may choose: one host of the inventory each.
CHOICES = {
    "as-it-comes": {"openlsp_network": "signet"},
    "regtest": {"openlsp_network": "regtest"},
    "tor-only": {
        "openlsp_network": "regtest",
        "openlsp_tor": True,
        "openlsp_tor_only": True,
        "bitcoind_exposure": ["onion"],
        "lnd_exposure": ["onion"],
        "tor_onion_apis": ["lnd-rest"],
        "lnd_consumers": [{"name": "shop", "preset": "btcpay", "namespace": "merchant"}, {"name": "rtl", "preset": "rtl"}],
    },
    # As -e name=value and an inventory in INI give them.
    "text-for-booleans": {"openlsp_network": "signet", "openlsp_namespace": "same", "lnd_alias": "same", "openlsp_tor": "true", "openlsp_tor_only": "false",
                          "openlsp_monitoring": "false", "lnd_stateless_init": "false", "tor_onion_defences": "false", "openlsp_exposure": ["onion"]},
    "booleans": {"openlsp_network": "signet", "openlsp_namespace": "same", "lnd_alias": "same", "openlsp_tor": True, "openlsp_tor_only": False,
                 "openlsp_monitoring": False, "lnd_stateless_init": False, "tor_onion_defences": False, "openlsp_exposure": ["onion"]},
    "testnet3": {"openlsp_network": "testnet3"},
    "testnet4": {"openlsp_network": "testnet4"},
    "mainnet": {"openlsp_network": "mainnet", "openlsp_namespace": "elsewhere", "bitcoind_dbcache_mib": 2000},
    "onion": {"openlsp_network": "signet", "openlsp_tor": True, "openlsp_tor_only": True, "openlsp_exposure": ["onion"],
              "__tor_exposure": {**EXPOSED, "families": ["IPv6"]}},
    "watched": {"openlsp_network": "mainnet", "openlsp_monitoring": True, "openlsp_monitoring_namespace": "metrics", "openlsp_tor": True,
                "openlsp_exposure": ["onion"],
                "observability_severities": {"LndForceClosing": "warning", "BitcoinFeesHigh": "none"}},
    "watched-without-an-operator": {"openlsp_network": "regtest", "openlsp_monitoring": True, "__observability_operator": {}},
    "a-class": {"openlsp_network": "signet", "bitcoind_storage_class": "fast", "lnd_storage_class": "fast"},
    "a-claim": {"openlsp_network": "signet", "bitcoind_storage_claim": "chain", "lnd_storage_claim": "channels"},
    "a-disk": {
        "openlsp_network": "mainnet",
        "bitcoind_storage_local_path": "/srv/chain",
        "bitcoind_storage_local_node": "pi",
        "lnd_storage_local_path": "/srv/channels",
        "lnd_storage_local_node": "pi",
    },
    "own-options": {
        "openlsp_network": "signet",
        "bitcoind_prune_mib": 550,
        "bitcoind_peers": ["one.example:8333", "[2001:db8::1]:8333"],
        "bitcoind_rpcauth": ["app:00$11"],
        "bitcoind_options": {"uacomment": 'quote " colon: brace {', "debug": ["net", "rpc"]},
        "lnd_options": {"color": "#3399ff", "minchansize": 100000},
        "lnd_alias": 'quote " colon: brace {',
        "lnd_tls_names": ["lnd.example", "192.0.2.1", "*.lnd.example", "2001:db8::1", "10.example"],
        "lnd_stateless_init": True,
        "openlsp_tor": True,
        "openlsp_ip_families": ["IPv6"],
        "tor_onion_apis": ["lnd-rest", "lnd-grpc"],
        "tor_bridges": ["192.0.2.1:443 " + "A" * 40],
        "tor_options": {"SafeLogging": True, "Log": ["notice stdout", 'info quote " colon: brace {']},
        "tor_storage_class": "fast",
    },
    "host-port": {"openlsp_network": "mainnet", "openlsp_exposure": ["host_port", "onion"], "openlsp_tor": True, "openlsp_ip_families": ["IPv4"],
                  "__tor_exposure": {**EXPOSED, "families": ["IPv4"]},
                  "__lnd_exposure": {**EXPOSED, "families": ["IPv4"], "external_ips": ["192.168.1.20"]},
                  "__bitcoind_exposure": {**EXPOSED, "families": ["IPv4"], "external_ips": ["192.168.1.20"]}},
    "node-port": {"openlsp_network": "regtest", "openlsp_exposure": ["node_port"], "lnd_node_port": 30735, "bitcoind_node_port": 30833},
    "load-balancer": {"openlsp_network": "signet", "openlsp_exposure": ["load_balancer", "node_port"], "openlsp_ip_families": ["IPv6"],
                      "__lnd_exposure": {**EXPOSED, "families": ["IPv6"]}, "__bitcoind_exposure": {**EXPOSED, "families": ["IPv6"]}},
}

# What the roles' tasks would have found out before.
REGISTERED = {
    "__bitcoind_rpc": {"rpcauth": "lnd:00$11"},
    "__bitcoind_rpc_exporter": {"rpcauth": "exporter:22$33"},
    "__observability_operator": {"pod_monitor": {"release": "kube-prom-stack"}, "rule": {"release": "kube-prom-stack"}},
    "__lnd_bitcoind_rpc": {"digest": "0" * 64},
    "__tor_onion": {"digest": "0" * 8, "addresses": {"bitcoind-p2p": f"{'a' * 56}.onion", "lnd-p2p": f"{'b' * 56}.onion", "lnd-rest": f"{'c' * 56}.onion"}},
    "__tor_exposure": EXPOSED,
    "__lnd_access_mode": "ReadWriteOncePod",
    "__lnd_exposure": EXPOSED,
    "__bitcoind_exposure": EXPOSED,
}

PLAY = """
- hosts: all
  gather_facts: false
  roles:
    # Its variables count for the whole play; of its tasks only the check of the arguments runs.
    - {{role: openlsp.node.{role}, tags: [never]}}
  tasks:
    - ansible.builtin.set_fact:
        rendered: "{{{{ dict(names | zip(query('ansible.builtin.template', *names))) }}}}"
      vars:
        names: "{{{{ _{role}_manifests | default(every_template) }}}}"
    - ansible.builtin.copy:
        dest: "{{{{ playbook_dir }}}}/rendered.json"
        content: "{{{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'rendered'))) | to_json }}}}"
        mode: "0600"
      run_once: true
"""


def rendered(role, directory):
    """The text of each manifest that the role would apply, by choice and by template."""
    for name in ("files", "templates"):  # where a play looks, as the role's tasks would
        (directory / name).symlink_to(role / name)
    every_template = sorted(path.name for path in role.glob("templates/*.yaml.j2"))
    interpreter = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": CHOICES, "vars": {**interpreter, **REGISTERED, "every_template": every_template}}}
    (directory / "hosts.json").write_text(json.dumps(inventory))
    (directory / "play.yml").write_text(PLAY.format(role=role.name))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "play.yml"]
    settings = {"ANSIBLE_CONFIG": str(role.parents[1] / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "2"}
    done = subprocess.run(command, cwd=directory, env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((directory / "rendered.json").read_text())


@pytest.fixture(scope="module", params=ROLES, ids=lambda path: path.name)
def role(request):
    return request.param


@pytest.fixture(scope="module")
def manifests(role, tmp_path_factory):
    return rendered(role, tmp_path_factory.mktemp(role.name))


@pytest.fixture(params=CHOICES)
def objects(request, manifests):
    """Each object of one choice, by the template it came from."""
    return {name: yaml.safe_load(text) for name, text in manifests[request.param].items()}


def test_every_object_fits_the_schema(objects):
    for thing in objects.values():
        # The operator's kinds are its own; tests/promtool holds the rules against promtool, the test node all of it against the operator.
        if thing["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)


def test_every_object_says_what_it_belongs_to(objects, role):
    for name, thing in objects.items():
        wanted = LABELS if role.name != "namespace" else {"app.kubernetes.io/part-of", "app.kubernetes.io/managed-by"}
        assert wanted <= set(thing["metadata"]["labels"]), name
        assert thing["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "openlsp.node", name


def test_every_claim_on_a_pod_finds_one(objects):
    """A selector that matches nothing is no error to Kubernetes: a Service then has no endpoint, a policy no pod.

    Some policies are for the pods of others: the namespace's, and those of LND's and Tor's clients.
    """
    pods = [thing["spec"]["template"]["metadata"]["labels"] for thing in objects.values() if thing["kind"] == "StatefulSet"]
    # The own Services of Tor and of the exporter lead to the pods of two other roles.
    own = ("tor", "exporter")
    pods += [{**labels, "app.kubernetes.io/name": other} for labels in pods if labels["app.kubernetes.io/name"] in own for other in ("bitcoind", "lnd")]
    for name, thing in objects.items():
        spec = thing.get("spec", {})
        selector = spec.get("selector", {}) if thing["kind"] != "NetworkPolicy" else spec["podSelector"]
        wanted = selector.get("matchLabels", selector)
        if thing["kind"] == "NetworkPolicy" and thing["metadata"]["name"] in ("default", "lnd-clients", "tor-clients"):
            continue
        if thing["kind"] in ("NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"):
            assert any(wanted.items() <= labels.items() for labels in pods), name


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "observability"], indirect=True)
def test_the_exporter_reaches_what_is_not_ready(objects):
    """Otherwise a locked wallet would look like an LND that is gone, and a bitcoind that loads like one that is."""
    services = {thing["metadata"]["name"] for thing in objects.values() if thing["kind"] == "Service" and thing["spec"].get("publishNotReadyAddresses")}
    command, = (thing["spec"]["template"]["spec"]["containers"][0]["command"] for thing in objects.values() if thing["kind"] == "StatefulSet")
    asked = {each.partition("=")[2].partition(".")[0] for each in command if each.startswith(("--bitcoind=", "--lnd="))}
    assert asked == services == {"exporter-to-bitcoind", "exporter-to-lnd"}


def test_every_pod_keeps_to_the_restricted_standard(objects):
    for thing in objects.values():
        if thing["kind"] != "StatefulSet":
            continue
        pod = thing["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_a_pod_is_closed_before_it_is_there(objects):
    """Before there is a wallet, whoever reaches LND can make one. Manifests are applied one after the other."""
    kinds = [thing["kind"] for thing in objects.values()]
    assert "StatefulSet" not in kinds or kinds.index("NetworkPolicy") < kinds.index("StatefulSet")


def test_its_policies_are_those_of_the_choice(role, manifests):
    node = Node("tor-only", "regtest", tor=True, tor_only=True, bitcoind_exposure=frozenset({"onion"}), lnd_exposure=frozenset({"onion"}),
                onion_apis=frozenset({"lnd-rest"}), client_namespaces=("merchant",))
    policies = [yaml.safe_load(text) for name, text in manifests["tor-only"].items() if name.startswith("networkpolicy")]
    assert policies
    for policy in policies:
        name = policy["metadata"]["name"]
        assert policy["spec"] == policy_spec(name, dataclasses.replace(node, monitoring=name == "exporter"))


def test_prometheus_is_let_in_from_where_the_owner_says_it_is(role, manifests):
    def namespaces(choice):
        specs = [yaml.safe_load(text)["spec"] for name, text in manifests[choice].items() if name.startswith("networkpolicy")]
        return {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for spec in specs for rule in spec["ingress"]
                for peer in rule.get("from", ()) if peer.get("namespaceSelector", {}).get("matchLabels")}

    watched = role.name in ("lnd", "tor", "observability")
    assert namespaces("watched") == ({"metrics"} if watched else set())
    assert namespaces("watched-without-an-operator") == ({"observability"} if watched else set())


def test_a_boolean_may_be_written_as_text(manifests):
    assert manifests["text-for-booleans"] == manifests["booleans"]


def test_every_template_is_used(role, manifests):
    used = set().union(*manifests.values())
    assert used == {path.name for path in role.glob("templates/*.yaml.j2")}


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "lnd"], indirect=True)
def test_lnd_is_given_names_as_names_and_addresses_as_addresses(manifests):
    lines = manifests["own-options"]["configmap.yaml.j2"].split()
    assert [line for line in lines if line.startswith("tlsextraip=")] == ["tlsextraip=192.0.2.1", "tlsextraip=2001:db8::1"]
    assert [line for line in lines if line.startswith("tlsextradomain=")][-5:] == [
        "tlsextradomain=lnd.own-options.svc.cluster.local", "tlsextradomain=lnd.example", "tlsextradomain=*.lnd.example", "tlsextradomain=10.example",
        f"tlsextradomain={'c' * 56}.onion"]


def settings(manifests, choice):
    """The lines of a program's configuration."""
    return [line.strip() for line in manifests[choice]["configmap.yaml.j2"].splitlines()]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "bitcoind"], indirect=True)
def test_bitcoind_uses_tor_for_onions_or_for_everything(manifests):
    through_tor = ("onion=", "proxy=", "onlynet=")
    assert [line for line in settings(manifests, "as-it-comes") if line.startswith(through_tor)] == []
    assert [line for line in settings(manifests, "own-options") if line.startswith(through_tor)] == ["onion=tor.own-options.svc.cluster.local:9050"]
    assert [line for line in settings(manifests, "onion") if line.startswith(through_tor)] == ["proxy=tor.onion.svc.cluster.local:9050", "onlynet=onion"]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "lnd"], indirect=True)
def test_lnd_uses_tor_for_onions_or_for_everything(manifests):
    assert [line for line in settings(manifests, "as-it-comes") if line.startswith("tor.")] == []
    assert [line for line in settings(manifests, "own-options") if line.startswith("tor.")] == [
        "tor.active=true", "tor.socks=tor.own-options.svc.cluster.local:9050", "tor.skip-proxy-for-clearnet-targets=true"]
    assert [line for line in settings(manifests, "onion") if line.startswith("tor.")] == [
        "tor.active=true", "tor.socks=tor.onion.svc.cluster.local:9050", "tor.streamisolation=true"]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "tor"], indirect=True)
def test_tor_is_given_each_service_with_its_options_after_it(manifests):
    lines = settings(manifests, "onion")
    first = lines.index("HiddenServiceDir /run/tor/onion/bitcoind-p2p")
    defences = ["HiddenServicePoWDefensesEnabled 1", "HiddenServiceEnableIntroDoSDefense 1"]
    assert [line for line in lines[first:lines.index("start.sh: |")] if line] == [
        "HiddenServiceDir /run/tor/onion/bitcoind-p2p", "HiddenServicePort 38333 tor-to-bitcoind.onion.svc.cluster.local:38333", *defences,
        "HiddenServiceDir /run/tor/onion/lnd-p2p", "HiddenServicePort 9735 tor-to-lnd.onion.svc.cluster.local:9735", *defences]
    assert "SafeLogging 1" in settings(manifests, "own-options")


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "tor"], indirect=True)
@pytest.mark.parametrize("choice, listeners, families", [
    ("tor-only", ["SocksPort 0.0.0.0:9050", "SocksPort [::]:9050"], ["ClientUseIPv4 1", "ClientUseIPv6 1"]),
    # Nobody has said which families: the cluster has.
    ("onion", ["SocksPort [::]:9050"], ["ClientUseIPv4 0", "ClientUseIPv6 1"]),
    ("host-port", ["SocksPort 0.0.0.0:9050"], ["ClientUseIPv4 1", "ClientUseIPv6 0"])])
def test_tor_listens_and_connects_in_the_families_that_the_cluster_has(manifests, choice, listeners, families):
    lines = settings(manifests, choice)
    assert [line for line in lines if line.startswith("SocksPort")] == listeners
    assert [line for line in lines if line.startswith("ClientUseIPv")] == families


def lines_of(manifests, choice, *options):
    """The lines of one choice's configuration that set these options."""
    lines = [line.strip() for line in manifests[choice]["configmap.yaml.j2"].splitlines()]
    return [line for line in lines if line.partition("=")[0] in options]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "lnd"], indirect=True)
def test_lnd_listens_where_the_cluster_has_addresses_and_announces_names_as_names(manifests):
    options = ("listen", "rpclisten", "restlisten", "externalip", "externalhosts")
    assert lines_of(manifests, "node-port", *options) == [
        "listen=[::]:9735", "externalip=8.8.8.8:9735", "externalip=[2001:4860::8]:9735", "externalhosts=node.example.org:9735",
        "rpclisten=0.0.0.0:10009", "rpclisten=[::]:10009", "restlisten=0.0.0.0:8080", "restlisten=[::]:8080"]
    assert lines_of(manifests, "host-port", *options[:3]) == ["listen=0.0.0.0:9735", "rpclisten=0.0.0.0:10009", "restlisten=0.0.0.0:8080"]
    assert lines_of(manifests, "load-balancer", *options[:3]) == [
        "listen=[::]:9735", "rpclisten=127.0.0.1:10009", "rpclisten=[::]:10009", "restlisten=127.0.0.1:8080", "restlisten=[::]:8080"]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "bitcoind"], indirect=True)
def test_bitcoind_listens_where_the_cluster_has_addresses(manifests):
    options = ("bind", "rpcbind", "zmqpubrawblock")
    assert lines_of(manifests, "node-port", *options) == ["bind=0.0.0.0:18444", "bind=[::]:18444", "rpcbind=::", "zmqpubrawblock=tcp://[::]:28332"]
    assert lines_of(manifests, "host-port", *options) == [
        "bind=0.0.0.0:8333", "rpcbind=0.0.0.0", "zmqpubrawblock=tcp://0.0.0.0:28332"]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "bitcoind"], indirect=True)
def test_bitcoind_is_given_addresses_and_no_names_which_it_would_have_to_resolve_at_its_start(manifests):
    assert lines_of(manifests, "node-port", "externalip") == ["externalip=8.8.8.8:9735", "externalip=[2001:4860::8]:9735"]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "bitcoind"], indirect=True)
def test_bitcoind_has_a_port_for_its_onion_service_at_the_pods_own_address(manifests):
    def container(choice):
        found, = yaml.safe_load(manifests[choice]["statefulset.yaml.j2"])["spec"]["template"]["spec"]["containers"]
        return found, {each["name"]: each["containerPort"] for each in found["ports"]}

    exposed, ports = container("onion")
    assert ports == {"rpc": 38332, "p2p": 38333, "onion": 38334}
    assert exposed["command"][-1] == "-bind=[$(POD_IP)]:38334=onion"
    assert {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}} in exposed["env"]
    closed, ports = container("as-it-comes")
    assert ports == {"rpc": 38332, "p2p": 38333}
    assert not any("-bind" in each for each in closed["command"])
    # Peers that come in another way have no business there.
    assert [each["targetPort"] for each in yaml.safe_load(manifests["host-port"]["service-p2p.yaml.j2"])["spec"]["ports"]] == ["p2p"]


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "tor"], indirect=True)
def test_tor_leads_to_bitcoinds_port_for_its_onion_service(manifests):
    for choice, number in ("onion", 38333), ("host-port", 8333):
        spec = yaml.safe_load(manifests[choice]["service-bitcoind.yaml.j2"])["spec"]
        port, = spec["ports"]
        assert (port["port"], port["targetPort"]) == (number, "onion")
        # Of the family of POD_IP, the cluster's first.
        assert spec["ipFamilyPolicy"] == "SingleStack" and "ipFamilies" not in spec


@pytest.mark.parametrize("role", [path for path in ROLES if path.name in ("bitcoind", "lnd")], indirect=True)
def test_a_way_is_open_for_peers_alone(role, manifests):
    of_peers, inner = ({choice: yaml.safe_load(found[name])["spec"] for choice, found in manifests.items()}
                       for name in ("service-p2p.yaml.j2", "service.yaml.j2"))
    for spec in inner.values():
        assert spec["type"] == "ClusterIP" and not {"externalIPs", "externalTrafficPolicy"} & set(spec)
    kinds = {choice: of_peers[choice]["type"] for choice in ("as-it-comes", "host-port", "node-port", "load-balancer")}
    assert kinds == {"as-it-comes": "ClusterIP", "host-port": "ClusterIP", "node-port": "NodePort", "load-balancer": "LoadBalancer"}
    assert of_peers["host-port"]["externalIPs"] == ["192.168.1.20"]
    assert "externalTrafficPolicy" not in of_peers["as-it-comes"]
    assert {of_peers[choice]["externalTrafficPolicy"] for choice in ("host-port", "node-port", "load-balancer")} == {"Local"}
    assert of_peers["node-port"]["ports"][0]["nodePort"] in (30735, 30833)
    for spec in (of_peers["load-balancer"], inner["load-balancer"]):
        assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("SingleStack", ["IPv6"])
    for spec in (of_peers["as-it-comes"], inner["as-it-comes"]):
        assert spec["ipFamilyPolicy"] == "PreferDualStack" and "ipFamilies" not in spec


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "bitcoind"], indirect=True)
def test_the_exporter_s_user_may_only_look(manifests):
    lines = yaml.safe_load(manifests["watched"]["configmap.yaml.j2"])["data"]["bitcoin.conf"].splitlines()
    assert "rpcauth=exporter:22$33" in lines
    allowed, = [line.removeprefix("rpcwhitelist=exporter:").split(",") for line in lines if line.startswith("rpcwhitelist=exporter:")]
    program = (ROLES[0].parent / "observability/files/exporter.py").read_text()
    lists = [node.value for node in ast.parse(program).body if isinstance(node, ast.Assign)
             for target in node.targets if isinstance(target, ast.Name) and target.id.startswith("BITCOIND_")]
    calls = {each.value for named in lists for each in ast.walk(named) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    assert set(allowed) == calls
    assert all(call.startswith(("get", "estimate", "uptime")) for call in allowed)
    assert not any("exporter" in line for line in manifests["mainnet"]["configmap.yaml.j2"].splitlines())


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "observability"], indirect=True)
def test_alerts_carry_what_the_operator_selects_and_the_severity_that_is_chosen(manifests):
    rule = yaml.safe_load(manifests["watched"]["prometheusrule.yaml.j2"])
    severities = {each["alert"]: each["labels"]["severity"] for group in rule["spec"]["groups"] for each in group["rules"]}
    assert rule["metadata"]["labels"]["release"] == "kube-prom-stack"
    assert severities["LndForceClosing"] == "warning"
    assert severities["LndWalletLocked"] == "critical"
    assert "BitcoinFeesHigh" not in severities
    assert set(severities.values()) == {"critical", "warning", "none"}


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "observability"], indirect=True)
def test_a_regtest_node_has_no_alert_on_blocks_and_peers_that_it_cannot_have(manifests):
    text = manifests["regtest"]["prometheusrule.yaml.j2"]
    assert "LndWalletLocked" in text and "BitcoindDown" in text
    for name in ("BitcoindNoBlock", "BitcoindNoPeers", "TorDown"):
        assert f"alert: {name}" not in text


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "observability"], indirect=True)
def test_without_an_operator_the_pod_says_where_its_metrics_are(manifests):
    assert not {"podmonitor.yaml.j2", "prometheusrule.yaml.j2"} & set(manifests["watched-without-an-operator"])
    for choice, marked in (("watched-without-an-operator", True), ("watched", False)):
        annotations = yaml.safe_load(manifests[choice]["statefulset.yaml.j2"])["spec"]["template"]["metadata"]["annotations"]
        assert ("prometheus.io/scrape" in annotations) is marked
