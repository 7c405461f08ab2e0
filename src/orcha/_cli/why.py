"""``orcha why``: tell all reasons why a petition waits, and what ends each reason; or how the petition ended."""

from __future__ import annotations

from orcha._cli import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from orcha._cli.foretold import Estimate

_EPILOG = """\
examples:
  orcha why make-k3x9qz
  orcha why make-k3x9qz --json
"""
_SHOWN = (
    *("id", "state", "outcome", "code", "reason", "why", "place", "priority", "aged", "group", "needs"),
    *("after", "dependents", "preempted", "blocked"),
)


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Tell all that keeps a petition from starting now, and what would end that. Of a petition that runs or has"
        " ended, tell what was decided about it, and when."
    )
    parser.epilog = _EPILOG
    parser.add_argument(
        "id", type=options.written, metavar="ID", help="its id: the petition that has not ended, else the newest"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(namespace: argparse.Namespace) -> int:
    """Ask the service, and print the reasons."""
    from orcha._cli import descriptions, foretold, render
    from orcha._cli.connection import connected

    with connected() as service:
        details = service.details(namespace.id)
        found = foretold.estimated(service, details, is_asked_for=True)
    if namespace.json:
        known = {name: details.get(name) for name in (*_SHOWN, "attempts", *descriptions.TIMES)}
        render.json(descriptions.as_json(known) | {"estimate": foretold.as_json(found)})
        return 0
    for line in lines(details):
        render.line(render.plain(line))
    if details["state"] == "queued":
        render.line(foretold_line(found, render.now()))
    elif found is not None:
        render.line(f"it probably goes on {foretold.words(found, render.now())}")
    return 0


def foretold_line(estimate: Estimate | None, now: float) -> str:
    """Tell people when a petition will probably start, and what that was reckoned from."""
    from orcha._cli import foretold

    return (
        "when it starts cannot be foretold"
        if estimate is None
        else f"it probably starts {foretold.words(estimate, now)}"
    )


def lines(details: dict[str, Any]) -> Iterator[str]:
    """Give the lines for people."""
    from orcha._cli import descriptions, ps, render

    blocked = details.get("blocked") or ()
    if not blocked and details["state"] not in {"queued", "held"}:
        yield from story(details)
        return
    asked = render.ago(render.now() - details["submitted"])
    yield f"{details['id']} is {ps.state(details)}, and was asked for {asked}:"
    if not blocked and details["why"]:
        yield f"  - {render.local(details['why'])}"
    for reason in blocked:
        yield f"  - {descriptions.why(reason | {'why': reason['text']})}"
        if reason.get("since") is not None:
            yield f"    since {_since(reason)}"
        yield from _others(reason)
        if reason.get("remedy"):
            yield f"    until {reason['remedy']}"
    yield from _beside(details)


def _beside(details: dict[str, Any]) -> Iterator[str]:
    """Give the lines beside the reasons."""
    from orcha._cli import ps, render

    known = details.get("preempted")
    if known is not None and known["how"] == "requeue":
        at = f"{render.clock(known['at'])} ({render.ago(render.now() - known['at'])})"
        yield f"it was ended for {known['by']}, which is more urgent, {at}: it runs anew when its turn comes"
    if details.get("expect_source"):
        from orcha._cli import like

        yield like.line(details["expect"], details["expect_source"])
    if details.get("aged") is not None:
        yield f"its priority is {ps.aged(details)}"
    if details.get("place"):
        yield f"{details['place']} before it in line"


def _others(reason: dict[str, Any]) -> Iterator[str]:
    """Name the petitions that a petition waits for."""
    if reason.get("holders"):
        yield f"    held by {', '.join(_held(reason))}"
    if reason.get("first"):
        yield f"    {_first_line(reason)}"
    if reason.get("overdue"):
        yield f"    longer than expected: {', '.join(reason['overdue'])}"


def _held(reason: dict[str, Any]) -> Iterator[str]:
    """Name who holds what a petition waits for: with the devices, and until when, as far as that is known.

    >>> held = [{"id": "train", "devices": ["0", "1"], "until": None}, {"id": "b", "devices": [], "until": None}]
    >>> list(_held({"holders": ["train", "b"], "held": held, "resource": "gpu"})), list(_held({"holders": ["make"]}))
    (['train (gpu:0, gpu:1)', 'b'], ['make'])
    """
    from orcha._cli import descriptions, render

    known = {each["id"]: each for each in reason.get("held") or ()}
    for name in reason["holders"]:
        held = known.get(name) or {"devices": (), "until": None}
        told = [f"{reason.get('resource')}:{device}" for device in held["devices"]]
        if held.get("lease") is not None:
            told.append(descriptions.lent(held["lease"], held["until"]))
        elif held["until"] is not None:
            told.append(f"until {render.clock(held['until'])} at the latest")
        if held.get("lease") is None and held.get("expected") is not None:
            told.append(_expected(held["expected"]))
        yield f"{name} ({', '.join(told)})" if told else str(name)


def _expected(ends: float) -> str:
    """Tell when the running petitions were said to end."""
    from orcha._cli import render

    over = render.now() - ends
    return f"runs {render.elapsed(over)} longer than expected" if over > 0 else f"until about {render.clock(ends)}"


def _first_line(reason: dict[str, Any]) -> str:
    """Name the petition that comes first, and until when something is held free for it."""
    from orcha._cli import render

    first = _first(reason["first"])
    if reason["kind"] != "held_free":
        return f"first is {first}"
    until = f" until about {render.clock(reason['due'])}" if reason.get("due") is not None else ""
    return f"held free for {first}{until}"


def _first(first: dict[str, Any]) -> str:
    """Name the petition that comes first.

    >>> _first({"id": "bench", "user": "ada", "lease": {"why": "benchmark"}}), _first({"id": "a", "user": "ada"})
    ('bench (ada: benchmark)', 'a (ada)')
    """
    why = (first.get("lease") or {}).get("why")
    return f"{first['id']} ({first['user']}{': ' if why else ''}{why or ''})"


def _since(reason: dict[str, Any]) -> str:
    from orcha._cli import render

    by = f", by {reason['by']}" if reason.get("by") else ""
    return f"{render.clock(reason['since'])} ({render.ago(render.now() - reason['since'])}){by}"


def story(details: dict[str, Any]) -> Iterator[str]:
    """Give the decisions about a petition that has started or ended, in order."""
    from orcha._cli import ps, render

    yield f"{details['id']} is {ps.state(details)}"
    if details.get("elements_waiting") and details["state"] == "running":
        most = details.get("elements_at_most")
        bound = "" if most is None else f": at most {most} of them wait or run at once as petitions"
        yield f"  {details['elements_waiting']} of its {details['elements']} elements wait{bound}"
    for at, text in sorted([*_events(details), *_changes(details)], key=lambda event: event[0]):
        yield f"  {render.clock(at)}  {text}"


def _changes(details: dict[str, Any]) -> Iterator[tuple[float, str]]:
    """Give when clients changed the petition, and what they changed."""
    from orcha._cli import descriptions

    for change in details.get("changes") or ():
        yield change["at"], f"changed {descriptions.change(change)}"


def _events(details: dict[str, Any]) -> Iterator[tuple[float, str]]:
    """Give what became of a petition, with the times, in order."""
    from orcha._cli import owners, ps, render

    yield details["submitted"], f"asked for by {owners.user(details) or details['owner']}"
    before = details["submitted"]
    for attempt in details.get("attempts") or ():
        if attempt.get("started") is not None:
            waited = render.elapsed(max(0.0, attempt["started"] - before))
            number = attempt.get("attempt", "?")
            yield attempt["started"], f"attempt {number} started, after it had waited {waited}"
        if attempt.get("ended") is not None:
            before = attempt["ended"]
            yield attempt["ended"], _end(attempt)
    if details.get("until") is not None:
        yield details["until"], "its time is over, unless it is extended"
    if details.get("ended") is not None and not details.get("attempts"):
        yield details["ended"], render.local(details.get("reason") or ps.state(details))


def _end(attempt: dict[str, Any]) -> str:
    """Give how an attempt ended."""
    from orcha._cli import render

    failed = attempt.get("code") or attempt.get("signal")
    outcome = str(attempt.get("outcome") or ("failed" if failed else "ended")).replace("_", " ")
    parts = [f"attempt {attempt.get('attempt', '?')} {outcome}"]
    if attempt.get("code"):
        parts.append(f"code {attempt['code']}")
    if attempt.get("reason"):
        parts.append(render.local(str(attempt["reason"])))
    return ", ".join(parts)
