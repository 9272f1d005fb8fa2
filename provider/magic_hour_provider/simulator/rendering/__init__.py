"""The media that simulated jobs make."""
