"""Stored files for the Media tab: which may be shown, and how they are read and sent."""
