"""The settings of a service, resolved once when the service is built."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from orcha import properties
from orcha._configuration.configured import Configured
from orcha._configuration.kinds import FAIR, MAX_SLOTS, read_fair
from orcha._configuration.resource_texts import read_resources
from orcha._core.permissions import Visibility
from orcha._protocol.socket_ends import name_of
from orcha._service.lifecycle.detection import detected
from orcha._service.lifecycle.role_book import role_book
from orcha.exceptions import ConfigurationError
from orcha.interfaces.policy import MAX_DURATION_SECONDS
from orcha.interfaces.roles import RoleBook
from orcha.utils.accounts import is_account
from orcha.utils.event_log import TEXT, wanted_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orcha._core.inventory import Stock
    from orcha._protocol.endpoint import Endpoint

DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600.0
MAX_KEPT_BYTES = 1 << 62
"""Bytes of output at most."""
ANY_NUMBER, FORGET = "none", "forget"
"""Words in place of a number of slots."""
REFUSE = "refuse"
"""Words in place of a number of slots of new groups."""
_TLS = {"certificate": "ORCHA_TLS_CERT", "key": "ORCHA_TLS_KEY", "client_ca": "ORCHA_TLS_CLIENT_CA"}
"""The variables that name the files of the certificate, by the keys of the table `tls`."""
FIRST_SHARED_UID = 2
"""ORCHA_SHARE below this number says whether the key is shared; other numbers are users."""
_SLOTS = ("ORCHA_SLOTS", f"slots of a group are GROUP=N, GROUP={ANY_NUMBER} or GROUP={FORGET}", "--slots")


@dataclass(frozen=True, slots=True)
class Settings:
    """A service's settings. Durations are in seconds."""

    endpoint: Endpoint
    key: str | None = None
    share: bool = False
    """Whether the key lets in other users than the service's own."""
    roles: RoleBook = RoleBook()  # noqa: RUF009 - it never changes
    """The roles of users beside the service's own and root."""
    visibility: Visibility = Visibility.METADATA
    """What clients see of the petitions of others."""
    allow_weak_key: bool = False
    """Whether that key may be a short text where other machines can reach the service."""
    durable: bool = True
    look_ahead: int | None = None
    """How many of the first waiting petitions are considered; None for all."""
    hook_deadline: float = 10.0
    """Longest a call of the manager's code may take."""
    on_hook_timeout: Literal["replace", "stop"] = "replace"
    stop_grace: float = 10.0
    """How long running actions may go on after the service was asked to stop."""
    abandon_after: float = 10.0
    """How long a cancelled action's thread may go on after its processes are gone."""
    shim_silence: float = 30.0
    """How long what watches over a command may owe an answer until it is told to go on; it is killed a third later."""
    keep_commands: bool = True
    """Whether running commands go on when the service stops in good order, and are found at its next start."""
    log_runs: bool = False
    """Whether the log has a line for each beginning and each end of an attempt."""
    keep_input: int = 64 << 20
    """Bytes of standard input that are kept of a command that may be executed again."""
    keep_age: float = 7 * DAY_SECONDS
    """Age at which ended petitions and their outputs are forgotten."""
    keep_count: int = 10_000
    """How many ended petitions are kept at most."""
    keep_bytes: int | None = None
    """Bytes that all output may take on the disk before the oldest ended petitions are forgotten; None for any."""
    slots: Mapping[str, int | None] = field(default_factory=dict)
    """How many petitions of a group may run at once, None for any number; what was set before holds for the others."""
    forgotten_groups: frozenset[str] = frozenset()
    """Groups that are not to be there any more."""
    new_group_slots: int | None = None
    """How many petitions may run at once of a group that its first petition makes; None for any number."""
    past_half_life: float | None = None
    """Seconds after which what an owner used counts half in whose turn it is; None where that counts nothing."""
    takes_new_groups: bool = True
    """Whether a petition makes the group that it names, where there is none; else it is refused."""
    resources: Mapping[str, Stock] = field(default_factory=dict)
    """How much there is of each resource that petitions may need, or which devices."""
    detect: bool = False
    """Whether the machine's own resources are among these, and the users of its graphics processors are watched."""
    reached_as: frozenset[str] = frozenset()
    """Addresses and ports, beside its own, at which a tunnel takes connections and passes them on to this service."""
    tls_certificate: str | None = None
    """The file with the certificate of its port; None for a certificate that it makes for itself."""
    tls_key: str | None = None
    tls_client_ca: str | None = None
    """The file with the authority whose certificates clients on TCP show; None where they need none."""
    keep_least: float = HOUR_SECONDS
    """Age below which nothing is forgotten."""
    audit_keep: float = 90 * DAY_SECONDS
    """Age at which it is forgotten what clients did and tried."""
    audit_count: int = 100_000
    """How many submits that were forgotten are told at most, and how many of all else."""
    configured: Configured = field(default_factory=Configured)
    """The settings of the configuration files; the environment and options may say something else."""
    from_files: frozenset[str] = frozenset()
    """The resources whose amounts or devices come from the configuration files."""


