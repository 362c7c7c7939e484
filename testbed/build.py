#!/usr/bin/env python3
"""Build what the test node is made of and keep it: `python3 testbed/build.py`.

Each part below lands in the cache under a key: the SHA-256 of everything that determines it. What is there already is not
built again. Nothing comes from a container registry: Go modules (checked against go.sum) and Debian packages are all it needs.

    --vm      build the virtual machine in place of the node
    --image   print the name of the node's image for this checkout, and exit
    --clean   remove what this script made: the images and the cache
"""
from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("OPENLSP_CACHE") or Path.home() / ".cache/openlsp.node")
NODE_IMAGE = "localhost/openlsp/testbed"
SUITE = "trixie"

# --------------------------------------------------------------------------------------------------------------------
# The parts
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Go:
    """The programs that the `tool` lines of go/<name>/go.mod pin."""

    name: str
    ldflags: str = ""
    tags: str = ""


@dataclass(frozen=True)
class Debian:
    """A root file system of Debian packages; as `extract`, just the packages' files: no package manager, nothing configured."""

    name: str
    packages: str
    variant: str = "extract"
    suites: tuple[str, ...] = (SUITE,)


@dataclass(frozen=True)
class Image:
    """A container image that the node has imported when it is ready. Each source is one layer."""

    tag: str
    rootfs: str = ""               # a Debian part
    go: str = ""                   # a Go part, all of whose programs land in /usr/local/bin, or without a rootfs in /bin as upstream's
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()


def module_directory(family: str, module: str) -> Path:
    """Where the sources of a module are that a family's go.mod pins."""
    found = subprocess.run(["go", "mod", "download", "-json", module], cwd=HERE / "go" / family, check=True, stdout=subprocess.PIPE,
                           env=os.environ | {"GOFLAGS": "", "GOTOOLCHAIN": "local"}).stdout
    return Path(json.loads(found)["Dir"])


def pinned(family: str, module: str) -> str:
    """The version of a module in a family's go.mod, with its leading v."""
    return re.search(rf"^\s*{re.escape(module)} (v\S+)", (HERE / "go" / family / "go.mod").read_text(), re.M)[1]


KUBERNETES = pinned("kubernetes", "k8s.io/kubernetes")
LND = pinned("lnd", "github.com/lightningnetwork/lnd")
KNOTS = "29.5"
TOR = "0.4.9"  # Debian's newest of this line

GO = (
    # Without gitVersion, Kubernetes reports v0.0.0-master and refuses to talk to itself.
    Go("kubernetes", ldflags=f"-X k8s.io/component-base/version.gitVersion={KUBERNETES}"),
    # Upstream's release tags. The last four of the list exist for other databases and carry no cost when unused.
    Go("lnd", tags="autopilotrpc signrpc walletrpc chainrpc invoicesrpc watchtowerrpc neutrinorpc monitoring peersrpc"
                   " kvdb_postgres kvdb_etcd kvdb_sqlite"),
    Go("containerd", tags="no_btrfs no_devmapper no_zfs no_aufs"),
    Go("coredns"),
    Go("kube-router"),
    Go("local-path-provisioner"),
    Go("prometheus-operator"),
)

# What exec, probes and the copying of files out of a pod need.
SHELL = "base-files dash coreutils grep sed tar"

DEBIAN = (
    Debian("node", "systemd systemd-sysv dbus python3 iproute2 iptables nftables conntrack ipset kmod mount procps runc"
                   " etcd-server containernetworking-plugins ca-certificates openssh-server openssh-client rsync e2fsprogs"
                   " python3-yaml tor", variant="minbase"),
    Debian("shell", SHELL),
    # Stands for Bitcoin Core, which Debian does not have. Never on mainnet: Knots left that chain.
    Debian("bitcoind", f"{SHELL} bitcoin-knots={KNOTS}*", suites=(SUITE, f"{SUITE}-backports")),
    Debian("tor", f"{SHELL} tor"),
    # What the add-on observability runs, and the Python of the exporter: one root file system, four images.
    Debian("observability", f"{SHELL} prometheus prometheus-alertmanager prometheus-node-exporter python3"),
    Debian("pause", "base-files catatonit"),
)

