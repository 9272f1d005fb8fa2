"""Polling policy: when to poll a job, when to stop, and how fast. No Airflow."""
