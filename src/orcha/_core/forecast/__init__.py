"""What will start when: the service's own decisions, made in virtual time over petitions that are only described."""
