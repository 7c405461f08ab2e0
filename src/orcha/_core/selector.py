"""Which petitions a person means: by ids with wildcards, group, label, owner, state and outcome."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple


class Described(NamedTuple):
    """What a selector looks at of a petition."""

    id: str
    group: str | None
    label: str | None
    owner: str
    state: str
    """The word for the petition's state, as people are told."""
    outcome: str | None
    """How the petition ended; None while it has not."""


class Selector(NamedTuple):
    """A description that petitions meet or not: each part that is given has to be met.

    >>> petition = Described("train-7", "gpu", None, "uid:7", "queued", None)
    >>> Selector(ids=("train-*",), group="gpu").meets(petition), Selector(states=("ended",)).meets(petition)
    (True, False)
    """

    ids: tuple[str, ...] = ()
    """Ids; one has to fit: `*` stands for any characters, `?` for one, `[ab]` for one of these."""
    group: str | None = None
    label: str | None = None
    """Of a label wildcards are read, too."""
    owner: str | None = None
    states: tuple[str, ...] = ()
    """States and outcomes; one has to be the petition's."""

    @property
    def is_empty(self) -> bool:
        """Whether every petition meets it."""
        return self == Selector()

    def meets(self, petition: Described) -> bool:
        """Tell whether a petition is meant."""
        return (
            (not self.ids or any(fnmatchcase(petition.id, pattern) for pattern in self.ids))
            and self.group in {None, petition.group}
            and (self.label is None or fnmatchcase(petition.label or "", self.label))
            and self.owner in {None, petition.owner}
            and (not self.states or petition.state in self.states or petition.outcome in self.states)
        )


__all__ = ["Described", "Selector"]
