"""Durable execution: what one task instance paid for, and what its next attempt may do."""
