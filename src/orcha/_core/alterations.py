"""What people may change of a command after it was accepted, and what that makes of its message.

>>> altered({"argv": ["make"], "timeout": 60, "needs": {"gpu": 1}}, {"timeout_by": 60, "needs": {"ram": 2}}, 0.0)
{'argv': ['make'], 'timeout': 120, 'needs': {'gpu': 1, 'ram': 2}}
>>> difference({"timeout": 60}, {"timeout": 120, "label": "late"})
{'label': (None, 'late'), 'timeout': (60, 120)}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LIMITS = (
    *("queue_timeout", "warn", "idle_timeout", "cpu_timeout", "memory", "pids", "cpu_share", "stop_signal", "grace"),
    *("drain", "output_limit", "output_policy", "leftovers", "ok_codes", "preemptible"),
)
"""Fields that say how an attempt is limited and ended, and what counts as success."""
_REPLACED = frozenset(
    (
        *("group", "at", "delay", "timeout", "expect", "label", "when", "if_dependency_fails", "priority", "pin"),
        *LIMITS,
    )
)
"""Fields whose new value takes the place of the old one."""
_ADDED = frozenset(("after", "after_ok"))
"""Fields to whose ids the new ids are added."""
_OTHERS = frozenset(("needs", "retry", "timeout_by", "unset"))
_TIMES = ("at", "delay")
UNSETTABLE = ("group", "needs", "pin", "after", "at", "timeout", "expect", "retry", "label", "when", *LIMITS)
"""Fields that can be taken back, as if nobody had ever named them."""
OF_ITS_SHIM = frozenset(("timeout", "warn", "idle_timeout", "cpu_timeout"))
"""Fields that a shim counts, and whose new values it takes while the command runs."""
OF_WHAT_RUNS = OF_ITS_SHIM | {"expect", "retry", "label", "priority", "ok_codes", "preemptible"}
"""Fields that can be changed while the command runs."""
OF_AN_ARRAY = frozenset(("after", "after_ok", "if_dependency_fails"))
"""Fields that are about an array as a whole, and not about each of its elements."""
_AFTER = ("after", "after_ok")
_KNOWN_IN_WORDS = {
    "at": "time of its start",
    "delay": "time of its start",
    "when": "condition",
    "pin": "pinning",
    "queue_timeout": "limit of waiting",
    "pids": "number of processes",
}


def named(asked: Mapping[str, Any]) -> set[str]:
    """Give the fields that are to be changed.

    Raises:
        ValueError: there is no such field, or none is named.

    """
    given = set(asked) - {"unset", "timeout_by"}
    if unknown := sorted(set(asked) - _REPLACED - _ADDED - _OTHERS):
        raise ValueError(f"{unknown[0]!r:.80} cannot be changed after a command was accepted")
    unset = asked.get("unset") or ()
    if not isinstance(unset, list | tuple) or not all(isinstance(name, str) for name in unset):
        raise ValueError("unset is a list of fields")
    if unknown := sorted(set(unset) - {*UNSETTABLE}):
        raise ValueError(f"{unknown[0]!r:.80} cannot be taken back: there are {', '.join(UNSETTABLE)}")
    given |= {"timeout"} if "timeout_by" in asked else set()
    for name in unset:
        given |= {"after": {*_AFTER}, "at": {*_TIMES}}.get(name, {name})
    if not given:
        raise ValueError("nothing is to be changed")
    return given


def altered(fields: Mapping[str, Any], asked: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Give the fields of a message with what is asked for.

    What is taken back goes first, so that a field can be taken back and given anew in one step. Needs and dependencies
    are added to the present ones; a delay counts from now on.

    Raises:
        ValueError: what is asked for makes no sense.

    """
    unset = named_unset(asked)
    new = {name: value for name, value in fields.items() if name not in unset}
    new |= {name: asked[name] for name in asked if name in _REPLACED and name != "priority"}
    for name in _AFTER:
        if name in asked:
            new[name] = [*dict.fromkeys([*(new.get(name) or ()), *_ids(name, asked[name])])]
    if "needs" in asked:
        new["needs"] = {**(new.get("needs") or {}), **_mapping("needs", asked["needs"])}
    if "retry" in asked:
        new["retry"] = {**(new.get("retry") or {}), "times": asked["retry"]}
    if "timeout_by" in asked:
        new["timeout"] = _longer(new.get("timeout"), asked["timeout_by"])
    if "expect" in asked or "expect" in unset:
        new.pop("expect_source", None)  # somebody knows better than what it was found out from
    if "at" in asked and "delay" in asked:
        raise ValueError("at and delay both say when it may start: give one of them")
    if "at" in asked:
        new.pop("delay", None)
    if "delay" in asked:
        new["at"] = now + _number("delay", new.pop("delay"))
    return new


def named_unset(asked: Mapping[str, Any]) -> set[str]:
    """Give the fields of a message that are taken back."""
    unset = set(asked.get("unset") or ())
    return unset | ({*_AFTER} if "after" in unset else set()) | ({*_TIMES} if "at" in unset else set())


def _longer(timeout: Any, by: Any) -> float:
    if not isinstance(timeout, int | float):
        raise ValueError("it has no time limit that could be made longer or shorter: give one, as in 2h")  # noqa: TRY004 - as below
    found = timeout + _number("timeout", by)
    if found <= 0:
        raise ValueError(
            f"its time limit is {timeout:g} s, and {-by:g} s less is nothing: cancel it, or take less away"
        )
    return found


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise ValueError(f"{name} is a number of seconds, not {value!r:.80}")
    return value


def _ids(name: str, value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | int) for each in value):
        raise ValueError(f"{name} is a list of ids")
    return [str(each) for each in value]


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is a dict of amounts by resource")  # noqa: TRY004 - who asks hears of one kind
    return value


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Give each field that differs, with what it was and what it is, by name."""
    names = sorted({name for name in {*old, *new} if old.get(name) != new.get(name)})
    return {name: (old.get(name), new.get(name)) for name in names}


def refusal_of_what_runs(names: Collection[str], key: str) -> str | None:
    """Give why these fields of a running command cannot be changed; None where they can.

    >>> refusal_of_what_runs({"needs", "timeout"}, "train")
    "'train' runs, so its needs cannot be changed: cancel it, and run it anew, or change what waits"
    """
    left = sorted({_KNOWN_IN_WORDS.get(name, name.replace("_", " ")) for name in {*names} - OF_WHAT_RUNS})
    if not left:
        return None
    return (
        f"{key!r} runs, so its {' and '.join(left)} cannot be changed: cancel it, and run it anew, or change what waits"
    )


__all__ = [
    "LIMITS",
    "OF_AN_ARRAY",
    "OF_ITS_SHIM",
    "OF_WHAT_RUNS",
    "UNSETTABLE",
    "altered",
    "difference",
    "named",
    "named_unset",
    "refusal_of_what_runs",
]
