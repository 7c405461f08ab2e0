"""``orcha retry``: submit an ended petition once more."""

from __future__ import annotations

from functools import partial

from orcha._cli import options, selecting
from orcha._cli.exit_codes import USAGE_ERROR_CODE
from orcha._cli.run_options import add_secret, secrets_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from orcha._cli.session import Session

_EPILOG = """\
examples:
  orcha retry make-k3x9qz --attach
  orcha retry --failed --group nightly
  orcha retry --failed train
  orcha retry deploy --secret TOKEN=env:API_TOKEN
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Run an ended petition once more: the same message, under the same id."
    parser.epilog = _EPILOG
    selecting.add_ids(parser)
    parser.add_argument("-a", "--attach", action="store_true", help="follow it, and end with its exit code")
    parser.add_argument("-i", "--stdin", action="store_true", help="follow it, and pass standard input")
    add_secret(parser, "give it a secret again, which no service keeps: TOKEN=file:PATH, TOKEN=env:VARIABLE")
    selecting.add_options(parser)


def run(namespace: argparse.Namespace) -> int:
    """Submit the petitions again, and follow the new petition where that is wanted."""
    from orcha._cli import attach, per_petition, render

    follows = namespace.attach or namespace.stdin
    if namespace.failed and (array := _array_of(namespace)) is not None:
        code = per_petition.do_for_each([array], _failed_again)
        return attach.attach(array) if follows and not code else code
    selector = selecting.selector_of(namespace)
    if selecting.names_none(namespace, selector):
        return USAGE_ERROR_CODE
    if follows and (selector is not None or len(namespace.ids) > 1):
        render.note("--attach and --stdin follow one petition: give its id alone")
        return USAGE_ERROR_CODE
    try:
        secrets = secrets_of(namespace, are_named=selector is None)
    except options.WrongOptionError as error:
        render.note(str(error))
        return USAGE_ERROR_CODE
    if selector is not None:
        return selecting.apply(namespace, "retry", selector, {})
    again = partial(_again if follows else _again_alone, secrets=secrets)
    code = per_petition.do_for_each(namespace.ids, again)
    return attach.attach(namespace.ids[0], stdin=namespace.stdin) if follows and not code else code


def _array_of(namespace: argparse.Namespace) -> str | None:
    """Give the id where one array alone is named; None where failed petitions are selected."""
    from orcha._cli.connection import connected
    from orcha.exceptions import OrchaError

    if len(namespace.ids) != 1 or namespace.dry_run:
        return None
    with connected() as service:
        try:
            return namespace.ids[0] if "elements" in service.details(namespace.ids[0]) else None
        except OrchaError:  # it may hold wildcards; else that is told where it is asked for
            return None


def _failed_again(service: Session, identity: str) -> None:
    service.done(service.retry(identity, failed=True), identity)


def _again(service: Session, identity: str, secrets: dict[str, bytes] | None) -> None:
    service.done(service.retry(identity, secrets=secrets), identity)


def _again_alone(service: Session, identity: str, secrets: dict[str, bytes] | None) -> None:
    """Submit a petition again; say where it waits for standard input, since the first input is not kept."""
    from orcha._cli import render

    _again(service, identity, secrets)
    if (service.details(identity)["command"] or {}).get("stdin"):
        name = render.plain(identity)
        render.note(f"it waits for standard input, which is not kept: bring it with orcha attach --stdin {name}")
