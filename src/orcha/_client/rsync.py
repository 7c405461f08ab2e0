"""``orcha run --upload`` by rsync(1), where both machines have it: only what differs from the last upload is sent.

rsync gets the names of the files, and chooses none itself, so that the copy is the same as an archive would make.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._protocol.relay_greeting import FarSide
    from orcha._protocol.ssh_place import SshPlace

PROGRAM = "rsync"
_OPTIONS = (
    "--links",
    "--perms",
    "--times",
    "--hard-links",
    "--modify-window=-1",  # else times within the same second are equal: rsync(1)
    "--chmod=ug-s,o-t,go-w",  # as an archive is unpacked
    "--no-implied-dirs",  # else the new folder gets the mode and the time of the folder here
    "--from0",
    "--files-from=-",
    "--ignore-missing-args",
    "--protect-args",
    "--info=progress2",
)
_VANISHED_CODE = 24
"""Files were removed while they were sent: they are left out of an archive, too."""
_MAX_SAID_BYTES = 4096
_READ_BYTES = 4096


def program() -> str | None:
    """Give the rsync of this machine; None where there is none."""
    import shutil

    return shutil.which(PROGRAM)


def copy(place: SshPlace, far: FarSide, folder: str, names: Iterable[str], progress: Callable[[int], None]) -> str:
    """Copy files into the folder that the login has made for them; give why that failed, empty where it did not.

    Files of the last upload that have not changed are copied there, and not sent again. `names` are paths from the
    folder here; `progress` takes how many bytes more were sent.
    """
    import shlex
    import subprocess
    import tempfile
    from functools import partial

    from orcha._client.ssh_process import ssh_command

    shell = shlex.join(ssh_command(place, "", asks=False)[:-2])
    earlier = [f"--copy-dest={far.earlier}"] if far.earlier else []
    words = [PROGRAM, *_OPTIONS, *earlier, f"--rsh={shell}", f"{folder}/", f"{place.bracketed_login}:{far.folder}/"]
    with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as said:
        for each in names:
            listed.write(b"./%s\0" % os.fsencode(each))  # a name that begins with # would be a comment
        listed.seek(0)
        try:
            process = subprocess.Popen(words, stdin=listed, stdout=subprocess.PIPE, stderr=said)
        except OSError as error:
            return str(error)
        with process:
            assert process.stdout is not None
            _follow(iter(partial(os.read, process.stdout.fileno(), _READ_BYTES), b""), progress)
        if process.returncode in {0, _VANISHED_CODE}:
            return ""
        said.seek(0)
        lines = said.read(_MAX_SAID_BYTES).decode(errors="replace").split("\n")
        return f"{PROGRAM} ended with {process.returncode}: {lines[0]}"


def _follow(pieces: Iterable[bytes], progress: Callable[[int], None]) -> None:
    r"""Tell how many bytes more were sent, as rsync writes it: lines that begin with all bytes so far.

    >>> _follow([b"\r      1,000  50%", b" 1MB/s\r     2,000 100%\r"], print)
    1000
    1000
    """
    text, told = b"", 0
    for piece in pieces:
        *lines, text = (text + piece).split(b"\r")
        for line in lines:
            number = line.split()[0].replace(b",", b"").replace(b".", b"") if line.split() else b""
            if number.isdigit() and int(number) > told:
                progress(int(number) - told)
                told = int(number)


__all__ = ["PROGRAM", "copy", "program"]
