"""Who declares an intent: of any number of workers one at the most, in any storage that is consistent at once."""
