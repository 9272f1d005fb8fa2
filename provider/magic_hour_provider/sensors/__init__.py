"""Tasks that wait for jobs something else submitted."""
