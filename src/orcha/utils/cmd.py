"""Running commands, and ending what they started."""

from __future__ import annotations

import os
import signal
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def run_command(
    cmd: str | Collection[str],
    on_start: Callable[[subprocess.Popen[str]], object] | None = None,
    on_output: Callable[[str], object] | None = None,
    on_finish: Callable[[int], object] | None = None,
    cwd: str | None = None,
) -> int:
    """Run a command in a session of its own, without a shell, and hand on its output line by line.

    Its standard error goes where its standard output goes; its standard input is empty. Where a callback raises, or the
    caller is interrupted, the command and its children are killed before that goes on.

    Args:
        cmd: the command and its arguments; a str is split as a shell would: `shlex.split`.
        on_start: called with the process before its output is read, for the callback of an action.
        on_output: called with each line, its end included; bytes that are no UTF-8 are replaced by U+FFFD.
        on_finish: called with the exit status.
        cwd: the directory to run in; None for the present one.

    Returns:
        The exit status; -N where signal N ended it: :attr:`subprocess.Popen.returncode`.

    Raises:
        ValueError: there is no command in `cmd`.
        OSError: it cannot be started; FileNotFoundError where it does not exist.

    Example::

        def action(callback, petition):
            petition.finish(run_command("make -j2", on_start=callback, on_output=petition.communicate))

    """
    command = _split(cmd)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        bufsize=1,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        if on_start is not None:
            on_start(process)
        for line in process.stdout or ():
            if on_output is not None:
                on_output(line)
        status = process.wait()
    except BaseException:
        kill_proc_tree(process.pid, sig=signal.SIGKILL)
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    if on_finish is not None:
        on_finish(status)
    return status


def _split(cmd: str | Collection[str]) -> list[str]:
    """Give a command's words."""
    if isinstance(cmd, str):
        import shlex

        words = shlex.split(cmd)
    else:
        words = list(cmd)
    if not words:
        error = "there is no command to run"
        raise ValueError(error)
    return words


def kill_proc_tree(pid: int, including_parent: bool = True, sig: int = signal.SIGTERM) -> bool:
    """Send a signal to a process's descendants, and then to itself.

    Args:
        pid: the process.
        including_parent: False to leave the process itself alone.
        sig: number of the signal.

    Returns:
        True where each got it or was gone already, False where this process may not signal one of them.

    Raises:
        ValueError: `pid` is None, 1 or less, or this process.

    """
    _check_pid(pid)
    import psutil

    try:
        parent = psutil.Process(pid)
        targets = parent.children(recursive=True)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
    allowed = True
    for process in [*targets, parent] if including_parent else targets:
        try:
            process.send_signal(sig)
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            allowed = False
    return allowed


def _check_pid(pid: object) -> None:
    """Raise for a value that psutil would take for the caller itself, and for pids that no caller can mean."""
    if not isinstance(pid, int) or pid <= 1 or pid == os.getpid():
        raise ValueError(f"not a process to signal: {pid!r}")


__all__ = ["kill_proc_tree", "run_command"]
