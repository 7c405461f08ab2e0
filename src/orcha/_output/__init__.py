"""The files of output that the database does not hold: an append-only log for each channel, and raw output."""
