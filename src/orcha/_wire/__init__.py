"""Bytes between processes: frames, messages, values, and the door that guards them. Described in docs/wire.md."""
