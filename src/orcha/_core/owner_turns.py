"""Which petitions of other owners go before a waiting petition, for people who ask why the petition does not start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.group_admission import group_name
from orcha._core.reasons import OwnerFirst
from orcha._core.resources import Resources

if TYPE_CHECKING:
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record


def owner_first(petitions: Petitions, record: Record) -> OwnerFirst | None:
    """Give why petitions of another owner that came later go before a waiting one, if that is so."""
    fairness, place = petitions.fairness, record.place
    lot = petitions.waiting.lot_of(place)
    if fairness is None or not (lot is None or lot == group_name(record.group or "") or Resources.is_lot(lot)):
        return None
    for key in petitions.waiting.heads_of_others(place):
        head = petitions.records.get(key[1])
        said_no = head is not None and head.asked is not None
        if not said_no and key[0] == place[0] and key > place and fairness.is_before(key, place):
            return OwnerFirst(*(round(fairness.share(fairness.lane(each[1])), 6) for each in (place, key)))
    return None


__all__ = ["owner_first"]
