"""The ``orcha`` command."""
