"""Recovery of the items of a batch: of one, and new jobs of many at once."""
