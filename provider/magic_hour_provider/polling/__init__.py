"""When to poll a job, when to stop and how fast. Pure policy, without Airflow."""
