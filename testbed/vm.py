#!/usr/bin/env python3
"""The virtual machine of the tests: `python3 testbed/vm.py create|destroy|start|stop|kill|ssh NAME`.

It is emulated, so it needs no rights and no help of the processor, and has what a container lacks: a kernel of its own with a command
line, device mapper, an NVMe disk, power that can fail. As on a Raspberry Pi the command line of the next boot is what the file
/boot/firmware/cmdline.txt says: a keeper beside QEMU reads it from that file system each time the machine starts anew.

A machine's files are in the state directory of its name. The part that they grow from is made by `build.py --vm`.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import build

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "openlsp.node"

# What Ubuntu's image for the Pi has, as far as it makes sense here; and, as on the Pi, a kernel without the controller of memory.
# The emulator may run a piece of the kernel that the kernel is just rewriting (seen once in some hundred boots, in sched_clock_cpu): such
# a machine starts anew.
COMMAND_LINE = "console=ttyS0,115200 root=/dev/vda rw rootwait mitigations=off cgroup_disable=memory oops=panic panic=1\n"

DATA_SERIAL = "OPENLSPDATA"
DATA_SIZE = 8 << 30

# Seconds: an emulated boot takes half a minute on a quiet machine.
BOOT_LIMIT = 300
STOP_LIMIT = 120


class VmError(Exception):
    """What went wrong with the machine, in words for the person who started it."""


class Vm:
    """One machine: its files, its power switch, and ways to talk to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = STATE / name
        self.data = self.state / "data.raw"

    # -- its life ------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the files of a machine that has never run."""
        part = build.vm_part().path
        if not part.exists():
            raise VmError("the virtual machine is not built: run `python3 testbed/build.py --vm` first")
        self.state.mkdir(parents=True, mode=0o700)
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", part / "root.raw", self.state / "root.qcow2")
        tool("mkfs.vfat", "-n", "system-boot", "-C", self.firmware, str(32 << 10))
        (self.state / "cmdline.txt").write_text(COMMAND_LINE)
        tool("mcopy", "-i", self.firmware, self.state / "cmdline.txt", "::cmdline.txt")
        with self.data.open("wb") as disk:
            disk.truncate(DATA_SIZE)
        for name in ("vmlinuz", "initrd.img", "key"):
            shutil.copy(part / name, self.state / name)
        (self.state / "key").chmod(0o600)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            (self.state / "port").write_text(str(free.getsockname()[1]))

    def destroy(self) -> None:
        self.kill()
        shutil.rmtree(self.state, ignore_errors=True)

    def start(self) -> None:
        """Switch it on and wait until it lets its user in."""
        if not self.runs:
            with (self.state / "keeper.log").open("ab") as log:
                subprocess.Popen([sys.executable, __file__, "keep", self.name], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
        self.wait()

    def wait(self, unlike: str = "") -> None:
        """Wait until it lets its user in, and is another boot than the one with the given boot id."""
        deadline = time.monotonic() + BOOT_LIMIT
        while self.boot_id() in ("", unlike):
            if time.monotonic() > deadline:
                raise VmError(f"{self.name} does not let its user in after {BOOT_LIMIT} s; the end of {self.console}:\n{tail(self.console)}"
                              f"\nand of {self.state / 'keeper.log'}:\n{tail(self.state / 'keeper.log')}")
            time.sleep(1)

    def stop(self) -> None:
        """Switch it off in good order."""
        if self.runs:
            self.ssh("sudo systemctl poweroff")
            self.wait_until_off()

    def wait_until_off(self) -> None:
        """For one that was told to switch itself off."""
        deadline = time.monotonic() + STOP_LIMIT
        while self.runs:
            if time.monotonic() > deadline:
                raise VmError(f"{self.name} does not switch itself off; the end of {self.console}:\n{tail(self.console)}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Cut its power."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.killpg(int((self.state / "keeper.pid").read_text()), signal.SIGKILL)
        deadline = time.monotonic() + STOP_LIMIT
        while self.runs:
            if time.monotonic() > deadline:
                raise VmError(f"{self.name} does not end; its keeper is the process in {self.state / 'keeper.pid'}")
            time.sleep(0.1)

    @property
    def runs(self) -> bool:
        try:
            keeper = int((self.state / "keeper.pid").read_text())
            # Where this process has switched it on, it is its child, and stays until it is waited for.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(keeper, os.WNOHANG)
            os.kill(keeper, 0)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return False
        return True

    # -- talking to it -------------------------------------------------------------------------------------------------

    def ssh(self, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command as the user `pi`, who may use sudo."""
        arguments = ["-i", self.state / "key", "-p", (self.state / "port").read_text(), "-o", "StrictHostKeyChecking=no",
                     "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]
        return subprocess.run(["ssh", *arguments, "pi@127.0.0.1", command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)

    def boot_id(self) -> str:
        """What the kernel calls this boot; empty while it cannot be asked."""
        try:
            return self.ssh("cat /proc/sys/kernel/random/boot_id", timeout=60).stdout.strip()
        except subprocess.TimeoutExpired:
            return ""

    # -- its disks -----------------------------------------------------------------------------------------------------

    def unplug(self) -> None:
        """Take the NVMe disk away, now and at each start, until plug()."""
        (self.state / "unplugged").touch()
        if self.runs:
            with self._monitor() as command:
                command("device_del", id="data")

    def plug(self) -> None:
        """Put the NVMe disk back."""
        (self.state / "unplugged").unlink()
        if self.runs:
            with self._monitor() as command:
                command("device_add", driver="nvme", id="data", drive="data", serial=DATA_SERIAL)

    def attach(self, path: Path, serial: str) -> None:
        """Plug in a further disk, /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_<serial>: the bytes of a file."""
        with self._monitor() as command:
            command("blockdev-add", driver="raw", **{"node-name": serial}, file={"driver": "file", "filename": str(path)})
            command("device_add", driver="scsi-hd", bus="scsi.0", id=serial, drive=serial, serial=serial)

    def detach(self, serial: str) -> None:
        """Unplug a disk that attach() plugged in."""
        with self._monitor() as command:
            command("device_del", id=serial)
            command.until("DEVICE_DELETED")
            command("blockdev-del", **{"node-name": serial})

    @contextlib.contextmanager
    def _monitor(self) -> Iterator[Monitor]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.state / "monitor"))
            yield Monitor(connection)

    # -- the keeper ----------------------------------------------------------------------------------------------------

    @property
    def firmware(self) -> Path:
        return self.state / "firmware.img"

    @property
    def console(self) -> Path:
        return self.state / "console.log"

    def keep(self) -> None:
        """Run QEMU, and again after each reboot of the guest, with the command line that its boot file says by then."""
        pid = self.state / "keeper.pid"
        pid.write_text(str(os.getpid()))
        try:
            while self._boot():
                pass
        finally:
            pid.unlink()

    def _boot(self) -> bool:
        """One life from power to power; whether the guest wants another one."""
        line = tool("mtype", "-i", self.firmware, "::cmdline.txt").partition("\n")[0].strip()
        events, listener = self.state / "events", socket.socket(socket.AF_UNIX)
        events.unlink(missing_ok=True)
        with listener:
            listener.bind(str(events))
            listener.listen(1)
            with subprocess.Popen(self._qemu(line, events)) as qemu:
                listener.settimeout(30)
                connection, _address = listener.accept()
                with connection:
                    reason = Monitor(connection).until("SHUTDOWN")["data"]["reason"]
                qemu.wait()
        return reason == "guest-reset"

    def _qemu(self, line: str, events: Path) -> list[str]:
        def disk(name: str, path: Path, form: str) -> list[str]:
            return ["-drive", f"if=none,id={name},file={path},format={form}"]

        data = [] if (self.state / "unplugged").exists() else ["-device", f"nvme,id=data,drive=data,serial={DATA_SERIAL}"]
        return [
            "qemu-system-x86_64", "-name", self.name, "-machine", "pc", "-accel", "tcg,thread=multi",
            # The smallest processor that Debian's programs run on: what it has must be emulated.
            "-cpu", "qemu64,+rdrand", "-smp", "2",
            # As a Pi 4 with 8 GB; of this machine it takes what is used.
            "-m", "8192", "-kernel", str(self.state / "vmlinuz"), "-initrd", str(self.state / "initrd.img"), "-append", line,
            *disk("root", self.state / "root.qcow2", "qcow2"), "-device", "virtio-blk-pci,drive=root",
            *disk("firmware", self.firmware, "raw"), "-device", "virtio-blk-pci,drive=firmware",
            *disk("data", self.data, "raw"), *data, "-device", "virtio-scsi-pci,id=scsi",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{(self.state / 'port').read_text()}-:22",
            "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            "-nodefaults", "-display", "none", "-serial", f"file:{self.console}", "-no-reboot",
            "-chardev", f"socket,id=events,path={events}", "-mon", "chardev=events,mode=control",
            "-chardev", f"socket,id=monitor,path={self.state / 'monitor'},server=on,wait=off", "-mon", "chardev=monitor,mode=control",
        ]


class Monitor:
    """QEMU's side of a socket: QMP, lines of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rw")
        self._read()  # the greeting
        self("qmp_capabilities")

    def __call__(self, execute: str, **arguments: object) -> None:
        self._lines.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self._lines.flush()
        while "return" not in (answer := self._read()):
            if "error" in answer:
                raise VmError(f"{execute}: {answer['error']['desc']}")

    def until(self, event: str) -> dict:
        """The next event of that name."""
        while (answer := self._read()).get("event") != event:
            pass
        return answer

    def _read(self) -> dict:
        try:
            line = self._lines.readline()
        except TimeoutError as error:
            raise VmError("QEMU has said nothing on its monitor for a minute") from error
        if not line:
            # A killed machine says no more: as if it had been switched off.
            return {"event": "SHUTDOWN", "data": {"reason": "host-signal"}}
        return json.loads(line)


def tool(*command: str | Path) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VmError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-25:]) if path.exists() else "(it does not exist)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["create", "destroy", "start", "stop", "kill", "keep", "ssh"])
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    vm = Vm(arguments.name)
    if arguments.what == "ssh":
        done = vm.ssh(" ".join(arguments.command))
        print(done.stdout, end="")
        sys.exit(done.stderr if done.returncode else 0)
    getattr(vm, arguments.what)()


if __name__ == "__main__":
    try:
        main()
    except VmError as problem:
        sys.exit(f"testbed/vm.py: {problem}")