def is_durable(configured: Configured | None = None) -> bool:
    """Tell whether a service keeps its state on a disk; ConfigurationError where ORCHA_STORE says neither."""
    default = "sqlite" if configured is None else configured.value("service", "store", "sqlite")
    store = os.environ.get("ORCHA_STORE", default)
    if store not in ("sqlite", "memory"):
        message = f"ORCHA_STORE is {store!r}: set it to sqlite or memory"
        raise ConfigurationError(message)
    return store == "sqlite" and not properties.no_store


def from_environment(
    endpoint: Endpoint,
    *,
    key: str | None,
    look_ahead: int | None,
    on_hook_timeout: str,
    configured: Configured | None = None,
) -> Settings:
    """Give the settings of a service at `endpoint`: of the environment, else of the configuration files, else defaults.

    ``ORCHA_STORE`` (``sqlite`` or ``memory``), ``ORCHA_HOOK_DEADLINE``, ``ORCHA_STOP_GRACE``, ``ORCHA_ABANDON_AFTER``,
    ``ORCHA_SHIM_SILENCE``, ``ORCHA_KEEP_COMMANDS``, and ``ORCHA_LOG_RUNS`` (1 or 0),
    ``ORCHA_KEEP_INPUT`` (bytes), ``ORCHA_KEEP_AGE``, ``ORCHA_KEEP_COUNT``, ``ORCHA_KEEP_BYTES``,
    ``ORCHA_KEEP_LEAST``, ``ORCHA_AUDIT_KEEP``, ``ORCHA_AUDIT_COUNT``: seconds, except the counts and the bytes.
    ``ORCHA_FAIR``: ``now``, ``past`` or ``past:HALF-LIFE``.
    ``ORCHA_NEW_GROUPS``: a number, ``none`` or ``refuse``. ``ORCHA_SLOTS``: ``GROUP=N,...``, also ``none`` and
    ``forget`` for N. ``ORCHA_RESOURCES``: ``NAME=N,...``, and for N the names of devices, divided by commas as
    well. ``ORCHA_REACHED_AS``: ``ADDRESS:PORT,...``.

    Raises:
        ConfigurationError: a variable does not hold what it should; the message names it.

    """
    configured = Configured() if configured is None else configured
    of = configured.value
    durable = is_durable(configured)
    if on_hook_timeout not in ("replace", "stop"):
        message = f"on_hook_timeout is {on_hook_timeout!r}: set it to 'replace' or 'stop'"
        raise ConfigurationError(message)
    try:
        checked_look_ahead(look_ahead)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from None
    slots, forgotten = _slots()
    new = os.environ.get("ORCHA_NEW_GROUPS", of("service", "new_groups", ANY_NUMBER))
    detect = bool(_number("ORCHA_DETECT", of("service", "detect", 0)))
    kept = of("retention", "bytes", 0 if _is_set("ORCHA_KEEP_BYTES") else None)
    tls = _tls(configured)
    shares_key, shared_with = share_of(of("listen", "share", False))
    own_resources, stated = _resources(detect=detect, configured=configured)
    return Settings(
        endpoint,
        key=key,
        share=shares_key,
        allow_weak_key=properties.allow_weak_key or of("listen", "allow_weak_key", False),
        durable=durable,
        look_ahead=look_ahead,
        hook_deadline=_number(  # at 0 every call would be too late
            "ORCHA_HOOK_DEADLINE", of("service", "hook_deadline", 10.0), above_zero=True
        ),
        on_hook_timeout="stop" if on_hook_timeout == "stop" else "replace",
        stop_grace=_number("ORCHA_STOP_GRACE", of("service", "stop_grace", 10.0)),
        abandon_after=_number("ORCHA_ABANDON_AFTER", of("service", "abandon_after", 10.0)),
        shim_silence=_number("ORCHA_SHIM_SILENCE", of("service", "shim_silence", 30.0), above_zero=True),
        keep_commands=durable and bool(_number("ORCHA_KEEP_COMMANDS", of("service", "keep_commands", 1))),
        log_runs=bool(_number("ORCHA_LOG_RUNS", of("service", "log_runs", _is_read_later()))),
        keep_input=int(_number("ORCHA_KEEP_INPUT", of("service", "keep_input", 64 << 20))),
        keep_age=_number("ORCHA_KEEP_AGE", of("retention", "age", 7 * DAY_SECONDS)),
        keep_count=int(_number("ORCHA_KEEP_COUNT", of("retention", "count", 10_000))),
        keep_bytes=None if kept is None else int(_number("ORCHA_KEEP_BYTES", kept, most=MAX_KEPT_BYTES)),
        audit_keep=_number("ORCHA_AUDIT_KEEP", of("audit", "keep", 90 * DAY_SECONDS)),
        audit_count=int(_number("ORCHA_AUDIT_COUNT", of("audit", "count", 100_000))),
        keep_least=_number("ORCHA_KEEP_LEAST", of("retention", "least", HOUR_SECONDS)),
        slots=slots,
        new_group_slots=None if new in (ANY_NUMBER, REFUSE) else int(_number("ORCHA_NEW_GROUPS", new)),
        past_half_life=_half_life(of("service", "fair", None)),
        takes_new_groups=new != REFUSE,
        forgotten_groups=forgotten,
        resources=own_resources,
        detect=detect,
        reached_as=_ends("ORCHA_REACHED_AS", of("listen", "reached_as", ())),
        visibility=Visibility(configured.roles.get("visibility", Visibility.METADATA)),
        roles=role_book(configured, is_system=endpoint.is_system, shared_with=shared_with),
        tls_certificate=tls["certificate"],
        tls_key=tls["key"],
        tls_client_ca=tls["client_ca"],
        configured=configured,
        from_files=frozenset(configured.resources.keys() - stated),
    )


