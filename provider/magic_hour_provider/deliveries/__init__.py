"""Deliveries of webhooks that reach a task, through a queue: it hands them to the API server."""
