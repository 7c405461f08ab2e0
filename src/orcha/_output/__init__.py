"""Output beyond the store's share: one append-only log a channel."""
