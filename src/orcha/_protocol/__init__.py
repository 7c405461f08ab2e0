"""What both ends of the wire agree on: frames, messages, values, and the handshake. Described in docs/wire.md."""
