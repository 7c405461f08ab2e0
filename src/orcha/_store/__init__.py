"""What is kept: one contract, one durable store and one in memory."""