IMAGES = (
    Image(f"bitcoind:{KNOTS}", rootfs="bitcoind"),
    Image(f"lnd:{LND.removeprefix('v')}", rootfs="shell", go="lnd"),
    Image(f"tor:{TOR}", rootfs="tor"),
    Image("coredns:testbed", go="coredns"),
    Image("local-path-provisioner:testbed", go="local-path-provisioner"),
    Image("prometheus-operator:testbed", go="prometheus-operator"),
    # The operator names this one's program, and gives the next two arguments alone.
    Image("prometheus-config-reloader:testbed", go="prometheus-operator", entrypoint=("/bin/prometheus-config-reloader",)),
    Image("prometheus:2.53", rootfs="observability", entrypoint=("/usr/bin/prometheus",)),
    Image("alertmanager:0.28", rootfs="observability", entrypoint=("/usr/bin/prometheus-alertmanager",)),
    Image("node-exporter:1.9", rootfs="observability", entrypoint=("/usr/bin/prometheus-node-exporter",)),
    # Stands for docker.io/library/python.
    Image("python:3.13", rootfs="observability"),
    # For local-path-provisioner's helper pods.
    Image("shell:testbed", rootfs="shell"),
    # Holds a pod's namespaces: -P waits for a signal and reaps, which is all that a sandbox does.
    Image("pause:testbed", rootfs="pause", command=("/usr/bin/catatonit", "-P")),
)

# The virtual machine: a system that owns its kernel and its disks, as a Raspberry Pi does. It has no network but the way to this
# machine, so what the roles install lies in a repository on its own disk.
VM_PACKAGES = ("systemd systemd-sysv systemd-timesyncd udev dbus openssh-server sudo python3 python3-apt kmod iproute2 procps e2fsprogs attr acl"
               " initramfs-tools linux-image-cloud-amd64")
VM_REPOSITORY = "lvm2 btrfs-progs parted rsync mdadm cryptsetup-bin gdisk chrony"
# `build.py --vm` and testbed/vm.py need these on this machine.
VM_TOOLS = ("qemu-system-x86", "qemu-utils", "mtools", "dosfstools", "dpkg-dev", "e2fsprogs", "openssh-client")

# Where the directories of node/ land in the node.
NODE_FILES = {
    "etc": "etc",
    "lib": "usr/local/lib/testbed",
    "share": "usr/local/share/testbed",
    "manifests": "usr/local/share/testbed/manifests",
}

# Programs that the node itself runs, and those that the user gets on the host as <cache>/bin/<name>.
NODE_PROGRAMS = ("kubernetes", "containerd", "kube-router")
HOST_PROGRAMS = (("kubernetes", "kubectl"), ("lnd", "lncli"))

# --------------------------------------------------------------------------------------------------------------------
# How a part is made
# --------------------------------------------------------------------------------------------------------------------


class BuildError(Exception):
    """What stopped the build, in words for the person who started it."""


@dataclass(frozen=True)
class Part:
    """One thing in the cache. `make` writes it to the path that it is given; `label` names it in the output."""

    label: str
    name: str
    key: str
    make: Callable[[Path], None]

    @property
    def path(self) -> Path:
        return CACHE / "parts" / f"{self.name}-{self.key}"


def digest(*inputs: object) -> str:
    """Twelve hexadecimal digits over the inputs. A Path stands for its file or tree, a function for its source text."""
    total = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            for file in sorted(item.rglob("*")) if item.is_dir() else [item]:
                if file.is_file() and "__pycache__" not in file.parts:
                    total.update(f"{file.relative_to(HERE)} {file.stat().st_mode & 0o111}\0".encode() + file.read_bytes() + b"\0")
        else:
            total.update(f"{inspect.getsource(item) if callable(item) else item!r}\0".encode())
    return total.hexdigest()[:12]


