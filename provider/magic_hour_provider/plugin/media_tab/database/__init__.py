"""What the Media tab reads from Airflow's database, with work that is bounded by what is shown."""
