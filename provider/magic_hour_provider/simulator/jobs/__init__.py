"""Simulated jobs, their inputs and their prices."""
