"""Recovery by a person, beside Airflow's database: the Media tab's forms and the command line use it alike.

:mod:`.situation` reads what is known of a task instance, :mod:`.job_check` polls the job that a person names,
:mod:`.instruct` writes the instruction and clears the task instance. All of it blocks.
"""
