"""Modules of the tests that run as processes of their own, to be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def start_module(
    module: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start ``python -m module arguments``; its output is read by whoever waits for it.

    :param environment: beside this process's own.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | dict(environment or {}),
        stdout=subprocess.PIPE,
        text=True,
    )
