"""MicroK8s on its machine, as its owner would look at it; then what is refused, what is put right, and the upgrade. In this order."""

from __future__ import annotations

import json
import stat
import subprocess

import pytest
import yaml
from conftest import KUBECONFIG, STATE, kubectl, on_node, run, settled


def snap() -> list[str]:
    return on_node("snap", "list", "microk8s").splitlines()[1].split()


def enabled() -> set[str]:
    status = yaml.safe_load(on_node("/snap/bin/microk8s", "status", "--format", "yaml", "--wait-ready", "--timeout", "60"))
    return {addon["name"] for addon in status["addons"] if addon["status"] == "enabled"}


def stranger_may_read_secrets() -> bool:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "system:anonymous", "resourceAttributes": {"verb": "list", "resource": "secrets"}}}
    done = subprocess.run(["kubectl", "--kubeconfig", KUBECONFIG, "create", "--raw", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "-f", "-"],
                          input=json.dumps(review), text=True, capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)["status"]["allowed"]


# --- installed -----------------------------------------------------------------------------------------------------

def test_the_snap_is_on_its_channel_and_its_refreshes_are_held():
    assert snap() == ["microk8s", "v1.35.4", "8802", "1.35/stable", "canonical**", "classic,held"]


def test_the_wanted_add_ons_are_enabled_and_no_others():
    assert enabled() == {"dns", "hostpath-storage", "ingress", "rbac"}


def test_claims_get_a_volume_by_default():
    default, = [each for each in json.loads(kubectl("get", "storageclass", "-o", "json"))["items"]
                if each["metadata"]["annotations"].get("storageclass.kubernetes.io/is-default-class") == "true"]
    assert default["metadata"]["name"] == "microk8s-hostpath"


def test_the_api_never_allowed_everything_to_every_account():
    """Not even before the add-on rbac would have been enabled: the first Secrets are made by the controllers."""
    assert not stranger_may_read_secrets()
    assert "--authorization-mode=AlwaysAllow" not in on_node("journalctl", "--unit=kube-apiserver", "--output=cat")


def test_the_launch_configuration_is_in_force():
    certificate = on_node("sh", "-c", "openssl x509 -noout -ext subjectAltName -in /etc/kubernetes/pki/apiserver.crt")
    assert "DNS:pi.example.org" in certificate and "IP Address:127.0.0.1" in certificate
    assert "IPv6_SERVICE_CIDR=fd98::/108" in on_node("cat", "/var/snap/microk8s/current/args/cni-env")
    assert kubectl("get", "service", "kube-dns", "-n", "kube-system", "-o", "jsonpath={.spec.ipFamilies}") == '["IPv4","IPv6"]'


def test_the_user_is_let_in():
    assert "microk8s is running" in on_node("setpriv", "--reuid=backup", "--regid=backup", "--init-groups", "/snap/bin/microk8s", "status")
    assert "Insufficient permissions" in on_node("setpriv", "--reuid=games", "--regid=games", "--init-groups", "/snap/bin/microk8s", "status")


def test_the_kubeconfig_is_the_owners_and_names_the_machine():
    assert stat.S_IMODE(KUBECONFIG.stat().st_mode) == 0o600
    content = yaml.safe_load(KUBECONFIG.read_text())
    assert content["current-context"] == "pi"
    assert content["clusters"][0]["cluster"]["server"].startswith("https://127.0.0.1:")


# --- refused -------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def refused():
    """What each case was told, from one run."""
    foreign = STATE / "foreign"
    foreign.write_text(yaml.safe_dump({"contexts": [{"name": "production"}, {"name": "foreign_kubeconfig"}]}))
    before = traces()
    done = run(scenario_hosts="cases")
    assert set(done.changed.values()) == {0}, done.output
    assert traces() == before
    assert "production" in foreign.read_text()
    return done.complaints


def traces() -> str:
    """What a run leaves behind."""
    return on_node("sh", "-c", "snap list; cat /etc/microk8s.yaml /etc/passwd; find /var/backups; ls -l /var/snap/microk8s /var/snap/microk8s/*")