def _half_life(default: float | None) -> float | None:
    text = os.environ.get("ORCHA_FAIR")
    if text is None:
        return default
    try:
        return read_fair(text)
    except ValueError:
        message = f"ORCHA_FAIR is {text!r:.80}: set it to {FAIR.form}"
        raise ConfigurationError(message) from None


def _tls(configured: Configured) -> dict[str, str | None]:
    """Give the files of the certificate: of the variables, else of the files, else credentials of systemd."""
    found: dict[str, str | None] = {
        field: os.environ.get(variable) or configured.value("tls", field, None) for field, variable in _TLS.items()
    }
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and not any(found.values()):
        paths = {field: f"{folder}/orcha.tls.{field}" for field in _TLS}
        found = {field: path if os.path.lexists(path) else None for field, path in paths.items()}
    return found


def share_of(configured: bool | tuple[str, ...]) -> tuple[bool, tuple[str, ...]]:
    """Tell whether the key lets in others, and give the users and groups with whom the service is shared.

    ``ORCHA_SHARE`` is 0, 1, or users and groups divided by commas; without it the configuration counts.

    Raises:
        ConfigurationError: a service of root is to be shared with users, or the variable names no users.

    """
    text = os.environ.get("ORCHA_SHARE")
    said: bool | tuple[str, ...] = configured
    if text is not None:
        words = tuple(filter(None, text.replace(" ", "").split(",")))
        said = bool(_number("ORCHA_SHARE", 0)) if _is_number(text) else words
        if said == ():
            raise ConfigurationError(f"ORCHA_SHARE is {text!r:.80}: set it to 0, 1, or users and groups, as alice,@lab")
    if isinstance(said, bool) or not said:
        return bool(said), ()
    wrong = next((word for word in said if not is_account(word)), None)
    if wrong is not None:
        raise ConfigurationError(f"{wrong!a:.60} is no user and no group: name users and groups, as alice,@lab")
    if not os.geteuid():
        message = (
            "a service of root is not shared with some users: start the machine's service, orcha serve --system, whose"
            " [roles] in the configuration say who may do what"
        )
        raise ConfigurationError(message)
    return False, said


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return float(text) < FIRST_SHARED_UID


