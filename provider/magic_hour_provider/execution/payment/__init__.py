"""The paid request of an attempt: all that can fail for free before it, and the one place that sends it."""
