"""Every manifest fits the Kubernetes API's own schema, whatever an operator chooses.

Ansible itself renders them, from a role's defaults and vars and an inventory whose hosts are the choices below. The roles'
tasks do not run, but their argument specs are checked: a choice here that a role would refuse fails.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

ROLES = [path.parent for path in sorted((pathlib.Path(__file__).parents[2] / "roles").glob("*/templates"))
         if next(path.glob("*.yaml.j2"), None)]
KUBERNETES = "1.36"
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by")}

# What an operator may choose: one host of the inventory each.
CHOICES = {
    "as-it-comes": {"openlsp_network": "signet"},
    "regtest": {"openlsp_network": "regtest"},
    "testnet3": {"openlsp_network": "testnet3"},
    "testnet4": {"openlsp_network": "testnet4"},
    "mainnet": {"openlsp_network": "mainnet", "openlsp_namespace": "elsewhere", "bitcoind_dbcache_mib": 2000},
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
    },
}

# What the roles' tasks would have found out before.
REGISTERED = {
    "__bitcoind_rpc": {"rpcauth": "lnd:00$11"},
    "__lnd_bitcoind_rpc": {"digest": "0" * 64},
    "__lnd_access_mode": "ReadWriteOncePod",
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
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)


def test_every_object_says_what_it_belongs_to(objects):
    for name, thing in objects.items():
        wanted = LABELS if thing["kind"] != "Namespace" else {"app.kubernetes.io/part-of", "app.kubernetes.io/managed-by"}
        assert wanted <= set(thing["metadata"]["labels"]), name
        assert thing["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "openlsp.node", name


def test_every_claim_on_a_pod_finds_one(objects):
    """A selector that matches nothing is no error to Kubernetes: a Service then has no endpoint, a policy no pod."""
    pods = [thing["spec"]["template"]["metadata"]["labels"] for thing in objects.values() if thing["kind"] == "StatefulSet"]
    for name, thing in objects.items():
        spec = thing.get("spec", {})
        selector = spec.get("selector", {}) if thing["kind"] != "NetworkPolicy" else spec["podSelector"]
        wanted = selector.get("matchLabels", selector)
        if thing["kind"] in ("NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"):
            assert any(wanted.items() <= labels.items() for labels in pods), name


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


def test_every_template_is_used(role, manifests):
    used = set().union(*manifests.values())
    assert used == {path.name for path in role.glob("templates/*.yaml.j2")}


@pytest.mark.parametrize("role", [path for path in ROLES if path.name == "lnd"], indirect=True)
def test_lnd_is_given_names_as_names_and_addresses_as_addresses(manifests):
    lines = manifests["own-options"]["configmap.yaml.j2"].split()
    assert [line for line in lines if line.startswith("tlsextraip=")] == ["tlsextraip=192.0.2.1", "tlsextraip=2001:db8::1"]
    assert [line for line in lines if line.startswith("tlsextradomain=")][-4:] == [
        "tlsextradomain=lnd.own-options.svc.cluster.local", "tlsextradomain=lnd.example", "tlsextradomain=*.lnd.example", "tlsextradomain=10.example"]
