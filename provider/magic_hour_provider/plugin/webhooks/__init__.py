"""The webhook receiver: a web application in Airflow's API server."""
