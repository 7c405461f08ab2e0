"""Hides what looks like a secret in a command line that is shown: see `orcha.utils.redact`.

>>> words(["mysql", "--password=x"]), text("TOKEN=x make")
(['mysql', '--password=***'], 'TOKEN=*** make')
"""

from __future__ import annotations

from orcha.utils.redact import HIDDEN, text, words

__all__ = ["HIDDEN", "text", "words"]
