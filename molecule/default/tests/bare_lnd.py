"""An LND without a chain, in a namespace of its own and ready in seconds: tests may damage its files and its Secrets.

And what those tests need: the module in a process of its own, and a reader who sees every state of the Secrets.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import kubernetes
from ansible_collections.openlsp.node.plugins.module_utils import _lnd, _macaroon, _pod
from conftest import KUBECONFIG, ROOT, eventually, on_node
from newcomer import KILL_LND, if_there

IMAGE = "localhost/openlsp/lnd:0.21.3-beta"
CHAIN = "/data/data/chain/bitcoin/regtest"
# In a loop, because Kubernetes waits longer before each restart of a container.
START = ("echo only-for-a-moment > /tmp/password; while sleep 0.2; do lnd --lnddir=/data --bitcoin.regtest --bitcoin.node=nochainbackend "
         "--nolisten --wallet-unlock-password-file=/tmp/password --wallet-unlock-allow-create; done")

# LND's own files, by the name of their Secret.
MACAROONS = {
    "lnd-admin": "admin", "lnd-chain-notifier": "chainnotifier", "lnd-invoice": "invoice", "lnd-invoices": "invoices",
    "lnd-readonly": "readonly", "lnd-router": "router", "lnd-signer": "signer", "lnd-walletkit": "walletkit"}

OURS = {"app.kubernetes.io/managed-by": "openlsp.node"}

# A root key that is deleted as soon as it has signed the credentials that are to be replaced.
OLD_ROOT_KEY = 7

# What the module needs.
RIGHTS = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]},
          {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
          {"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["get", "create"]},
          {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["get", "list", "patch"]}]

# The module as Ansible runs it, except that an API that does not answer is given up after 3 seconds instead of 30.
LAUNCH = """
import runpy, sys
from ansible_collections.openlsp.node.plugins.module_utils import _cluster, _lnd
_cluster.REQUEST_TIMEOUT = (2, 3)
_lnd._ANSWER_TIMEOUT = 3
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""

Secrets = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Published:
    """What came of one run of the module."""

    code: int
    result: dict = field(repr=False)
    stderr: str
    seconds: float

    @property
    def complaint(self) -> str:
        """The message where it failed, else empty."""
        return self.result["msg"] if self.code else ""

    @property
    def changed(self) -> bool:
        return self.result["changed"]


class Publishing:
    """A run of the module, in a process of its own."""

    def __init__(self, arguments: dict) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(ROOT / "plugins/modules/lnd_macaroon_secret.py")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / ".ansible/collections")})
        self._process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        self._process.stdin.close()
        self._process.stdin = None

    def ended(self, seconds: float = 60) -> Published:
        """Its result; fails where there is none in time, or none in JSON."""
        try:
            output, errors = self._process.communicate(timeout=seconds)
        finally:
            self._process.kill()
        assert output.strip().startswith(b"{"), f"no result: {output.decode()}{errors.decode()}"
        return Published(self._process.returncode, json.loads(output), errors.decode(), time.monotonic() - self._started)


