"""The state of a batch's items: small files that never change, under the batch's own ``output_path``.

One file for each step of an item: ``intent`` before it is paid for, ``job``, then ``done``, ``failed`` or ``unknown``.
Their names tell the state (:mod:`.names`), so that listing them is reading it; their contents are for persons and
messages (:mod:`.content`). Workers on any machine, the Media tab and the command line read the same files::

    records = ItemRecords.open(output_path, Owner.of(ti))
    records.prove()                                     # once, before the first payment
    states = records.load()                             # by key; what is not there is ItemState()
    intent = ItemIntent(records, key, state, record)    # what submit_once() takes; or by hand:
    declared = records.declare(key, state, record)      # TakenError: another worker was first
    records.complete(declared, record)                  # or withdraw(), give_up()
    records.deliver(key, number, record)                # or fail()

These invariants hold whatever happens to a worker or to the storage; each names the test that fails where it is broken.

1. Nothing is sent without an intent that a fresh listing shows. Storage that was not seen to keep and to list at once
   what is written there is refused. ``test_a_listing_that_shows_it_later_is_refused``
2. Of any number of workers one at most declares a number of an item, where the storage refuses a taken name and where
   it does not; which of the two it is, is proved (:mod:`.declaration`). ``test_two_workers_at_each_call``,
   ``test_any_order_of_workers_answers_and_faults``, ``test_a_storage_that_overwrites``
3. An intent is declared over the state that its worker has decided on, or not at all.
   ``test_a_state_that_has_changed_is_not_paid_over``
4. An intent is withdrawn only where surely no job was made; its number is never used again.
   ``test_a_refused_request_counts_for_nothing``, ``test_an_intent_that_could_not_be_withdrawn``
5. An intent that nobody completes counts as unknown in time (:func:`.owner.settles_after`), and is never paid again
   by itself. A job that is recorded later counts all the same. ``test_the_state_of_an_item``
6. What a person asks for is done once: it is for one state of the item, and the next intent consumes it.
   ``test_a_new_job_in_the_place_of_a_lost_one``, ``test_an_instruction_for_another_record_is_void``
7. New jobs of many items are asked for in one file (:mod:`.regenerate_list`), so as a whole or not at all; of each it
   is done once. ``test_new_jobs_of_many_items``
8. A name that cannot be read stops the reader; a content that cannot be read does not, as its name says what matters.
   ``test_a_name_of_a_later_version_stops_the_reader``, ``test_a_file_that_was_half_written``
9. What came of a request counts once it is on disk, also in a staging file whose writer was killed.
   ``test_what_a_killed_worker_was_writing_is_used``
"""
