"""Why petitions wait: what each reason says, and that no two kinds are taken for each other."""

from __future__ import annotations

import pytest

from orcha._core import reasons
from orcha._core.reasons import (
    SAYS_NO,
    BehindAnother,
    BehindExclusive,
    ConditionSaidNo,
    EverythingPaused,
    GroupPaused,
    HeldAfterInterruption,
    MachineTaken,
    NeedsShort,
    NotAlone,
    PetitionPaused,
    Reason,
    ReplacesAnother,
    ServiceStops,
)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (PetitionPaused(), "it is paused"),
        (GroupPaused("rig"), "its group rig is paused"),
        (EverythingPaused(), "everything is paused"),
        (ReplacesAnother(), "the petition that it replaces has not gone yet"),
        (
            HeldAfterInterruption(),
            "it was interrupted, and waits for a decision: resume it to run it again, or cancel it",
        ),
        (NotAlone(1), "it needs the whole machine, and another one runs"),
        (NotAlone(2), "it needs the whole machine, and 2 others run"),
        (MachineTaken(), "another petition has the whole machine"),
        (BehindExclusive("bench"), "another petition, which waits for the whole machine, is first"),
        (ServiceStops("the service is stopping"), "the service is stopping"),
        (SAYS_NO, "its condition says no"),
    ],
)
def test_the_words(reason, text):
    assert reason.text() == text


def test_a_reason_of_no_kind_has_no_words():
    with pytest.raises(NotImplementedError):
        Reason().text()


def test_reasons_are_equal_where_kind_and_content_are():
    assert NeedsShort("gpu", 1, 0, 2) == NeedsShort("gpu", 1, 0, 2)
    assert NeedsShort("gpu", 1, 0, 2) != BehindAnother("gpu", 1, 0, 2)
    assert ConditionSaidNo("no rig") != ConditionSaidNo("no cable")


def test_every_kind_of_reason_is_for_everybody_to_use():
    kinds = {kind.__name__ for kind in Reason.__subclasses__()}
    assert kinds == {name for name in reasons.__all__ if isinstance(getattr(reasons, name), type)} - {"Reason"}
