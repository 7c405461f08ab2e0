"""The service: one engine that owns all petitions, and the threads around it."""
