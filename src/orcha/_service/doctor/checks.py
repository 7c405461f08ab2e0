"""The faults that `orcha doctor` finds: a table of functions of the facts."""

from __future__ import annotations

import os
from typing import NamedTuple

from orcha._processes.lock import mode_problem, owner_problem
from orcha._store.disk_reserve import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orcha._service.doctor.facts import DoctorFacts, RunningProgram

MAX_CLOCK_LAG_SECONDS = 60.0
"""Seconds; a clock that is further behind the newest file of the state was set wrongly."""
MIN_EASY_BYTES = 256 << 20
"""Free bytes below which the disk is called full soon."""
_LIMITS = frozenset(("memory", "pids", "cpu_share"))
_MEBIBYTE_BITS = 20


class Check(NamedTuple):
    """One kind of fault."""

    name: str
    find: Callable[[DoctorFacts], Iterable[str]]
    """Gives a line for each such fault, with the cure."""
    is_note: bool = False
    """Whether everything works in spite of the fault: the exit code is 0 all the same."""


class Finding(NamedTuple):
    """A fault that was found, or a note."""

    check: str
    text: str
    is_note: bool


def examine(facts: DoctorFacts) -> list[Finding]:
    """Give what all checks find, in the order of the table."""
    return [Finding(check.name, text, check.is_note) for check in CHECKS for text in check.find(facts)]


def _refused(name: str) -> Callable[[DoctorFacts], Iterable[str]]:
    """Give the check of what a start, or a client, is refused for, in the same words."""

    def find(facts: DoctorFacts) -> Iterator[str]:
        if text := facts.refusals.get(name):
            yield text

    return find


# --- the folder and the disk -----------------------------------------------------------------------------------------


def _owner(facts: DoctorFacts) -> Iterator[str]:
    if facts.found is None or not facts.owner_is_known:
        return
    text = owner_problem(facts.found, facts.uid, facts.folder)
    if text is not None:
        yield text


def _nobodys(facts: DoctorFacts) -> Iterator[str]:
    if facts.found is not None and not facts.owner_is_known:
        yield (
            f"{facts.folder} belongs to uid {facts.found.st_uid}, and no user of this machine has that uid: give it to"
            f" the user of the service (chown -R USER {facts.folder}), or make that user again"
        )


def _permissions(facts: DoctorFacts) -> Iterator[str]:
    if facts.found is not None and owner_problem(facts.found, facts.uid, facts.folder) is None:
        text = mode_problem(facts.found, facts.folder) or facts.refusals.get("permissions")
        if text is not None:
            yield text


def disk_figures(facts: DoctorFacts) -> dict[str, int | None]:
    """Give the bytes that say how full the disk is: what is free, what Orcha has, and where refusals begin."""
    space = facts.space
    return {
        "free": None if space is None else space.f_bavail * space.f_frsize,
        "database": facts.database_bytes,
        "output": facts.output_bytes,
        "refuses_below": Limits().watermark,
        "reserve": Limits().ballast,
    }


def _in_use(facts: DoctorFacts) -> str:
    database, output = facts.database_bytes >> _MEBIBYTE_BITS, facts.output_bytes >> _MEBIBYTE_BITS
    return f"Orcha's database has {database} MiB there and its output {output} MiB"


def _filling(facts: DoctorFacts) -> Iterator[str]:
    space, least = facts.space, Limits().watermark
    if space is None or space.f_flag & os.ST_RDONLY:
        return
    free = space.f_bavail * space.f_frsize
    if least <= free < MIN_EASY_BYTES:
        yield (
            f"{free >> _MEBIBYTE_BITS} MiB are free on the disk of {facts.folder}, and {_in_use(facts)}: below"
            f" {least >> _MEBIBYTE_BITS} MiB no new petition is taken; make room, or set"
            " ORCHA_KEEP_BYTES to what output may take"
        )


