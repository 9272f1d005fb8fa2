"""The command line: ``airflow magic-hour`` (Airflow 3.2 and later), the same as ``python -m magic_hour_provider``."""
