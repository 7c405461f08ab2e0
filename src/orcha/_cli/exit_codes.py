"""Exit codes of the command line that no petition chose."""

from __future__ import annotations

USAGE_ERROR_CODE = 2
"""Options or arguments are wrong."""
OWN_FAILURE_CODE = 125
"""Orcha could not do what was asked, and no command was executed that could end with a code."""

__all__ = ["OWN_FAILURE_CODE", "USAGE_ERROR_CODE"]