def _is_read_later() -> bool:
    """Tell whether people or programs read the log later, and not on a terminal."""
    return properties.systemd or properties.in_background or wanted_kind(os.environ) != TEXT


def checked_look_ahead(count: object) -> None:
    """Raise TypeError or ValueError where this does not say how many of the first waiting petitions are considered."""
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int):
        message = f"look_ahead is a whole number, or None for all, not {type(count).__name__}"
        raise TypeError(message)
    if count < 1:
        message = f"look_ahead is at least 1, or None for all, not {count}"
        raise ValueError(message)


def _is_set(name: str) -> bool:
    return name in os.environ


def _number(name: str, default: float | str, *, above_zero: bool = False, most: float = MAX_DURATION_SECONDS) -> float:
    text = os.environ.get(name)
    if text is None:
        return float(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most or (above_zero and not value):
        least = "larger than 0" if above_zero else "0 or larger"
        message = f"{name} is {text!r:.80}: set it to a number, {least}, and at most {most:.0f}"
        raise ConfigurationError(message)
    return value


def _slots() -> tuple[dict[str, int | None], frozenset[str]]:
    """Read how many petitions of each group may run at once, and which groups are not to be there any more."""
    slots: dict[str, int | None] = {}
    forgotten = set()
    for name, count in _named(*_SLOTS):
        slots.pop(name, None)
        forgotten.discard(name)
        if count == FORGET:
            forgotten.add(name)
        else:
            slots[name] = None if count == ANY_NUMBER else _amount(name, count, *_SLOTS)
    return slots, frozenset(forgotten)


def _named(variable: str, form: str, option: str) -> Iterator[tuple[str, str]]:
    """Give names and what is set for each: ``NAME=N``, divided by commas; of one named twice the last counts."""
    for part in filter(None, os.environ.get(variable, "").split(",")):
        name, _, count = part.rpartition("=")
        if not name or not name.isprintable():
            raise _unfit(part, variable, form, option)
        yield name, count


def _amount(name: str, count: str, variable: str, form: str, option: str) -> int:
    if not (count.isascii() and count.isdecimal()) or len(count) > len(str(MAX_SLOTS)) or int(count) > MAX_SLOTS:
        raise _unfit(f"{name}={count}", variable, form, option)
    return int(count)


def _resources(*, detect: bool, configured: Configured) -> tuple[dict[str, Stock], set[str]]:
    """Give all resources, and the names of the resources that this start of the service states itself."""
    try:
        stated = read_resources(os.environ.get("ORCHA_RESOURCES", ""))
    except ValueError as error:
        raise ConfigurationError(f"{error}: see ORCHA_RESOURCES and orcha serve --resource") from None
    return (detected() if detect else {}) | configured.resources | stated, {*stated}


def _unfit(part: str, variable: str, form: str, option: str) -> ConfigurationError:
    return ConfigurationError(f"{form}, not {part!a:.80}: see {variable} and orcha serve {option}")


def _ends(variable: str, default: Iterable[str]) -> frozenset[str]:
    """Read addresses with ports, divided by commas, as the ends of a connection are named."""
    found = set()
    for part in filter(None, os.environ.get(variable, ",".join(default)).replace(" ", "").split(",")):
        host, _, port = part.rpartition(":")
        try:
            address = ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            address = None
        if address is None or not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) <= 65_535):
            message = (
                f"{variable} holds {part!r:.80}: set it to IP addresses and ports, as in 192.0.2.7:50000 or "
                "[2001:db8::7]:50000"
            )
            raise ConfigurationError(message)
        found.add(name_of((str(address), int(port))))
    return frozenset(found)
