"""The petition that is a command, and how it is tried again."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from orcha.interfaces.petition import Petition
from orcha.interfaces.policy import MAX_DURATION_SECONDS, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, ClassVar, Literal

    from orcha.interfaces.petition import ActionCallbackT

GIBIBYTE = 1 << 30
_GRACE_SECONDS, _DRAIN_SECONDS, _OK_CODES = 5.0, 10.0, (0,)
LEFTOVERS = ("end", "keep")
"""What becomes of processes that a command leaves behind: they are ended, or let go."""
OUTPUT_POLICIES = ("truncate", "kill", "rotate")
"""What happens beyond the output limit: the rest is dropped, the command is ended, or the oldest is dropped."""
_SIGNALS = frozenset(int(number) for number in signal.Signals)
_MAX_RETRIES = 1_000_000
MAX_PATTERN_CHARACTERS = 4_096
"""Characters of a regular expression, at most."""
_MAX_LIMIT_NUMBER = (1 << 62) - 1
"""Most bytes, processes or percent that can be asked for."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a petition whose attempt failed is tried again, and how long after.

    Where none of `codes`, `signals`, `timeout` and `output` is given, every end but success, a cancel and a program
    that cannot be executed is tried again; else those ends that one of them names. The pause before retry n (from 1)
    is ``delay * factor ** (n - 1)`` seconds, at most `longest`, varied at random by the share `jitter` of it, so that
    many that failed together do not come back together.

    A command has it as `CommandPetition.retry` or in its policy, any other petition as `Policy.retry`; an action fails
    with a final value that is not 0, by raising, or by its time limit, and has neither `signals` nor `output`.

    Example::

        Retry(times=5, codes=(75,), delay=2)

    Raises:
        ValueError, TypeError: a field is none of what it says.

    """

    times: int
    """How often it is run again at most."""
    codes: Collection[int] = ()
    """Exit codes, or final values of an action, after which it is run again."""
    signals: Collection[int] = ()
    """Signals whose death is tried again."""
    timeout: bool = False
    """Whether one of its time limits (wall, idle, CPU; of an action `Policy.timeout`) ended it."""
    output: str | None = None
    """A regular expression (`re`, of bytes as UTF-8) found in the last 64 KiB of either stream. It is looked for in a
    process of its own, for a second of a processor at most; what is not found by then counts as not there."""
    delay: float = 1.0
    """Seconds before the first retry."""
    factor: float = 2.0
    """How much longer each further pause is."""
    longest: float = 3600.0
    """Seconds no pause is longer than."""
    jitter: float = 0.1
    """Share of a pause, 0 to 1, by which it may be shorter or longer."""

    def __post_init__(self) -> None:
        """Check each field."""
        _whole("retry.times", self.times, least=0, most=_MAX_RETRIES)
        for name, numbers in (("codes", self.codes), ("signals", self.signals)):
            if not isinstance(numbers, Collection):
                raise TypeError(f"retry.{name} is a collection of whole numbers, not {type(numbers).__name__}")
            for number in numbers:
                _whole(f"retry.{name}", number, least=0, most=255)
        for name, least in (("delay", 0.0), ("factor", 1.0), ("longest", 0.0), ("jitter", 0.0)):
            _number(f"retry.{name}", getattr(self, name), least=least)
        if self.jitter > 1:
            raise ValueError(f"retry.jitter is between 0 and 1, not {self.jitter!r}")
        if self.output is not None:
            _check_pattern(self.output)


@dataclass(eq=False)
class CommandPetition(Petition):
    """A petition that runs a program, in processes of its own that outlive the service.

    It has no action: the service gives the program to a small process that watches over it, keeps its output and its
    limits also while the service is away, and leaves nothing of it behind. The channel gets ``(1, bytes)`` for what it
    writes to its standard output, ``(2, bytes)`` for its standard error, and as final value its exit code, or 128 plus
    the number of the signal that ended it. The time limit of an attempt is `Policy.timeout`.

    The program finds ``ORCHA_ID`` (the petition's id) and ``ORCHA_ATTEMPT`` (from 1) in its environment.

    A cancel sends `stop_signal`, then SIGTERM, then SIGKILL. A `terminate` that a class of this kind defines is not
    called: nothing of the plugin's runs where its processes are ended.

    Example::

        class Builds(Manager):
            def convert_to_petition(self, m):
                return CommandPetition(
                    m.id, m.extras["queue"], self.may_run, argv=["make", m.extras["target"]], cwd="/srv/build",
                    policy=Policy(timeout=3600),
                )

    """

    if TYPE_CHECKING:
        beside: ClassVar[tuple[int, float, int | None] | None]
    else:
        beside = None
        """The service's own: the first process of the command beside which this one runs, when that started, and the
        user as whom it runs, None for the user of the service."""

    action: Callable[[ActionCallbackT, Any], object] = field(
        init=False, compare=False, repr=False, default_factory=lambda: _no_action
    )
    """Never called: the command is what it does."""
    argv: Sequence[str | bytes] = field(kw_only=True, compare=False)
    """The program, found along ``PATH`` of `env` where it holds no slash, and its arguments."""
    cwd: str | bytes = field(default="/", kw_only=True, compare=False)
    """The folder it starts in: an absolute path."""
    env: Mapping[str, str | bytes] | Mapping[str | bytes, str | bytes] | None = field(
        default=None, kw_only=True, compare=False, repr=False
    )
    """Its whole environment, names and values as text (UTF-8, and as `os.environ` has what is none) or as bytes; None
    for that of the service."""
    umask: int | None = field(default=None, kw_only=True, compare=False)
    """Its file mode creation mask (umask(2)); None for that of the service."""
    stdin: bool = field(default=False, kw_only=True, compare=False)
    """Whether its standard input is a pipe that clients may write to; else it reads nothing."""
    tty: tuple[int, int] | None = field(default=None, kw_only=True, compare=False)
    """Rows and columns of the terminal (pty(7)) it gets; None for pipes."""
    merge: bool = field(default=False, kw_only=True, compare=False)
    """Whether its standard error is its standard output, as after ``2>&1``: what it writes to both keeps its order, and
    all of it comes as ``(1, bytes)``."""
    stop_signal: int = field(default=signal.SIGINT, kw_only=True, compare=False)
    """The signal a cancel begins with; TERM and KILL follow."""
    grace: float = field(default=_GRACE_SECONDS, kw_only=True, compare=False)
    """Seconds from that signal to KILL; TERM goes to all its processes after half of them."""
    warn: tuple[int, float] | None = field(default=None, kw_only=True, compare=False)
    """A signal, and how many seconds before `Policy.timeout` ends the attempt every process of it gets that signal; at
    the start where the time limit is shorter. None for no warning."""
    idle_timeout: float | None = field(default=None, kw_only=True, compare=False)
    """Seconds it may write nothing; None for no limit."""
    cpu_timeout: float | None = field(default=None, kw_only=True, compare=False)
    """Seconds of processor time it may use, all its processes together; None for no limit."""
    memory: int | None = field(default=None, kw_only=True, compare=False)
    """Bytes of memory all its processes may use; needs a writable cgroup."""
    pids: int | None = field(default=None, kw_only=True, compare=False)
    """How many processes it may have; needs a writable cgroup."""
    cpu_share: int | None = field(default=None, kw_only=True, compare=False)
    """Percent of one processor it may use; needs a writable cgroup."""
    pin: bool = field(default=False, kw_only=True, compare=False)
    """Whether it runs only on the processors that it gets as devices of the resource `cpu`, which its policy needs in
    whole numbers, as in ``Policy(needs={"cpu": 2})``; no petition that needs `cpu` gets them meanwhile. All processes
    that it starts are bound to them, and ``ORCHA_CPUS`` names them."""
    output_limit: int = field(default=GIBIBYTE, kw_only=True, compare=False)
    """Bytes of output that are kept."""
    output_policy: Literal["truncate", "kill", "rotate"] = field(default="truncate", kw_only=True, compare=False)
    """What happens beyond `output_limit`."""
    drain: float = field(default=_DRAIN_SECONDS, kw_only=True, compare=False)
    """Seconds after the end of its first process in which processes that hold its output open may go on writing."""
    leftovers: Literal["end", "keep"] = field(default="end", kw_only=True, compare=False)
    """What becomes of the processes that it leaves behind then: they get SIGTERM, and after `grace` SIGKILL; or they
    are let go, and are out of Orcha's hands from then on. After a cancel or a limit they are ended in any case."""
    ok_codes: Collection[int] = field(default=_OK_CODES, kw_only=True, compare=False)
    """Exit codes that count as success; the final value stays the code that it ended with."""
    secrets: Mapping[str, str | bytes | None] | None = field(default=None, kw_only=True, compare=False, repr=False)
    """Secrets by name, at most 16 of 64 KiB each. None as a value stands for what the client sent under that name in
    `Manager.send`. The command finds each value in a file of its own: ``ORCHA_SECRET_<NAME>`` is its path,
    ``ORCHA_SECRETS`` that of its folder. The file is in memory alone, is readable for the command's user alone, and is
    removed when the attempt is over."""
    retry: Retry | None = field(default=None, kw_only=True, compare=False)
    """When it is run again after it failed; None for never, or as its policy says."""

    def check(self) -> None:
        """Say what is wrong with it; the service asks before it takes the petition.

        Raises:
            ValueError, TypeError: a field is none of what it says; the message names it.

        """
        _check_argv(self.argv)
        _check_folder(self.cwd)
        if self.env is not None:
            _check_env(self.env)
        if self.umask is not None:
            _whole("umask", self.umask, least=0, most=0o777)
        if self.tty is not None:
            _check_size(self.tty)
        if type(self.stop_signal) not in (int, signal.Signals) or self.stop_signal not in _SIGNALS:
            raise ValueError(f"stop_signal is the number of a signal, not {shortened(self.stop_signal)}")
        if not isinstance(self.merge, bool):
            raise TypeError(f"merge is True or False, not {type(self.merge).__name__}")
        if self.leftovers not in LEFTOVERS:
            raise ValueError(f"leftovers is one of {', '.join(LEFTOVERS)}, not {self.leftovers!r:.80}")
        if self.warn is not None:
            _check_warning(self.warn)
        if self.tty is not None and self.policy is not None and self.policy.preemptible == "requeue":
            raise ValueError(
                "what is typed at a terminal is not kept for another attempt: preemptible is pause, or there is no tty"
            )
        if self.pin is not False:
            _check_pin(self.pin, {} if self.policy is None else self.policy.needs or {})
        self._check_given()
        self._check_limits()

    def _check_given(self) -> None:
        """Check the fields that most commands leave at their defaults: such a default itself needs no look."""
        if self.grace is not _GRACE_SECONDS:
            _number("grace", self.grace, least=0.0)
        if self.drain is not _DRAIN_SECONDS:
            _number("drain", self.drain, least=0.0)
        if self.ok_codes is not _OK_CODES:
            _check_ok(self.ok_codes)
        if self.output_limit is not GIBIBYTE:
            _whole("output_limit", self.output_limit, least=0, most=_MAX_LIMIT_NUMBER)

    def _check_limits(self) -> None:
        if self.secrets is not None:
            _check_secrets(self.secrets)
        if self.idle_timeout is not None:
            _number("idle_timeout", self.idle_timeout, least=0.001)
        if self.cpu_timeout is not None:
            _number("cpu_timeout", self.cpu_timeout, least=0.001)
        if self.memory is not None:
            _whole("memory", self.memory, least=1, most=_MAX_LIMIT_NUMBER)
        if self.pids is not None:
            _whole("pids", self.pids, least=1, most=_MAX_LIMIT_NUMBER)
        if self.cpu_share is not None:
            _whole("cpu_share", self.cpu_share, least=1, most=_MAX_LIMIT_NUMBER)
        if self.output_policy not in OUTPUT_POLICIES:
            raise ValueError(f"output_policy is one of {', '.join(OUTPUT_POLICIES)}, not {self.output_policy!r}")
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise TypeError(f"retry is a Retry or None, not {type(self.retry).__name__}")
        other = self.policy.retry if self.policy is not None else None
        if None not in (self.retry, other) and self.retry != other:
            raise ValueError("retry is given twice, and differs: as a field of the command and in its policy")


def _no_action(callback: object, petition: object) -> None:
    """Stand where other petitions have an action."""


def _check_argv(argv: object) -> None:
    if isinstance(argv, (str, bytes)) or not isinstance(argv, (list, tuple)):
        raise TypeError(f"argv is a list of str or bytes, not {type(argv).__name__}")
    if not argv:
        raise ValueError("argv is empty: it begins with the program")
    for position, argument in enumerate(argv):
        if not isinstance(argument, (str, bytes)):
            raise TypeError(f"argv[{position}] is a str or bytes, not {type(argument).__name__}")
        if b"\0" in _bytes(f"argv[{position}]", argument):
            raise ValueError(f"argv[{position}] holds a NUL byte")
    if not argv[0]:
        raise ValueError("argv[0] is empty: it is the program")


def _check_folder(folder: object) -> None:
    path = _bytes("cwd", folder) if isinstance(folder, (str, bytes)) else b""
    if not path.startswith(b"/") or b"\0" in path:
        raise ValueError(f"cwd is an absolute path, not {folder!r}")


def _check_env(env: object) -> None:
    if type(env) is not dict and not isinstance(env, Mapping):  # the second question takes as long as all the others
        raise TypeError(f"env is a dict of str or bytes, not {type(env).__name__}")
    for name, value in env.items():
        for word in (name, value):
            if not isinstance(word, (str, bytes)):
                raise TypeError(f"env holds str or bytes by str or bytes, not {type(word).__name__}")
        raw = _bytes("env", name)
        if not raw or b"=" in raw or b"\0" in raw or b"\0" in _bytes("env", value):
            raise ValueError(f"env: {name!r} cannot be in an environment (environ(7))")


def _check_secrets(secrets: object) -> None:
    from orcha.utils.secret_values import check

    if not isinstance(secrets, Mapping):
        raise TypeError(f"secrets is a dict of str or bytes by name, not {type(secrets).__name__}")
    check({name: b"-" if value is None else _secret(name, value) for name, value in secrets.items()})


def _secret(name: object, value: object) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"secrets holds str, bytes or None, and {name!r:.80} is {type(value).__name__}")
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _bytes(name: str, word: str | bytes) -> bytes:
    """Give the bytes that a command gets, whatever the locale here is; ValueError where a text stands for none."""
    try:
        return word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds a lone surrogate, which is no text and no byte: {word!r}") from error


