# Copyright (c) 2026, the openlsp.node authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What MicroK8s's commands print, and what follows from it for a machine. Pure; no input or output.

The commands' exit codes and texts are those of MicroK8s 1.28 to 1.36 (scripts/wrappers) and of snapd's client.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping

# In the order in which they are enabled: names and volumes first, then rights, before there is any Secret.
NEEDED_ADDONS = ("dns", "hostpath-storage", "rbac")
ADDONS = (*NEEDED_ADDONS, "ingress", "observability", "cert-manager")

# What changed by release. An add-on that became another program leaves the old one's objects behind: it is disabled before the upgrade.
REPLACED = {"ingress": (1, 36)}  # nginx by Traefik
REMOVED = {"dashboard": (1, 36)}

# The oldest minor version of Kubernetes that still gets fixes (1.34 ended in October 2026).
OLDEST = (1, 35)

_STOPPED = "microk8s is not running, try microk8s start"
_WORKER = "This MicroK8s deployment is acting as a node in a cluster."


class MicroK8sError(Exception):
    """What keeps a machine from getting what is wanted, in words for its owner."""


@dataclass(frozen=True)
class Snap:
    """One line of ``snap list``."""

    version: str
    revision: str
    channel: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """channel: track/risk; user: who may use MicroK8s without sudo, empty for nobody."""

    channel: str
    addons: tuple[str, ...] = ()
    user: str = ""
    dual_stack: bool = False


@dataclass(frozen=True)
class Found:
    """state: absent, stopped, worker, starting or running. Of add-ons and rights only a running one knows.

    addons: whether each is enabled; rbac: whether the API refuses what nobody was allowed; member: whether the user is in the group.
    """

    snap: Snap | None = None
    state: str = "absent"
    addons: Mapping[str, bool] = field(default_factory=dict)
    rbac: bool = False
    dual_stack: bool = False
    member: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order."""

    install: bool = False
    start: bool = False
    disable: tuple[str, ...] = ()
    upgrade: bool = False
    hold: bool = False
    join: bool = False
    enable: tuple[str, ...] = ()


def snap_of(code: int, output: str, errors: str) -> Snap | None:
    """What ``snap list microk8s`` says; None where it is not installed."""
    for line in output.splitlines()[1:]:
        fields = line.split()
        if len(fields) == 6 and fields[0] == "microk8s":
            return Snap(fields[1], fields[2], fields[3], tuple(fields[5].split(",")))
    if "no matching snaps installed" in errors or "No snaps are installed yet" in errors:
        return None
    raise MicroK8sError(f"`snap list microk8s` ended with {code} and cannot be understood: {_words(output, errors)}")


def status_of(code: int, output: str, errors: str) -> tuple[str, dict[str, bool]]:
    """The state and the add-ons of ``microk8s status --format yaml``.

    Not by a YAML parser: the text is put together by hand, and an add-on's description may break it. Stopped nodes and workers
    print a sentence instead, with exit code 0.
    """
    first = output.strip().partition("\n")[0].strip()
    if first == _STOPPED:
        return "stopped", {}
    if first == _WORKER:
        return "worker", {}
    running = re.search(r"^microk8s:\n +running: (True|False)$", output, re.M)
    if running and running[1] == "True" and code == 0:
        return "running", dict(_addons(output))
    if running and running[1] == "False":
        return "starting", {}
    raise MicroK8sError(f"`microk8s status` ended with {code}: {_words(output, errors)}")


def _addons(output: str) -> Iterator[tuple[str, bool]]:
    for block in re.split(r"^ *- name: ", output.partition("\naddons:")[2], flags=re.M)[1:]:
        name, _newline, rest = block.partition("\n")
        status = re.search(r"^ +status: (enabled|disabled)$", rest, re.M)
        repository = re.search(r"^ +repository: (\S+)$", rest, re.M)
        if status is None:
            raise MicroK8sError(f"`microk8s status` says nothing of the add-on {name.strip()}")
        if repository is None or repository[1] == "core":
            yield name.strip(), status[1] == "enabled"


def _words(output: str, errors: str) -> str:
    return " ".join(f"{errors} {output}".split())[:500] or "it printed nothing"


def allowed_by(review: str) -> bool:
    """The answer of a SubjectAccessReview."""
    try:
        return json.loads(review)["status"]["allowed"]
    except (ValueError, KeyError, TypeError):
        raise MicroK8sError(f"the API did not answer a SubjectAccessReview: {_words(review, '')}") from None


def dual_stack_of(settings: str) -> bool:
    """Whether MicroK8s's args/cni-env turns IPv6 on."""
    return re.search(r"^IPv6_SUPPORT=[\"']?true", settings, re.M) is not None


