#!/usr/bin/python
# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tor_onion_secret
short_description: Create the keys of onion services once
version_added: 0.2.0
description:
  - Makes sure that each service has a Secret C(tor-onion-<name>) with the files of Tor's HiddenServiceDir - C(hostname), C(hs_ed25519_public_key) and
    C(hs_ed25519_secret_key). The key is random or the one that is brought along, and is never made again or replaced while the Secret has one.
  - A key that does not belong to its recorded address is refused, whichever of them is wrong. Nothing is written then. Nor is it where the Secret of a
    service is gone with whose key the StatefulSet C(tor) runs, unless O(keys) has one.
  - A service of O(authorised) gets a key pair for one client. Its public half is the key C(client.auth) of the service's Secret; its private
    half, as Tor's ClientOnionAuthDir wants it, is C(client.auth_private) of the Secret C(tor-client-<name>), which nothing mounts.
  - The Secret O(control) holds the password of Tor's control port, and the hashed form that Tor itself is given.
  - No key and no password appears in the result, in the diff or in a message.
extends_documentation_fragment:
  - openlsp.node._cluster
options:
  services:
    description: What the onion services are for; the Secret of each is called C(tor-onion-<name>).
    type: list
    elements: str
    default: []
  authorised:
    description: Those of O(services) that only a client shall find who has the key of C(tor-client-<name>).
    type: list
    elements: str
    default: []
  keys:
    description:
      - Keys to use in the place of random ones, by service. Either the content of LND's C(v3_onion_private_key), which begins with C(ED25519-V3:),
        or that of C(hs_ed25519_secret_key) as base64. Those of services that are not in O(services) are not looked at.
    type: dict
    default: {}
  control:
    description: The Secret of the control port's password.
    type: str
    default: tor-control
  labels:
    description: Labels of the Secrets, beside C(app.kubernetes.io/managed-by), which is always set.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Writes nothing. The address of a random key cannot be known yet.
  diff_mode:
    support: full
    description: Shows addresses and digests.
requirements:
  - PyNaCl >= 1.5
author:
  - The openlsp.node authors (@openlsp)
"""

EXAMPLES = r"""
- name: Make the keys of the onion services once
  openlsp.node.tor_onion_secret:
    namespace: lightning
    services: [lnd-p2p, lnd-rest]
    authorised: [lnd-rest]
    keys:
      lnd-p2p: "{{ vaulted_v3_onion_private_key }}"
  register: __tor_onion
"""

RETURN = r"""
addresses:
  description: The address of each service.
  returned: always
  type: dict
  sample: {lnd-p2p: 25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion}
digest:
  description: The first 8 hexadecimal digits of a SHA-256 over all that Tor is given; it reads it at its start and restarts when it changes.
  returned: always
  type: str
  sample: 5f0d1c9e
"""

import itertools
import secrets
from typing import Iterable

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _onion, _pod, _secret
from ansible_collections.openlsp.node.plugins.module_utils._arguments import labels_of

# Keys of the Secrets: as files of a HiddenServiceDir, of a ClientOnionAuthDir, and of the control port.
HOSTNAME = "hostname"
PUBLIC_KEY = "hs_ed25519_public_key"
SECRET_KEY = "hs_ed25519_secret_key"
CLIENT = "client.auth"
CLIENT_PRIVATE = "client.auth_private"
PASSWORD = "password"
HASHED = "hashed"

# Whose volumes say which keys Tor runs with.
STATEFULSET = "tor"

UNKNOWN = "known-after-the-first-run.onion"


def service_key(name: str, given: str | None, found: _secret.Secret | None) -> _onion.OnionKey:
    """The key of a service: the one that is there, the one that was brought along, or a new one. Raises OnionError."""
    data = found.data if found else {}
    brought = _brought(name, given)
    where = f"the Secret tor-onion-{name}"
    try:
        if data.get(SECRET_KEY):
            key = (_onion.checked(data[SECRET_KEY], data[HOSTNAME], data.get(PUBLIC_KEY)) if data.get(HOSTNAME)
                   else _onion.parse(data[SECRET_KEY]))
        else:
            recorded = data.get(HOSTNAME, b"").decode("ascii", "replace").strip()
            if recorded and (brought is None or brought.address != recorded):
                raise _onion.OnionError(f"the key of {recorded} is missing")
            key = brought or _onion.new_key()
    except _onion.OnionError as error:
        raise _onion.OnionError(f"{where}: {error}; restore it from a backup, or delete it and the StatefulSet {STATEFULSET}, "
                                "with which that address is lost") from None
    if brought and brought != key:
        raise _onion.OnionError(f"tor_onion_keys: {name}: it is the key of {brought.address}, but {where} has that of {key.address}; "
                                "an address is never replaced: take the key out, or delete the Secret")
    return key


def refuse_to_lose(cluster: _cluster.Cluster, namespace: str, missing: Iterable[str]) -> None:
    """Services without a key get a new one, but not where Tor was started with one: its pod has the last copy then. Raises ClusterError and OnionError."""
    missing = list(missing)
    statefulset = _pod.statefulset(cluster, namespace, STATEFULSET) if missing else None
    volumes = statefulset["spec"]["template"]["spec"].get("volumes", ()) if statefulset else ()
    mounted = {each["secret"]["secretName"] for each in volumes if "secret" in each}
    for name in missing:
        if f"tor-onion-{name}" in mounted:
            raise _onion.OnionError(
                f"the Secret tor-onion-{name} has no key, or is gone, but Tor uses one: a new key would be a new address. Save it while Tor runs: "
                f"kubectl -n {namespace} exec {STATEFULSET}-0 -- base64 -w0 /run/tor/onion/{name}/{SECRET_KEY} shows what belongs into tor_onion_keys, "
                f"as {name}. Or restore the Secret from a backup; or give the address up: kubectl -n {namespace} delete statefulset {STATEFULSET}")


def _brought(name: str, given: str | None) -> _onion.OnionKey | None:
    if not given:
        return None
    try:
        return _onion.parse(given)
    except _onion.OnionError as error:
        raise _onion.OnionError(f"tor_onion_keys: {name}: {error}") from None


def onion_secrets(name: str, authorised: bool, key: _onion.OnionKey, found: dict[str, _secret.Secret], namespace: str,
                  labels: dict) -> list[_secret.Secret]:
    """The Secrets of one service; the client's comes first, so that no service is ever shown that it cannot reach."""
    data = {HOSTNAME: key.hostname_file, PUBLIC_KEY: key.public_file, SECRET_KEY: key.secret_file}
    if not authorised:
        return [_secret.Secret(f"tor-onion-{name}", data, labels, namespace=namespace)]
    client = _client(found.get(f"tor-client-{name}"))
    return [_secret.Secret(f"tor-client-{name}", {CLIENT_PRIVATE: client.private_file(key.address)}, labels, namespace=namespace),
            _secret.Secret(f"tor-onion-{name}", {**data, CLIENT: client.authorized}, labels, namespace=namespace)]


