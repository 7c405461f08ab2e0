"""Uses of the public API that mypy must accept, or, where marked, refuse."""
