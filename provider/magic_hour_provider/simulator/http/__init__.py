"""The simulator's side of HTTP."""
