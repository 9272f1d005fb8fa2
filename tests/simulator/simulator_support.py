"""What the tests of the simulator share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEY = "mhk_live_simulator"
NOW = 1_780_000_000.0
EXAMPLES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "requests.json").read_text())
IMAGE_REQUEST = {"image_count": 1, "style": {"prompt": "A lighthouse at dawn"}}
