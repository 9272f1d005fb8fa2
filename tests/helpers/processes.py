"""Modules of the tests that run as processes of their own, to be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ModuleProcess(subprocess.Popen[str]):
    """Runs ``python -m module arguments``; use it in a with statement, whose end it does not outlive.

    Its output is a file: a pipe that nobody reads would hold it up as soon as it has logged enough.

    :param environment: beside this process's own.
    """

    def __init__(self, module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it lives as long as this)
        paths = os.pathsep.join(path for path in sys.path if path)
        super().__init__(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"PYTHONPATH": paths} | dict(environment or {}),
            stdout=self._said,
        )

    def __exit__(self, *error: Any) -> None:
        self.kill()  # what hangs would hold the test up for ever
        super().__exit__(*error)

    def read_result(self, seconds: float = 600) -> Any:
        """Wait for its end, and return the JSON of its last line."""
        assert self.wait(seconds) == 0
        self._said.seek(0)
        return json.loads(self._said.readlines()[-1])
