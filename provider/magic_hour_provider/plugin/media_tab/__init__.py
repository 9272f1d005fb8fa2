"""The Media tab: a read-only web application in Airflow's API server."""
