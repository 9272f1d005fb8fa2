"""Recovery in the Media tab: a task's form, its routes, whom they refuse, and their lines in the audit log."""
