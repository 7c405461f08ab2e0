"""The certificate that a service shows on its port: what people give it, else its own, made once and kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from orcha._configuration.reading import Fault
from orcha._protocol.endpoint import unusable
from orcha._protocol.tls_files import TlsFiles
from orcha.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._configuration.configured import Configured
    from orcha._protocol.tls import ServerTls
    from orcha._service.lifecycle.settings import Settings

KEPT_FILE = "tls.pem"
"""In the folder of the endpoint: the key and the certificate that the service has made."""
FIELDS = ("certificate", "key", "client_ca")


def service_tls(settings: Settings, report: Callable[[str], object]) -> ServerTls | None:
    """Give what the service speaks TLS with; None where it has no port. `report` gets a line about its time.

    Raises ConfigurationError, which names the file and the cure, and where a configuration file names it, the line.
    """
    if not settings.endpoint.has_port:
        return None
    named = {field: path for field in FIELDS if (path := getattr(settings, f"tls_{field}")) is not None}
    if named:
        from orcha._protocol.certificates import UnusableFileError, load

        try:
            files = _files(named)
            tls = load(files)
        except UnusableFileError as error:
            given = settings.configured.given.get(("tls", error.field))
            if given is None or given.value != named.get(error.field):
                raise
            raise ConfigurationError(f"{given.origin}: {error}") from None
        for problem in _problems(files, tls):
            report(problem.text)
        return tls
    from orcha._protocol.tls import server_tls

    path = f"{settings.endpoint.folder}/{KEPT_FILE}"
    try:
        return server_tls(path if settings.durable else None)
    except OSError as error:
        raise unusable(f"{path} cannot be used", error) from None


def _files(named: Mapping[str, str]) -> TlsFiles:
    """Give the files; UnusableFileError where one of a pair is missing."""
    from orcha._protocol.certificates import UnusableFileError

    missing = [each for each in ("certificate", "key") if each not in named]
    if missing:
        text = f"tls.{missing[0]} is missing: a port needs a certificate and its key, of one pair"
        raise UnusableFileError(next(iter(named)), f"{text} (orcha serve --tls-cert FILE --tls-key FILE)")
    return TlsFiles(**named)


class _Problem(NamedTuple):
    """What is wrong with the time of something in a file, or soon will be."""

    field: str
    is_fault: bool
    text: str


def _problems(files: TlsFiles, tls: ServerTls) -> list[_Problem]:
    from orcha._protocol.certificates import problem_of, problem_of_clients

    assert tls.valid is not None
    now = time.time()
    found = {"certificate": problem_of(files.certificate, tls.valid, now)}
    if files.client_ca is not None:
        found["client_ca"] = problem_of_clients(files.client_ca, tls, now)
    return [_Problem(field, *problem) for field, problem in found.items() if problem is not None]


def problem_of_settings(settings: Settings) -> str | None:
    """Say what is wrong with the certificates that settings name, or soon will be; errors as of `service_tls`."""
    if all(getattr(settings, f"tls_{field}") is None for field in FIELDS):
        return None
    said: list[str] = []
    service_tls(settings, said.append)
    return "; ".join(said) or None


def faults_of(configured: Configured) -> list[Fault]:
    """Give what is wrong with the files that configuration files name, with the places of their names."""
    from orcha._protocol.certificates import UnusableFileError, load

    given = {keys[1]: each for keys, each in configured.given.items() if keys[0] == "tls" and len(keys) == 2}
    if not given:
        return []
    try:
        files = _files({field: given[field].value for field in FIELDS if field in given})
        problems = _problems(files, load(files))
    except UnusableFileError as error:
        found = given[error.field]
        return [Fault(found.file, *found.place, str(error))]
    return [Fault(given[each.field].file, *given[each.field].place, each.text) for each in problems if each.is_fault]


__all__ = ["KEPT_FILE", "faults_of", "problem_of_settings", "service_tls"]
