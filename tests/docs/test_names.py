"""What pages name in their text exists: modules and classes, settings, make targets, commands and options."""

from __future__ import annotations

import re
from pkgutil import resolve_name

import pytest

from helpers.pages import ROOT, pages
from magic_hour_provider.__main__ import make_parser
from magic_hour_provider.get_provider_info import get_provider_info

PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

# No page leads to a package index of somebody's own, to a place of one machine, or to an address in its network.
ELSEWHERE = re.compile(
    r"/(?:tmp|root|work|Users)/\S|/home/(?!(?:airflow|me)\b)\w|(?:extra-)?index-url|/simple/?\b|\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))"
    r"\.\d+\.\d+|\bpypi\.(?!org/project/)\w"
)


@by_page
def test_names_of_the_package_exist(page):
    """A dotted name of the package can be imported."""
    for name in sorted(set(re.findall(r"\bmagic_hour_provider(?:\.\w+)+", "\n".join(page.inline()))), reverse=True):
        if name.startswith("magic_hour_provider.agents."):
            # Only Airflow 3.3 can be installed with what these import.
            pytest.importorskip("airflow.providers.common.ai")
        assert resolve_name(name) is not None


@by_page
def test_settings_exist(page):
    """A setting that is named with its section, or as a variable, is one of the settings."""
    options = get_provider_info()["config"]["magic_hour"]["options"]
    inline = "\n".join(page.inline())
    named = set(re.findall(r"\[magic_hour\] (\w+)", inline))
    named |= {name.lower() for name in re.findall(r"AIRFLOW__MAGIC_HOUR__(\w+)", page.text)}
    assert named <= set(options)


@by_page
def test_commands_exist(page):
    """A command or a make target that is named is one of those that there are, and so is an option beside it."""
    (commands,) = make_parser()._subparsers._group_actions
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for code in page.inline():
        if found := re.match(r"airflow magic-hour (\w+)(.*)", code):
            assert found[1] in commands.choices, code
            known = commands.choices[found[1]]._option_string_actions
            assert set(re.findall(r"(?<!\S)--[a-z-]+", found[2])) <= set(known), code
        elif found := re.fullmatch(r"make ([\w-]+)(?: [A-Z_]+=\S+)*", code):
            assert found[1] in targets, code


@by_page
def test_nothing_leads_to_one_machine(page):
    """No page has a path of a machine, an address in a private network or one of a package index."""
    assert [found[0] for found in ELSEWHERE.finditer(page.text)] == []


@pytest.mark.parametrize(
    "text", ["in /tmp/x", "see /home/anna/dags", "--index-url https://x", "http://10.0.0.7/", "pypi.local"]
)
def test_places_are_found(text):
    """Such a place is found, and the paths of images of Airflow are none."""
    assert ELSEWHERE.search(text)
    package = "https://{}.org/project/x/".format("pypi")  # a page for people, and no index
    assert not ELSEWHERE.search(f"/opt/airflow/dags, {'/home/'}airflow, 127.0.0.1, {package}")
