"""What looks like a secret in a command line, made unreadable where the line is shown."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"
_NAME = r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key)[\w.-]*"
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|[^\s,;&'\"]+)"
_ASSIGNED = re.compile(rf"((?:^|[\s,;&?'\"(])-{{0,2}}{_NAME}\s?[=:]\s?){_VALUE}", re.IGNORECASE)
_PASSED = re.compile(rf"(--?{_NAME}\s+)(?!-){_VALUE}", re.IGNORECASE)
_WORD = re.compile(rf"(-{{0,2}}{_NAME}=).+", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile(rf"--?{_NAME}", re.IGNORECASE)
_ADDRESS = re.compile(r"(\w[\w+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)")
_HEADER = re.compile(r"(authorization:\s*(?:\w+\s+)?)(\S+)", re.IGNORECASE)


def words(command: Iterable[str]) -> list[str]:
    """Give the words of a command with passwords, tokens and keys hidden.

    >>> words(["curl", "--token", "abc", "--password=x", "https://me:pw@host/", "-d", "a=1"])
    ['curl', '--token', '***', '--password=***', 'https://me:***@host/', '-d', 'a=1']
    """
    shown: list[str] = []
    hide = False
    for word in command:
        if hide and not word.startswith("-"):
            shown.append(HIDDEN)
            hide = False
            continue
        hide = _OPTION.fullmatch(word) is not None
        whole = _WORD.fullmatch(word)
        shown.append(word if hide else whole[1] + HIDDEN if whole else text(word))
    return shown


def text(value: str) -> str:
    """Give text with what is assigned to a password, token or key hidden, and passwords in addresses.

    >>> text("API_KEY=abc PORT=7")
    'API_KEY=*** PORT=7'
    """
    value = _ADDRESS.sub(rf"\1{HIDDEN}", value)
    value = _HEADER.sub(rf"\1{HIDDEN}", value)
    value = _PASSED.sub(rf"\1{HIDDEN}", value)
    return _ASSIGNED.sub(rf"\1{HIDDEN}", value)
