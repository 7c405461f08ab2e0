"""Reasons by which a client tells one case from another."""

from __future__ import annotations

OUTLIVED = "nothing can kill {}: its id, slot and resources are held until that has ended"
UNREADABLE = "its condition cannot be read"
"""What a refusal begins with for a condition in text; behind it stand the column, and two lines that point at it."""
SILENT = (
    "what watches over the command does not answer: limits do not hold and output stands still until it does. It is"
    " killed with its command unless it answers soon; a cancel ends the command all the same"
)
