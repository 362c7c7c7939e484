# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to a Kubernetes API, and its errors as sentences for the operator."""

from __future__ import annotations

import ast
import json
import os
import re
import ssl
import sys
import tempfile
import threading
import traceback
from contextlib import contextmanager
from typing import Any, Iterator
from urllib.parse import quote, urlencode

# The client imports this package, and half a dozen others with it, wherever it is installed. Nothing here uses it, and each module would wait for it.
_UNUSED = "kubernetes_validate"

try:
    if _UNUSED not in sys.modules:
        sys.modules[_UNUSED] = None
    import kubernetes
    from kubernetes.client.configuration import Configuration
    from kubernetes.client.exceptions import ApiException
    from kubernetes.client.rest import RESTClientObject
    from kubernetes.stream import ws_client
    from urllib3 import Timeout
    from urllib3.exceptions import HTTPError
    from websocket import WebSocketException

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()
finally:
    if sys.modules.get(_UNUSED, _UNUSED) is None:
        del sys.modules[_UNUSED]

FIELD_MANAGER = "openlsp.node"

# Seconds to connect and to wait for one answer: an API server that takes longer is not usable, and without a limit
# an address that swallows packets would stop the play for minutes.
REQUEST_TIMEOUT = (5, 30)

# While a WebSocket is opened, what the client makes of it is replaced: one thread at a time.
_OPENING = threading.Lock()

ARGUMENTS = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "namespace": {"type": "str", "required": True},
}


class ClusterError(Exception):
    """What the Kubernetes API refused or could not do; ``status`` is the HTTP status or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """Requests to one Kubernetes API, with plain dicts for objects.

    Not kubernetes.client.CoreV1Api and its siblings: importing their models takes more than a second of every module's time, and a
    play runs a dozen modules a node. Connection, credentials and WebSockets are the client's all the same.
    """

    def __init__(self, configuration: Any) -> None:
        """Reads the files that the configuration names; none of them is needed afterwards."""
        self._configuration = configuration
        self._tls = _tls(configuration)
        self._pool = RESTClientObject(configuration).pool_manager
        self._pool.connection_pool_kw.update(ssl_context=self._tls, **dict.fromkeys(("ca_certs", "ca_cert_data", "cert_file", "key_file")))

    def request(self, method: str, path: str, query: dict | None = None, body: dict | None = None,
                content_type: str = "application/json") -> dict:
        """The answer's JSON. Raises kubernetes.client.ApiException, which ``explained`` turns into words, and urllib3's errors."""
        response = self._pool.request(
            method, self._url(path) + (f"?{urlencode(query)}" if query else ""), retries=False,
            headers={**self._headers(), "Content-Type": content_type, "Accept": "application/json"},
            body=json.dumps(body) if body is not None else None,
            timeout=Timeout(connect=REQUEST_TIMEOUT[0], read=REQUEST_TIMEOUT[1]))
        if not 200 <= response.status < 300:
            error = ApiException(status=response.status, reason=response.reason)
            error.body = response.data.decode(errors="replace")
            raise error
        try:
            return json.loads(response.data)
        except ValueError:
            raise ApiException(reason="the answer is no JSON; is the kubeconfig's server a Kubernetes API?") from None

    def text(self, path: str, query: dict) -> str:
        """The same for an answer that is no JSON, such as a log."""
        response = self._pool.request("GET", f"{self._url(path)}?{urlencode(query)}", retries=False, headers=self._headers(),
                                      timeout=Timeout(connect=REQUEST_TIMEOUT[0], read=REQUEST_TIMEOUT[1]))
        return response.data.decode(errors="replace") if response.status == 200 else ""

    def find(self, path: str) -> dict | None:
        """One object, or None where it, or its namespace, does not exist."""
        try:
            return self.request("GET", path)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def delete(self, path: str, version: str) -> None:
        """Remove one object as long as it is of this resourceVersion; nothing where it does not exist."""
        try:
            self.request("DELETE", path, body={"preconditions": {"resourceVersion": version}})
        except ApiException as error:
            if error.status != 404:
                raise

    def execute(self, path: str, query: list[tuple[str, str]]) -> Any:
        """A kubernetes.stream.ws_client.WSClient for a pod's exec subresource."""
        with _OPENING, _own_websocket(self._tls):
            return ws_client.websocket_call(self._configuration, "GET", self._url(path), headers=self._headers(), query_params=query,
                                            _preload_content=False, binary=True, capture_all=False)

    def forward(self, path: str, port: int) -> Any:
        """A kubernetes.stream.ws_client.PortForward for a pod's portforward subresource."""
        with _OPENING, _own_websocket(self._tls), _quiet_thread():
            return ws_client.portforward_call(self._configuration, "GET", self._url(path), headers=self._headers(),
                                              query_params=[("ports", str(port))])

    def _url(self, path: str) -> str:
        # Quoted, so that a "?" in a mistyped name does not turn the path into that of another object.
        return self._configuration.host.rstrip("/") + quote(path)

    def _headers(self) -> dict[str, str]:
        """Authorization, asked for anew each time: the client renews a token that expires. Stripped, or urllib3 would show it in an error."""
        return {each["key"]: each["value"].strip() for each in self._configuration.auth_settings().values() if each["in"] == "header"}


