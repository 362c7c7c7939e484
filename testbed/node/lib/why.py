"""Say why the node is not ready: what failed or still starts, with the end of its journal, and the pods that do not run."""
import subprocess


def show(*command: str) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    return result.stdout.strip()


units = show("systemctl", "list-units", "--type=service", "--plain", "--no-legend", "--state=failed,activating,auto-restart,reloading").splitlines()
for unit in (line.split()[0] for line in units):
    print(f"== {unit}\n{show('journalctl', '--unit', unit, '--lines=15', '--no-pager', '--output=cat')}")
kubectl = ("kubectl", "--kubeconfig=/etc/kubernetes/super-admin.conf", "--request-timeout=5s")
print(f"== pods\n{show(*kubectl, 'get', 'pods', '--all-namespaces', '--field-selector=status.phase!=Running')}")
print(f"== events\n{show(*kubectl, 'get', 'events', '--all-namespaces', '--field-selector=type=Warning')}")
