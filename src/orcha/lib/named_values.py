"""Names that a plugin adds to conditions in text."""

from __future__ import annotations

import inspect
import re
from keyword import iskeyword

from orcha._core.conditions.condition import Condition
from orcha._core.conditions.kinds import ValueKind
from orcha._core.conditions.terms import BUILT_IN, Origin, Parameter, Term

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
KINDS = {
    "number": ValueKind.NUMBER,
    "size": ValueKind.SIZE,
    "duration": ValueKind.DURATION,
    "text": ValueKind.TEXT,
    "truth": ValueKind.TRUTH,
}
_ARGUMENTS = {str: ValueKind.TEXT, int: ValueKind.NUMBER, float: ValueKind.NUMBER}
_ANNOTATIONS = {kind.__name__: value for kind, value in _ARGUMENTS.items()}
"""The same for annotations that are text."""


def term(name: str, func: Callable[..., Any], kind: str, sentence: str, example: str) -> Term:
    """Give the term of a name.

    >>> def heat(rig: str) -> float:
    ...     return 20.0
    >>> term("rig.heat", heat, "number", "How warm a rig is.", 'rig("a").heat < 60').written
    'rig(rig).heat'

    Raises:
        TypeError: the function takes something that a condition cannot give.
        ValueError: the name cannot be one, there is one already, or the example is no condition.

    """
    if not all(_NAME.fullmatch(part) and not iskeyword(part) for part in name.split(".")):
        raise ValueError(
            f"{name!r} can be no name in a condition: give words of letters, digits and _, with dots between"
        )
    if BUILT_IN.get(name) is not None:
        raise ValueError(f"every condition knows {name} already: choose another name")
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r:.80}")
    parameters = tuple(_parameter(name, each) for each in inspect.signature(func).parameters.values())
    made = Term(name, KINDS[kind], Origin.PLUGIN, sentence, example, parameters)
    Condition(example, BUILT_IN.extended([made]))
    return made


def _parameter(name: str, parameter: inspect.Parameter) -> Parameter:
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        annotation = str
    kind = _ANNOTATIONS.get(annotation) if isinstance(annotation, str) else _ARGUMENTS.get(annotation)
    is_given = parameter.kind in {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if kind is None or not is_given:
        raise TypeError(
            f"the function of {name} takes {parameter}: a condition gives it texts (str) and numbers (int, float)"
        )
    return Parameter(parameter.name, kind)


__all__ = ["KINDS", "term"]
