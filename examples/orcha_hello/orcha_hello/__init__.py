"""Greets with a countdown: a complete Orcha plugin to start from.

Orcha looks for the name ``plugin`` in installed modules called ``orcha_<something>``.
"""

from __future__ import annotations

from orcha_hello.plugin import HelloPlugin as plugin  # noqa: N813 - the name that Orcha looks for

__all__ = ["plugin"]