def run(log: Path, *command: str | Path, cwd: Path = HERE, **env: str) -> None:
    """Run a tool with its output in the part's log; on failure show the end of it."""
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        code = subprocess.run(command, cwd=cwd, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise BuildError(f"{tail}\n{command[0]} ended with {code}; all of its output: {log}")


def output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"{' '.join(command)}: {error}") from error


def log_of(target: Path) -> Path:
    """An empty log for the part that is made at this path: one a part, of its latest build."""
    log = CACHE / "log" / f"{target.name.rpartition('-')[0] or target.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    return log


def debian_mirror() -> str:
    """The mirror that this machine's own apt uses for Debian: it serves the other suites too."""
    for _ in range(2):
        for line in output("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages").splitlines():
            origin, label, uri = line.split("|")
            if (origin, label) == ("Debian", "Debian"):
                return uri
        subprocess.run(["apt-get", "-q", "update"], check=True, stdout=subprocess.DEVNULL)
    raise BuildError("apt has no source of Debian's packages on this machine; the test node is built on Debian 12 or newer")


def debian_part(spec: Debian) -> Part:
    def make(target: Path) -> None:
        mirror = debian_mirror()
        run(log_of(target), "mmdebstrap", "--mode=root", f"--variant={spec.variant}", "--format=tar", "--skip=output/dev",
            f"--include={','.join(spec.packages.split())}", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*", '--customize-hook=rm -rf "$1/usr/share/doc" "$1/usr/share/man" "$1/usr/share/locale"',
            SUITE, target, *(f"deb {mirror} {suite} main" for suite in spec.suites))

    return Part(f"Debian packages: {spec.name}", f"debian-{spec.name}", digest(spec, debian_part), make)


def go_part(spec: Go) -> Part:
    module = HERE / "go" / spec.name

    def make(target: Path) -> None:
        target.mkdir()
        run(log_of(target), "go", "install", "-trimpath", "-tags", spec.tags, "-ldflags", f"-s -w {spec.ldflags}".strip(), "tool",
            cwd=module, GOBIN=str(target), GOFLAGS="", GOTOOLCHAIN="local", CGO_ENABLED="0")

    return Part(f"Go programs: {spec.name}", f"go-{spec.name}", digest(spec, go_part, module / "go.mod", module / "go.sum", output("go", "version")), make)


def images_part(debian: dict[str, Part], go: dict[str, Part]) -> Part:
    """All of the cluster's images as one archive in the form of `docker save`, which containerd imports."""
    sources = [debian[i.rootfs].key for i in IMAGES if i.rootfs] + [go[i.go].key for i in IMAGES if i.go]

    def make(target: Path) -> None:
        with tarfile.open(target, "w") as archive:
            def add(name: str, content: bytes) -> str:
                if name not in names:
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
                    names.add(name)
                return name

            names: set[str] = set()
            manifest = []
            for image in IMAGES:
                layers = [debian[image.rootfs].path.read_bytes()] if image.rootfs else []
                if image.go:
                    layers.append(layer_of(go[image.go].path, "usr/local/bin" if image.rootfs else "bin"))
                sums = [hashlib.sha256(layer).hexdigest() for layer in layers]
                config = json.dumps({
                    "architecture": output("go", "env", "GOARCH"), "os": "linux",
                    "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": image.command,
                               "Entrypoint": image.entrypoint},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{s}" for s in sums]},
                }).encode()
                manifest.append({
                    "Config": add(f"{hashlib.sha256(config).hexdigest()}.json", config),
                    "RepoTags": [f"localhost/openlsp/{image.tag}"],
                    "Layers": [add(f"{s}.tar", layer) for s, layer in zip(sums, layers, strict=True)],
                })
            add("manifest.json", json.dumps(manifest).encode())

    return Part("Images of the workloads", "images", digest(IMAGES, sources, images_part, layer_of), make)


