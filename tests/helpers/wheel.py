"""The built wheel in an environment of its own, as users have it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def install_wheel(folder: Path) -> Path:
    """Build the wheel and install it into a new environment; return that environment's Python.

    No package index is asked. What the wheel needs is found where this process finds it, but nothing there that is
    installed for editing.
    """
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", symlinks=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)  # all that installing a wheel without scripts is
    # Python reads no .pth file of a folder that it got from one.
    (packages / "beside.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "env" / "bin" / "python"


def install_with_airflow(folder: Path) -> Path:
    """Build the wheel and install it, with the Airflow of this process, as users do; return the environment's Python.

    Nothing of this process's environment is in it: packages come from the package index, or from uv's cache.
    """
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    minor = ".".join(version("apache-airflow").split(".")[:2])
    constraints = ROOT / "constraints" / f"airflow-{minor}.txt"
    if uv is None or not constraints.exists():
        pytest.skip(f"needs uv, and constraints for Airflow {minor}")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "env" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "-c", constraints, wheel]
    subprocess.run(install, check=True)
    return python