def _check_ok(codes: object) -> None:
    if not isinstance(codes, (list, tuple, set, frozenset, range)):
        raise TypeError(f"ok_codes is a collection of exit codes, not {type(codes).__name__}")
    if not codes:
        raise ValueError("ok_codes is empty: name the exit codes that count as success, as in (0,)")
    for code in codes:
        _whole("ok_codes", code, least=0, most=255)


def _check_warning(warning: object) -> None:
    if not isinstance(warning, (list, tuple)) or len(warning) != 2:
        raise TypeError("warn is (number of a signal, seconds before the time limit)")
    number, seconds = warning
    if isinstance(number, bool) or number not in _SIGNALS:
        raise ValueError(f"warn begins with the number of a signal, not {shortened(number)}")
    if number in (signal.SIGKILL, signal.SIGSTOP):
        raise ValueError(f"warn cannot be {signal.Signals(number).name}, which no program can take: give USR1 or TERM")
    _number("warn", seconds, least=0.0)


def _check_pin(pin: object, needs: Mapping[str, Any]) -> None:
    from orcha.interfaces.needs import read

    if not isinstance(pin, bool):
        raise TypeError(f"pin is True or False, not {type(pin).__name__}")
    if "cpu" not in needs:
        raise ValueError("pin gives the command processors of its own: say how many, as in --need cpu=2")
    if read(needs["cpu"]).amount.denominator != 1:
        raise ValueError(f"pin gives the command whole processors, not cpu={needs['cpu']}: need cpu=1 or more")


def _check_size(size: object) -> None:
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise TypeError("tty is (rows, columns)")
    for number in size:
        _whole("tty", number, least=0, most=0xFFFF)


def _check_pattern(pattern: object) -> None:
    import re
    import warnings

    if not isinstance(pattern, str):
        raise TypeError(f"retry.output is a str, not {type(pattern).__name__}")
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"retry.output has {MAX_PATTERN_CHARACTERS} characters at most, not {len(pattern)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern.encode())
    except UnicodeEncodeError:
        raise ValueError("retry.output is no text: it holds a lone surrogate") from None
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"retry.output is no regular expression: {error}") from error


def _whole(name: str, value: object, *, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} is at least {least} and at most {most}, not {shortened(value)}")


def _number(name: str, value: object, *, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number, not {type(value).__name__}")
    if not least <= value <= MAX_DURATION_SECONDS:
        raise ValueError(
            f"{name} is a finite number of at least {least:g} and at most {MAX_DURATION_SECONDS}, "
            f"not {shortened(value)}"
        )


__all__ = ["LEFTOVERS", "OUTPUT_POLICIES", "CommandPetition", "Retry"]