def connect(kubeconfig: str | None, context: str | None) -> Cluster:
    """The cluster that a kubeconfig names.

    kubeconfig: a path; None follows K8S_AUTH_KUBECONFIG, KUBECONFIG and ~/.kube/config, like kubernetes.core does.
    Raises ClusterError when the file cannot be used. Makes no request.
    """
    if IMPORT_ERROR:
        raise ClusterError("the Python package kubernetes is missing for this interpreter: pip install 'kubernetes>=31'")
    path = kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG")
    if path and not os.path.exists(os.path.expanduser(path)):
        raise ClusterError(f"the kubeconfig {path} does not exist")
    configuration = Configuration()
    try:
        # For the files that the client makes of a kubeconfig's data, the user's private key among them. It removes them when Python ends; but the
        # processes in which Ansible runs its actions do not end in that way, nor does what is killed, and each would leave the key behind.
        with tempfile.TemporaryDirectory() as directory:
            kubernetes.config.load_kube_config(
                config_file=path, context=context, client_configuration=configuration, persist_config=False, temp_file_path=directory)
            return Cluster(configuration)
    except (kubernetes.config.ConfigException, OSError) as error:
        raise ClusterError(f"the kubeconfig {path or '(default)'} cannot be used: {error}") from error
    except Exception as error:  # The client checks nothing of a file: a malformed one comes back as any error, with a token in it perhaps.
        raise ClusterError(f"the kubeconfig {path or '(default)'} cannot be used: it is malformed ({type(error).__name__})") from None


def service_families(cluster: Cluster, namespace: str) -> tuple[str, ...]:
    """The families of addresses, IPv4 and IPv6, that a new Service gets in this cluster; empty for a user who may make none. Raises ClusterError.

    Asked by a Service that is never made: a node's podCIDRs are empty with Calico, and the Service kubernetes has one family everywhere.
    """
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "openlsp-"},
            "spec": {"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 1}]}}
    # A namespace that is still to be made can hold nothing.
    for place in (namespace, "default"):
        try:
            with explained("cannot ask the cluster for its families of addresses"):
                return tuple(cluster.request("POST", f"/api/v1/namespaces/{place}/services", {"dryRun": "All"}, body)["spec"]["ipFamilies"])
        except ClusterError as error:
            if error.status not in (403, 404):
                raise
    return ()


def _tls(configuration: Any) -> ssl.SSLContext | None:
    """What the client would make of the configuration for each of its connections; None where they have no TLS."""
    if not configuration.host.startswith("https:"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif configuration.ssl_ca_cert:
        context.load_verify_locations(configuration.ssl_ca_cert)
    else:
        context.load_default_certs()
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever the client raises in the block into a ClusterError that begins with ``what``."""
    try:
        yield
    except ApiException as error:
        status, message = _answer(error)
        if status == 403:
            message += "; give this user that right"
        raise ClusterError(f"{what}: {message}", status) from None
    except (HTTPError, WebSocketException, OSError) as error:
        raise ClusterError(f"{what}: the Kubernetes API does not answer ({type(error).__name__})") from None


def _answer(error: Any) -> tuple[int | None, str]:
    """Status and sentence of the API server. Never the request, which may hold a Secret's data."""
    status, body = error.status, error.body
    # The client folds a refused WebSocket handshake into the reason: "Handshake status 404 Not Found -+-+- headers -+-+- body".
    handshake = re.match(r"Handshake status (\d+)(.*?)(?: -\+-\+-|$)", error.reason or "")
    if handshake:
        status, reason = int(handshake[1]), handshake[2].strip()
        body = error.reason.rsplit("-+-+- ", 1)[-1]
        if body.startswith("b'"):  # websocket-client before 1.9 shows it as Python writes bytes.
            body = ast.literal_eval(body)
    else:
        reason = error.reason
    try:
        return status, json.loads(body)["message"]
    except (TypeError, ValueError, KeyError):
        return status or None, reason or "no reason given"


@contextmanager
def _quiet_thread() -> Iterator[None]:
    """Lets the thread of a port-forward that is made end in silence, where its socket is closed while data are on their way to it."""
    plain = ws_client.PortForward

    class Quiet(plain):
        """The client's thread prints a traceback, which says nothing that the caller does not hear from his socket."""

        def _proxy(self) -> None:
            try:
                super()._proxy()
            except OSError:
                for port in self.local_ports.values():
                    port.python.close()
                self.websocket.close()

    ws_client.PortForward = Quiet
    try:
        yield
    finally:
        ws_client.PortForward = plain


@contextmanager
def _own_websocket(tls: ssl.SSLContext | None) -> Iterator[None]:
    """Limits the WebSocket handshake, and gives it its TLS; the kubernetes client has arguments for neither. What is made has no limit afterwards."""
    plain, made = ws_client.WebSocket, []

    def limited(**options: Any) -> Any:
        # Not websocket.setdefaulttimeout(): a WebSocket that is made directly, as the kubernetes client does, ignores it.
        made.append(plain(**{**options, "sslopt": {**options["sslopt"], "context": tls}}))
        made[-1].settimeout(REQUEST_TIMEOUT[1])
        return made[-1]

    ws_client.WebSocket = limited
    try:
        yield
    finally:
        ws_client.WebSocket = plain
    for each in made:
        each.settimeout(None)
