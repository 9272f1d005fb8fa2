"""What is published: the package's metadata, its README away from the repository, versions, and who checks what."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import yaml

import matrix
import package_addresses
import release_check
from magic_hour_provider import __version__

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
MAKEFILE = (ROOT / "Makefile").read_text()

README = """# Title

Read [the guide](docs/guide.md#part), [below](#below) or [Airflow](https://airflow.apache.org).

![The tab](docs/images/tab.png)

```text
[as it is](docs/guide.md)
```
"""


def test_the_wheel_says_what_exists(tmp_path):
    """It names no person and no address that nobody has, and its README leads nowhere where nothing is."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Author"] == "the contributors of airflow-provider-magic-hour"
    assert metadata["Author-email"] is None
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL"))
    assert urls == package_addresses.links(**PYPROJECT["tool"]["magic-hour"])
    text = metadata.get_payload()
    links = re.findall(r"\]\(([^)]*)\)", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    assert text.startswith("# ")
    assert len(links) > 0
    assert [link for link in links if not link.startswith("https://")] == []


def test_an_address_is_said_once():
    """With one, every relative link of the README leads to it, and so do the package's own; code stays as it is."""
    address = "https://code.example/owner/name"
    urls = package_addresses.links(address, "https://docs.example")
    assert urls["Source"] == address
    assert urls["Documentation"] == "https://docs.example"
    text = package_addresses.standalone(README, address)
    assert (
        f"[the guide]({address}/blob/HEAD/docs/guide.md#part), [below]({address}#below) or [Airflow](https://air"
        in text
    )
    assert f"![The tab]({address}/raw/HEAD/docs/images/tab.png)" in text
    assert "\n[as it is](docs/guide.md)\n" in text


def test_without_an_address_links_are_text():
    """Pictures are left out; links elsewhere stay."""
    text = package_addresses.standalone(README, "")
    assert (
        "Read the guide, below or [Airflow](https://airflow.apache.org).\n\n```text\n[as it is](docs/guide.md)\n"
        in text
    )
    assert "tab" not in text


def test_the_changelog_has_the_version():
    """The version that is built has a section, below what is not released yet."""
    sections = re.findall(r"^## \[(.+?)\]", CHANGELOG, re.M)
    assert sections[:2] == ["Unreleased", __version__]


def test_only_the_versions_own_tag_is_released():
    """A tag of another version, and a changelog without the version's date, are refused with a sentence each."""
    source = '__version__ = "1.2.3"\n'
    assert release_check.problems("v1.2.3", source, "## [1.2.3] - 2027-01-02\n") == []
    assert release_check.problems("v1.2.4", source, "## [1.2.3]\n") == [
        "The tag is v1.2.4, and the package's version is 1.2.3.",
        "CHANGELOG.md has no section [1.2.3] with the date of its release.",
    ]


def test_every_supported_pair_is_tested():
    """Classifiers, constraints, the matrix of make test-all and the workflow speak of the same versions."""
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(PYPROJECT["project"]["classifiers"]))
    assert tuple(classifiers) == matrix.PYTHONS
    for airflow in matrix.AIRFLOWS:
        pins = (ROOT / "constraints" / f"airflow-{airflow}.txt").read_text()
        assert re.search(rf"^apache-airflow=={re.escape(airflow)}\.\d+$", pins, re.M)
    jobs = WORKFLOWS["ci"]["jobs"]
    pairs = jobs["matrix"]["strategy"]["matrix"]
    assert tuple(pairs["airflow"]) == matrix.AIRFLOWS
    assert tuple(pairs["python"]) == matrix.PYTHONS
    assert pairs["exclude"] == [{"airflow": "3.3", "python": "3.11"}]
    assert [step["run"] for step in jobs["change"]["steps"] if "run" in step] == [".ci/run"]


def test_workflows_run_what_people_run():
    """Each make target that a workflow names is in the Makefile; a commit runs the parts of make check alone."""
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))
    steps = [
        step.get("run", "") for flow in WORKFLOWS.values() for job in flow["jobs"].values() for step in job["steps"]
    ]
    named = set(re.findall(r"^make ([\w-]+)", "\n".join(steps), re.M))
    assert named
    assert named <= targets
    (parts,) = re.findall(r"^check: (.+)$", MAKEFILE, re.M)
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert sorted(parts.split()) == sorted(hook["id"] for hook in repo["hooks"])
    assert all(hook["entry"] == f"make --silent {hook['id']}" for hook in repo["hooks"])


def test_actions_are_pinned():
    """A workflow runs an action by its commit, with the version that it is beside it: one commit for each action."""
    used = re.findall(
        r"uses: (\S+)@(\S+)(.*)", "\n".join(path.read_text() for path in (ROOT / ".github").rglob("*.yml"))
    )
    assert used
    for action, commit, comment in used:
        assert re.fullmatch(r"[0-9a-f]{40}", commit), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert len({action for action, *_ in used}) == len({(action, commit) for action, commit, _ in used})


def test_a_missing_python_is_named(tmp_path, monkeypatch, capsys):
    """The table says why a pair was not run, and the others count."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--airflow", "3.2", "--python", "3.12"])
    assert matrix.main() == 0
    assert "| 3.2 | 3.12 | skipped: no Python 3.12 on this machine |  |" in capsys.readouterr().out


def test_a_python_that_pyenv_has_is_found(tmp_path, monkeypatch):
    """The newest patch of the version, by number, where PATH has none that starts."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for patch in ("9", "10"):
        interpreter = tmp_path / ".pyenv" / "versions" / f"3.12.{patch}" / "bin" / "python3.12"
        interpreter.parent.mkdir(parents=True)
        interpreter.write_text("#!/bin/sh\n")
        interpreter.chmod(0o755)
    assert matrix.find_interpreter("3.12") == str(interpreter)
    assert matrix.find_interpreter("3.13") is None


def test_a_report_is_counted():
    """Passed, failed (errors too) and skipped, without what is none; the system tests apart."""
    cases = ["tests.storage.test_a", "tests.storage.test_a <skipped/>", "tests.b <failure/>", "tests.b <error/>"]
    cases += ["tests.system.test_tab", "tests.system.alone.test_wheel"]
    tests = [f'<testcase classname="{case.partition(" ")[0]}">{case.partition(" ")[2]}</testcase>' for case in cases]
    report = f"<testsuites><testsuite>{''.join(tests * 1000)}</testsuite></testsuites>"
    assert matrix.counted(report) == ("1,000 passed, 2,000 failed, 1,000 skipped", "2,000 passed")
