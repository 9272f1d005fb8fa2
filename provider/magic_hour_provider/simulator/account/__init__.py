"""The simulated account: its credits, its plan and its rate limit."""
