"""The key of the tests' account, and files to send."""

from __future__ import annotations

from pathlib import Path

KEY = "mhk_live_testsonly0123456789"
DATA = Path(__file__).parents[1] / "data"
PHOTO = Path(__file__).parents[2] / "dags_examples" / "media" / "astronaut.png"
