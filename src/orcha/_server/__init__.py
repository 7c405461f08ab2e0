"""The service's end of the wire: it listens, and turns bytes into messages and back. It knows no petition."""
