"""The details of a petition or a service as people and programs read them, by the names of `docs/wire.md`."""

from __future__ import annotations

from orcha._cli import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

    from orcha._protocol.messages import Rows

TIMES = ("submitted", "started", "ended", "until")
_BY = "cancelled by "
_SIZES = ("memory", "output_limit", "read", "written", "dropped", "size")
_MAX_SHIM_BYTES = 16 << 20
"""No shim has more bytes of memory."""
_SPANS = (
    *(
        "timeout",
        "idle_timeout",
        "queue_timeout",
        "expect",
        "cpu_timeout",
        "grace",
        "drain",
        "user",
        "system",
        "wall",
        "delay",
        "longest",
    ),
    *("p50", "p90", "p99", "max", "uptime"),
)


def _moment(seconds: float) -> str:
    return f"{render.clock(seconds)} ({render.ago(render.now() - seconds)})"


def _peak(size: float) -> str:
    """Give a peak of memory: Linux counts what a process had before its exec, so a small one is a bound."""
    return f"at most {render.size(size)}" if size < _MAX_SHIM_BYTES else render.size(size)


_FORMATS = (
    dict.fromkeys(TIMES, _moment)
    | dict.fromkeys(_SIZES, render.size)
    | dict.fromkeys(_SPANS, render.span)
    | {"peak": _peak, "until": render.clock}
    | {"at": render.clock, "umask": lambda mask: f"{int(mask):04o}"}
)


def asked_ago(seconds: float) -> str:
    """Give in words how long ago a condition was asked.

    >>> asked_ago(0.2), asked_ago(75)
    ('asked just now', 'asked 1 min ago')
    """
    return f"asked {render.ago(seconds)}" if seconds >= 1 else "asked just now"


def why(row: dict[str, Any]) -> str | None:
    """Give what a petition waits for, and how long ago its condition was asked; None where nothing is known.

    >>> why({"why": "rig 3 is taken", "asked_ago": 1.4}), why({"why": "everything is paused"}), why({"why": None})
    ('rig 3 is taken (asked 1 s ago)', 'everything is paused', None)
    """
    if (reason := row.get("why")) is None:
        return None
    text, ago = render.local(reason), row.get("asked_ago")
    return text if ago is None else f"{text} ({asked_ago(ago)})"


def cancelled(details: dict[str, Any]) -> str | None:
    """Give a line that says who cancelled a petition, and why; None for a petition that was not cancelled.

    >>> cancelled({"id": "nightly", "outcome": "cancelled", "reason": "cancelled by uid:0: it is late"})
    'nightly was cancelled by root: it is late'
    """
    if details.get("outcome") != "cancelled":
        return None
    from orcha._cli import owners

    reason = details.get("reason") or "cancelled"
    who = reason.partition(_BY)[2].partition(": ")[0] if reason.startswith(_BY) else ""
    name = owners.user({"owner": who})
    return f"{details['id']} was {reason if name is None else reason.replace(who, name, 1)}"


def change(known: dict[str, Any]) -> str:
    """Give in words who changed what of a petition.

    >>> change({"who": "uid:0", "what": {"timeout": [60, 3600], "group": ["gpu", None]}})
    'by root: timeout 1 min \N{RIGHTWARDS ARROW} 1 h, group gpu \N{RIGHTWARDS ARROW} none'
    """
    from orcha._cli import owners

    who = owners.user({"owner": known["who"]}) or known["who"]
    pairs = (
        (name.replace("_", " "), *("none" if is_nothing(each) else value(name, each) for each in both))
        for name, both in known["what"].items()
    )
    changed = ", ".join(f"{name} {was} \N{RIGHTWARDS ARROW} {now}" for name, was, now in pairs)
    return f"by {render.plain(who)}: {changed or 'nothing that was not so already'}"


def lent(lease: dict[str, Any], until: float | None) -> str:
    """Tell who has a lease, until when, and what for.

    >>> lent({"user": "ada", "why": "soldering"}, None), lent({"user": "ada", "why": ""}, None)
    ('lent to ada: soldering', 'lent to ada')
    """
    end = "" if until is None else f" until {render.clock(until)}"
    return f"lent to {lease['user']}{end}{': ' if lease['why'] else ''}{lease['why']}"


def is_nothing(value: object) -> bool:
    """Tell whether there is nothing to say."""
    return value is None or value is False or value in ("", [], (), {})


def value(name: str, found: Any) -> str:
    """Give a value as people read it.

    >>> value("memory", 4096), value("limits", {"grace": 5.0, "pids": None, "signals": [2, 15]})
    ('4 KiB', 'grace 5 s, signals 2 15')
    """
    if isinstance(found, dict):
        pairs = ((str(key), each) for key, each in found.items() if not is_nothing(each))
        return ", ".join(f"{render.plain(key).replace('_', ' ')} {value(key, each)}" for key, each in pairs)
    if isinstance(found, list | tuple):
        return ("; " if any(isinstance(each, dict) for each in found) else " ").join(value("", each) for each in found)
    return _plain(name, found)


def _plain(name: str, found: Any) -> str:
    """Give a value that holds no others."""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, int | float):
        form = _FORMATS.get(name)
        return form(found) if form is not None else f"{found:.6g}" if isinstance(found, float) else str(found)
    return found.hex() if isinstance(found, bytes) else render.plain("-" if found is None else found)


def as_json(found: Any, name: str = "", *, times: Container[str] = TIMES) -> Any:
    """Give a value for JSON: times in ISO 8601 (a time is known by its name), bytes as hexadecimal digits.

    >>> as_json({"started": 0, "channel": bytes(2), "priority": float("inf")})
    {'started': '1970-01-01T00:00:00+00:00', 'channel': '0000', 'priority': 'inf'}
    >>> as_json({"signals": [[0.0, 15, "cancel"]], "retry": {"signals": [9]}})
    {'signals': [['1970-01-01T00:00:00+00:00', 15, 'cancel']], 'retry': {'signals': [9]}}
    """
    if isinstance(found, dict):
        return {str(key): as_json(each, str(key), times=times) for key, each in found.items()}
    if name == "signals" and isinstance(found, list | tuple) and all(isinstance(each, list | tuple) for each in found):
        found = [[render.iso(when), *rest] for when, *rest in found]  # signals that were sent; the others are numbers
    if isinstance(found, list | tuple | set | frozenset):
        return [as_json(each, times=times) for each in found]
    if isinstance(found, bytes):
        return found.hex()
    if name in times and isinstance(found, int | float):
        return render.iso(found)
    return render.number(found) if isinstance(found, float) else found


def of_the_service(answer: Rows | None) -> list[str]:
    """Say what is wrong with the service that gave rows, and the cure."""
    if answer is None:
        return []
    cures = (
        (answer.configuration, "mend it, and orcha reload"),
        (answer.other_build, "orcha stop and orcha serve change over to what is installed"),
    )
    return [f"{render.plain(text)}: {cure}" for text, cure in cures if text]
