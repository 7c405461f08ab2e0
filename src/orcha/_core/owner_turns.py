"""Which petitions of other owners go before a waiting petition, for people who ask why the petition does not start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.group_admission import group_name
from orcha._core.reasons import OwnerFirst
from orcha._core.resources import Resources

if TYPE_CHECKING:
    from orcha._core.fairness import Fairness, Lane
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record

HOUR_SECONDS = 3_600
MEMORY = "memory"


def owner_first(petitions: Petitions, record: Record) -> OwnerFirst | None:
    """Give why petitions of another owner that came later go before a waiting one, if that is so."""
    fairness, place = petitions.fairness, record.place
    lot = petitions.waiting.lot_of(place)
    if fairness is None or not (lot is None or lot == group_name(record.group or "") or Resources.is_lot(lot)):
        return None
    if fairness.counts_past:
        petitions.granted.pass_time()
    for key in petitions.waiting.heads_of_others(place):
        head = petitions.records.get(key[1])
        said_no = head is not None and head.asked is not None
        if not said_no and key[0] == place[0] and key > place and fairness.is_before(key, place):
            return _compared(fairness, *(fairness.lane(each[1]) for each in (place, key)))
    return None


def _compared(fairness: Fairness, mine: Lane, other: Lane) -> OwnerFirst:
    """Give why an owner comes first, by what was compared: the owners, or the groups of users that they belong to."""
    weights = [fairness.weight(lane) for lane in (mine, other)]
    groups = [weight.group for weight in weights]
    are_together = groups[0] == groups[1]
    mine_in_use, other_in_use = (round(fairness.share(lane, together=not are_together), 6) for lane in (mine, other))
    mine_used = other_used = None
    if fairness.counts_past:
        most_used = (fairness.most_used(lane, together=not are_together) for lane in (mine, other))
        mine_used, other_used = (_spelled(*each) for each in most_used)
    is_in_group = are_together and groups[0] is not None
    mine_weight, other_weight = (weight.within if is_in_group else weight.weight for weight in weights)
    return OwnerFirst(
        mine_in_use,
        other_in_use,
        mine_used,
        other_used,
        mine_weight,
        other_weight,
        None if are_together else groups[0],
        other_is_group=not are_together and groups[1] is not None,
    )


def _spelled(resource: str, seconds: float) -> str:
    """Say what an owner used before.

    >>> _spelled("", 11_520.0), _spelled("gpu", 360.0), _spelled("memory", 2.0**31 * 3600)
    ('3.2 slot-hours', '0.1 gpu-hours', '2 GiB-hours of memory')
    """
    if resource == MEMORY:
        return f"{seconds / HOUR_SECONDS / 2**30:.3g} GiB-hours of memory"
    return f"{seconds / HOUR_SECONDS:.3g} {resource or 'slot'}-hours"


__all__ = ["owner_first"]
