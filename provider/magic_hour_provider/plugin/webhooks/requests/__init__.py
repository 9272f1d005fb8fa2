"""What is known of a request before it is a delivery: its body, and whether a task of this Airflow sends it."""