@pytest.mark.parametrize(("case", "complaint"), [
    ("downgrade", "1.34/stable is older than the installed v1.35.4"),
    ("skipped_minor", "set it to 1.36/stable first"),
    ("end_of_life", "microk8s_channel: 1.28/stable is a Kubernetes that gets no more fixes"),
    ("no_channel", "is no channel such as 1.36/stable"),
    ("unknown_user", "microk8s_user: nobody-of-that-name is no user of this machine"),
    ("foreign_kubeconfig", "has the contexts production, foreign_kubeconfig"),
    ("directory_missing", "nowhere/kubeconfig does not exist; make it"),
])
def test_is_refused_with_the_remedy(refused, case, complaint):
    assert complaint in " ".join(refused[case].split())


def test_several_machines_are_refused(tmp_path):
    others = tmp_path / "others.yml"
    others.write_text("machines: {hosts: {pi: , pi-2: }}")
    done = run("-i", str(others))
    assert set(done.changed.values()) == {0}
    assert "machines: pi, pi-2; joining several machines to one cluster comes later" in " ".join(done.complaints["pi"].split())


@pytest.mark.parametrize(("command", "back", "variables", "complaint"), [
    ("touch /var/snap/microk8s/current/var/lock/clustered.lock", "rm /var/snap/microk8s/current/var/lock/clustered.lock", {},
     "this machine is a worker of another cluster"),
    ("sed -i s/IPv6_SUPPORT=true/IPv6_SUPPORT=false/ /var/snap/microk8s/current/args/cni-env",
     "sed -i s/IPv6_SUPPORT=false/IPv6_SUPPORT=true/ /var/snap/microk8s/current/args/cni-env", {},
     "microk8s_ip_families: this cluster was installed without IPv6"),
    ("systemctl stop kube-apiserver", "systemctl start kubernetes.target", {"microk8s_timeout": 3}, "MicroK8s does not become ready"),
    # The next test takes the remedy.
    ("/snap/bin/microk8s disable rbac", "true", {}, "`microk8s kubectl delete clusterrole cluster-admin`, then run this again"),
], ids=["worker", "ipv6-too-late", "never-ready", "rbac-in-name-only"])
def test_a_machine_in_another_state_is_refused(altered, command, back, variables, complaint):
    altered(command, back)
    done = run(**variables)
    assert done.changed == {"pi": 0}
    assert complaint in " ".join(done.complaints["pi"].split())


# --- put right -----------------------------------------------------------------------------------------------------

def test_a_stopped_one_is_started_and_what_was_lost_comes_back():
    assert stranger_may_read_secrets()
    kubectl("delete", "clusterrole", "cluster-admin")
    on_node("snap", "refresh", "--unhold", "microk8s")
    on_node("/snap/bin/microk8s", "disable", "ingress")
    on_node("/snap/bin/microk8s", "stop")
    done = settled()
    assert done.changed_tasks == ["Start MicroK8s", "Hold the refreshes of MicroK8s", "Enable the add-on"]
    assert done.output.index("(item=rbac)") < done.output.index("(item=ingress)")
    assert enabled() == {"dns", "hostpath-storage", "ingress", "rbac"}
    assert not stranger_may_read_secrets()
    assert snap()[-1] == "classic,held"


# --- upgraded ------------------------------------------------------------------------------------------------------

def test_check_mode_of_an_upgrade_changes_nothing():
    before = traces()
    done = settled("--check", microk8s_channel="1.36/stable")
    assert "back up its datastore, refresh it to 1.36/stable" in done.output
    assert traces() == before


def test_the_upgrade_leaves_a_backup_and_one_ingress_and_is_done_once():
    assert settled(microk8s_channel="1.36/stable").changed_tasks == [
        "Make the directory for the backup", "Back up the datastore", "Disable what becomes another program", "Refresh MicroK8s", "Enable the add-on"]
    assert snap() == ["microk8s", "v1.36.1", "8888", "1.36/stable", "canonical**", "classic,held"]
    pods = kubectl("get", "pods", "-A", "-o", "name", "--field-selector=status.phase=Running")
    assert "pod/traefik" in pods and "nginx" not in pods
    backup, = on_node("sh", "-c", "ls /var/backups/microk8s/*").split()
    assert backup.startswith("/var/backups/microk8s/v1.35.4-")
    assert "objects.json" in on_node("tar", "tzf", backup)
    assert on_node("stat", "-c", "%a", "/var/backups/microk8s").strip() == "700"
    assert settled(microk8s_channel="1.36/stable").changed == {"pi": 0}
