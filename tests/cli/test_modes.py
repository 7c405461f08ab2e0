"""What a command switches on inside a terminal is switched off where the command cannot do that itself."""

from __future__ import annotations

import doctest
import json
import random
import signal
import subprocess

import pytest

from orcha._cli import modes
from orcha._cli.modes import Modes
from support.terminals import OnTerminal
from support.waiting import wait_for

AT_ONCE = 4
"""Commands that the service runs."""
VIM = (
    b"\x1b[?1049h\x1b[22;0;0t\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[1;24r\x1b[?12h\x1b[?25l"
    b"\x1b[2 q\x1b[?1002h"
)
VIM_OFF = b"\x1b[>4m\x1b[?1l\x1b[?2004l\x1b[?1004l\x1b[?12l\x1b[?1002l\x1b[?25h\x1b>\x1b[r\x1b[0 q\x1b[?1049l\x1b[23;0t"


def off(*pieces):
    known = Modes()
    for piece in pieces:
        known.feed(piece)
    return known.off()


def test_examples_are_true():
    assert doctest.testmod(modes).failed == 0


@pytest.mark.parametrize(
    ("on", "gives"),
    [
        (b"\x1b[?1049h", b"\x1b[?1049l"),
        (b"\x1b[?47h\x1b[?1047h", b"\x1b[?1047l"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?7l\x1b[?25l", b"\x1b[?7h\x1b[?25h"),
        (b"\x1b=", b"\x1b>"),
        (b"\x1b[4h", b"\x1b[4l"),
        (b"\x1b[2;5r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b(0", b"\x1b(B"),
        (b"\x0e", b"\x0f"),
        (b"\x1b[31m", b"\x1b[m"),
        (b"\x1b[0;1m", b"\x1b[m"),
        (b"\x1b[38;5;0m", b"\x1b[m"),
        (b"\x1b[38;2;0;0;0m", b"\x1b[m"),
        (b"\x1b[5 q", b"\x1b[0 q"),
        (b"\x1b[>1u\x1b[>3u", b"\x1b[<2u"),
        (b"\x1b[>1u\x1b[?1049h\x1b[>3u", b"\x1b[<1u\x1b[?1049l\x1b[<1u"),
        (b"\x1b]0;a title that has no end ?25l", b"\x18"),
        (b"\x1b]0;a title that has no end\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?1049", b"\x18"),
        (VIM, VIM_OFF),
    ],
)
def test_what_is_on_is_switched_off_and_nothing_else(on, gives):
    assert off(on) == gives
    assert off(b"text", b"\x1b[2Jtext", on) == gives
    assert off(*(bytes([byte]) for byte in on)) == gives
    known = Modes()
    known.feed(on)
    known.feed(gives)
    assert known.off() == b""


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"plain\r\n",
        b"\x1b[2J\x1b[H\x1b[5;5H\x1b[K\x1b[?6n\x1b[c\x1b7\x1b8\x1bM",
        b"\x1b[?25l\x1b[?25h",
        b"\x1b[?2004l\x1b[?1000l\x1b[?1049l",
        b"\x1b[31mred\x1b[m\x1b[1;32mgreen\x1b[0m\x1b[38;5;1m\x1b[0;0m",
        b"\x1b]0;\x1b\\\x1b]2;title ?25l\x07\x1bP$q\x1b\\\x1b_x\x1b\\",
        b"\x1b[?1049h\x1b[?25l\x1bc",
        b"\x1b[?1048h\x1b[?99999999999h\x1b[?h",
        b"\x1b[22;0t\x1b[23;0t\x1b[23;0t",
        b"\x1b\x1b[\x1b[?25\x18h",
        b"\x1b[" + b"1;" * 10_000,
        b"\xc2\x9b?25l",
    ],
)
def test_what_leaves_nothing_on_needs_nothing(text):
    assert off(text + b" end") == b""


def test_however_it_is_cut_the_same_is_known():
    chance = random.Random(7)
    parts = [VIM, b"\x1b]0;t\x07", b"\x1b[31m", b"text", b"\x1b(0", b"\x0e", b"\x1b[>1u", b"\x1b[?25h", b"\x1b[?1049l"]
    for _ in range(300):
        whole = b"".join(chance.choices(parts, k=12))
        cuts = sorted(chance.choices(range(len(whole)), k=8))
        pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert off(*pieces) == off(whole)


def test_what_goes_on_switches_it_on_again():
    known, again = Modes(), Modes()
    known.feed(VIM)
    again.feed(known.on())
    assert again.off().replace(b"\x1b[r", b"") == VIM_OFF.replace(b"\x1b[r", b"")


# --- through the command ---------------------------------------------------------------------------------------------


def state(service, name):
    return next((row for row in json.loads(service.ask("ps", "--all", "--json").stdout) if row["id"] == name), None)


def script():
    octal = "".join(f"\\{byte:03o}" for byte in VIM)
    return f"printf '{octal}READY'; exec sleep 1000"


@pytest.mark.parametrize("tty", [(), ("--tty",)])
def test_detached_from_it_the_terminal_is_as_it_was(service, tty):
    with OnTerminal(service.orcha("run", *tty, "--name", "it", "--", "sh", "-c", script()), service.environment) as it:
        it.until(b"READY")
        it.type(b"\x1dd")
        assert it.end() == 0
        after = it.seen.partition(b"READY")[2]
        assert after.startswith(VIM_OFF)
        assert b"orcha: detached" in after
        assert off(it.seen) == b""
        assert it.mode() == it.before
    assert service.ask("cancel", "it").returncode == 0


@pytest.mark.parametrize("verb", ["run", "attach"])
@pytest.mark.parametrize("tty", [(), ("--tty",)])
def test_cancelled_from_elsewhere_the_terminal_is_as_it_was(service, verb, tty):
    words = [*tty, "--name", "it", "--grace", "1s", "--", "sh", "-c", script()]
    if verb == "attach":
        assert service.ask("run", "--detach", *words).returncode == 0
    command = service.orcha(*(["run", *words] if verb == "run" else ["attach", "it"]))
    with OnTerminal(command, service.environment) as it:
        it.until(b"READY")
        assert service.ask("cancel", "it").returncode == 0
        assert it.end() == 130
        assert VIM_OFF in it.seen
        assert off(it.seen) == b""
        assert it.mode() == it.before


def test_a_time_limit_a_hang_up_and_a_quit_leave_the_terminal_as_it_was(service):
    words = ("--name", "it", "--idle-timeout", "1s", "--grace", "1s", "--", "sh", "-c", script())
    with OnTerminal(service.orcha("run", *words), service.environment) as it:
        assert it.end() == 124
        assert off(it.seen) == b""
    for number, code in ((signal.SIGHUP, 129), (signal.SIGQUIT, -signal.SIGQUIT)):
        words = ("--name", "it", "--", "sh", "-c", script())
        command = ["sh", "-c", 'ulimit -c 0; exec "$@"', "sh", *service.orcha("run", *words)]
        with OnTerminal(command, service.environment) as it:
            it.until(b"READY")
            it.process.send_signal(number)
            assert it.end() == code
            assert off(it.seen) == b""
            assert it.mode() == it.before
        assert service.ask("cancel", "it").returncode == 0


def test_stopped_it_leaves_the_terminal_and_comes_back(service):
    shell = 'set -m; "$@"; echo "stopped $?"; read -r _; fg > /dev/null; echo "ended $?"'
    command = service.orcha("run", "--name", "it", "--", "sh", "-c", script())
    with OnTerminal(["bash", "-c", shell, "-", *command], service.environment) as it:
        it.until(b"READY")
        it.type(b"\x1a")
        it.until(b"stopped 148")
        assert off(it.seen) == b""
        it.type(b"\n")
        wait_for(lambda: it.mode() != it.before, what="the terminal's mode changed again")
        it.until(b"\x1b[22;0t\x1b[?1049h")
        it.type(b"\x03")
        it.until(b"ended 130")
        assert it.end() == 0
        assert off(it.seen) == b""


def test_what_a_command_that_ends_by_itself_leaves_on_stays_on(service):
    """As where it had run here: some switch a mode on for that."""
    with OnTerminal(service.orcha("run", "--", "printf", r"\033[?25lx"), service.environment) as it:
        assert it.end() == 0
        assert off(it.seen) == b"\x1b[?25h"


@pytest.mark.parametrize("kind", ["dumb", "", "pipes"])
def test_a_terminal_without_escapes_and_a_pipe_get_none(service, kind):
    for name in "abcd":
        assert service.ask("run", "--detach", "--name", name, "--", "sleep", "1000").returncode == 0
    words = ("--name", "it", "--", "sh", "-c", "printf READY; exec sleep 1000")
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} if kind == "pipes" else {}
    term = "xterm" if kind == "pipes" else kind
    with OnTerminal(service.orcha("run", *words), service.environment, term, **options) as it:
        wait_for(lambda: (row := state(service, "it")) and row["state"] == "queued", what="it waits")
        assert service.ask("cancel", "a").returncode == 0
        if kind == "pipes":
            assert it.process.stdout.read(5) == b"READY"
        else:
            it.until(b"READY")
        assert service.ask("cancel", "it").returncode == 0
        assert it.end() == 130
        rest = it.process.stderr.read() if kind == "pipes" else b""
        assert b"\x1b" not in it.seen + rest
    for verb in (("ps", "--all"), ("logs", "a", "it"), ("show", "it"), ("stats",)):
        with OnTerminal(service.orcha(*verb), service.environment, term) as it:
            assert it.end() == 0
            assert kind == "pipes" or b"\x1b" not in it.seen
        assert "\x1b" not in service.run(*verb).stdout


# --- control characters ----------------------------------------------------------------------------------------------

ODD = "\x1b[31m\x9b1m\r\x07\u202ered"
SHOWN = r"\x1b[31m\x9b1m\r\x07\u202ered"


def test_ids_labels_and_reasons_never_move_the_cursor(service):
    """On a terminal and in a pipe alike: what comes of them as bytes on a terminal is what a pipe gets."""

    def both(*words, code=0):
        done = service.run(*words)
        assert done.returncode == code, done
        with OnTerminal(service.orcha(*words), service.environment | {"NO_COLOR": "1"}) as it:
            it.end()
        seen = it.seen.decode()
        for text in (done.stdout, done.stderr, seen):
            for control in ("\x1b[31m", "\x9b", "\x07", "\u202e", "\rred"):
                assert control not in text
        return done.stdout + done.stderr

    done = service.ask("run", "--detach", "--name", ODD, "--label", ODD, "--", "sleep", "1000")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{SHOWN}\n", "")
    assert SHOWN in both("run", "--name", ODD, "--", "true", code=125)
    assert SHOWN in both("ps").replace("\n", "")
    assert SHOWN in both("show", ODD)
    both("priority", ODD, "3", code=1)
    both("wait", "--timeout", "1ms", ODD, code=124)
    assert service.ask("cancel", ODD, "--why", ODD).returncode == 0
    assert SHOWN in both("show", ODD)
    both("attach", ODD, code=130)
    both("ps", "--all")
    both("logs", ODD, "other", code=1)
    both("cancel", ODD, code=1)
    both("show", "x" + ODD, code=1)
    both("attach", "x" + ODD, code=125)
    both("run", "--timeout", ODD, "true", code=2)
    both("run", "--" + ODD, code=2)
    both(ODD, code=127)
    both("core", ODD, code=127)
    both("ps", "--state", ODD, code=2)
