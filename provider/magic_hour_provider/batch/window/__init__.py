"""The window of jobs under way, for one thread, Airflow's own.

:mod:`.engine` runs it. :mod:`.board` puts each item where its next step is made, which :mod:`.plan` names:
:mod:`.payments` holds those to be paid for, :mod:`.polls` the jobs under way, :mod:`.counts` all that has ended. What
is known is in the records alone: whoever comes next reads them, and knows as much.
"""
