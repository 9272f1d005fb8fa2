"""Deferred waiting: one poller per event loop and connection, one trigger per job."""
