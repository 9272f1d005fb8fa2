"""The simulator's webhooks: registration, queue and sender."""
