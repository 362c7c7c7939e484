"""Wait until the API server says that it is ready. systemd ends this after the unit's TimeoutStartSec."""
import ssl
import time
import urllib.error
import urllib.request

CONTEXT = ssl.create_default_context(cafile="/etc/kubernetes/pki/ca.crt")
# With AlwaysAllow it answers nobody without a name.
CONTEXT.load_cert_chain("/etc/kubernetes/pki/apiserver-kubelet-client.crt", "/etc/kubernetes/pki/apiserver-kubelet-client.key")

while True:
    try:
        with urllib.request.urlopen("https://127.0.0.1:16443/readyz", context=CONTEXT, timeout=5):
            break
    except (urllib.error.URLError, TimeoutError):
        time.sleep(0.1)
