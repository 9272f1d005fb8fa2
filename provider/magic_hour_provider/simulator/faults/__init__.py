"""Fault injection: what can go wrong (:data:`FAULTS`), the queue of pending faults, and directives in prompts."""

from magic_hour_provider.simulator.faults.catalog import FAULTS

__all__ = ["FAULTS"]
