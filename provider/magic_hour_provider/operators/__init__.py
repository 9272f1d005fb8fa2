"""Tasks that make media."""
