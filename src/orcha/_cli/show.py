"""``orcha show``: print everything that is known of one petition."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

_FIRST = (
    *(
        "id",
        "state",
        "why",
        "reason",
        "preempted",
        "place",
        "starts",
        "goes on",
        "priority",
        "group",
        "needs",
        "when",
        "paused",
        "label",
        "once",
        "owner",
    ),
    *("manager", "after", "dependents"),
)
_EPILOG = """\
examples:
  orcha show make-k3x9qz
  orcha show make-k3x9qz --json
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Show everything that is known of a petition. Of the environment only names are shown."
    parser.epilog = _EPILOG
    parser.add_argument(
        "id", type=options.written, metavar="ID", help="its id: the petition that has not ended, else the newest"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object; times are ISO 8601, in UTC")


def run(namespace: argparse.Namespace) -> int:
    """Ask the service, and print the details."""
    from orcha._cli import descriptions, foretold, render
    from orcha._cli.connection import connected

    with connected() as service:
        details = without_secrets(service.details(namespace.id))
        estimate = foretold.estimated(service, details, is_asked_for=False)
    if namespace.json:
        render.json(descriptions.as_json(details) | {"estimate": foretold.as_json(estimate)})
        return 0
    starts = None if estimate is None else foretold.words(estimate, render.now())
    when = "starts" if details["state"] == "queued" else "goes on"
    for name, value in lines(details | {when: starts}):
        render.named(name, value)
    return 0


def without_secrets(details: dict[str, Any]) -> dict[str, Any]:
    """Give the details, in which what looks like a secret in the command is hidden."""
    from orcha._cli import redact

    command = details.get("command")
    if not isinstance(command, dict):
        return details
    env = command.get("env")
    words = redact.words(map(_text, command["argv"]))
    shown = command | {"argv": words, "cwd": _text(command.get("cwd"))}
    if env is not None:
        shown["env"] = sorted(env)  # names, whatever comes
    return details | {"command": shown}


def _text(word: Any) -> Any:
    """Give a word of a command as text; bytes that are no UTF-8 stand as escapes."""
    return word.decode("utf-8", "backslashreplace") if isinstance(word, bytes) else word


def lines(details: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give names and values as people read them."""
    import shlex

    from orcha._cli import descriptions, owners, ps, render
    from orcha.interfaces.needs import in_units

    command: dict[str, Any] = details.get("command") or {}
    needs = [
        f"{name}={amount if isinstance(amount, str) else in_units(amount)}"
        for name, amount in (details.get("needs") or {}).items()
    ]
    user = owners.user(details)
    owner = details["owner"] if user is None else f"{user} ({details['owner']})"
    known = dict(details) | {"state": ps.state(details), "needs": needs, "owner": owner}
    if known.pop("aged", None) is not None:
        known["priority"] = ps.aged(details)
    known["after"] = ", ".join(map(_other, details.get("after") or ()))
    known["why"] = descriptions.why(known)
    if known.get("reason"):
        known["reason"] = render.local(known["reason"])
    known.pop("asked_ago", None)
    if command:
        yield "command", render.plain(shlex.join(command["argv"]))
    for name in (*_FIRST, *descriptions.TIMES):
        if not descriptions.is_nothing(known.get(name)):
            yield name, descriptions.value(name, known[name])
    yield from _command(command)
    skipped = {*_FIRST, *descriptions.TIMES, "command", "attempts", "channel", "seq", "outcome", "attempt", "code"}
    skipped |= {"blocked", "kinds", "changes"}  # `orcha why` tells the first
    for name, value in sorted(known.items()):
        if name not in skipped and not descriptions.is_nothing(value):
            yield name.replace("_", " "), descriptions.value(name, value)
    for change in details.get("changes") or ():
        when = descriptions.value("started", change["at"])
        yield "changed", f"{when}: {descriptions.change(change)}"
    for attempt in details.get("attempts") or ():
        yield f"attempt {attempt.get('attempt', '?')}", _attempt(attempt, details["state"])


def _other(dependency: dict[str, Any]) -> str:
    """Give a petition that comes first: its id, whether it must succeed, and where it is.

    >>> _other({"id": "build", "state": "timed_out", "must_succeed": True})
    'build (must succeed, timed out)'
    """
    state = str(dependency["state"]).replace("_", " ")
    return f"{dependency['id']} ({'must succeed, ' if dependency['must_succeed'] else ''}{state})"


def _command(command: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the properties of a command beside its words."""
    from orcha._cli import descriptions

    for name, value in command.items():
        if name not in {"argv", "label"} and not descriptions.is_nothing(value):
            yield name.replace("_", " "), descriptions.value(name, value)


def _attempt(attempt: dict[str, Any], state: str = "running") -> str:
    """Give one attempt in a line; an attempt that has not ended has the state of its petition."""
    from orcha._cli import descriptions, ps, render

    known = {"state": state, "outcome": None, "code": None} | attempt
    over = known["outcome"] is None and known.get("ended") is not None
    parts = [ps.state(known)]
    if over:  # and tried again, or lost; a signal is named below
        parts = [f"exit code {known['code']}"] if known["code"] is not None else []
    if known.get("reason"):
        reason = render.plain(render.local(known["reason"]))
        parts = [reason] if parts and reason.startswith(parts[0]) else [*parts, reason]
    if known.get("signals"):
        parts.append(
            "sent " + ", ".join(f"{_signal(number)} ({render.plain(why)})" for _, number, why in known["signals"])
        )
    if known.get("signal"):
        parts.append(f"ended by {_signal(known['signal'])}")
    skipped = {"attempt", "state", "outcome", "code", "reason", "signal", "signals"}
    parts += [
        f"{name.replace('_', ' ')} {descriptions.value(name, value)}"
        for name, value in known.items()
        if name not in skipped and not descriptions.is_nothing(value)
    ]
    return ", ".join(parts)


def _signal(number: int) -> str:
    """Give a signal's name."""
    from signal import Signals

    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
