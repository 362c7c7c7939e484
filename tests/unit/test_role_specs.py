"""A role's argument specs are what its defaults are: one truth about each variable, told in two places."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible_collections.openlsp.node.plugins.plugin_utils._checks import SHARED

ROLES = sorted((pathlib.Path(__file__).parents[2] / "roles").iterdir())
PYTHON_TYPES = {"bool": bool, "dict": dict, "float": (float, int), "int": int, "list": list, "path": str, "str": str}

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)


def defaults_of(role):
    path = role / "defaults/main.yml"
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def options_of(role):
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return specs["main"].get("options", {})


def everything_in(options, prefix=""):
    """All options with those inside of them, as pairs of path and option."""
    for name, option in options.items():
        yield prefix + name, option
        yield from everything_in(option.get("options", {}), f"{prefix}{name}.")


@each_role
def test_defaults_and_specs_name_the_same_variables(role):
    assert set(defaults_of(role)) == {name for name, option in options_of(role).items() if not option.get("required")}


@each_role
def test_defaults_and_specs_give_the_same_values(role):
    specified = {name: option.get("default") for name, option in options_of(role).items() if not option.get("required")}
    assert defaults_of(role) == specified


@each_role
def test_a_default_has_the_type_that_its_spec_demands(role):
    options = options_of(role)
    wrong = [
        name
        for name, value in defaults_of(role).items()
        if not (isinstance(value, str) and "{{" in value)  # a template: its type shows when it runs
        and (not isinstance(value, PYTHON_TYPES[options[name]["type"]]) or isinstance(value, bool) != (options[name]["type"] == "bool"))
    ]
    assert wrong == []


@each_role
def test_every_option_has_a_type_and_a_description(role):
    incomplete = [
        name
        for name, option in everything_in(options_of(role))
        if not option.get("description") or not option.get("type") or (option["type"] == "list" and not option.get("elements"))
    ]
    assert incomplete == []


@each_role
def test_a_role_s_variables_carry_its_name(role):
    strange = [name for name in options_of(role) if not name.startswith(f"{role.name}_")]
    assert strange == []


def test_what_decides_by_a_shared_boolean_takes_text_for_it_too():
    """`-e` and an inventory in INI give text: "false" in a template counts as true, and as the condition of a task it is an error."""
    names = [name for name, kind in SHARED.items() if kind == "bool"]
    used = re.compile(rf"^(?! *#).*\b({'|'.join(names)})\b(?!:)(?!( *\| *default\(\w+\))? *\| *bool\b)", re.MULTILINE)
    root = ROLES[0].parents[1]
    files = [*root.glob("playbooks/*.yml"), *root.glob("roles/*/vars/*"), *root.glob("roles/*/tasks/*"), *root.glob("roles/*/templates/*")]
    # A message is no condition.
    found = {f"{path.relative_to(root)}: {each[0].strip()}" for path in files for each in used.finditer(path.read_text()) if " or set " not in each[0]}
    assert not found
