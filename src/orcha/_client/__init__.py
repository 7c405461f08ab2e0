"""The client's end of the wire: it connects, sends requests, and hands answers and records to who waits for them."""
