"""What runs: actions and their threads, commands and their shims, and how attempts of both end."""
