"""Magic Hour itself: its requests, answers and rules. Imports httpx, never Airflow."""
