"""The places of a ledger: where the record of a task instance is kept, one or several, and what each must show."""
