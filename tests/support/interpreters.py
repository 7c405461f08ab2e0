"""Which cases of a parametrised test the newest interpreter has to stand as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def newest_too(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Mark all cases but the `kept` ones `once`: the kept ones show what an interpreter could change.

    Each case is one value, or a tuple with a value for each argument.

    Example: ``@pytest.mark.parametrize("how", newest_too(["fork", "spawn"], "spawn"))``.

    """
    listed = list(cases)
    assert all(case in listed for case in kept), f"{kept} are not all among {listed}"
    return [
        case if case in kept else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.once)
        for case in listed
    ]
