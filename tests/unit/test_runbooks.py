"""Every alert has its page, and every page its alert."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
RULES = (ROOT / "roles/observability/templates/alerts.yml.j2").read_text()
SEVERITIES = dict(re.findall(r"^  - alert: (\w+)\n    severity: (\w+)$", RULES, re.MULTILINE))
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")


def test_there_are_pages_for_all_alerts_and_no_other():
    assert {path.stem for path in PAGES} == set(re.findall(r"alert: (\w+)", RULES)) == set(SEVERITIES)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_says_what_to_do_and_what_not(page):
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n\n*{SEVERITIES[page.stem]}* · [all alerts](README.md)\n\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Confirm", "Do", "Do not"]
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (RUNBOOKS / link).exists(), link


def test_the_list_of_pages_is_whole():
    listed = dict(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text(), re.MULTILINE))
    assert listed == SEVERITIES


def test_the_alert_that_always_fires_is_not_held_back():
    """kube-prometheus-stack delivers one of severity info beside a warning or a critical one only; upstream's Watchdog has none, too."""
    assert {alert for alert, severity in SEVERITIES.items() if severity == "none"} == {"Watchdog"}


def test_the_pages_name_only_variables_that_exist():
    variables = {name for path in ROOT.glob("roles/*/defaults/main.yml") for name in yaml.safe_load(path.read_text())}
    named = {name for page in PAGES for name in re.findall(r"`((?:bitcoind|lnd|observability|disk_layout)_[a-z_]+)(?=[`:])", page.read_text())}
    assert named <= variables


def test_every_metric_of_an_alert_is_documented():
    documented = (ROOT / "docs/metrics.md").read_text()
    wanted = set(re.findall(r"\b((?:bitcoind|lnd|openlsp|kubelet|node|tor|process|kube)_[a-z0-9_]+)(?=\{|\[| [<>=/]|\))", RULES))
    wanted -= {"node_filesystem_"}
    assert len(wanted) > 40
    assert {name for name in wanted if name not in documented} == set()
