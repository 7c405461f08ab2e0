"""Every message that people meet: what it says, in whose words, and what it tells them to do."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from typing import NamedTuple

import pytest

from cli import messages
from orcha._protocol.endpoint import unusable
from orcha.bin import main
from support.waiting import wait_for

AT_ONCE = 1
LONG = "x" * 300


def read_aloud(text):
    """Hold what holds for every message: one line in plain words, without the names of what is inside."""
    assert text.isprintable(), text
    assert text == text.strip(), text
    assert not re.search(r"\b[A-Z]\w*(?:Error|Exception)\b|Traceback|Errno", text), text
    assert not re.search(r"convert_to_petition|on_start|on_finish|\b(?:argv|cwd|umask)\b|\bNone\b", text), text
    assert not re.search(r"\b(?:invalid|illegal|bad|oops|sorry)\b", text, re.IGNORECASE), text
    assert not text.endswith((":", ",", ";", "...", "!")), text
    first = text.removeprefix("orcha: ")
    assert first[:1].islower() or first[:1] in "{-'\"/.0123456789" or re.match(r"ORCHA_|[A-Z]\w* ", first), text


# --- all of them, as they stand in the source ------------------------------------------------------------------------

INSIDE = {
    ("RefusedError", "status {}"),  # the service's own: the client has a text for each status
    ("_say", "usage: orcha core VERB ...\n\nbuilt-in verbs:{}"),  # a page of help
}
CURE = re.compile(
    r"\b(?:give|name|write|set|run|serve|remove|put|choose|stop|start|move|copy|see|make|leave|point|try|wait|cancel|connect|"
    r"need|chmod|install|Give|Remove|dial|end|have it started|retry|another --port|orcha [a-z-]+)\b"
)


WITH_A_CURE = (
    messages.ABOUT_OPTIONS | messages.ABOUT_THE_MACHINE | {"OrchaConnectionError", "AuthenticationError"}
) - {
    *("unusable", "StoreDamaged", "StoreBroken")  # the system's error says what helps; the start of a service does
}
OF_AUTHORS = re.compile(r"(?:look_ahead|on_hook_timeout) is|(?:\{\}[: ]*)+$")
"""Arguments of a plugin's author, and texts that others have written."""
NOTHING_TO_DO = {
    "--when cannot be read, {}",  # what follows points at the place
    "this client was closed",
    "no service for {} s{}: {}",  # the last of these says what to do
    "line {} of the script, {}: {}",  # the last of these says what to do
    "the service closed the connection",
    "the service gives no list",
    "the service was started anew, and the attempt is over",
    "the service went away before it answered; it may have done it",
}


@pytest.fixture(scope="module")
def every():
    """Give each message once, with what takes it: not at the import, for which each process of a test run would pay."""
    return sorted({(message.by, message.text.strip()) for message in messages.every()})


def test_there_are_many(every):
    assert len(every) > 100
    assert {by for by, _ in every} >= {"ArgumentTypeError", "ConfigurationError", "refuse", "tell", "note"}


def test_every_message_can_be_read_aloud(every):
    for message in every:
        if message not in INSIDE and not OF_AUTHORS.match(message[1]):
            read_aloud(message[1])


def test_what_people_can_mend_is_told_with_what_to_do(every):
    mended = {text for by, text in every if by in WITH_A_CURE and not OF_AUTHORS.match(text)} - NOTHING_TO_DO
    assert len(mended) > 50
    assert [text for text in sorted(mended) if not CURE.search(text)] == []


# --- wrong options: 2, before anything is asked for ------------------------------------------------------------------


class Wrong(NamedTuple):
    """A wrong command line, and what is said."""

    words: str
    line: str


