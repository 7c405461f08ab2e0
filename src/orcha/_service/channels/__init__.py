"""Channels: the records of each, the followers of each, and how far every follower is."""
