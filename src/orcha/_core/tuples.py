"""Named tuples at half their price."""

from __future__ import annotations

new_tuple = tuple.__new__
"""Makes a named tuple of all its fields, without the function in between; a petition takes a dozen on its way.

>>> from orcha._core.effects import Do, Effect
>>> new_tuple(Effect, (Do.SWEEP, None, None)) == Effect(Do.SWEEP, None)
True
"""
