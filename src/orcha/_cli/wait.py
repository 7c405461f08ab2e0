"""``orcha wait``: wait until petitions have ended."""

from __future__ import annotations

from orcha._cli import options, selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from orcha._cli.session import Session

TIMED_OUT_CODE = 124
_EPILOG = """\
examples:
  orcha wait nightly make-k3x9qz --timeout 10m
  orcha wait --group nightly
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Wait until petitions have ended. The exit code is the first one, in the order given, above 0."
    parser.epilog = _EPILOG
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "ids", nargs="*", default=[], type=options.written, metavar="ID", help="an id; may hold wildcards: 'train-*'"
    )
    what.add_argument("-a", "--all", action="store_true", help="all that wait or run now")
    selecting.add_options(parser, changes=False)
    parser.add_argument("--timeout", type=options.duration, metavar="T", help="end with 124 when it takes longer")
    parser.add_argument("--json", action="store_true", help="print a JSON array: id, outcome and code of each")


def run(namespace: argparse.Namespace) -> int:
    """Wait for each petition; give the first exit code that is not 0."""
    from orcha._cli import per_petition, render
    from orcha._cli.connection import connected

    selector = selecting.selector_of(namespace)
    if not namespace.all and selecting.names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if selector is not None and namespace.all:
        selecting.refuse_both("--all")
        return USAGE_ERROR_CODE
    no_such = "there is no such petition"
    if selector is not None and not selector["states"]:
        selector["states"] = list(selecting.LIVE_STATES)
        no_such = "there is no such petition that has not ended"
    until = None if namespace.timeout is None else render.steady() + namespace.timeout
    ends: list[dict[str, Any]] = []
    code = 0
    with connected() as service:
        chosen = namespace.ids if selector is None else selecting.found(service, selector, no_such=no_such)
        for identity in _all(service) if namespace.all else chosen:
            with per_petition.errors_said() as failed:
                end = for_end(service, identity, until)
                if end is None:
                    render.note(f"{render.plain(identity)} has not ended within the time")
                    code = TIMED_OUT_CODE
                    break
                ends.append(end)
            code = code or int(bool(failed))
    if namespace.json:
        render.json(ends)
    return code or next((end["code"] for end in ends if end["code"] and end["outcome"] != "succeeded"), 0)


def _all(service: Session) -> list[str]:
    """Give the ids of all petitions that have not ended, the oldest first."""
    from orcha._cli.ps import LIVE_STATE_NAMES, pages

    return [row["id"] for row in pages(service.rows, LIVE_STATE_NAMES)][::-1]


def for_end(service: Session, identity: str, until: float | None = None) -> dict[str, Any] | None:
    """Wait for the end of a petition; give its id, outcome and code, None where it has not ended by then.

    Raises:
        OrchaError: there is no such petition, or no service.

    """
    import queue

    from orcha._cli import descriptions, render

    details = service.details(identity)
    if details["state"] != "ended":
        channel, details = service.from_its_end(identity)
        while details["state"] != "ended":
            left = None if until is None else max(0.0, until - render.steady())
            try:
                value = channel.get(timeout=left)
            except queue.Empty:
                return None
            if value is None or isinstance(value, int):
                details = service.details(identity)  # where the service is away, this says so
                break
    if (line := descriptions.cancelled(details)) is not None:
        render.note(line)
    return {"id": identity, "outcome": details["outcome"], "code": details["code"] or 0}
