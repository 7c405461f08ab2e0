"""Channels: what is appended to each, who follows each, and how far every follower is."""
