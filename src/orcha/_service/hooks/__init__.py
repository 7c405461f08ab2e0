"""The manager's code: which hook is called next, on which thread, and what comes of each answer."""
