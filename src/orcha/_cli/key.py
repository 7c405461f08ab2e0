"""``orcha key``: let programs and other machines in, each by a key of its own, and no more.

What proves a key is a secret that this program makes, or a certificate that the client has.
"""

from __future__ import annotations

from orcha._cli import options
from orcha._protocol.named_keys import name_problem
from orcha.interfaces.roles import ROLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from orcha._cli.session import Session

STDOUT = "-"
_EPILOG = """\
examples:
  orcha key add ci --role submitter --expires 90d --out ci.key
  orcha key ls
  orcha key renew ci --out ci-new.key
  orcha key add build --role submitter --certificate uri:spiffe://lab/build
  orcha key add web --role viewer --certificate web.crt
  orcha key revoke ci

The file of a key is for the other machine: ORCHA_KEY_FILE names it there, or
orcha service add NAME tls://host:port --key-file FILE.
"""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Let programs and other machines in, each by a key of its own. The service keeps no key, but what checks one."
    )
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    adder = verbs.add_parser(
        "add",
        help="make a key, and let it in",
        description="Make a key, let it in, and print it once: to a terminal, or into a file that nobody else reads.",
    )
    adder.set_defaults(refuse=adder.error)
    add = adder.add_argument
    add(
        "name", type=_name, metavar="NAME", help="1 to 32 letters, digits, - and _; petitions of the key are key:NAME's"
    )
    add("--role", required=True, choices=ROLES, help="what clients with the key may do")
    add("--expires", type=options.duration, metavar="T", help="how long the key is taken: 90d, 12h (default: for ever)")
    _add_proof(adder)
    add("--as", dest="user", metavar="USER", help="clients with the key act, and commands run, as this user; for root")
    renewer = verbs.add_parser(
        "renew",
        help="make a fresh key in place of a key",
        description="Make a fresh key in place of a key, and print it once. What the old key asked for is the fresh"
        " key's. The old key is let in no more, and clients that came in by it are cut off.",
    )
    renewer.set_defaults(refuse=renewer.error, role="", user=None)
    renewer.add_argument("name", type=_name, metavar="NAME", help="a key")
    renewer.add_argument(
        "--expires",
        type=options.duration,
        metavar="T",
        help="how long the key is taken (default: as long as the old one)",
    )
    _add_proof(renewer)
    lister = verbs.add_parser("ls", help="show the keys, without what is secret")
    lister.add_argument("--json", action="store_true", help="print a JSON array")
    revoker = verbs.add_parser(
        "revoke",
        help="let keys in no more",
        description="Let keys in no more, and cut off every client that came in by them. What they asked for stays; a"
        " key that gets the same name later does not own that.",
    )
    revoker.add_argument("names", nargs="+", metavar="NAME", help="a key")


def _add_proof(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--certificate",
        type=_certificate,
        metavar="NAME",
        help="a certificate of the client proves the key, and no secret: dns:NAME, uri:URI, email:ADDRESS or cn:NAME in"
        " it, or its fingerprint SHA256:... or file in PEM; for serve --tls-client-ca",
    )
    either.add_argument(
        "--out",
        metavar="FILE",
        help="write it to a new file (0600); - for standard output, also where it is no terminal",
    )


def _name(text: str) -> str:
    import argparse

    if problem := name_problem(text):
        raise argparse.ArgumentTypeError(f"{ascii(text)[:80]}: {problem}")
    return text


