"""From an Airflow connection to clients."""
