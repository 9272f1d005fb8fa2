"""Files coming out of a job, and what a task returns."""
