"""How a service is put together, begins, forgets what is old, and ends."""
