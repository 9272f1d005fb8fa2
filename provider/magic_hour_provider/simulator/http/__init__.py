"""The simulator's HTTP server: routes, authentication, responses, and the faults injected into them."""
