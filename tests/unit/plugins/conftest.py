"""What the tests of the plugins share."""

from __future__ import annotations

import base64

import hypothesis
import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _cluster
from bakery import identifier, serialized
from kube_api import TOKEN, serving

# No deadline for one example: the machine may be building LND at the same time.
hypothesis.settings.register_profile("openlsp", deadline=None)
hypothesis.settings.load_profile("openlsp")


@pytest.fixture(scope="session")
def bake():
    """Makes macaroons: ``bake("info:read", "uri:/lnrpc.State/GetState", caveats=["ipaddr 10.1.2.3"])``."""

    def baked(*words, caveats=(), **of_identifier):
        return serialized(identifier([word.split(":", 1) for word in words], **of_identifier), caveats)

    return baked


@pytest.fixture(scope="session")
def shows():
    """Whether a text gives away part of a secret value, in the clear or in a form from which it is read back."""

    def shown(text, value, window=12):
        forms = [value.decode("latin-1"), value.hex(), repr(value)[2:-1]]
        for start in range(3):
            encoded = base64.b64encode(value[start:]).decode().rstrip("=")
            forms += [encoded, encoded.replace("+", "-").replace("/", "_")]
        text = str(text)
        return any(form[i:i + window] in text for form in forms for i in range(max(1, len(form) - window + 1)))

    return shown


@pytest.fixture
def api(monkeypatch):
    """A Kubernetes API that answers what the test lays in it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def kubeconfig(api, tmp_path, monkeypatch):
    """Of the API, with two contexts: the current one, and ``two``, whose requests begin with /two."""
    monkeypatch.delenv("K8S_AUTH_KUBECONFIG", raising=False)
    path = tmp_path / "kubeconfig"
    path.write_text(f"""\
apiVersion: v1
kind: Config
current-context: one
clusters:
  - {{name: one, cluster: {{server: "{api.url}"}}}}
  - {{name: two, cluster: {{server: "{api.url}/two/"}}}}
users: [{{name: me, user: {{token: {TOKEN}}}}}]
contexts:
  - {{name: one, context: {{cluster: one, user: me}}}}
  - {{name: two, context: {{cluster: two, user: me}}}}
""")
    return path


@pytest.fixture
def cluster(kubeconfig):
    """The connection that a module makes to the API."""
    return _cluster.connect(str(kubeconfig), None)
