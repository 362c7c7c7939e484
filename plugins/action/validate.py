# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action openlsp.node.validate; its documentation is in plugins/modules/validate.py."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Iterator, Mapping

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _disk_layout, _exposure, _microk8s
from ansible_collections.openlsp.node.plugins.module_utils._credentials import NETWORK_DIRECTORIES
from ansible_collections.openlsp.node.plugins.plugin_utils import _checks, _wallet_file

ROLES = Path(__file__).parents[2] / "roles"

ALERT = re.compile(r"^  - alert: (\w+)$", re.MULTILINE)

NETWORK_LABEL = "openlsp.org/network"

# Stands in for a network that does not exist while the other checks look on: it raises no further complaint.
SAFEST_NETWORK = "regtest"

# What the roles do in a namespace, as (verb, group, resource).
NEEDED_RIGHTS = (
    ("list", "", "secrets"), ("create", "", "secrets"), ("patch", "", "secrets"), ("patch", "", "configmaps"), ("patch", "", "services"),
    ("patch", "", "serviceaccounts"), ("patch", "apps", "statefulsets"), ("patch", "networking.k8s.io", "networkpolicies"),
    ("patch", "policy", "poddisruptionbudgets"), ("get", "", "pods"), ("create", "", "pods/exec"), ("create", "", "pods/portforward"),
)


# And what the role tor does beyond that: its configuration is read in a pod first.
TOR_RIGHTS = (("create", "", "pods"), ("delete", "", "pods"))


