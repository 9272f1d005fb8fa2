"""A task's end in the triggerer: where nothing is to be stored or announced, no second worker starts."""
