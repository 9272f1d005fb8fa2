"""A batch: one task instance that runs any number of requests, each paid once."""