class ActionModule(ActionBase):
    """See plugins/modules/validate.py."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Ansible's entry point."""
        super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec({
            "roles": {"type": "list", "elements": "str", "required": True}, "cluster": {"type": "bool", "default": True}})
        task_vars = task_vars or {}
        specs = {role: self._yaml(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"] for role in given["roles"]}
        defaults = {name: value for role in specs for name, value in self._yaml(role, "defaults/main.yml").items()}
        options = {name: option for spec in specs.values() for name, option in spec.items()}
        lightning = "lnd" in specs
        if lightning:
            options["openlsp_network"] = {"type": "str", "choices": list(NETWORK_DIRECTORIES)}
        mistakes = list(_checks.unknown_variables(task_vars, options, specs))
        values = self._values(options, defaults, task_vars, mistakes)
        if lightning:
            mistakes += _checks.contradictions(values)
            mistakes += self._wallet_mistakes(values, task_vars["inventory_hostname"])
            mistakes += _checks.neighbours(task_vars["inventory_hostname"], values, _others(task_vars))
        if "observability" in specs:
            mistakes += _checks.observability(values, ALERT.findall((ROLES / "observability/templates/alerts.yml.j2").read_text()))
        if "disk_layout" in specs:
            mistakes += _disk_layout.variable_mistakes(values)
        if "microk8s" in specs:
            mistakes += _microk8s.variable_mistakes(values)
            mistakes += _checks.machines(task_vars["groups"].get("machines", ()))
        if lightning and given["cluster"]:
            mistakes += _cluster_mistakes(values)
        if mistakes:
            raise AnsibleActionFail(_message(task_vars["inventory_hostname"], mistakes))
        return {"changed": False, "cluster": given["cluster"]}

    def _yaml(self, role: str, path: str) -> dict:
        return self._loader.load_from_file(str(ROLES / role / path), trusted_as_template=True)

    def _values(self, options: dict, defaults: dict, task_vars: dict, mistakes: list[str]) -> dict:
        """Every variable's value. In the place of one that cannot be used stands its default, so that the other checks still find their mistakes."""
        variables = {**defaults, **task_vars}
        templar = self._templar.copy_with_new_env(available_variables=variables)
        values = {}
        for name in ("openlsp_network", *_checks.SHARED, *options):
            if name in values or (name not in variables and not (name == "openlsp_network" and name in options)):
                continue
            try:
                values[name] = _checked(name, templar.template(variables.get(name)), options.get(name) or {"type": _checks.SHARED[name]})
            except (AnsibleError, ValueError) as error:
                mistakes.append(f"{name}: {error}")
                instead = SAFEST_NETWORK if name == "openlsp_network" else defaults.get(name)
                if instead is None or instead is variables.pop(name, None):
                    variables.pop(name, None)
                    continue
                variables[name] = instead
                values[name] = templar.template(instead)
        return values

    def _wallet_mistakes(self, values: dict, host: str) -> Iterator[str]:
        """Where the seed will go must be ready before there is a seed."""
        try:
            vault = _wallet_file.vault(values["lnd_wallet_vault_password_file"], self._loader)
        except _wallet_file.WalletFileError as error:
            yield f"lnd_wallet_vault_password_file: {error}"
            return
        path = Path(values["lnd_wallet_file"]).expanduser()
        try:
            wallet = _wallet_file.read(path, vault)
        except _wallet_file.WalletFileError as error:
            yield f"lnd_wallet_file: {error}"
            return
        if wallet and (wallet.node, wallet.network) != (host, values["lnd_network"]):
            yield (f"lnd_wallet_file: {path} holds the wallet of {wallet.node} on {wallet.network}, not of {host} on {values['lnd_network']}; "
                   "name another file")
        if not wallet:
            yield from _unwritable(path)


def _unwritable(path: Path) -> Iterator[str]:
    parent = [each for each in path.parents if each.exists()][0]
    try:
        # A file without a name, gone at once. Asking for the right is not enough: root has it on every read-only file system.
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        yield f"lnd_wallet_file: {path} could not be written: {parent}: {error.strerror}; name another file"


def _others(task_vars: dict) -> dict[str, Mapping]:
    """The variables of the other Lightning nodes of this run that have the same cluster. With --limit, -e may be meant for one host alone."""
    host, hosts = task_vars["inventory_hostname"], task_vars["hostvars"]

    def cluster(of: str) -> list:
        return [hosts[of].get(name) for name in ("openlsp_kubeconfig", "openlsp_context")]
    return {each: hosts[each] for each in task_vars["groups"].get("lightning_nodes", ())
            if each in task_vars["ansible_play_hosts_all"] and each != host and cluster(each) == cluster(host)}


def _cluster_mistakes(values: dict) -> Iterator[str]:
    namespace = values["namespace_name"]
    try:
        cluster = _cluster.connect(values.get("openlsp_kubeconfig"), values.get("openlsp_context"))
        rights = NEEDED_RIGHTS + (TOR_RIGHTS if values.get("openlsp_tor") else ())
        yield from _missing_rights(cluster, namespace, values["namespace_create"], rights)
        yield from _other_data(cluster, namespace, values)
        if values["bitcoind_storage_local_path"] or values["lnd_storage_local_path"]:
            with _cluster.explained("cannot look for the directories that are in use"):
                volumes = cluster.request("GET", "/api/v1/persistentvolumes")["items"]
            yield from _checks.directory_in_use(values, volumes, namespace)
        yield from _missing_families(cluster, namespace, values.get("openlsp_ip_families"))
    except _cluster.ClusterError as error:
        yield f"openlsp_kubeconfig: {error}"


def _missing_rights(cluster: _cluster.Cluster, namespace: str, create: bool, needed: tuple) -> Iterator[str]:
    def allowed(verb: str, group: str, resource: str, of_namespace: str | None) -> bool:
        resource, _slash, subresource = resource.partition("/")
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": of_namespace}}}
        return cluster.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)["status"]["allowed"]

    with _cluster.explained("cannot ask the cluster for your rights"):
        missing = [f"{verb} {resource}" for verb, group, resource in needed if not allowed(verb, group, resource, namespace)]
        if create and not allowed("patch", "", "namespaces", None):
            yield (f"namespace_create: you have no right to make the namespace {namespace}; "
                   "let an administrator make it and set namespace_create to false")
    if missing:
        yield f"openlsp_namespace: in {namespace} you have no right to {', '.join(missing)}; ask for a role with these rights, or name another namespace"


def _other_data(cluster: _cluster.Cluster, namespace: str, values: dict) -> Iterator[str]:
    """What is there already is of this network, and where the inventory says."""
    network = values["lnd_network"]
    with _cluster.explained(f"cannot look at what namespace {namespace} holds"):
        claims, statefulsets = (
            cluster.request("GET", path, {"labelSelector": NETWORK_LABEL})["items"]
            for path in (f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", f"/apis/apps/v1/namespaces/{namespace}/statefulsets"))
    for each in claims + statefulsets:
        there, name = each["metadata"]["labels"][NETWORK_LABEL], each["metadata"]["name"]
        if there != network:
            yield (f"openlsp_network: {network}, but {name} in namespace {namespace} holds data of {there}; "
                   f"set it to {there}, or set openlsp_namespace to another namespace")
        elif each in statefulsets:
            yield from _checks.other_volume(values, each, namespace)


def _missing_families(cluster: _cluster.Cluster, namespace: str, wanted: list[str] | None) -> Iterator[str]:
    """Without a word of the inventory, the Services take what the cluster has."""
    found = _cluster.service_families(cluster, namespace) if wanted else ()
    if found:
        yield from _exposure.family_mistakes(wanted, found)


def _checked(name: str, value: Any, option: dict) -> Any:
    """The value as the type that its argument spec names. Raises ValueError."""
    if name == "openlsp_network" and value is None:
        raise ValueError(f"it is not set; choose one of {', '.join(option['choices'])}")
    if option["type"] in ("list", "dict") and isinstance(value, str):
        # An argument spec would split it at its commas; the roles take it as it is, character by character.
        raise ValueError(f"it is text, not a {option['type']}; on the command line write -e '{{\"{name}\": ...}}' in JSON")
    spec = {key: option[key] for key in ("type", "elements", "choices", "no_log", "options") if key in option}
    result = ArgumentSpecValidator({name: spec}).validate({name: value})
    if result.error_messages:
        raise ValueError("; ".join(result.error_messages))
    return _without_none(result.validated_parameters[name])


def _without_none(value: Any) -> Any:
    """Of a list of dicts, those keys that are set: the validator adds the others."""
    if isinstance(value, list):
        return [{key: each for key, each in entry.items() if each is not None} if isinstance(entry, dict) else entry for entry in value]
    return value


def _message(host: str, mistakes: list[str]) -> str:
    count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return f"The inventory of {host} has {count}; nothing was touched.\n" + "\n".join(f"  - {each}" for each in mistakes)
