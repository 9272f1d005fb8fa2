"""What the tests of the simulator share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from magic_hour_provider.simulator import Simulator

KEY = "mhk_live_simulator"
NOW = 1_780_000_000.0
EXAMPLES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "requests.json").read_text())
IMAGE_REQUEST = {"image_count": 1, "style": {"prompt": "A lighthouse at dawn"}}


def connected(sim: Simulator, **options: Any) -> httpx.Client:
    """Return a client with the simulator's key. It loads no certificates, which costs more than most tests do."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.Client(base_url=sim.url, headers=headers, verify=False, trust_env=False, **{"timeout": 30, **options})
