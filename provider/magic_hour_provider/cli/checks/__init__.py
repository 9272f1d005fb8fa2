"""What ``doctor`` checks: each module is one subject, and returns findings."""
