"""Run the role and cut the machine's power at a moment: python power_cut.py MOMENT. Afterwards the machine runs again."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "testbed"))

from vm import Vm  # noqa: E402  # pylint: disable=wrong-import-position

RUN_LIMIT = 900

# The power goes as many seconds after the run has said these words. In the order in which it gets there.
MOMENTS = {
    "while packages are installed": ("Install the tools of LVM and btrfs", 20),
    "while the disk gets its volume group": ("Make the volume group on the disk", 3),
    "between two volumes": ("(item=containers: make a volume", 1),
    "before the file systems": ("Make the file systems", 0.5),
    "between two file systems": ("(item=containers: make a btrfs", 2),
    "before the mount points are sealed": ("Make the mount points", 5),
    "while home is copied": ("Copy what is in the mount points", 5),
    "while fstab is written": ("Mount the volumes at each start", 3),
    "before systemd knows": ("and systemd what is mounted", 1),
    "while the volumes are mounted": ("Let systemd mount the volumes", 2),
    "before the directories of the pods": ("Make the directories of the pods", 1),
}


def role_call(*arguments: str) -> dict:
    """How an operator runs the role, for subprocess."""
    return {"args": ["ansible-playbook", "molecule/disk_layout/converge.yml", "-i", "inventories/vm", *arguments], "cwd": ROOT,
            "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "text": True,
            # An emulated machine may take half a minute to answer where much else runs.
            "env": {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_TIMEOUT": "90", "ANSIBLE_SSH_RETRIES": "3",
                    "NO_COLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "PYTHONUNBUFFERED": "1"}}


def cut_power(vm: Vm, moment: str) -> None:
    """Run the role, cut the power at the moment, switch on again. Raises RuntimeError when the run ends before."""
    words, seconds = MOMENTS[moment]
    with subprocess.Popen(**role_call(), stdout=subprocess.PIPE) as run:
        limit = threading.Timer(RUN_LIMIT, run.kill)
        limit.start()
        try:
            said = []
            for line in run.stdout:
                said.append(line)
                if words in line:
                    break
            else:
                raise RuntimeError(f"the run did not come to {moment}:\n{''.join(said)[-4000:]}")
            time.sleep(seconds)
            vm.kill()
        finally:
            limit.cancel()
            run.kill()
    vm.start()


if __name__ == "__main__":
    cut_power(Vm(os.environ["TESTBED"]), sys.argv[1])
