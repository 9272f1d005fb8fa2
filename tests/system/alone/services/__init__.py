"""Airflow beside other services: one of its own for these tests, whose end is that of the last of them."""
