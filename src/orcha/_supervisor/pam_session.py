"""Opens the session of a login by PAM, so that the process has the limits of that login: pam(3), pam_limits(8).

Orcha calls the three functions that it needs of libpam itself. The packages that do so (pamela, python-pam) look for
the library with ldconfig(8) or a compiler, and lie where a supervisor, which sees the standard library alone, finds
nothing.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SERVICE = "orcha"
SERVICE_FILE = "/etc/pam.d/orcha"
"""Where PAM looks for this service. Without the file PAM would open the session of the service `other`."""
LIBRARY = "libpam.so.0"
_SUCCESS = 0
_CONVERSATION_FAILED_CODE = 19  # PAM_CONV_ERR of <security/_pam_types.h>
_ERROR_MESSAGE, _INFORMATION = 3, 4
"""The messages of a module that want no answer: PAM_ERROR_MSG, PAM_TEXT_INFO."""


class SessionRefusedError(Exception):
    """PAM opens no session for this user; the text says why."""


class _ModuleMessage(ctypes.Structure):
    """`struct pam_message`, pam_conv(3)."""

    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


_Talk = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.POINTER(_ModuleMessage)), ctypes.c_void_p, ctypes.c_void_p
)


class _ModuleConversation(ctypes.Structure):
    """`struct pam_conv`."""

    _fields_ = (("talk", _Talk), ("data", ctypes.c_void_p))


def missing() -> str | None:
    """Give what is missing for sessions; None where nothing is."""
    if not os.path.exists(SERVICE_FILE):
        return f"there is no {SERVICE_FILE}"
    try:
        _library()
    except OSError:
        return f"there is no {LIBRARY}"
    return None


def open_session(user: str) -> None:
    """Have the limits of this user's login from now on; raises SessionRefusedError.

    This process is root's, and nobody closes the session: it is meant to end soon.
    """
    library = _library()
    said: list[str] = []
    conversation = _ModuleConversation(_Talk(lambda *given: _listen(said, *given)), None)
    handle = ctypes.c_void_p()
    code = library.pam_start(SERVICE.encode(), os.fsencode(user), ctypes.byref(conversation), ctypes.byref(handle))
    for step in (library.pam_acct_mgmt, library.pam_open_session):
        code = code or step(handle, 0)
    if code != _SUCCESS:
        library.pam_strerror.restype = ctypes.c_char_p
        why = (library.pam_strerror(handle, code) or b"").decode("utf-8", "replace")
        raise SessionRefusedError(f"PAM opens no session ({SERVICE_FILE}): {' '.join((*said, why))}")


def _listen(said: list[str], count: int, messages: Any, _answers: object, _data: object) -> int:
    """Note what modules say. A module that asks for something gets no answer, since nobody is there."""
    for index in range(count):
        message = messages[index].contents
        if message.style not in {_ERROR_MESSAGE, _INFORMATION}:
            return _CONVERSATION_FAILED_CODE
        said.append((message.text or b"").decode("utf-8", "replace").strip())
    return _SUCCESS


def _library() -> ctypes.CDLL:
    """Load libpam; raises OSError."""
    return ctypes.CDLL(LIBRARY)


__all__ = ["LIBRARY", "SERVICE", "SERVICE_FILE", "SessionRefusedError", "missing", "open_session"]