DURATION = "is no duration: write it as 90, 90s, 5m, 2h or 1h30m"
WRONG = [
    Wrong("run", "orcha: there is no command to run: orcha run -- COMMAND"),
    Wrong("run --", "orcha: there is no command to run: orcha run -- COMMAND"),
    Wrong("run -- ''", "orcha: there is no command to run: orcha run -- COMMAND"),
    Wrong("run -g '' true", "argument -g/--group: '' is no name: give 1 to 200 characters"),
    Wrong(f"run -g {LONG} true", f"argument -g/--group: '{LONG[:40]}'... is no name: give 1 to 200 characters"),
    Wrong("run --once '' true", "argument --once: '' is no name: give 1 to 200 characters"),
    Wrong(f"run --label {LONG} true", f"argument --label: '{LONG[:40]}'... has 300 characters: give at most 200"),
    Wrong("run --name '' true", "argument --name: '' is no id: give 1 to 1024 bytes"),
    Wrong("run --name \udcff true", "argument --name: '\\udcff' is no text: give it in UTF-8"),
    Wrong("run --timeout x true", f"argument --timeout: 'x' {DURATION}"),
    Wrong("run --timeout=-5 true", f"argument --timeout: '-5' {DURATION}"),
    Wrong("run --timeout nan true", f"argument --timeout: 'nan' {DURATION}"),
    Wrong(
        "run --idle-timeout 0 true",
        "argument --idle-timeout: '0' is no duration above zero: write it as 90, 90s, 5m, 2h or 1h30m",
    ),
    Wrong("run --idle-timeout 9999999d true", "argument --idle-timeout: '9999999d' is too long: give at most 36500d"),
    Wrong("run --memory much true", "argument --memory: 'much' is no size: write it as 65536, 512M or 2G"),
    Wrong("run --output-limit 9e9T true", "argument --output-limit: '9e9T' is too much: give less than 4194304T"),
    Wrong("run --pids x true", "argument --pids: 'x' cannot be: give a whole number of at least 1"),
    Wrong("run --pids 0 true", "argument --pids: '0' cannot be: give a whole number of at least 1"),
    Wrong(
        "run --cpu-share 99999999999999999999 true",
        "argument --cpu-share: '99999999999999999999' cannot be: give a whole number from 1 to 9007199254740992",
    ),
    Wrong("run --stop-signal FOO true", "argument --stop-signal: 'FOO' is no signal: write it as INT, TERM or 15"),
    Wrong("run --priority high true", "argument -p/--priority: 'high' is no priority: give a number, as 5, -5 or 0.5"),
    Wrong("run --priority nan true", "argument -p/--priority: 'nan' is no priority: give a number, as 5, -5 or 0.5"),
    Wrong("run --need gpu true", "argument --need: 'gpu' is no need: write it as gpu=1, gpu=0.5 or gpu=1@mem>=20G"),
    Wrong("run --need gpu=0 true", "argument --need: '0' cannot be: give a whole number of at least 1"),
    Wrong(
        "run --need gpu=x true",
        "argument --need: 'x' is no need: give an amount above zero, as in 1, 0.5 or 4G, and what a device must have,"
        " as in 1@mem>=20G",
    ),
    Wrong("run --need a=1 --need a=2 true", "orcha: --need a is given twice: give it once, with the sum"),
    Wrong(
        "run --env =x true",
        "argument -e/--env: '=x' is no variable: write it as NAME=VALUE, or NAME for its value here",
    ),
    Wrong("run --cwd '' true", "argument -C/--cwd: the folder has no name: give a path, or leave the option out"),
    Wrong("run --retry 0 true", "argument --retry: '0' cannot be: give a whole number from 1 to 1000000"),
    Wrong("run --retry 9999999 true", "argument --retry: '9999999' cannot be: give a whole number from 1 to 1000000"),
    Wrong("run --warn USR1 true", "argument --warn: 'USR1' is no warning: write it as USR1@5m, signal and time before"),
    Wrong("run --warn X@5m true", "argument --warn: 'X' is no signal: write it as INT, TERM or 15"),
    Wrong("run --warn USR1@x true", f"argument --warn: 'x' {DURATION}"),
    Wrong("run --warn USR1@5m true", "orcha: --warn comes before the time limit of --timeout: give --timeout T too"),
    Wrong(
        "run --retry 1 --retry-on 300 true",
        "argument --retry-on: '300' is no end of a command: "
        "give an exit code up to 255, a signal as SIGKILL, or timeout",
    ),
    Wrong(
        "run --retry-on 3 true",
        "orcha: the options --retry-... say when and how it is tried again: give --retry N, how often at most, too",
    ),
    Wrong(
        "run --retry 1 --retry-factor 0.5 true",
        "argument --retry-factor: '0.5' is no factor: give a number of at least 1, as 2 or 1.5",
    ),
    Wrong(
        "run --if-exists attach true",
        "orcha: --if-exists says what happens where there is one of the same --once KEY: give that too",
    ),
    Wrong("ps --limit x", "argument --limit: 'x' cannot be: give a whole number of at least 1"),
    Wrong("ps --watch x", f"argument -w/--watch: 'x' {DURATION}"),
    Wrong("ps --group ''", "argument -g/--group: '' is no name: give 1 to 200 characters"),
    Wrong("logs --tail x a", "argument -n/--tail: 'x' cannot be: give a whole number of at least 0"),
    Wrong("pause --group ''", "argument -g/--group: '' is no name: give 1 to 200 characters"),
    Wrong("resume --group ''", "argument -g/--group: '' is no name: give 1 to 200 characters"),
    Wrong("priority a x", "argument N: 'x' is no priority: give a number, as 5, -5 or 0.5"),
    Wrong("wait --timeout x a", f"argument --timeout: 'x' {DURATION}"),
    Wrong(
        "serve --slots rig=many",
        "argument --slots: 'rig=many' is no name with a number: write it as nightly=2, nightly=none or nightly=forget",
    ),
    Wrong(
        "serve --slots 2",
        "argument --slots: '2' names no group: write it as nightly=2. How many commands of all groups run at once is"
        " ORCHA_COMMANDS=2 for orcha serve, and --at-once 2 for orcha simulate",
    ),
    Wrong(
        "serve --resource gpu",
        "argument --resource: 'gpu' is no resource: write it as gpu=2, or gpu=0,1 for devices (one: gpu=0,)",
    ),
    Wrong("serve --pidfile x", "orcha: --pidfile is for a daemon: give --background too"),
    Wrong("--port 99999 ps", "argument --port: '99999' is not a port: give a number from 0 to 65535"),
    Wrong("--port x ps", "argument --port: 'x' is not a port: give a number from 0 to 65535"),
    Wrong("ps --port 3", "orcha ps: error: --port goes before the command: orcha --port ... ps"),
]


