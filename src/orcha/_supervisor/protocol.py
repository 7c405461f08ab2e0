"""What the service and its shims have agreed on: versions, and how a command travels to a shim."""

from __future__ import annotations

from orcha._supervisor.link import MAX_FRAME_BYTES, STANDARD_CODEC, Head, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import CommandSpec

VERSIONS = (1, 1)
"""The oldest and the newest version of the protocol that this build speaks."""
_MAX_ESCAPE_BYTES = 12
"""The most bytes that stand for one character in JSON."""
_FIELDS_BYTES = 64 << 10
"""More bytes than all short fields of a specification have."""

_MAX_NUMBER = 1 << 62
_NUMBERS = {
    "umask": 0o777,
    "stop_signal": 64,
    "grace": _MAX_NUMBER,
    "timeout": _MAX_NUMBER,
    "idle_timeout": _MAX_NUMBER,
    "cpu_timeout": _MAX_NUMBER,
    "memory": _MAX_NUMBER,
    "pids": _MAX_NUMBER,
    "cpu_share": _MAX_NUMBER,
    "output_limit": _MAX_NUMBER,
    "drain": _MAX_NUMBER,
    "warn_signal": 64,
    "warn_seconds": _MAX_NUMBER,
    "beside_pid": _MAX_NUMBER,
    "beside_start": _MAX_NUMBER,
    "uid": (1 << 32) - 2,
}
"""The fields of a specification that are numbers, with the largest value of each."""


def common_version(theirs: object) -> int:
    """Return the newest version that both sides speak; raises ProtocolError where there is none."""
    if isinstance(theirs, list | tuple) and len(theirs) == 2:
        newest, oldest = min(VERSIONS[1], theirs[1]), max(VERSIONS[0], theirs[0])
        if newest >= oldest:
            return int(newest)
    raise ProtocolError(f"it speaks the versions {theirs}, this one {VERSIONS}")


def to_text(word: str | bytes) -> str:
    r"""Give bytes as they travel: what is no UTF-8 in them stands as lone surrogates (PEP 383), on every locale alike.

    >>> to_text(b"caf\xe9"), to_bytes("caf\udce9"), to_bytes("café")
    ('caf\udce9', b'caf\xe9', b'caf\xc3\xa9')
    """
    return word if isinstance(word, str) else word.decode("utf-8", "surrogateescape")


def to_bytes(word: str | bytes) -> bytes:
    """Return the bytes that such text stands for, whatever the locale of this process is. Raises UnicodeEncodeError."""
    return word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")


def readable(word: str | bytes) -> str:
    r"""Give a word for people: in quotes, and what is not printable, or no text, as its escape.

    >>> readable(b"caf\xe9\n")
    "'caf\\xe9\\n'"
    """
    text = to_text(word).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "'" + "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text) + "'"


def pack_spec(spec: CommandSpec) -> Head:
    """Return the JSON object of a specification; bytes that are no UTF-8 travel as lone surrogates.

    What is None does not travel: each build takes a field that is missing for that.
    """
    found: Head = {name: value for name, value in zip(spec._fields, spec, strict=True) if value is not None}
    found["channel"] = spec.channel.hex()
    found["argv"] = [to_text(one) for one in spec.argv]
    found["cwd"] = to_text(spec.cwd)
    if spec.uid is not None:  # a build that does not know the user would run it as its own: it gets no program
        found["argv"], found["argv_as_user"] = [], found["argv"]
    if spec.secrets is not None:  # nor may a build run it that does not know secrets, whatever it knows of users
        found["secrets"] = {name: len(value) for name, value in spec.secrets.items()}
        found["argv"], found["argv_with_secrets"] = [], [to_text(one) for one in spec.argv]
        found.pop("argv_as_user", None)
    return found


def pack_secrets(spec: CommandSpec) -> bytes:
    """Return the bytes that travel behind a specification: the values of its secrets, in the order of their names."""
    return b"" if spec.secrets is None else b"".join(spec.secrets.values())


def fits(spec: CommandSpec) -> bool:
    """Return whether a specification fits into a frame; Linux would not execute a larger one either (execve(2))."""
    size = sum(map(len, spec.argv)) + sum(map(len, spec.env)) + sum(map(len, spec.env.values()))
    behind = _FIELDS_BYTES + len(pack_secrets(spec))
    if size * _MAX_ESCAPE_BYTES + behind < MAX_FRAME_BYTES:
        return True
    return len(STANDARD_CODEC.encode(pack_spec(spec))) + behind < MAX_FRAME_BYTES


def unpack_spec(found: Head, raw: bytes = b"") -> CommandSpec:
    """Return the specification of such an object, without fields of newer builds. Raises ValueError.

    `raw` is what travels behind it.
    """
    try:
        return _spec_of(found, raw)
    except (AttributeError, LookupError, OverflowError, TypeError) as error:
        # A field is missing, or is of another kind.
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _spec_of(found: Head, raw: bytes) -> CommandSpec:
    from orcha._supervisor.contract import CommandSpec

    known = {name: value for name in CommandSpec._fields if (value := found.get(name)) is not None}
    for name in _NUMBERS.keys() & known:
        value = known[name]
        if not (isinstance(value, int | float) and 0 <= value <= _NUMBERS[name]):
            raise ValueError(f"{name} is {value!r}")
    if "uid" in known:
        known["uid"], known["argv"] = int(known["uid"]), found.get("argv_as_user", ())
    if "secrets" in known:
        known["secrets"], known["argv"] = _unpack_secrets(found["secrets"], raw), found["argv_with_secrets"]
    known["channel"] = bytes.fromhex(known["channel"])
    known["argv"] = tuple(known["argv"])
    if "processors" in known:
        known["processors"] = tuple(map(int, known["processors"]))
    known["tty"] = tuple(known["tty"]) if known.get("tty") else None
    return CommandSpec(**known)


def _unpack_secrets(sizes: Head, raw: bytes) -> dict[str, bytes]:
    found, begin = {}, 0
    for name, size in sizes.items():
        found[name] = raw[begin : begin + int(size)]
        begin += int(size)
    if begin != len(raw) or sum(map(len, found.values())) != begin:  # a negative size gives bytes twice
        raise ValueError("its secrets are not whole")
    return found
