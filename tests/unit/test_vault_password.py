"""The Vault password of a test node."""

from __future__ import annotations

import pathlib
import runpy
import secrets
import stat

SCRIPT = pathlib.Path(__file__).parents[2] / "testbed/vault-password.py"


def test_hosts_that_ask_at_the_same_time_get_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ask, make, other = runpy.run_path(str(SCRIPT))["vault_password"], secrets.token_urlsafe, []

    def make_while_another_asks(length):
        if not other:
            other.append("")
            other[0] = ask("demo")
        return make(length)

    monkeypatch.setattr(secrets, "token_urlsafe", make_while_another_asks)
    assert len(ask("demo")) > 20 and [ask("demo")] == other
    files = (tmp_path / "openlsp.node/demo").iterdir()
    assert [(each.name, stat.S_IMODE(each.stat().st_mode)) for each in files] == [("vault-password", 0o600)]
