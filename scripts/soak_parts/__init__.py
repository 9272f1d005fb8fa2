"""What ``scripts/soak.py`` is made of; none of it is run by itself."""
