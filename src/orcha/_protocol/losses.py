"""The lines by which a channel tells its readers that something of a command's output is not there."""

from __future__ import annotations

NOT_KEPT = "orcha: {} bytes of output are lost: {}\n"
OLDEST = "orcha: the oldest {} bytes of output were not kept\n"
"""These are no loss for who has read them before they went."""
MISSING = "orcha: some of its output is missing here: it is not kept any more\n"
GAP = "orcha: some of its output is lost: what watched over it died\n"
VALUES = "orcha: values were dropped ({}): {}\n"
_BEGINNINGS = (MISSING, GAP, VALUES.partition("{")[0])
_NOT_KEPT = NOT_KEPT.split("{}")[1]


def is_loss(line: str) -> bool:
    """Tell whether a line says that its reader lacks something.

    >>> is_loss(NOT_KEPT.format(5, "there was no room")), is_loss(OLDEST.format(5)), is_loss(GAP)
    (True, False, True)
    """
    return line.startswith(_BEGINNINGS) or (line.startswith("orcha: ") and _NOT_KEPT in line)
