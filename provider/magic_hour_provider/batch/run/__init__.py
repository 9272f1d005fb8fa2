"""One attempt of a batch: :mod:`.attempt` is the way in, :mod:`.conclusion` and :mod:`.results` say what came of it."""
