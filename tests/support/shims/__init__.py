"""Supervisors whose shims do what none should."""
