"""Files going in: which fields take them, where they come from, and how they reach Magic Hour."""
