"""Wait until the cluster serves: node Ready, DNS answers, claims can be made. systemd ends this after the unit's TimeoutStartSec."""
import secrets
import socket
import subprocess
import time

KUBECTL = ("kubectl", "--kubeconfig=/etc/kubernetes/super-admin.conf")
DNS = ("10.152.183.10", 53)
NAME = "kubernetes.default.svc.cluster.local"


def wait(what: str, *command: str) -> None:
    print(f"Waiting for {what}", flush=True)
    while subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        time.sleep(0.5)


def dns_answers() -> bool:
    """Ask the Service of the cluster's DNS for the API's address: that takes CoreDNS and kube-proxy (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
    query = secrets.token_bytes(2) + bytes.fromhex("01000001000000000000") + labels + bytes.fromhex("0000010001")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(1)
        try:
            udp.sendto(query, DNS)
            answer = udp.recv(512)
        except OSError:
            return False
    return answer[:2] == query[:2] and answer[7] > 0


wait("the node", *KUBECTL, "wait", "node", "--all", "--for=condition=Ready", "--timeout=60s")
for namespace, deployment in ("kube-system", "coredns"), ("local-path-storage", "local-path-provisioner"):
    wait(deployment, *KUBECTL, "-n", namespace, "rollout", "status", "deployment", deployment, "--timeout=60s")
print("Waiting for DNS", flush=True)
while not dns_answers():
    time.sleep(0.2)