def _client(found: _secret.Secret | None) -> _onion.ClientKey:
    """The client's key that is there, or a new one: one that is damaged lets nobody in, so nothing is lost with it."""
    return (found and _onion.parse_client(found.data.get(CLIENT_PRIVATE, b""))) or _onion.new_client_key()


def control_secret(name: str, found: _secret.Secret | None, namespace: str, labels: dict) -> _secret.Secret:
    """The control port's password, once; the hash is kept, because its salt makes it another one each time."""
    data = dict(found.data) if found else {}
    if not (data.get(PASSWORD) and data.get(HASHED)):
        password = secrets.token_urlsafe(32)
        data = {PASSWORD: password.encode(), HASHED: _onion.hashed_password(password, secrets.token_bytes(8)).encode()}
    return _secret.Secret(name, {key: data[key] for key in (PASSWORD, HASHED)}, labels, namespace=namespace)


def change(secret: _secret.Secret, found: _secret.Secret | None, control: str) -> _secret.Change:
    """What has to happen to one Secret. Raises ForeignSecretError.

    One that was restored often has no labels: it is taken over, since an onion key in it is kept whatever it says, and a password only where it is whole.
    """
    adopt = secret.name != control or (found is not None and secret.data.items() <= found.data.items())
    return _secret.change(secret, found, adopt)


def shown(secret: _secret.Secret) -> str:
    """What the diff shows."""
    public = {HOSTNAME: lambda value: value.decode("ascii", "replace").strip()}
    return "".join(f"{secret.name}/{key}: {public.get(key, lambda each: f'sha256 {_secret.digest(each)}')(value)}\n"
                   for key, value in sorted(secret.data.items()))


def run(module: AnsibleModule) -> dict:
    """Read everything, plan everything, then write. Raises ClusterError and OnionError."""
    given = module.params
    cluster = _cluster.connect(given["kubeconfig"], given["context"])
    namespace, labels = given["namespace"], labels_of(given)
    found = _secret.read_all(cluster, namespace)
    refuse_to_lose(cluster, namespace, (name for name in given["services"] if not given["keys"].get(name)
                                        and not (f"tor-onion-{name}" in found and found[f"tor-onion-{name}"].data.get(SECRET_KEY))))
    keys = {name: service_key(name, given["keys"].get(name), found.get(f"tor-onion-{name}")) for name in given["services"]}
    for one, other in itertools.combinations(keys, 2):
        if keys[one] == keys[other]:
            raise _onion.OnionError(f"{one} and {other} have one key, that of {keys[one].address}, which leads to one of them only; take it out of "
                                    f"tor_onion_keys for one of them, and where tor-onion-{one} or tor-onion-{other} has it wrongly, delete that Secret")
    wanted = [control_secret(given["control"], found.get(given["control"]), namespace, labels)]
    for name, key in keys.items():
        wanted += onion_secrets(name, name in given["authorised"], key, found, namespace, labels)
    changes = [each for each in (change(secret, found.get(secret.name), given["control"]) for secret in wanted) if each.action != "keep"]
    if not module.check_mode:
        for each in changes:
            try:
                _secret.write(cluster, each)
            except _cluster.ClusterError as error:
                if error.status != 409:
                    raise
                return run(module)  # Somebody else was faster: use theirs.
    made = {each.wanted.name for each in changes if each.action == "create"} if module.check_mode else set()
    addresses = {name: UNKNOWN if f"tor-onion-{name}" in made and not given["keys"].get(name) else key.address for name, key in keys.items()}
    used = b"".join(_secret.digest(value).encode() for secret in wanted if not secret.name.startswith("tor-client-")
                    for key, value in sorted(secret.data.items()) if key != PASSWORD)
    return {"changed": bool(changes), "addresses": addresses, "digest": _secret.digest(used),
            "diff": {"before": "".join(shown(each.found) for each in changes if each.found),
                     "after": "".join(shown(each.wanted) for each in changes)}}


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(
        argument_spec={
            **_cluster.ARGUMENTS,
            "services": {"type": "list", "elements": "str", "default": []},
            "authorised": {"type": "list", "elements": "str", "default": []},
            "keys": {"type": "dict", "default": {}, "no_log": True},
            "control": {"type": "str", "default": "tor-control"},
            "labels": {"type": "dict", "default": {}},
        },
        supports_check_mode=True)
    if _onion.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("PyNaCl"), exception=_onion.IMPORT_ERROR)
    try:
        result = run(module)
    except (_cluster.ClusterError, _onion.OnionError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