@pytest.mark.parametrize(("words", "line"), WRONG, ids=[wrong.words[:50] for wrong in WRONG])
def test_a_wrong_option_is_named_with_what_it_takes(words, line, monkeypatch, capsys, orcha_home):
    given = [word.strip("'") for word in words.split(" ")]
    monkeypatch.setattr("sys.argv", ["orcha", *given])
    try:
        code = main.main()
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.splitlines()[-1].endswith(line)
    read_aloud(re.sub(r"^argument \S+: |.*: error: ", "", line))


# --- settings and files ----------------------------------------------------------------------------------------------

SETTINGS = [
    (
        {"ORCHA_HOOK_DEADLINE": "0"},
        "ORCHA_HOOK_DEADLINE is '0': set it to a number, larger than 0, and at most 3153600000",
    ),
    ({"ORCHA_STORE": "oracle"}, "ORCHA_STORE is 'oracle': set it to sqlite or memory"),
    ({"ORCHA_COMMANDS": "no"}, "ORCHA_COMMANDS is 'no': set it to a whole number from 1 to 999999999"),
    ({"ORCHA_KEEP_COUNT": "x"}, "ORCHA_KEEP_COUNT is 'x': set it to a number, 0 or larger, and at most 3153600000"),
]


@pytest.mark.parametrize(("environment", "line"), SETTINGS, ids=[line[:40] for _, line in SETTINGS])
def test_a_wrong_setting_is_named_with_what_it_takes(orcha, free_port, environment, line):
    done = orcha.run("--port", str(free_port), "serve", **environment)
    assert (done.returncode, done.stderr) == (78, f"orcha: {line}\n")
    read_aloud(line)


# --- what a service refuses ------------------------------------------------------------------------------------------

REFUSED = [
    ("show nobody", 1, "there is no petition with the id 'nobody': orcha ps --all shows the petitions that are kept"),
    ("cancel nobody", 1, "no petition with the id 'nobody' waits or runs: orcha ps shows the petitions that do"),
    ("priority busy 1", 1, "'busy' is running: only what waits has a place to change"),
    ("rm busy", 1, "'busy' is running: cancel it first"),
    (
        "run --name busy true",
        125,
        "the id 'busy' is taken by a petition that is running: wait for it, cancel it, or choose another",
    ),
    ("run --need gpu=1 true", 125, "it needs 1 gpu, and the service has no gpu: serve with --resource gpu=1"),
    ("run --retry 1 --retry-output ( true", 2, "--retry-output is no regular expression: "),
]


NAMED = ["show", "cancel", "why", "attach", "logs", "wait", "rm", "retry", "pause", "resume", "run true --after"]


def test_a_name_of_any_length_is_not_repeated_whole(service):
    """The longest one is beyond what a warm program may be given, so a new interpreter runs that command."""
    for length, words in [*((7_000, words) for words in NAMED), (70_000, NAMED[0])]:
        verb, *more = words.split()
        done = service.run(verb, *more[1:], "x" * length, *more[:1])
        assert done.returncode != 0
        assert "'xxx" in done.stderr
        assert len(done.stderr) < 500, words


