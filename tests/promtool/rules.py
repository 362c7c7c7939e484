"""The alert rules as the role makes them, held against cases.yml by `promtool check rules` and `promtool test rules`.

    python tests/promtool/rules.py

promtool is that of PATH, or comes from Debian's package, which is unpacked and not installed: no service, no user.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("OPENLSP_CACHE") or pathlib.Path.home() / ".cache/openlsp.node")
CASES = yaml.safe_load((pathlib.Path(__file__).parent / "cases.yml").read_text())

# A node that has all alerts; their thresholds are the role's defaults.
INVENTORY = {"all": {"hosts": {"ln": {
    "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "openlsp_network": "mainnet", "openlsp_tor": True,
    "__observability_operator": {"pod_monitor": {}, "rule": {}}}}}}
PLAY = """
- hosts: all
  gather_facts: false
  roles: [{role: openlsp.node.observability, tags: [never]}]
  tasks:
    - ansible.builtin.template: {src: prometheusrule.yaml.j2, dest: "{{ playbook_dir }}/rule.yml", mode: "0600"}
"""

Rule = dict[str, Any]


def render() -> list[Rule]:
    """Every alert of the role's PrometheusRule."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / "hosts.json").write_text(json.dumps(INVENTORY))
        (directory / "play.yml").write_text(PLAY)
        (directory / "templates").symlink_to(ROOT / "roles/observability/templates")
        done = subprocess.run([sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "play.yml"], cwd=directory, text=True,
                              env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return [rule for group in yaml.safe_load((directory / "rule.yml").read_text())["spec"]["groups"] for rule in group["rules"]]


def downloaded(directory: str) -> bool:
    """Whether apt could fetch the package; up to Debian 12 promtool is in prometheus."""
    return any(subprocess.run(["apt-get", "-q", "download", package], cwd=directory, capture_output=True, check=False).returncode == 0
               for package in ("promtool", "prometheus"))


def promtool() -> str:
    """Where promtool is; fetched once where it is not."""
    unpacked = CACHE / "promtool/usr/bin/promtool"
    if found := shutil.which("promtool"):
        return found
    if not unpacked.exists():
        with tempfile.TemporaryDirectory() as name:
            if not downloaded(name):
                subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True)
                downloaded(name)
            package = next(pathlib.Path(name).glob("*.deb"))
            subprocess.run(["dpkg-deb", "--extract", package, f"{name}/unpacked"], check=True)
            (CACHE / "promtool").mkdir(parents=True, exist_ok=True)
            shutil.copytree(f"{name}/unpacked/usr/bin", CACHE / "promtool/usr/bin", dirs_exist_ok=True)
    return str(unpacked)


def series(name: str, minutes: int, values: Any) -> dict[str, str]:
    """One series of promtool's: of the node `ln` unless it is the machine's; a number is its value for all the time."""
    metric, _brace, labels = name.rstrip("}").partition("{")
    if not metric.startswith("node_"):
        labels = ",".join(filter(None, ['namespace="ln"', labels]))
    return {"series": f"{metric}{{{labels}}}", "values": values if isinstance(values, str) else f"{values}x{minutes}"}


def tests_of(alert: str) -> list[dict]:
    """promtool's tests of one alert: each case's series, and how many alerts fire when."""
    tests = []
    for case in CASES[alert]:
        minutes = max(moment for moment in (case.get("fires"), case.get("silent")) if moment is not None)
        firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing",namespace="ln"}})'
        tests.append({
            "interval": "1m",
            "input_series": [series(name, minutes, values) for name, values in case["series"].items()],
            "promql_expr_test": [
                *([{"expr": firing, "eval_time": f"{case['silent']}m", "exp_samples": []}] if "silent" in case else []),
                *([{"expr": firing, "eval_time": f"{case['fires']}m", "exp_samples": [{"labels": "{}", "value": case.get("alerts", 1)}]}]
                  if "fires" in case else [])]})
    return tests


def check(rules: list[Rule]) -> str:
    """What `promtool check rules` says against these rules; empty when they pass."""
    with tempfile.TemporaryDirectory() as name:
        file = pathlib.Path(name) / "rules.yml"
        file.write_text(json.dumps({"groups": [{"name": "node", "rules": rules}]}))
        done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr if done.returncode else ""


def failures(rules: list[Rule]) -> list[str]:
    """What `promtool test rules` says against each of these rules, alone with its cases; empty for those that pass."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        for number, rule in enumerate(rules):
            (directory / f"rule{number}.yml").write_text(json.dumps({"groups": [{"name": "node", "rules": [rule]}]}))
            (directory / f"test{number}.yml").write_text(json.dumps(
                {"rule_files": [f"rule{number}.yml"], "evaluation_interval": "1m", "tests": tests_of(rule["alert"])}))
        files = [f"test{number}.yml" for number in range(len(rules))]
        done = subprocess.run([promtool(), "test", "rules", *files], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        said = dict(re.findall(r"^Unit Testing: +(\S+)\n(.*?)(?=^Unit Testing:|\Z)", done.stdout, re.MULTILINE | re.DOTALL))
        if list(said) != files:
            raise RuntimeError(done.stdout)
        return ["" if text.strip() == "SUCCESS" else text for text in said.values()]


def main() -> str | None:
    rules = render()
    names = {rule["alert"] for rule in rules}
    for strange in sorted(names ^ CASES.keys()):
        return f"{strange}: it is only {'an alert' if strange in names else 'in cases.yml'}"
    for name, cases in CASES.items():
        if not any("fires" in case for case in cases) or not (any("silent" in case for case in cases) or name == "Watchdog"):
            return f"{name}: it needs a case in which it fires and one in which it stays silent"
    if complaint := check(rules):
        return complaint
    wrong = {rule["alert"]: complaint for rule, complaint in zip(rules, failures(rules), strict=True) if complaint}
    for name, complaint in wrong.items():
        print(f"{name}:\n{complaint}")
    print(f"{len(rules)} alerts, {sum(map(len, CASES.values()))} cases")
    return f"wrong: {', '.join(wrong)}" if wrong else None


if __name__ == "__main__":
    sys.exit(main())
