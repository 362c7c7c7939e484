"""Move the Lightning nodes of one test node to another: what an owner keeps is carried over, and must make the same nodes again.

    python tests/move.py carry FROM TO     while MicroK8s alone runs on the new one
    python tests/move.py compare FROM TO   after the site

Carried: the wallet files with their vault password, and the Secrets that hold the onion services' keys.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import kubernetes

NODES = ("alice", "bob")
STATE = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state") / "openlsp.node"


def core(name: str) -> kubernetes.client.CoreV1Api:
    """The API of a test node."""
    return kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(STATE / name / "kubeconfig")))


def keys(api: kubernetes.client.CoreV1Api, namespace: str) -> dict[str, kubernetes.client.V1Secret]:
    """The Secrets of a node's onion services and of their clients, by name."""
    return {each.metadata.name: each for each in api.list_namespaced_secret(namespace).items if each.metadata.name.startswith(("tor-onion-", "tor-client-"))}


def carry(old: str, new: str) -> None:
    """Restore what the owner has kept, as a backup of the Secrets holds them."""
    shutil.copy2(STATE / old / "vault-password", STATE / new)
    shutil.copytree(STATE / old / "wallets", STATE / new / "wallets")
    target = core(new)
    for namespace in NODES:
        target.create_namespace({"metadata": {"name": namespace}})
        for name, secret in keys(core(old), namespace).items():
            about = secret.metadata
            target.create_namespaced_secret(namespace, {
                "metadata": {"name": name, "labels": about.labels, "annotations": about.annotations}, "type": secret.type, "data": secret.data})


def compare(old: str, new: str) -> list[str]:
    """What is not as it was, in words."""
    found = []
    for namespace in NODES:
        before, after = ({name: secret.data for name, secret in keys(core(node), namespace).items()} for node in (old, new))
        found += [f"{namespace}: {name} is another" for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        identities = {identity(node, namespace) for node in (old, new)}
        found += [f"{namespace}: LND's public key was one of {sorted(identities)}, and is the other"] * (len(identities) != 1)
        found += [] if before else [f"{namespace}: there was no onion service to move"]
    return found


def identity(node: str, namespace: str) -> str:
    """LND's public key, as it says itself."""
    call = ["podman", "exec", f"openlsp-{node}", "/snap/bin/microk8s", "kubectl", "-n", namespace, "exec", "lnd-0", "--",
            "lncli", "--lnddir=/data", "--network=regtest", "getinfo"]
    return json.loads(subprocess.run(call, check=True, timeout=60, stdout=subprocess.PIPE).stdout)["identity_pubkey"]


def main(action: str, old: str, new: str) -> int:
    differences = {"carry": carry, "compare": compare}[action](old, new) or []
    print("\n".join(differences))
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
