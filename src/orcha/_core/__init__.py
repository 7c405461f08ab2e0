"""Decisions as functions of their arguments: no I/O, no threads, no clock."""