def _full(facts: DoctorFacts) -> Iterator[str]:
    space, least = facts.space, Limits().watermark
    if space is None or space.f_flag & os.ST_RDONLY:
        return
    free = space.f_bavail * space.f_frsize
    if free < least:
        yield (
            f"{free >> _MEBIBYTE_BITS} MiB are free on the disk of {facts.folder}, and below"
            f" {least >> _MEBIBYTE_BITS} MiB no new petition is taken; what runs goes on, and"
            f" {Limits().ballast >> _MEBIBYTE_BITS} MiB are reserved for its ends. {_in_use(facts)}: make room there,"
            " have ended petitions forgotten (orcha rm), or set ORCHA_KEEP_BYTES"
        )
    elif space.f_files and not space.f_favail:
        yield f"the disk of {facts.folder} has room for no more files (df -i): remove some there"


def _read_only(facts: DoctorFacts) -> Iterator[str]:
    if facts.space is not None and facts.space.f_flag & os.ST_RDONLY:
        yield (
            f"the disk of {facts.folder} is read-only: mount that disk for writing, or set ORCHA_HOME to another folder"
        )


def _clock(facts: DoctorFacts) -> Iterator[str]:
    behind = facts.written - facts.now
    if behind > MAX_CLOCK_LAG_SECONDS:
        yield (
            f"the clock is {behind:.0f} s behind {facts.written_name}, which was written before: set the clock"
            " (timedatectl), else times that are kept lie in the future"
        )


# --- who serves ------------------------------------------------------------------------------------------------------


def _dead_service(facts: DoctorFacts) -> Iterator[str]:
    if facts.dead_socket and facts.holder is None:
        yield (
            f"{facts.dead_socket} is the socket of a service that ended without stopping: start it again (orcha"
            " serve --background), which goes on with what it kept"
        )


def _silent(facts: DoctorFacts) -> Iterator[str]:
    if facts.holder is not None and facts.silence:
        yield (
            f"the service ({facts.holder_text}) holds {facts.folder}/lock and does not answer ({facts.silence}): see"
            f" what it does; where nothing else helps, end it (kill -9 {facts.holder or 'PID'}) and start it again"
        )


def _two_services(facts: DoctorFacts) -> Iterator[str]:
    if len(facts.holders) > 1:
        pids = ", ".join(map(str, facts.holders))
        yield (
            f"{len(facts.holders)} services (pids {pids}) serve {facts.folder}, since its lock file was removed: stop"
            " all of them (kill PID), and start one"
        )


def _client(facts: DoctorFacts) -> Iterator[str]:
    yield from _refused("client's version")(facts)
    theirs = None if facts.answer is None else facts.answer.get("version")
    if theirs is not None and theirs != facts.version:
        yield (
            f"the service runs orcha {theirs}, and this is orcha {facts.version}: use the orcha of the service, or"
            " change over (orcha stop, orcha serve)"
        )


def _configuration(facts: DoctorFacts) -> Iterator[str]:
    known = None if facts.answer is None else facts.answer.get("configuration")
    fault = (known or {}).get("fault") or facts.refusals.get("configuration")
    if fault:
        yield f"{fault}: mend it, and orcha reload"


def _nobodys_settings(facts: DoctorFacts) -> Iterator[str]:
    yield from facts.nobodys_settings


def _certificate(facts: DoctorFacts) -> Iterator[str]:
    yield from _refused("certificate")(facts)
    keys = None if facts.answer is None else facts.answer.get("unproved_keys")
    if keys:
        yield (
            f"certificates prove the keys {', '.join(keys)}, and the service asks its clients for none: start it with a"
            " port and --tls-client-ca FILE (tls.client_ca), or revoke them (orcha key revoke)"
        )


def _managers(facts: DoctorFacts) -> Iterator[str]:
    for module, problem in facts.plugins:
        yield f"the plugin {module} cannot be used: {problem}: mend it, or uninstall it"
    known = {problem for _, problem in facts.plugins}
    broken = {} if facts.answer is None else facts.answer.get("broken_managers") or {}
    for name, problem in broken.items():
        if problem not in known:
            yield f"{name} is not served: {problem}: mend it, and start the service again"


