"""From an Airflow connection to settings and clients."""
