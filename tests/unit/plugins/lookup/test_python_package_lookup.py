"""The lookup openlsp.node.python_package."""

from __future__ import annotations

import base64
import os
import pathlib
import shutil
import subprocess
import sys

import prometheus_client
import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.openlsp.node.plugins.lookup.python_package import LookupModule
from ansible_collections.openlsp.node.plugins.plugin_utils import _python_package

CHECKOUT = pathlib.Path(__file__).parents[4]


def lookup(*names):
    return [base64.b64decode(each) for each in LookupModule().run(list(names))]


def package(directory, monkeypatch, **files):
    (directory / "pack").mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / "pack" / name.replace("__DOT__", ".")).write_bytes(content)
    monkeypatch.syspath_prepend(directory)


def test_python_imports_the_zip_without_the_installed_package(tmp_path):
    """-I -S: nothing of this computer's packages is there, as in a stock image. What the exporter imports works."""
    content, = lookup("prometheus_client")
    (tmp_path / "library.zip").write_bytes(content)
    shutil.copy(CHECKOUT / "roles/observability/files/exporter.py", tmp_path)
    found_in = [str(tmp_path / "library.zip"), str(tmp_path)]
    program = f"import sys; sys.path[:0] = {found_in!r}; import exporter, prometheus_client; print(prometheus_client.__file__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(tmp_path / "library.zip/prometheus_client/__init__.py"), done.stderr
    without = subprocess.run([sys.executable, "-I", "-S", "-c", "import prometheus_client"], capture_output=True, text=True, check=False)
    assert "No module named" in without.stderr


def test_it_fits_into_a_config_map_with_room(tmp_path):
    content, = lookup("prometheus_client")
    assert len(content) < 150 * 1024


def test_the_same_files_make_the_same_bytes_whenever_they_were_installed(tmp_path, monkeypatch):
    source = pathlib.Path(prometheus_client.__file__).parent
    shutil.copytree(source, tmp_path / "prometheus_client", copy_function=shutil.copy)  # new times
    before, = lookup("prometheus_client")
    monkeypatch.delitem(sys.modules, "prometheus_client")
    monkeypatch.syspath_prepend(tmp_path)
    assert lookup("prometheus_client") == [before]


@pytest.mark.parametrize("name", ["no_such_package", "json.decoder", "sys", "../etc", ""])
def test_what_is_no_installed_package_is_refused_with_what_to_do(name):
    with pytest.raises(AnsibleLookupError, match="is not installed beside Ansible: pip install -r requirements.txt"):
        lookup(name)


def test_a_package_with_compiled_parts_is_refused(tmp_path, monkeypatch):
    package(tmp_path, monkeypatch, __init____DOT__py=b"", fast__DOT__so=b"")
    with pytest.raises(AnsibleLookupError, match="pack has compiled parts: fast.so"):
        lookup("pack")


def test_a_package_that_is_too_large_is_refused(tmp_path, monkeypatch):
    package(tmp_path, monkeypatch, __init____DOT__py=os.urandom(_python_package.MAX_BYTES + 1))
    with pytest.raises(AnsibleLookupError, match="as a zip, and a ConfigMap takes"):
        lookup("pack")


def test_a_template_finds_it_under_its_full_name():
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", "localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.debug",
         "-a", "msg={{ lookup('openlsp.node.python_package', 'prometheus_client') | length }}"],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}, capture_output=True, text=True, check=True)
    content, = LookupModule().run(["prometheus_client"])
    assert f"msg: {len(content)}" in done.stdout or f'"msg": "{len(content)}"' in done.stdout
