"""What ``orcha doctor`` looks for: what was looked at, and the faults that can be told from that."""
