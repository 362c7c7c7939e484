"""What other exporters of LND's credentials get wrong: each probe broke at least one of them, and whoever reads our Secrets sees nothing of it.

The five are those under which lndinit publishes what is no credential, or half of a set, and reports success.
"""

from __future__ import annotations

import contextlib
import re
import time

import kubernetes
import pytest
from bare_lnd import CHAIN
from conftest import KUBECONFIG, eventually
from faulty_api import Fault, FaultyApi, after
from newcomer import if_there
from test_faults import WRITE, ends_well, is_one_sentence


@contextlib.contextmanager
def replaced(bare_lnd, kind: str, content: str):
    """Another content in the place of one of LND's files."""
    path = f"{CHAIN}/{kind}.macaroon"
    bare_lnd.shell(f"cp -p {path} /tmp/kept; printf %s '{content}' > {path}")
    try:
        yield
    finally:
        bare_lnd.shell(f"mv /tmp/kept {path}")


@pytest.mark.parametrize(("kind", "content", "complaint"), [
    ("signer", "", "lnd-signer: .*empty"),
    ("admin", "not a macaroon, but a note of the operator\n", "lnd-admin: .*no macaroon"),
], ids=["an empty file", "a text file"])
def test_file_that_is_no_macaroon_is_named_and_nothing_is_written(bare_lnd, kind, content, complaint):
    bare_lnd.forget()
    with bare_lnd.reader() as reader:
        with replaced(bare_lnd, kind, content):
            run = bare_lnd.publish(timeout=1)
            is_one_sentence(run)
            assert re.search(complaint, run.complaint)
            reader.catch_up()
            assert reader.seen == []
        ends_well(bare_lnd, reader)


@pytest.mark.parametrize("kind", ["signer", "admin"])
def test_file_that_is_no_macaroon_is_not_published_in_the_place_of_a_good_one(bare_lnd, kind):
    """LND still accepts what the Secrets hold: whether the run fails or need not read the file, they stay as they are."""
    assert bare_lnd.publish().code == 0
    with bare_lnd.reader() as reader, replaced(bare_lnd, kind, ""):
        bare_lnd.publish(timeout=1)
        reader.catch_up()
        assert reader.seen == []


@pytest.fixture(scope="module")
def token(bare_lnd):
    """Of a user who may do what the module needs, and no more."""
    return bare_lnd.user("publisher")


@pytest.fixture
def publisher(core, bare_lnd, token):
    """This user, and a way to take his rights away."""
    user = Publisher(core, bare_lnd.namespace, token)
    yield user
    user.regain_rights()


class Publisher:
    def __init__(self, core, namespace: str, token: str) -> None:
        self._core, self._namespace, self.token = core, namespace, token
        self._rbac = kubernetes.client.RbacAuthorizationV1Api(core.api_client)
        self._binding = self._rbac.read_namespaced_role_binding("publisher", namespace)

    def regain_rights(self) -> None:
        with if_there():
            self._rbac.delete_namespaced_role_binding("publisher", self._namespace)
        self._rbac.create_namespaced_role_binding(self._namespace, {
            "metadata": {"name": "publisher"}, "roleRef": self._binding.role_ref, "subjects": self._binding.subjects})

    def lose_rights(self) -> None:
        """And wait until the API server knows."""
        self._rbac.delete_namespaced_role_binding("publisher", self._namespace)
        eventually(lambda: not self._may_write(), "he keeps his rights")

    def _may_write(self) -> bool:
        review = kubernetes.client.AuthorizationV1Api(self._core.api_client).create_subject_access_review({"spec": {
            "user": f"system:serviceaccount:{self._namespace}:publisher",
            "resourceAttributes": {"namespace": self._namespace, "verb": "patch", "resource": "secrets"}}})
        return review.status.allowed


def test_right_to_write_that_is_lost_half_way_leaves_whole_credentials(bare_lnd, publisher, tmp_path):
    bare_lnd.forget()
    with FaultyApi(KUBECONFIG, tmp_path, publisher.token) as api, bare_lnd.reader() as reader:
        api.arm(Fault(WRITE, after(publisher.lose_rights), skip=4))
        run = bare_lnd.publish(api.kubeconfig)
        assert api.hits == 1
        is_one_sentence(run)
        assert re.search("write the Secret .*forbidden.*give this user that right", run.complaint)
        reader.catch_up()
        assert len({name for _what, name, _data in reader.seen}) == 4
        ends_well(bare_lnd, reader)


def test_rights_on_secrets_and_the_pod_are_enough(bare_lnd, token, tmp_path):
    bare_lnd.forget()
    with FaultyApi(KUBECONFIG, tmp_path, token) as api:
        api.arm()
        run = bare_lnd.publish(api.kubeconfig)
        assert run.code == 0, run.complaint


def test_secret_that_is_there_already_does_not_keep_the_others_away(bare_lnd):
    for name in bare_lnd.old:
        bare_lnd.remove(name)
    bare_lnd.put("lnd-readonly")
    with bare_lnd.reader() as reader:
        run = bare_lnd.publish()
        assert run.code == 0, run.complaint
        ends_well(bare_lnd, reader)


def test_somebody_elses_secret_is_named_and_nothing_is_written(bare_lnd):
    for name in bare_lnd.old:
        bare_lnd.remove(name)
    bare_lnd.put("lnd-readonly", labels={})
    with bare_lnd.reader() as reader:
        run = bare_lnd.publish()
        is_one_sentence(run)
        assert re.search("Secret lnd-readonly .*exists and is not managed", run.complaint)
        reader.catch_up()
        assert reader.seen == []


# Of 20 rounds lndinit, whose second writer does not look again after a conflict, ended 4 with a mixed set.
@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize("begin", ["old ones", "none"])
def test_two_writers_at_once_leave_one_set(bare_lnd, rounds, begin):
    for number in range(rounds):
        bare_lnd.forget()
        if begin == "none":
            for name in bare_lnd.old:
                bare_lnd.remove(name)
        with bare_lnd.reader() as reader:
            writers = [bare_lnd.publishing()]
            # From both at the same time to one that comes when the other writes.
            time.sleep(0.05 * (number % 10))
            writers.append(bare_lnd.publishing())
            runs = [writer.ended() for writer in writers]
            assert [run.complaint for run in runs] == ["", ""]
            assert bare_lnd.secrets().items() >= bare_lnd.new.items()
            ends_well(bare_lnd, reader)
