"""``orcha logs``: show what petitions have written, and follow what they write."""

from __future__ import annotations

from orcha._cli import options, selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from orcha._cli.output import ShownOutput
    from orcha._cli.printing import Printer

BROKEN_PIPE_CODE = 141
_EPILOG = """\
examples:
  orcha logs make-k3x9qz
  orcha logs --follow --tail 20 nightly make-k3x9qz
  orcha logs --failed --group nightly

Ctrl+C ends the showing, and leaves them running.
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Show what petitions wrote, byte for byte; with several, each line after the id of the petition that wrote it."
    )
    parser.epilog = _EPILOG
    selecting.add_ids(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until they end")
    parser.add_argument("--stream", choices=("out", "err"), help="show standard output, or standard error, alone")
    parser.add_argument("-n", "--tail", type=options.not_negative, metavar="N", help="begin with the last N lines")
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object a piece: id, stream, and text, or bytes as base64"
    )

    options.add_raw(parser)
    selecting.add_options(parser, changes=False)


def run(namespace: argparse.Namespace) -> int:
    """Show the outputs one after another, or as they come."""
    from orcha._cli.printing import printer
    from orcha._cli.streams import fill_standard_descriptors

    fill_standard_descriptors()
    selector = selecting.selector_of(namespace)
    if selecting.names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if selector is not None:
        from orcha._cli.connection import connected

        with connected() as service:
            namespace.ids = selecting.found(service, selector)
    ids = list(_with_elements(namespace.ids))
    if not ids:
        return 0
    shown = printer(ids, namespace.stream, as_json=namespace.json, raw=namespace.raw)
    try:
        if namespace.follow and len(ids) > 1:
            return _together(ids, shown, tail=namespace.tail)
        return _in_turn(namespace, ids, shown)
    except BrokenPipeError:
        return BROKEN_PIPE_CODE


def _with_elements(identities: Sequence[str]) -> Iterator[str]:
    """Give the ids; for an array, the ids of its elements that have begun."""
    from orcha._cli import ps
    from orcha._cli.connection import connected
    from orcha.exceptions import OrchaError

    with connected() as service:
        for identity in identities:
            try:
                is_array = "elements" in service.details(identity)
            except OrchaError:  # it is told where its output is asked for
                is_array = False
            if is_array:
                yield from ps.elements(service, identity)
            else:
                yield identity


def _in_turn(namespace: argparse.Namespace, ids: Sequence[str], shown: Printer) -> int:
    """Show one output after another; give 1 where an output could not be shown."""
    from orcha._cli import per_petition

    code = 0
    for identity in ids:
        with per_petition.errors_said() as failed:
            for piece in _pieces(identity, shown, tail=namespace.tail, follow=namespace.follow):
                shown.show(identity, piece)
        shown.end(identity)
        code = code or int(bool(failed))
    return code


def _pieces(identity: str, shown: Printer, *, tail: int | None, follow: bool) -> Iterator[ShownOutput]:
    from orcha._cli.output import pieces

    on_anothers = shown.be_careful if shown.may_be_careful else None
    return pieces(identity, shown.stream, tail=tail, follow=follow, on_anothers=on_anothers)


def _together(identities: Sequence[str], shown: Printer, *, tail: int | None) -> int:
    """Follow several outputs at once; give 1 where an output could not be followed.

    Raises:
        OrchaError: there is no service.

    """
    from queue import Queue
    from threading import Thread  # noqa: TID251 - each has a channel of its own to wait for

    from orcha._cli import per_petition
    from orcha.utils.threads import start

    arrived: Queue[tuple[str, ShownOutput | BaseException | None]] = Queue(maxsize=64)

    def follow(identity: str) -> None:
        try:
            for piece in _pieces(identity, shown, tail=tail, follow=True):
                arrived.put((identity, piece))
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            arrived.put((identity, error))
        arrived.put((identity, None))

    for identity in identities:
        start(Thread(target=follow, args=(identity,), name="orcha-logs", daemon=True))
    left, code = len(identities), 0
    while left:
        identity, piece = arrived.get()
        if piece is None:
            shown.end(identity)
            left -= 1
        elif isinstance(piece, per_petition.ONE_PETITIONS_ERRORS):
            per_petition.say_error(piece)
            code = 1
        elif isinstance(piece, BaseException):
            raise piece
        else:
            shown.show(identity, piece)
    return code
