"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_the_ten_line_dag_is_a_dag():
    """The README is short, and its example ten lines at the most; it loads, chains its tasks, and has no schedule."""
    assert len(TEXT.splitlines()) <= 140
    code = re.findall(r"```python\n(.*?)```", TEXT, re.S)[0].strip()
    assert len(code.splitlines()) <= 10
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["picture"].downstream_task_ids == {"clip"}
    assert names["picture"].dag.schedule is None
    # What an install without any storage's package can write to.
    assert all(Path(task.output_path).is_absolute() for task in names["picture"].dag.tasks)


def test_the_examples_are_listed():
    """The table of examples names every DAG file there is, and no other."""
    table = (ROOT / "docs" / "use-cases" / "index.md").read_text().split("| DAG | Shows |")[1].split("\n\n")[0]
    listed = re.findall(r"^\| \[`\w+`\]\(\.\./\.\./dags_examples/(\w+)\.py\) \|", table, re.M)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "dags_examples").glob("*.py"))
