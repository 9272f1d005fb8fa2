"""One attempt of a task, in the order that protects the user's money."""
