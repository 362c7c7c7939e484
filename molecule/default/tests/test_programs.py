"""Programs that use LND while their macaroons are replaced, from the node's namespace and from another one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ansible_collections.openlsp.node.plugins.module_utils import _consumers
from conftest import KUBECONFIG, ForeignPod, eventually, running
from programs import Program, pod_template
from publisher import NO_ROOT_KEY, Publisher, refusal

CALL = "/lnrpc.Lightning/GetInfo"

# The namespace of a consumer that is not the node's.
ELSEWHERE = "merchant"


@pytest.fixture(scope="module")
def publisher(carol, cluster) -> Publisher:
    return Publisher(cluster, KUBECONFIG, carol.name)


@pytest.fixture(scope="module")
def consumers(carol, core) -> list[dict]:
    """One in another namespace, one that is bound to the network of the pods, one that ends."""
    pods = ".".join(core.read_namespaced_pod("lnd-0", carol.name).status.pod_ip.split(".")[:2]) + ".0.0/16"
    return [
        {"name": "watch", "preset": "monitoring"},
        {"name": "shop", "preset": "btcpay", "namespace": ELSEWHERE},
        {"name": "manager", "preset": "rtl"},
        {"name": "near", "permissions": ["info:read"], "ip_range": pods},
        {"name": "brief", "uris": [CALL], "expires": 1}]


@pytest.fixture(scope="module")
def programs(carol, core, consumers) -> Iterator[dict[str, Program]]:
    """Five consumers as the inventory lists them, and a program for each."""
    core.create_namespace({"metadata": {"name": ELSEWHERE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    started: dict[str, Program] = {}
    try:
        carol.settle("-e", json.dumps({"lnd_consumers": consumers}))
        for each in consumers:
            program = Program(core, each.get("namespace", carol.name), each["name"], 2 if each["name"] == "watch" else 1)
            started[each["name"]] = program.start()
        for program in started.values():
            eventually(program.ready, f"{program.name} gets no answer", 60)
        yield started
    finally:
        for program in started.values():
            program.stop()
        carol.settle()
        core.delete_namespace(ELSEWHERE)


@pytest.mark.long
def test_no_program_misses_an_answer_while_all_are_rotated(carol, site, publisher, programs, consumers):
    before = {name: publisher.secrets(program.namespace)[f"lnd-consumer-{name}"].data["macaroon"] for name, program in programs.items()}
    old_pods = {pod.metadata.name for program in programs.values() for pod in program.pods()}
    run = site(*carol.arguments, "-e", json.dumps({"lnd_consumers": consumers, "lnd_rotate": "all"}), playbook="playbooks/rotate.yml")
    assert run.code == 0, run.output[-4000:]
    assert {name: program.failures() for name, program in programs.items()} == dict.fromkeys(programs, [])

    def answered() -> dict[str, int]:
        return {pod: calls for program in programs.values() for pod, calls in program.finished().items()}
    # What they said last may be on its way.
    eventually(lambda: answered().keys() == old_pods, "not each of the old pods, and no other, has ended and said so", 10)
    assert min(answered().values()) > 5
    with publisher.lnd() as lnd:
        assert [name for name, macaroon in before.items() if not NO_ROOT_KEY.search(refusal(lnd, macaroon))] == []


def test_a_macaroon_for_one_network_opens_nothing_from_another(publisher, programs):
    """Its program calls from the pods' network; through a port-forward LND sees its own address."""
    assert programs["near"].ready()
    with publisher.lnd() as lnd:
        assert "locked to different IP" in refusal(lnd, publisher.secrets()["lnd-consumer-near"].data["macaroon"])


def test_another_namespace_reaches_lnd_by_the_label_alone(carol, core, programs):
    program = programs["shop"]
    core.create_namespaced_pod(ELSEWHERE, {**pod_template("lnd-consumer-shop", {"app": "unlabelled"}), "metadata": {"name": "unlabelled"}})
    unlabelled = eventually(lambda: running(core, ELSEWHERE, "unlabelled"), "the pod does not run")
    labelled, other = (ForeignPod(core, pod.metadata.uid) for pod in (program.pods()[0], unlabelled))
    # The policies know a pod some seconds after it runs.
    eventually(lambda: labelled.reaches(carol.name, "lnd", _consumers.GRPC_PORT), "the program does not reach LND")
    assert not other.reaches(carol.name, "lnd", _consumers.GRPC_PORT)
