"""What looks like a secret in a command line, made unreadable where the line is shown.

A name says whether what it stands before is a secret. Some names do so always (``password``, ``token``), some only
where they are the whole name or its last part (``pass``, ``pwd``, ``auth``), since other words have them inside
(``bypass``, ``author``), or because they mean something else before some values (``--pass 1``, ``PWD=/srv``).
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
_KEYS = r"(?:api|access|private)[-_]?key"
_END = r"(?-i:(?<=[a-z])(?=[A-Z])|(?![A-Za-z]))"
"""The end of a word inside a name: ``clientSecretText`` holds a secret, ``tokenizer`` no token."""
_ALWAYS = re.compile(rf".*(?:passw(?:or)?ds?|passphrase|secrets?|token|credentials?|{_KEYS}){_END}.*", re.IGNORECASE)
_BEFORE_PASS = r"(?:db|user|root|admin|mysql|pg|smtp|ssh|ftp|http|proxy|key|store)?"  # noqa: S105 - no password
_AT_END = re.compile(rf"(?:.*[-_.])?({_BEFORE_PASS}pass|pwd|auth)", re.IGNORECASE)
_ABOUT = re.compile(r"no[-_].*|.*[-_.](?:file|path|dir|url|uri|type|length|count|limit|size|ttl)", re.IGNORECASE)
"""Names that tell of a secret without giving it."""
_REFERENCE = re.compile(r"\\?\"?\$(?:\w+|\{\w+\})\\?\"?")
_METHOD = re.compile(
    r"none|basic|digest|bearer|ntlm|negotiate|kerberos|gssapi|sasl|plain|oauth2?|true|false|yes|no|on|off|[01]",
    re.IGNORECASE,
)
_FOLDER = re.compile(r"[\"']?(?:[/.~]|\$\().*", re.DOTALL)
_HARMLESS = {"pass": re.compile(r"\d"), "pwd": _FOLDER, "auth": _METHOD}

_NAME = r"(?<![\w.-])(?=[\w.-]*?(?:pass|pwd|auth|secret|token|credential|key))([\w.-]++)"
_VALUE = re.compile(r"\\+([\"']).*?\\+\1|'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\s,;&'\"]+", re.DOTALL)
_ASSIGNED = re.compile(rf"{_NAME}(\\*+[\"']?\s?[=:]\s?)", re.IGNORECASE)
_PASSED = re.compile(r"(?<!\S)(--?[a-zA-Z][\w.-]*+)(\s++)(?!-)")
_WORD = re.compile(r"(-{0,2}[\w.-]+)=(.+)", re.DOTALL)
_OPTION = re.compile(r"--?[\w.-]+")
_ADDRESS = re.compile(r"(?<![\w+.-])(\w[\w+.-]*+://[^\s/:@]*+:)([^\s/?#'\"]+)(?=@)")
_HEADER = re.compile(r"(authorization\\*+[\"']?\s*+[:=]\s*+\\*+[\"']?(?:\w++\s++)?)([^\s'\"\\]+)", re.IGNORECASE)
_USER = re.compile(r"((?<!\S)(?:-u|--(?:proxy-)?user)[\s=]++[\"']?)(?!\d++:\d++(?!\S))([^\s:\"']++:)(?!//)[^\s\"']+")
_USER_OPTIONS = frozenset(("-u", "--user", "--proxy-user"))
_PREFIXED = re.compile(r"pass:.+", re.DOTALL)
"""As openssl(1) takes a password."""
_GLUED = {"curl": re.compile(r"(-u[^:]+:)(?!//).+"), "sshpass": re.compile(r"(-p).+")} | dict.fromkeys(
    ("mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump"), re.compile(r"(-p).+")
)
"""Options of some programs that have a secret in the same word."""
SIGN = re.compile(r"pass|pwd|auth|secret|token|credential|key|://|-u|user|curl|mysql|mariadb", re.IGNORECASE)
"""What is found in every command in which something is hidden: where it is not, there is nothing to look for."""


def words(command: Iterable[str]) -> list[str]:
    """Give the words of a command with passwords, tokens and keys hidden.

    >>> words(["curl", "--token", "abc", "--password=x", "https://me:pw@host/", "-u", "me:pw", "-d", "a=1"])
    ['curl', '--token', '***', '--password=***', 'https://me:***@host/', '-u', 'me:***', '-d', 'a=1']
    """
    command = list(command)
    if SIGN.search(" ".join(command)) is None:
        return command
    shown: list[str] = []
    option = ""
    glued = None
    for word in command:
        if not shown:
            glued = _GLUED.get(word.rpartition("/")[2])
        if option and not word.startswith("-"):
            shown.append(_after(option, word))
            option = ""
            continue
        option = word if _OPTION.fullmatch(word) else ""
        match = glued.fullmatch(word) if glued is not None else None
        if match is not None:
            shown.append(match[1] + HIDDEN)
            option = ""
        else:
            shown.append(word if option else _alone(word))
    return shown


def text(value: str) -> str:
    """Give text with what is assigned to a password, token or key hidden, and passwords in addresses.

    >>> text("API_KEY=abc PORT=7")
    'API_KEY=*** PORT=7'
    """
    value = _ADDRESS.sub(rf"\1{HIDDEN}", value)
    value = _HEADER.sub(rf"\1{HIDDEN}", value)
    value = _USER.sub(rf"\1\2{HIDDEN}", value)
    return _hide(_ASSIGNED, _hide(_PASSED, value))


def _after(option: str, word: str) -> str:
    """Give the word that follows an option."""
    if option in _USER_OPTIONS:
        return text(f"{option} {word}").removeprefix(f"{option} ")
    return HIDDEN if _is_secret(option, word) else _alone(word)


def _alone(word: str) -> str:
    """Give a word that no option before it describes."""
    if _PREFIXED.fullmatch(word):
        return f"pass:{HIDDEN}"
    whole = _WORD.fullmatch(word)
    return f"{whole[1]}={HIDDEN}" if whole and _is_secret(whole[1], whole[2]) else text(word)


def _hide(pattern: re.Pattern[str], whole: str) -> str:
    """Give text with the secrets hidden that follow a name and what is between: the pattern's two groups."""
    parts: list[str] = []
    place = 0
    while found := pattern.search(whole, place):
        parts.append(whole[place : found.end()])
        place = found.end()
        prose = found[2].lstrip().startswith(":")  # as in "all tests pass: yes"
        value = _VALUE.match(whole, place) if _may_be_secret(found[1], always=prose) else None
        if value is not None and _is_secret(found[1], value[0]):
            parts.append(HIDDEN)
            place = value.end()
    return "".join(parts) + whole[place:]


def _may_be_secret(name: str, *, always: bool = False) -> bool:
    """Tell whether a name may stand before a secret; with `always` only where it has no other meaning."""
    name = name.lstrip("-")
    return not _ABOUT.fullmatch(name) and bool(_ALWAYS.fullmatch(name) or (not always and _AT_END.fullmatch(name)))


def _is_secret(name: str, value: str) -> bool:
    """Tell whether a value is a secret, by its name, and by itself where the name has other meanings."""
    if not _may_be_secret(name) or _REFERENCE.fullmatch(value) or value == HIDDEN:
        return False
    name = name.lstrip("-")
    last = _AT_END.fullmatch(name)
    if last is None or _ALWAYS.fullmatch(name):
        return True
    harmless = _HARMLESS.get(last[1].lower())
    is_qualified = last[1].lower() == "pwd" and len(name) > len("pwd")  # MYSQL_PWD names no folder
    return harmless is None or is_qualified or not harmless.fullmatch(value)
