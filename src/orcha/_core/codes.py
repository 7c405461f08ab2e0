"""The final values of petitions that did not choose one; they become exit codes."""

from __future__ import annotations

BROKEN_CODE = 1
FAILED_CODE = 1
INTERRUPTED_CODE = 75
TIMED_OUT_CODE = 124
CANCELLED_CODE = 130
