"""What the triggerer has learned of how long jobs take, and where it is kept."""