def layer_of(programs: Path, directory: str) -> bytes:
    """A layer with the programs of one Go part in a directory. The same programs make the same bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for program in sorted(programs.iterdir()):
            info = tarfile.TarInfo(f"{directory}/{program.name}")
            info.size, info.mode = program.stat().st_size, 0o755
            with program.open("rb") as file:
                tar.addfile(info, file)
    return layer.getvalue()


def node_part(debian: dict[str, Part], go: dict[str, Part], images: Part) -> Part:
    """The node's image. Its cache entry is only a mark: the image itself is in podman's store."""
    key = digest(HERE / "node", NODE_FILES, node_part, debian["node"].key, images.key, go["prometheus-operator"].key, *(go[name].key for name in NODE_PROGRAMS))

    def make(target: Path) -> None:
        log = log_of(target)
        context = CACHE / "context"
        shutil.rmtree(context, ignore_errors=True)
        for name in NODE_PROGRAMS:
            shutil.copytree(go[name].path, context / "bin", dirs_exist_ok=True, copy_function=os.link)
        os.link(debian["node"].path, context / "rootfs.tar")
        os.link(images.path, context / "images.tar")
        # The operator's kinds, whose schemas are not in its programs.
        shutil.copytree(module_directory("prometheus-operator", "github.com/prometheus-operator/prometheus-operator") / "example/prometheus-operator-crd",
                        context / "files" / NODE_FILES["share"] / "addons/observability", copy_function=shutil.copyfile)
        for source, place in NODE_FILES.items():
            shutil.copytree(HERE / "node" / source, context / "files" / place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        run(log, "podman", "build", "--layers", "--pull=never", "-f", HERE / "node/Containerfile", "-t", f"{NODE_IMAGE}:{key}", context)
        shutil.rmtree(context)
        target.touch()

    return Part("Image of the node", "node", key, make)


def vm_part() -> Part:
    """The virtual machine's first disk, its kernel, and the key of its user `pi`, in one directory."""
    def make(target: Path) -> None:
        log, root, mirror = log_of(target), target / "root", debian_mirror()
        target.mkdir()
        run(log, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "pi", "-f", target / "key")
        run(log, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--skip=cleanup/apt/lists", f"--include={','.join(VM_PACKAGES.split())}",
            # Before the kernel comes: it makes its initial RAM disk by these files.
            f'--essential-hook=cp -r {HERE / "vm/image"}/. "$1/"',
            f'--customize-hook=sh -ex {HERE / "vm/customize.sh"} "$1" {target / "key.pub"} {VM_REPOSITORY}',
            SUITE, root, f"deb {mirror} {SUITE} main")
        for name in ("vmlinuz", "initrd.img"):
            shutil.copy(root / name, target / name)
        run(log, "mkfs.ext4", "-q", "-d", root, target / "root.raw", "3G")
        shutil.rmtree(root)

    return Part("Virtual machine", "vm", digest(VM_PACKAGES, VM_REPOSITORY, vm_part, HERE / "vm/image", HERE / "vm/customize.sh"), make)


def parts() -> list[Part]:
    """Every part, each after those that it is made of; the node's image is the last."""
    debian = {spec.name: debian_part(spec) for spec in DEBIAN}
    go = {spec.name: go_part(spec) for spec in GO}
    images = images_part(debian, go)
    return [*debian.values(), *go.values(), images, node_part(debian, go, images)]


# --------------------------------------------------------------------------------------------------------------------
# The run
# --------------------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One build at a time on this machine: the second would do the same work again, and slow both."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another build is running on this machine; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install_packages(more: tuple[str, ...] = ()) -> None:
    """Install those of packages.txt, and the others that are named, as far as they are missing."""
    wanted = [*(line.split("#")[0].strip() for line in (HERE / "packages.txt").read_text().splitlines()), *more]
    known = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], check=True, stdout=subprocess.PIPE, text=True).stdout
    missing = [name for name in wanted if name and f"{name} installed" not in known.splitlines()]
    if missing:
        start = time.monotonic()
        say(f"Installing Debian packages: {' '.join(missing)}")
        log = log_of(CACHE / "apt")
        run(log, "apt-get", "-q", "update")
        run(log, "apt-get", "-q", "-y", "--no-install-recommends", "install", *missing, DEBIAN_FRONTEND="noninteractive")
        say(f"Installing Debian packages: {time.monotonic() - start:.0f} s")