class BareLnd:
    """One LND of which nothing is to survive."""

    def __init__(self, name: str, cluster, core) -> None:
        self.namespace, self._cluster, self._core = name, cluster, core
        self.old: Secrets
        self.new: Secrets

    def arrive(self, other_certificate: bytes) -> None:
        """Start it, and give it credentials that were good once: macaroons of a root key that is gone, another LND's certificate."""
        self.leave()  # Where an earlier session was interrupted.
        eventually(lambda: not self._core.list_namespace(field_selector=f"metadata.name={self.namespace}").items, "its last namespace stays")
        self._core.create_namespace({"metadata": {"name": self.namespace}})
        self._core.create_namespaced_pod(self.namespace, {"metadata": {"name": "lnd-0"}, "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "lnd", "image": IMAGE, "env": [{"name": "HOME", "value": "/tmp"}], "command": ["sh", "-c", START],
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "emptyDir": {}}]}})
        eventually(lambda: self._quietly(self.shell, "test -s /data/tls.cert"), "LND does not start")
        with self.client() as lnd:
            eventually(lambda: self._quietly(lnd.state) == "NON_EXISTING", "LND does not answer")
            lnd.init_wallet("only-for-a-moment", lnd.generate_seed(), "", 0)
        self.wait()
        self.old = {"lnd-tls": {"cert": other_certificate}, **self._macaroons_of_the_past()}
        self.new = {"lnd-tls": {"cert": self.shell("cat /data/tls.cert")},
                    **{name: {"macaroon": self.file(kind)} for name, kind in MACAROONS.items()}}

    def leave(self) -> None:
        """With everything in its namespace."""
        with if_there():
            self._core.delete_namespaced_pod("lnd-0", self.namespace, grace_period_seconds=0)
        with if_there():
            self._core.delete_namespace(self.namespace)

    def shell(self, script: str) -> bytes:
        """Run it beside LND. True is what a script without an output gives, for ``eventually``."""
        return _pod.run(self._cluster, self.namespace, "lnd-0", "lnd", ["sh", "-c", script]) or True

    def client(self) -> _lnd.Lnd:
        certificate = self.shell("cat /data/tls.cert")
        return _lnd.Lnd(lambda: _pod.forward(self._cluster, self.namespace, "lnd-0", _lnd.REST_PORT), certificate)

    def wait(self) -> None:
        """Until it takes calls and has written all its files."""
        def ready() -> bool:
            with self.client() as lnd:
                return lnd.state() in _lnd.ACTIVE_STATES
        eventually(lambda: self._quietly(ready), "LND does not open its wallet")
        files = " ".join(f"{CHAIN}/{kind}.macaroon" for kind in MACAROONS.values())
        eventually(lambda: self._quietly(self.shell, f"for each in {files}; do test -s $each || exit 1; done"), "LND does not write its files")

    def restart(self) -> None:
        """LND dies at once, and comes again."""
        uid = self._core.read_namespaced_pod("lnd-0", self.namespace).metadata.uid
        killed = on_node("sh", "-c", KILL_LND, "sh", uid, "/", "0")
        assert killed.returncode == 0, killed.stderr

    def file(self, kind: str) -> bytes:
        return self.shell(f"cat {CHAIN}/{kind}.macaroon")

    def secrets(self) -> Secrets:
        """What is there, without what others put there."""
        return {item.metadata.name: _data(item) for item in self._core.list_namespaced_secret(self.namespace).items}

    def forget(self) -> None:
        """Put the old credentials back."""
        for name in self.old:
            self.put(name)

    def put(self, name: str, labels: Mapping[str, str] | None = None, **more: object) -> None:
        """One old credential, anew."""
        self.remove(name)
        data = {key: base64.b64encode(value).decode() for key, value in self.old[name].items()}
        self._core.create_namespaced_secret(self.namespace, {
            "metadata": {"name": name, "labels": dict(OURS if labels is None else labels)}, "data": data, **more})

    def remove(self, name: str) -> None:
        with if_there():
            self._core.delete_namespaced_secret(name, self.namespace)

    def user(self, name: str) -> str:
        """The token of one more user of the Kubernetes API, who may do what the module needs and no more."""
        rbac = kubernetes.client.RbacAuthorizationV1Api(self._core.api_client)
        self._core.create_namespaced_service_account(self.namespace, {"metadata": {"name": name}})
        rbac.create_namespaced_role(self.namespace, {"metadata": {"name": name}, "rules": RIGHTS})
        rbac.create_namespaced_role_binding(self.namespace, {
            "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}]})
        return self._core.create_namespaced_service_account_token(name, self.namespace, {"spec": {"expirationSeconds": 7200}}).status.token

    def publishing(self, kubeconfig: pathlib.Path = KUBECONFIG, **options: object) -> Publishing:
        """The module begins its work. timeout: seconds that it waits for LND."""
        return Publishing({"namespace": self.namespace, "network": "regtest", "kubeconfig": str(kubeconfig), "timeout": 20, **options})

    def publish(self, kubeconfig: pathlib.Path = KUBECONFIG, **options: object) -> Published:
        return self.publishing(kubeconfig, **options).ended()

    def reader(self) -> Reader:
        return Reader(self._core, self.namespace)

    def _macaroons_of_the_past(self) -> Secrets:
        with self.client() as lnd:
            admin = self.file("admin")

            def baked(kind: str) -> bytes:
                permissions = [{"entity": each.entity, "action": each.action} for each in _macaroon.KINDS[kind]]
                body = {"permissions": permissions, "root_key_id": str(OLD_ROOT_KEY)}
                return bytes.fromhex(lnd.call("POST", "/v1/macaroon", body, admin)["macaroon"])
            old = {name: {"macaroon": baked(kind)} for name, kind in MACAROONS.items()}
            lnd.call("DELETE", f"/v1/macaroon/{OLD_ROOT_KEY}", None, admin)
        return old

    @staticmethod
    def _quietly(attempt, *arguments):
        try:
            return attempt(*arguments)
        except Exception:  # pylint: disable=broad-except  # It is starting: anything may go wrong on the way.
            return None


class Reader:
    """Watches the Secrets of a namespace, as a pod with rights on them could: sees every state that each of them is in."""

    MARK = "until-here"

    def __init__(self, core, namespace: str) -> None:
        self._core, self._namespace = core, namespace
        self.seen: list[tuple[str, str, dict[str, bytes]]] = []
        self._caught_up, self._over = threading.Event(), False

    def __enter__(self) -> Reader:
        begin = self._core.list_namespaced_secret(self._namespace).metadata.resource_version
        self._thread = threading.Thread(target=self._watch, args=(begin,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._over = True
        self.catch_up()
        self._thread.join(10)

    def catch_up(self) -> None:
        """Until it has seen all that has happened so far."""
        self._caught_up.clear()
        self._core.create_namespaced_secret(self._namespace, {"metadata": {"name": self.MARK}})
        self._core.delete_namespaced_secret(self.MARK, self._namespace)
        assert self._caught_up.wait(30), "the watch does not see what happens"

    def _watch(self, begin: str) -> None:
        watch = kubernetes.watch.Watch()
        for event in watch.stream(self._core.list_namespaced_secret, self._namespace, resource_version=begin):
            what, name, data = event["type"], event["object"].metadata.name, _data(event["object"])
            if name != self.MARK:
                self.seen.append((what, name, data))
            elif what == "DELETED":
                self._caught_up.set()
                if self._over:
                    return

    def torn(self, old: Secrets, new: Secrets) -> list[str]:
        """What was seen that is neither an old credential nor a new one, whole."""
        return [f"{what} {name}: {({key: len(value) for key, value in data.items()})}" for what, name, data in self.seen
                if what == "DELETED" or data not in (old.get(name), new.get(name))]


def _data(item) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (item.data or {}).items()}
