"""The processes that attempts start: whose they are, how they are ended, and what outlives the service.

Standard library only. Importing it does nothing; :func:`orcha._processes.attempt_tracking.install` does.
"""