def test_what_a_service_refuses_is_told_with_what_to_do(service):
    assert service.run("run", "--detach", "--name", "busy", "--", "sleep", "1000").returncode == 0
    wait_for(lambda: "busy  running" in service.run("ps").stdout)
    for words, code, line in REFUSED:
        done = service.run(*words.split(" "))
        assert (done.returncode, done.stdout) == (code, ""), words
        assert done.stderr.startswith(f"orcha: {line}"), done.stderr
        assert done.stderr.count("\n") == 1
        read_aloud(done.stderr.strip())


def test_what_cannot_be_executed_is_told_with_its_name(service):
    ends = {
        "orcha-no-such-program": (127, "'orcha-no-such-program': there is no such program in the folders of PATH"),
        "./nothing": (127, "'./nothing': No such file or directory"),
        "/etc": (126, "'/etc': Permission denied"),
    }
    for program, (code, line) in ends.items():
        done = service.run("run", "--", program)
        assert (done.returncode, done.stderr) == (code, f"orcha: cannot execute {line}\n")


def test_who_waits_is_told_what_is_in_use(service):
    assert service.run("run", "--detach", "--name", "busy", "--", "sleep", "1000").returncode == 0
    assert service.run("run", "--detach", "--name", "next", "--", "true").returncode == 0
    wait_for(lambda: "1 of 1 slots of the machine is in use" in service.run("ps").stdout)


def test_an_error_of_the_system_is_told_with_its_file(orcha):
    run = orcha.run("t", f"throw(OSError({28}, {os.strerror(28)!r}, '/srv/x'))")
    assert (run.returncode, run.stderr) == (1, "orcha: /srv/x: No space left on device\n")


# --- a state folder that cannot be used ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "cure"),
    [
        (errno.ENOSPC, 75, "make room on that disk"),
        (errno.EDQUOT, 75, "make room on that disk"),
        (errno.EROFS, 78, "mount that disk for writing"),
        (errno.EACCES, 78, "see whose it is and who may use it"),
        (errno.EIO, 78, "see what the kernel says about that disk (dmesg)"),
        (errno.EISDIR, 78, "see what lies there"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told_apart(number, code, cure):
    error = unusable("the folder /srv/x cannot be made", OSError(number, os.strerror(number)))
    expected = f"the folder /srv/x cannot be made: {os.strerror(number)}: {cure}, or set ORCHA_HOME to another folder"
    assert (str(error), error.exit_code) == (expected, code)
    read_aloud(str(error))


ON_A_DISK = """
mount -t tmpfs -o size={size},mode=700 tmpfs "$1" || exit 99
{then}
shift
exec "$@"
"""


@pytest.mark.parametrize(
    ("size", "then", "code", "said"),
    [
        ("64k", "", 75, "there is no room on the disk for .*/orcha.db: make room there"),
        (
            "64m",
            'mount -o remount,ro "$1"',
            78,
            "Read-only file system: mount that disk for writing, or set ORCHA_HOME",
        ),
    ],
    ids=["full", "read-only"],
)
@pytest.mark.parametrize("how", [(), ("--background",)], ids=["foreground", "background"])
def test_a_disk_that_is_full_and_one_that_is_read_only_are_told_apart(orcha, tmp_path, size, then, code, said, how):
    apart = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount a disk here")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = ["bash", "-c", ON_A_DISK.format(size=size, then=then), "bash", str(disk)]
    done = subprocess.run(
        [*apart, *script, orcha.python, *orcha.start, "serve", *how],
        env=orcha.environment(ORCHA_HOME=str(disk)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert re.search(said, done.stderr), done.stderr
    read_aloud(done.stderr.strip())


def test_a_client_says_that_the_folder_of_its_service_was_moved(orcha):
    assert orcha.run("serve", "--background").returncode == 0
    assert orcha.run("stop").returncode == 0
    folder = orcha.home / "default"
    folder.rename(orcha.home / "elsewhere")
    line = f"orcha: no service answers: its folder {folder} was moved or removed: put it back where it was\n"
    done = orcha.run("ps")
    assert (done.returncode, done.stderr) == (69, line)
    for how in ((), ("--background",)):
        refused = orcha.run("serve", *how)
        assert (refused.returncode, refused.stderr.count("\n"), str(folder) in refused.stderr) == (78, 1, True)
        assert not folder.exists(), "a refused start makes nothing there"
    assert orcha.run("ps").stderr == line
    (orcha.home / "elsewhere").rename(folder)
    assert orcha.run("serve", "--background").returncode == 0
    assert orcha.run("stop").returncode == 0
