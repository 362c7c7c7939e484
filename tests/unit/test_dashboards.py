"""Every query of the dashboards and every alert asks for metrics that there are, in a language that Prometheus reads."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from xml.etree import ElementTree

import dashboards
import pictures
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

QUERIES = list(dashboards.queries("alice", "pi:9100"))


def documented():
    """Every metric that docs/metrics.md names, the exporter's and others'."""
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    return {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_a_file_is_what_the_generator_makes(name):
    """After a change: python tests/dashboards.py."""
    assert (dashboards.TARGET / f"{name}.json").read_text() == dashboards.text(name)


def test_there_is_no_file_that_nothing_makes():
    assert {path.stem for path in dashboards.TARGET.iterdir()} == set(dashboards.DASHBOARDS)


def test_every_metric_of_a_panel_is_documented():
    missing = {(name, panel, metric) for name, panel, query in QUERIES for metric in dashboards.metrics_of(query) - documented()}
    assert missing == set()


def test_the_names_of_metrics_are_found_in_a_query():
    query = 'sum by (a, b) (rate(x_total{c="y z"}[5m])) / on (d) group_left (e) max(f:g{h!=""}) > bool 0 or vector(1) and time() - i offset 5m'
    assert dashboards.metrics_of(query) == {"x_total", "f:g", "i"}


def test_a_query_names_no_claim():
    """An owner may give the programs claims of his own: bitcoind_storage_claim, lnd_storage_claim."""
    assert [panel for _name, panel, query in QUERIES if "persistentvolumeclaim=" in query] == []


def test_a_query_holds_no_variable_that_grafana_does_not_fill():
    for name in dashboards.DASHBOARDS:
        made = dashboards.dashboard(name)
        known = {each["name"] for each in made["templating"]["list"]}
        assert set(re.findall(r"\$\{?(\w+)", json.dumps(made["panels"]))) <= known, name


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_panels_neither_overlap_nor_leave_the_page(name):
    taken = set()
    for panel in dashboards.dashboard(name)["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and max(x for x, _y in cells) < dashboards.WIDTH, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_a_dashboard_has_an_address_of_its_own_and_fits_into_a_config_map(name):
    made = dashboards.dashboard(name)
    assert made["uid"] == f"openlsp-{name}" and len(dashboards.text(name)) < 200_000
    assert [panel["id"] for panel in made["panels"]] == list(range(1, len(made["panels"]) + 1))


@pytest.fixture(scope="module")
def rules():
    """The module that renders and checks the alerts."""
    sys.path.insert(0, str(ROOT / "tests/promtool"))
    try:
        import rules as found
        yield found
    finally:
        sys.path.remove(str(ROOT / "tests/promtool"))


def test_every_query_is_one_that_prometheus_reads(rules, tmp_path):
    def checked(queries):
        groups = [{"name": "panels", "rules": [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]}]
        (tmp_path / "queries.yml").write_text(json.dumps({"groups": groups}))
        return subprocess.run([rules.promtool(), "check", "rules", tmp_path / "queries.yml"], capture_output=True, text=True, check=False)

    done = checked([query for _name, _panel, query in QUERIES])
    assert done.returncode == 0 and f"{len(QUERIES)} rules found" in done.stdout, done.stdout + done.stderr
    assert checked([QUERIES[0][2] + ")"]).returncode, "promtool would say so"


def test_every_metric_of_an_alert_is_documented(rules):
    missing = {(rule["alert"], metric) for rule in rules.render() for metric in dashboards.metrics_of(rule["expr"]) - documented()}
    assert missing == set()


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_a_picture_shows_every_panel_and_what_it_has_no_data_of(name):
    """What Prometheus would answer: two series to questions about channels, with a name that is no XML, and nothing to all others."""
    def ask(path, query, **_times):
        if "channels" not in query:
            return []
        return [({"state": "a<b"}, [(1000.0, 1.0), (2000.0, 3.0)] if path == "query_range" else [(2000.0, 3.0)])] * 2

    drawn = ElementTree.fromstring(pictures.picture(name, ask, "alice", "pi:9100", 3600.0))
    text = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    panels = dashboards.DASHBOARDS[name][1]
    assert {panel.title for panel in panels} <= set(text)
    empty = [panel for panel in panels if not any("channels" in query for _legend, query in panel.queries)]
    assert text.count("no data here") == len(empty)


@pytest.mark.parametrize("value, unit, text", [
    (0.123, "percentunit", "12.3 %"), (0, "bytes", "0 B"), (1536, "bytes", "1.5 KiB"), (2048, "Bps", "2 KiB/s"), (90, "s", "1.5 min"), (0, "s", "0 s"),
    (-90, "s", "-1.5 min"), (12345, "locale", "12,345"), (1.234, "locale", "1.23"), (49_899_958_820, "locale", "49,900 M"), (51.25, "celsius", "51.2 °C"),
    (1234, "short", "1,234")])
def test_a_number_is_written_as_people_read_it(value, unit, text):
    assert pictures.shown(value, unit) == text