def minor(text: str) -> tuple[int, int]:
    """The minor version of a channel or a version: ``1.36/stable`` and ``v1.36.1`` are both (1, 36)."""
    found = re.match(r"v?(\d+)\.(\d+)\b", text)
    if not found:
        raise MicroK8sError(f"{text} has no version of Kubernetes in it")
    return int(found[1]), int(found[2])


def channel_mistakes(channel: str, allow_end_of_life: bool) -> Iterator[str]:
    """Why nobody should install from this channel."""
    if not re.fullmatch(r"\d+\.\d+/(stable|candidate|beta|edge)", channel):
        yield f"microk8s_channel: {channel!r} is no channel such as 1.36/stable"
    elif minor(channel) < OLDEST and not allow_end_of_life:
        yield (f"microk8s_channel: {channel} is a Kubernetes that gets no more fixes; take {_name(OLDEST)}/stable or later, or set "
               "microk8s_allow_end_of_life to true")


def variable_mistakes(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the role's variables, however well formed each of them is."""
    yield from channel_mistakes(values["microk8s_channel"], values["microk8s_allow_end_of_life"])
    if "IPv4" not in values["microk8s_ip_families"]:
        yield "microk8s_ip_families: MicroK8s needs IPv4; write [IPv4] or [IPv4, IPv6]"


def plan(wanted: Wanted, found: Found) -> Plan:
    """What leads from the one to the other. Raises MicroK8sError where nothing does."""
    addons = tuple(name for name in ADDONS if name in (*NEEDED_ADDONS, *wanted.addons))
    if found.snap is None:
        return Plan(install=True, hold=True, join=bool(wanted.user), enable=addons)
    _refuse(wanted, found, found.snap)
    if found.state == "stopped":
        return Plan(start=True)
    here, there = minor(found.snap.version), minor(wanted.channel)
    replaced = tuple(name for name, release in REPLACED.items()
                     if found.addons.get(name) and here < release <= there)
    present = {**found.addons, "rbac": found.rbac}
    return Plan(
        disable=replaced, upgrade=here != there or found.snap.channel != wanted.channel,
        hold="held" not in found.snap.notes, join=bool(wanted.user) and not found.member,
        # What was there is there again, whoever enabled it.
        enable=tuple(name for name in ADDONS if name in replaced or (name in addons and not present.get(name))))


def _refuse(wanted: Wanted, found: Found, snap: Snap) -> None:
    if found.state == "worker":
        raise MicroK8sError("this machine is a worker of another cluster, whose control plane decides; `microk8s leave` takes it out")
    if "disabled" in snap.notes:
        raise MicroK8sError("the snap microk8s is disabled; `snap enable microk8s` turns it on again")
    here, there = minor(snap.version), minor(wanted.channel)
    if there < here:
        raise MicroK8sError(f"microk8s_channel: {wanted.channel} is older than the installed {snap.version}, and a downgrade loses the datastore; "
                            f"set it to {_name(here)}/stable")
    if there > (here[0], here[1] + 1):
        raise MicroK8sError(f"microk8s_channel: from {snap.version} to {wanted.channel} is more than one minor version, and Kubernetes goes up one at a "
                            f"time; set it to {_name((here[0], here[1] + 1))}/stable first (microk8s_allow_end_of_life lets it pass)")
    if wanted.dual_stack and not found.dual_stack:
        raise MicroK8sError("microk8s_ip_families: this cluster was installed without IPv6, which only a new installation can have; remove IPv6, or "
                            "`snap remove --purge microk8s`, which loses all that is in the cluster")
    if found.state == "starting":
        raise MicroK8sError("MicroK8s does not become ready; on the machine, `microk8s inspect` says why, and microk8s_timeout is the time it gets")
    for name, release in REMOVED.items():
        if found.addons.get(name) and here < release <= there:
            raise MicroK8sError(f"microk8s_channel: {_name(release)} no longer has the add-on {name}; `microk8s disable {name}` before the upgrade")
    if found.addons.get("rbac") and not found.rbac:
        # `microk8s disable rbac` leaves its ClusterRoles, by which `microk8s enable rbac` takes it for enabled.
        raise MicroK8sError("the API allows everything to every account, and yet the add-on rbac counts as enabled; "
                            "`microk8s kubectl delete clusterrole cluster-admin`, then run this again")


def in_words(steps: Plan, channel: str) -> list[str]:
    """The plan for the operator."""
    names = {"install": f"install MicroK8s from {channel}", "start": "start it", "upgrade": f"back up its datastore, refresh it to {channel}",
             "hold": "hold its refreshes", "join": "let the user use it"}
    lines = []
    for step, value in vars(steps).items():
        lines += [f"{step} {name}" for name in value] if isinstance(value, tuple) else [names[step]] if value else []
    return lines


def _name(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
