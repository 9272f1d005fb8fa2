"""What arrived in the simulator, and a request as it would be sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.inputs.fields import find_inputs
from magic_hour_provider.inputs.sources import check_inputs
from magic_hour_provider.inputs.upload import resolve_inputs
from magic_hour_provider.simulator import Simulator


def stored(sim: Simulator, reference: str) -> bytes:
    """Return what arrived under the reference of an upload."""
    return (Path(sim._temporary.name) / "uploads" / reference.removeprefix("api-assets/")).read_bytes()


def resolve_request(client: MagicHourClient, tool: Tool, request: Any, tier: str | None = None) -> dict[str, Any]:
    """Return the request as it would be sent, without sending it."""
    inputs = find_inputs(tool, request)
    return resolve_inputs(client, request, inputs, check_inputs(inputs, 0.0), tier=tier)
