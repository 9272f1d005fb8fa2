"""The user's storage: paths, staging, commit and abort. Knows nothing of jobs."""