# --- what runs, and what lies there ----------------------------------------------------------------------------------


def _interpreter(facts: DoctorFacts) -> Iterator[str]:
    other = None if facts.answer is None else facts.answer.get("other_build")
    if other:
        yield f"{other}: orcha stop and orcha serve change over to what is installed"
    programs = ([facts.service] if facts.service else []) + list(facts.supervisors)
    gone: dict[str, list[RunningProgram]] = {}
    for each in programs:
        if each.interpreter_is_gone:
            gone.setdefault(each.interpreter, []).append(each)
    for path, those in gone.items():
        yield (
            f"{path}, which {_pids(those)} runs, was removed or replaced: start the service again (orcha stop, orcha"
            " serve)"
        )


def _supervisor(facts: DoctorFacts) -> Iterator[str]:
    others = [each for each in facts.supervisors if each.program_is_other]
    if others:
        yield (
            f"commands are watched by {_pids(others)} of another build ({others[0].program}): they go on, and the next"
            " ones belong to the installed build once these have ended, or the service has been started again"
        )


def _pids(programs: list[RunningProgram]) -> str:
    more = len(programs) - 1
    return f"pid {programs[0].pid}" + (f" and {more} more" if more else "")


# --- the machine -----------------------------------------------------------------------------------------------------


def _cgroups(facts: DoctorFacts) -> Iterator[str]:
    missing = sorted(_LIMITS - facts.limits)
    if missing:
        names = ", ".join(missing)
        yield (
            f"no cgroup is writable here for {names}: commands that ask for such limits are refused; have systemd hand"
            " cgroups to the service (Delegate=yes)"
        )


def _login_limits(facts: DoctorFacts) -> Iterator[str]:
    if facts.no_login_limits:
        yield (
            f"commands of users have the limits of the service, and not those of their logins (limits.conf):"
            f" {facts.no_login_limits}; where this machine has PAM, orcha install-units --system writes what is missing"
        )


def _inotify(facts: DoctorFacts) -> Iterator[str]:
    if not facts.has_inotify:
        yield (
            f"this user has all inotify instances that it may have ({facts.max_inotify}), so commands that watch files"
            " fail: sysctl fs.inotify.max_user_instances=1024"
        )


def _hidden(facts: DoctorFacts) -> Iterator[str]:
    if facts.hidden:
        yield facts.hidden


CHECKS = (
    Check("owner", _owner),
    Check("nobody's", _nobodys),
    Check("permissions", _permissions),
    Check("network disk", _refused("network disk")),
    Check("full disk", _full),
    Check("read-only disk", _read_only),
    Check("clock", _clock),
    Check("lost state", _refused("lost state")),
    Check("newer schema", _refused("newer schema")),
    Check("damaged database", _refused("damaged database")),
    Check("key file", _refused("key file")),
    Check("key mismatch", _refused("key mismatch")),
    Check("settings", _refused("settings")),
    Check("configuration", _configuration),
    Check("certificate", _certificate),
    Check("limits", _refused("limits")),
    Check("taken port", _refused("taken port")),
    Check("dead service", _dead_service),
    Check("silent service", _silent),
    Check("two services", _two_services),
    Check("client's version", _client),
    Check("plugins", _managers),
    Check("interpreter", _interpreter),
    Check("supervisor", _supervisor),
    Check("inotify", _inotify),
    Check("filling disk", _filling, is_note=True),
    Check("nobody's settings", _nobodys_settings, is_note=True),
    Check("cgroups", _cgroups, is_note=True),
    Check("login limits", _login_limits, is_note=True),
    Check("hidden processes", _hidden, is_note=True),
)
"""What is looked for; the table of docs/serving.md names the same."""