def _certificate(text: str) -> str:
    """Give the name of a certificate, or the fingerprint of the certificate in a file."""
    import argparse
    from pathlib import Path

    from orcha._protocol.client_certificates import NoCertificateNameError, certificate_name, file_fingerprint

    try:
        return file_fingerprint(text) if Path(text).is_file() else certificate_name(text)
    except (NoCertificateNameError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(namespace: argparse.Namespace) -> int:
    """Have it done."""
    from orcha._cli import per_petition

    if namespace.verb in {"add", "renew"}:
        return _add(namespace)
    if namespace.verb == "ls":
        return _show(as_json=namespace.json)
    return per_petition.do_for_each(
        namespace.names, lambda service, name: service.done(service.set_key(name, None), name)
    )


def _add(namespace: argparse.Namespace) -> int:
    import sys

    from orcha._cli import render
    from orcha._cli.connection import connected

    if namespace.certificate is not None:
        return _add_certificate(namespace)
    out = namespace.out
    if out is None and not sys.stdout.isatty():
        namespace.refuse(
            "standard output is no terminal: give --out FILE, or --out - to have the key there all the same"
        )
    with connected() as service:
        if out is None or out == STDOUT:
            render.line(_added(service, namespace).text)
        else:
            _write(service, namespace, out)
    where = (
        "this is shown once: keep it in a file (chmod 600)" if out is None else "nobody can read the key anywhere else"
    )
    render.note(f"{where}; ORCHA_KEY_FILE names such a file to a client")
    return 0


def _add_certificate(namespace: argparse.Namespace) -> int:
    """Let in the clients that have a certificate."""
    from orcha._cli import render
    from orcha._cli.connection import connected

    with connected() as service:
        how = _how(namespace) | {"certificate": namespace.certificate}
        service.done(service.set_key(namespace.name, None, **how), namespace.name)
    render.note(
        f"clients prove it by a certificate of {render.plain(namespace.certificate)}, without a secret: orcha service"
        " add NAME tls://host:port --ca FILE --cert FILE --cert-key FILE"
    )
    return 0


def _write(service: Session, namespace: argparse.Namespace, path: str) -> None:
    """Add the key, and have it in a new file; the file goes again where the key is not added."""
    import os

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            key = _made(namespace.name)
            file.write(f"{key.text}\n")
            file.flush()
            os.fsync(file.fileno())
        _let_in(service, namespace, key)
    except BaseException:
        os.unlink(path)  # noqa: PTH108
        raise


def _added(service: Session, namespace: argparse.Namespace) -> Any:
    key = _made(namespace.name)
    _let_in(service, namespace, key)
    return key


def _made(name: str) -> Any:
    from orcha._protocol.named_keys import make_named_key

    return make_named_key(name)


def _let_in(service: Session, namespace: argparse.Namespace, key: Any) -> None:
    """Have the service let a key in; the key itself stays here."""
    from orcha._protocol.named_keys import verifier_of

    verifier = verifier_of(key, bytes(service.keys(key.id)["salt"]))
    service.done(service.set_key(key.id, verifier, **_how(namespace)), key.id)


def _how(namespace: argparse.Namespace) -> dict[str, Any]:
    how = {"role": namespace.role, "seconds": namespace.expires, "user": namespace.user}
    return how | {"renews": namespace.verb == "renew"}


def _show(*, as_json: bool) -> int:
    from orcha._cli import render
    from orcha._cli.connection import connected
    from orcha._cli.layout import Column

    titles: tuple[str, ...]
    with connected() as service:
        found: list[dict[str, Any]] = service.keys()["keys"]
    if as_json:
        render.json(found)
    elif not found:
        render.line("there are no keys with names: orcha key add NAME --role ROLE makes one")
    else:
        titles = ("NAME", "ROLE", "AS", "ADDED", "BY", "EXPIRES", "USED", "CLIENTS")
        if any(each.get("certificate") for each in found):
            titles = (*titles, "CERTIFICATE")
        rows = [[_cell(each, title) for title in titles] for each in found]
        render.table([Column(title) for title in titles], rows)
    return 0


def _cell(key: dict[str, Any], title: str) -> str:
    from orcha._cli import owners, render

    if title == "EXPIRES" and key["expired"]:
        return "expired"
    if title in {"ADDED", "EXPIRES", "USED"}:
        moment = key[title.lower()]
        return "never" if moment is None else render.clock(moment)
    if title in {"AS", "BY"}:
        identity = key["added_by"] if title == "BY" else "" if key["uid"] is None else f"uid:{key['uid']}"
        return owners.user({"owner": identity}) or str(identity)
    return str(key.get("connections" if title == "CLIENTS" else title.lower(), ""))
