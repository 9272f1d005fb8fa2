"""Durable execution: what one task instance paid for, and what its next attempt may do.

Magic Hour's API has no idempotency key, no list of jobs and no way to cancel one. So the record of a job is written
before it is paid for, as an intent, and what an attempt does follows from the record alone. It is in one place or in
two (:mod:`.places`): Airflow's task state store, files, or both; what is in either counts. These invariants hold
whatever happens to a task, a worker or a store; each names the test that fails where it is broken.

1. Nothing is sent without a written intent, read back from every place.
   ``test_without_a_written_intent_nothing_is_sent``, ``test_each_call``
2. An intent is withdrawn only after a failure of which it is sure that no job was made, and then always, as far as its
   places can be written again within seconds.
   ``test_what_a_fault_of_the_create_costs``, ``test_each_call``
3. Just before each paid request the record is read once more: it must be the one on which the attempt decided. Of two
   attempts that declare an intent at the same moment one is refused at least.
   ``test_an_attempt_overtaken_before_its_request_sends_nothing``,
   ``test_of_two_that_declare_at_once_one_is_refused``
4. The id of a paid job is written before anything else is done, and no later writer hides it. One place is enough, and
   where there is none left the key of an XCom.
   ``test_an_execution_timeout_during_the_request_waits_for_the_record``, ``test_two_paid_jobs_are_both_in_the_record``,
   ``test_a_late_failure_does_not_hide_the_next_job``, ``test_the_file_record_is_read_by_the_next_attempt``,
   ``test_the_xcom_key_is_read_by_the_next_attempt``
5. A record that cannot be read is an error, never "no record". A missing one means that nothing was paid for only if
   every place keeps the attempt's mark and nothing else is left that shows a paid request: an earlier attempt's mark or
   its XCom keys. A record of a deleted run is another run's.
   ``test_a_record_that_cannot_be_read_is_an_error``, ``test_an_older_api_server_during_an_upgrade``,
   ``test_a_record_that_is_lost_beside_its_mark``, ``test_a_record_that_is_lost_with_its_mark``,
   ``test_an_airflow_that_names_no_xcoms``, ``test_killed_in_its_request_and_cleared``,
   ``test_a_run_that_was_deleted_and_made_again_pays_nothing``
6. A retry never pays for another job while there is one that is not refunded, not even for another request. Only a
   clear or a person may ask for that; a clear counts once.
   ``test_the_decision_of_an_attempt``, ``test_a_clear_counts_once``
7. What a person asks for by hand is done once: ``magic_hour.regenerate`` is removed before the paid request, and comes
   back with a withdrawn intent; ``magic_hour.adopt`` is removed when its job is recorded.
   ``test_regenerating_by_hand_is_done_once``, ``test_a_regenerate_request_outlives_a_refusal``,
   ``test_adopting_a_job_by_hand_is_done_once``
8. In any order of retries, crashes, clears, edits and lost responses, the jobs paid for are those that were asked for,
   and none is lost.
   ``test_creates_are_what_was_asked_for``
"""
