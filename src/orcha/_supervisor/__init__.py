"""Commands: the supervisor, its shims, and the service's side of them. Importing it does nothing."""
