"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_the_ten_line_dag_is_a_dag():
    """The first example is ten lines at the most, loads, and chains its two tasks."""
    code = re.findall(r"```python\n(.*?)```", TEXT, re.S)[0].strip()
    assert len(code.splitlines()) <= 10
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["picture"].downstream_task_ids == {"clip"}


def test_the_examples_are_listed():
    """The table of examples names every DAG file there is, and no other."""
    table = TEXT.split("| DAG | Shows |")[1].split("\n\n")[0]
    listed = re.findall(r"^\| \[`\w+`\]\(dags_examples/(\w+)\.py\) \|", table, re.M)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "dags_examples").glob("*.py"))