def check_go() -> None:
    """Debian 12 and 13 have no Go that is new enough, so it cannot be in packages.txt."""
    def number(version: str) -> list[int]:
        return [int(n) for n in version.split(".")[:2]]

    needed = max((re.search(r"^go (\S+)", mod.read_text(), re.M)[1] for mod in HERE.glob("go/*/go.mod")), key=number)
    found = output("go", "env", "GOVERSION").removeprefix("go") if shutil.which("go") else ""
    if not found or number(found) < number(needed):
        raise BuildError(f"Go {needed} or newer must be in PATH; found {found or 'none'}")


def image_exists(key: str) -> bool:
    return subprocess.run(["podman", "image", "exists", f"{NODE_IMAGE}:{key}"]).returncode == 0


def build(part: Part) -> None:
    """Make a part unless it is there. It gets its name only when it is complete."""
    if part.path.exists() and (part.name != "node" or image_exists(part.key)):
        return say(f"{part.label}: cached")
    start = time.monotonic()
    say(f"{part.label}: building")
    part.path.parent.mkdir(parents=True, exist_ok=True)
    new = part.path.with_name(f"{part.path.name}.new")
    remove(new)
    part.make(new)
    new.rename(part.path)
    say(f"{part.label}: {time.monotonic() - start:.0f} s")


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def prune(current: list[Part]) -> None:
    """Drop what other keys left, except an image that a container was made from."""
    keep = {part.path for part in (*current, vm_part())}
    for path in (CACHE / "parts").iterdir():
        if path not in keep:
            remove(path)
    remove_images(keep=f"{NODE_IMAGE}:{current[-1].key}")


def clean() -> None:
    """Remove the images and the cache, but nothing that others put beside it, nor an image that a node still runs on."""
    if shutil.which("podman"):
        remove_images()
    for made in "parts", "log", "bin", "context":
        shutil.rmtree(CACHE / made, ignore_errors=True)
    (CACHE / "lock").unlink()
    with contextlib.suppress(OSError):
        CACHE.rmdir()


def remove_images(keep: str = "") -> None:
    used = set(output("podman", "ps", "--all", "--format", "{{.Image}}").split())
    for image in output("podman", "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={NODE_IMAGE}").split():
        if image not in used | {keep}:
            subprocess.run(["podman", "rmi", image], check=True, stdout=subprocess.DEVNULL)


def link_programs(current: list[Part]) -> None:
    """Put the programs for the user where they keep their place from build to build."""
    where = {part.name: part.path for part in current}
    (CACHE / "bin").mkdir(exist_ok=True)
    for family, program in HOST_PROGRAMS:
        link = CACHE / "bin" / program
        link.unlink(missing_ok=True)
        link.symlink_to(where[f"go-{family}"] / program)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vm", action="store_true", help="build the virtual machine in place of the node")
    parser.add_argument("--image", action="store_true", help="print the name of the node's image for this checkout")
    parser.add_argument("--clean", action="store_true", help="remove the images and the cache")
    arguments = parser.parse_args()
    if arguments.image:
        check_go()
        return print(f"{NODE_IMAGE}:{parts()[-1].key}")
    if os.geteuid():
        raise BuildError("run this as root: the node is a privileged container, and its root file system is made with chroot")
    with lock():
        if arguments.clean:
            return clean()
        start = time.monotonic()
        if arguments.vm:
            install_packages(VM_TOOLS)
            build(vm_part())
            return say(f"The virtual machine is {vm_part().path} ({time.monotonic() - start:.0f} s)")
        check_go()
        install_packages()
        current = parts()
        for part in current:
            build(part)
        link_programs(current)
        prune(current)
        say(f"The test node's image is {NODE_IMAGE}:{current[-1].key} ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(f"testbed/build.py: {error}")
