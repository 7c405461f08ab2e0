"""``orcha doctor``: tell what is wrong with this endpoint, and the cure; change nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, NoReturn

    from orcha._protocol.endpoint import Endpoint
    from orcha._service.doctor.facts import DoctorFacts

_ANSWER_SECONDS = 5.0
"""A service that lives answers in this time."""
_EPILOG = """\
examples:
  orcha doctor
  orcha --port 50001 doctor --json

Exit code 0: nothing was found, or notes alone. 1: something was found.
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Look at the service, at what it keeps and at this machine, and print a line for each fault, with the cure."
        " Nothing is changed, and a service need not run."
    )
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="print a JSON object: the service, and what was found")


def run(namespace: argparse.Namespace) -> int:
    """Look at everything, and print the findings."""
    import os

    from orcha._cli import render
    from orcha._protocol.services import own_place
    from orcha._service.doctor.checks import disk_figures, examine

    endpoint = _examined(own_place("doctor"))
    if endpoint.is_system and os.geteuid():
        return _tell_from_outside(
            endpoint,
            "socket",
            "the machine's service",
            f"root's `orcha doctor` looks at what it keeps in {endpoint.folder}",
            as_json=namespace.json,
        )
    if endpoint.trust is not None and endpoint.has_port:
        name, hint = endpoint.trust.name, "`orcha doctor` on its machine, as its user, looks at what it keeps"
        return _tell_from_outside(endpoint, "connection", f"the service {name}", hint, as_json=namespace.json)
    facts = _facts(endpoint)
    found = examine(facts)
    faults = [each for each in found if not each.is_note]
    if namespace.json:
        render.json(
            {
                "folder": facts.folder,
                "service": facts.holder,
                "faults": len(faults),
                "disk": disk_figures(facts),
                "findings": [
                    {"check": each.check, "kind": "note" if each.is_note else "fault", "text": each.text}
                    for each in found
                ],
            }
        )
        return 1 if faults else 0
    for each in found:
        render.line(f"{'note' if each.is_note else 'fault'}: {each.check}: {each.text}")
    runs = "no service runs here" if facts.holder is None else f"the service is {facts.holder_text}"
    count = f"{len(faults)} fault{'s' * (len(faults) != 1)} found" if faults else "no fault found"
    render.line(f"{count}; {runs}; its folder is {facts.folder}")
    return 1 if faults else 0


def _facts(endpoint: Endpoint) -> DoctorFacts:
    """Look at everything, and ask the service that holds the endpoint's lock."""
    import os
    from dataclasses import replace

    from orcha import properties
    from orcha._service.doctor.looks import look
    from orcha.plugins.discovery import installed

    key = None if properties.authkey is None else os.fsdecode(properties.authkey)
    broken = tuple((each.module, each.problem) for each in installed() if each.problem)
    facts = look(endpoint, key=key, plugins=broken)
    facts = replace(facts, refusals=_of_commands() | dict(facts.refusals))
    if facts.holder is None:
        return facts
    answer, silence, refusals = _asked(endpoint, key)
    return replace(facts, answer=answer, silence=silence, refusals=dict(facts.refusals) | refusals)


def _of_commands() -> dict[str, str]:
    """Give why the manager of commands could not be built, by the name of the check."""
    from orcha.exceptions import ConfigurationError
    from orcha.lib.commands import most_commands

    try:
        most_commands()
    except ConfigurationError as error:
        return {"settings": str(error)}
    return {}


def _examined(endpoint: Endpoint) -> Endpoint:
    """Give the service that a client would use: the first service that keeps a state, else the endpoint's."""
    import os

    tried = [endpoint.found(path) for path in endpoint.socket_paths()]
    return next((each for each in tried if os.path.lexists(each.folder)), tried[0])


def _tell_from_outside(endpoint: Endpoint, check: str, which: str, hint: str, *, as_json: bool) -> int:
    """Say whether a service answers a user who cannot look at what it keeps: root's, or of another machine."""
    from orcha._cli import render
    from orcha.exceptions import OrchaError

    text = ""
    try:
        _figures(endpoint, None)
    except (OSError, OrchaError) as error:
        text = f"{which} does not answer: {error}"
    if as_json:
        findings = [{"check": check, "kind": "fault", "text": text}] if text else []
        faults = len(findings)
        render.json({"folder": endpoint.folder, "service": None, "faults": faults, "disk": {}, "findings": findings})
        return 1 if text else 0
    if text:
        render.line(f"fault: {check}: {text}")
    at = endpoint.name if endpoint.has_port else endpoint.socket_path
    count = "1 fault found" if text else f"no fault found; {which} answers at {at}"
    render.line(f"{count}; {hint}")
    return 1 if text else 0


def _asked(endpoint: Endpoint, key: str | None) -> tuple[dict[str, Any] | None, str, dict[str, str]]:
    """Give the service's figures, why it did not answer, and why it refused a client, by the name of the check."""
    from orcha._protocol.endpoint import key_path
    from orcha._protocol.keys import load_key
    from orcha.exceptions import AuthenticationError, OrchaError

    proved = key
    if proved is None and endpoint.has_port:  # over the socket alone nobody needs the key
        try:
            proved = load_key(key_path()).text
        except (OSError, OrchaError):
            proved = None  # what is wrong with the file is another finding
    refusals: dict[str, str] = {}
    for text in dict.fromkeys((proved, None)):
        try:
            return _figures(endpoint, text), "", refusals
        except AuthenticationError as error:
            which = "the --key" if key is not None else f"the key in {key_path()}"
            refusals.setdefault("key mismatch", f"{which} is not the key of the service: {error}")
        except OSError as error:
            late = isinstance(error, TimeoutError)
            return None, str(error) if late else "nothing listens on its socket", refusals
        except OrchaError as error:
            if type(error) is OrchaError:  # no version of the protocol in common
                refusals["client's version"] = str(error)
            return None, "", refusals  # else it is stopping, or does not tell this user
    return None, "", refusals


def _figures(endpoint: Endpoint, key: str | None) -> dict[str, Any] | None:
    """Ask the service; None where it does not tell this user.

    Raises:
        AuthenticationError: the service does not accept the key.
        OSError: no answer came in time.
        OrchaError: the service is stopping, or speaks no version of the protocol that this client speaks.

    """
    import signal

    from orcha._cli.session import Session, VerbRefusedError

    client = Session(endpoint, key, reconnect=0.0, notify=lambda _: None)
    before = signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, 2 * _ANSWER_SECONDS)  # a connection alone may take as long as an answer
    try:
        client.connect()
        found: dict[str, Any] = client.done(client.stats())
    except VerbRefusedError:
        return None
    else:
        return found
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        client.close()


def _too_late(*_: object) -> NoReturn:
    """End the wait for a service that does not answer."""
    raise TimeoutError(f"no answer came within {2 * _ANSWER_SECONDS:g} s")


__all__ = ["create_parser", "run"]
