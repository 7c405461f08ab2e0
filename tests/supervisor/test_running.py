"""One command from its start to its end."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest
from service_start import Start

from orcha._supervisor.contract import (
    CommandEnded,
    CommandNotStarted,
    CommandOutput,
    CommandStarted,
    CommandStopped,
    Event,
    InputTaken,
)
from support.waiting import wait_for


def test_a_command_starts_writes_and_ends(world: Start) -> None:
    key = world.run("/bin/echo", "hi")
    started, output, ended = world.of(key)
    assert isinstance(started, CommandStarted)
    assert started.pid > 1
    assert isinstance(output, CommandOutput)
    assert [(chunk.number, chunk.stream, chunk.data) for chunk in output.chunks] == [(1, 1, b"hi\n")]
    assert isinstance(ended, CommandEnded)
    assert (ended.code, ended.signal, ended.why, ended.last_chunk, ended.survivors) == (0, None, None, 1, [])


def test_the_streams_arrive_apart_and_as_bytes(world: Start) -> None:
    key = world.run("sh", "-c", r"printf 'a\000\377'; printf 'b\n\r\n' >&2")
    assert world.output(key, 1) == b"a\0\xff"
    assert world.output(key, 2) == b"b\n\r\n"


@pytest.mark.parametrize("code", [0, 1, 75, 255])
def test_the_exit_code_is_the_leader_s(world: Start, code: int) -> None:
    assert world.end(world.start("sh", "-c", f"exit {code}")).code == code


def test_a_signal_that_ends_the_leader_is_told(world: Start) -> None:
    ended = world.end(world.start("sh", "-c", "kill -USR1 $$"))
    assert (ended.code, ended.signal, ended.why) == (None, signal.SIGUSR1, None)


def test_arguments_that_are_no_text_arrive_as_they_are(world: Start) -> None:
    key = world.run("printf", "%s|", b"\xff\xfe", "ä", "", "a b")
    assert world.output(key) == b"\xff\xfe|" + "ä||a b|".encode()


def test_its_environment_is_the_one_given_and_no_other(world: Start) -> None:
    key = world.run("env", env={"PATH": os.environ["PATH"], "A": "1", "B": "x=y\nz"})
    assert sorted(world.output(key).splitlines()) == sorted(
        f"PATH={os.environ['PATH']}\nA=1\nB=x=y\nz".encode().split(b"\n")
    )


def test_it_runs_in_its_folder_with_its_mask(world: Start, tmp_path: Path) -> None:
    key = world.run("sh", "-c", "pwd; umask", cwd=str(tmp_path), umask=0o027)
    assert world.output(key).split() == [os.fsencode(tmp_path), b"0027"]


def test_a_program_is_looked_for_in_the_command_s_own_path(world: Start, tmp_path: Path) -> None:
    program = tmp_path / "orcha-test-program"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    key = world.run(program.name, env={"PATH": f"/nonexistent:{tmp_path}:/bin"})
    assert world.output(key) == b"found\n"


def test_a_script_without_a_first_line_runs_in_the_shell(world: Start, tmp_path: Path) -> None:
    program = tmp_path / "script"
    program.write_text("echo $1\n")
    program.chmod(0o755)
    assert world.output(world.run(str(program), "x")) == b"x\n"


def test_what_does_not_exist_is_127(world: Start) -> None:
    refused = world.end(world.start("orcha-no-such-program"))
    assert isinstance(refused, CommandNotStarted)
    assert (refused.code, refused.reason) == (
        127,
        "cannot execute 'orcha-no-such-program': there is no such program in the folders of PATH",
    )


def test_what_may_not_be_executed_is_126(world: Start, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    for program in ("data", str(tmp_path / "data"), "/tmp"):
        refused = world.end(world.start(program, env={"PATH": str(tmp_path)}))
        assert (refused.code, refused.reason) == (126, f"cannot execute '{program}': Permission denied")


def test_a_script_whose_interpreter_is_missing_is_126(world: Start, tmp_path: Path) -> None:
    program = tmp_path / "script"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    assert world.end(world.start("script", env={"PATH": str(tmp_path)})).code == 126


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cwd": "/no/such/folder"}, "cannot change to the folder '/no/such/folder': No such file or directory"),
        ({"env": {"A=B": "1"}}, "cannot execute '/bin/true': illegal environment variable name"),
        ({"env": {"A": "1\0"}}, "cannot execute '/bin/true': embedded null byte"),
    ],
)
def test_what_cannot_be_had_is_125_and_named(world: Start, fields: dict[str, object], reason: str) -> None:
    refused = world.end(world.start("/bin/true", **fields))
    assert (refused.code, refused.reason) == (125, reason)


@pytest.mark.parametrize(
    ("field", "value"),
    [("timeout", "soon"), ("stop_signal", 4711), ("umask", 1 << 80), ("memory", -1), ("tty", 5), ("channel", b"")],
)
def test_a_specification_that_makes_no_sense_harms_no_other(world: Start, field: str, value: object) -> None:
    world.run("/bin/true")
    spec = world.spec("/bin/true")._replace(**{field: value})
    world.commands.start(spec)
    ended = world.end((spec.seq, 1))
    assert isinstance(ended, CommandEnded if field == "channel" else CommandNotStarted)
    assert ended.code == (0 if field == "channel" else 125)
    assert world.end(world.start("/bin/true")).code == 0


def test_after_one_that_did_not_start_the_next_does(world: Start) -> None:
    world.run("orcha-no-such-program")
    assert world.end(world.start("/bin/true")).code == 0


def test_its_input_is_empty_unless_it_is_wanted(world: Start) -> None:
    assert world.output(world.run("wc", "-c")).split() == [b"0"]


def test_its_input_is_what_is_written(world: Start) -> None:
    key = world.start("sha256sum", stdin="pipe")
    world.wait(key, CommandStarted)
    for number in range(40):
        world.commands.write(*key, number * 50_000, b"x" * 50_000)
    world.commands.close_stdin(*key, 2_000_000)
    assert world.end(key).code == 0
    assert world.output(key).split()[0] == hashlib.sha256(b"x" * 2_000_000).hexdigest().encode()


def test_what_is_written_twice_or_beyond_a_gap_is_taken_once_and_in_order(world: Start) -> None:
    key = world.start("cat", stdin="pipe")
    world.wait(key, CommandStarted)
    for offset, data in ((0, b"abc"), (0, b"abc"), (1, b"bcd"), (5, b"lost"), (4, b"e"), (2, b"")):
        world.commands.write(*key, offset, data)
    world.commands.close_stdin(*key, 4)
    world.commands.close_stdin(*key, 5)
    world.commands.close_stdin(*key, 5)
    world.commands.write(*key, 5, b"late")
    assert world.end(key).code == 0
    assert world.output(key) == b"abcde"
    last = [event for event in world.of(key) if isinstance(event, InputTaken)][-1]
    assert last == InputTaken(*key, 5, 5, ended=True)


def test_a_service_that_comes_back_is_told_what_has_arrived(open_world) -> None:
    first = open_world()
    key = first.start("cat", stdin="pipe")
    first.wait(key, CommandStarted)
    first.commands.write(*key, 0, b"abc")
    first.wait(key, InputTaken)
    first.close(keep=True)
    later = open_world(epoch=2)
    later.commands.adopt()
    later.commands.resume(*key, after_chunk=0)
    word = later.wait(key, InputTaken)
    assert (word.received, word.ended) == (3, False)
    later.commands.write(*key, 1, b"bcd")
    later.commands.close_stdin(*key, 4)
    assert later.end(key).code == 0
    assert first.output(key)[:4] + later.output(key) in (b"abcd", b"abcabcd")


def test_a_terminal_is_one_and_has_its_size(world: Start) -> None:
    script = (
        "import os, signal, sys; print(os.isatty(0), os.isatty(1), os.isatty(2), os.get_terminal_size());"
        "signal.signal(signal.SIGWINCH, lambda *_: (print(os.get_terminal_size()), sys.exit()));"
        "print('ready', flush=True); signal.pause()"
    )
    key = world.start(sys.executable, "-c", script, tty=(33, 111))
    world.said(key, b"ready")
    assert b"True True True os.terminal_size(columns=111, lines=33)" in world.output(key)
    world.commands.resize(*key, 44, 222)
    assert world.end(key).code == 0
    assert b"os.terminal_size(columns=222, lines=44)" in world.output(key)


def test_a_terminal_passes_what_is_typed(world: Start) -> None:
    key = world.start("cat", tty=(24, 80))
    world.wait(key, CommandStarted)
    world.commands.write(*key, 0, b"typed\n")
    world.said(key, b"typed\r\ntyped\r\n")
    world.commands.close_stdin(*key, 6)
    assert world.end(key).code == 0


def test_a_pause_holds_every_process_and_a_resume_lets_them_go_on(world: Start, nap: str) -> None:
    key = world.start("sh", "-c", f"setsid {nap} 1000 & echo $!; wait")
    world.said(key, b"\n")
    pids = [world.wait(key, CommandStarted).pid, int(world.output(key))]
    world.commands.signal(*key, signal.SIGSTOP)

    def states() -> list[str]:
        return [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] for pid in pids]

    wait_for(lambda: states() == ["T", "T"])
    world.commands.signal(*key, signal.SIGCONT)
    wait_for(lambda: "T" not in states())
    world.commands.kill(*key, "test")
    assert world.end(key).why == "test"


@pytest.mark.parametrize("tells", [True, False], ids=["this build", "an older build"])
def test_that_a_command_was_stopped_is_told_once_to_who_asks(world: Start, tells: bool) -> None:
    key = world.start("sleep", "1000")
    pid = world.wait(key, CommandStarted).pid
    shim = world.commands._registry.by_key[key]
    assert shim.stops
    shim.stops = tells  # a shim of an older build passes over the question
    world.commands.signal(*key, signal.SIGSTOP)
    world.commands.signal(*key, signal.SIGCONT)
    world.commands.stop(*key)
    assert world.wait(key, CommandStopped) == CommandStopped(*key)
    wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")
    world.commands.kill(*key, "test")
    world.end(key)
    assert tells is (len([event for event in world.of(key) if isinstance(event, CommandStopped)]) == 1)


def test_who_delivers_an_end_can_wait_for_the_end_of_a_command_that_began_a_moment_ago(world: Start) -> None:
    longer = world.start("sh", "-c", "echo up; read x", stdin="pipe")
    world.said(longer, b"up\n")
    came: list[list[object]] = []
    hear = world.commands._on_events

    def hear_and_wait(events: list[Event]) -> None:
        if any(isinstance(event, CommandEnded) and (event.seq, event.attempt) != longer for event in events):
            came.append(list(world.commands.more(60.0, 0.0)))  # the other command began longer ago
            world.commands.close_stdin(*longer, 0)
            while not any(isinstance(event, CommandEnded) for event in came[-1]):
                came.append(list(world.commands.more(60.0, 3600.0)))
            events = [*events, *(event for more in came for event in more)]  # type: ignore[list-item]
        hear(events)

    world.commands._on_events = hear_and_wait
    short = world.run("true")
    assert world.end(longer).code == 1
    assert came[0] == []
    assert all(came[1:])
    assert world.end(short).code == 0


def test_it_is_bound_to_its_processors_and_its_shim_is_not(world: Start) -> None:
    usable = os.sched_getaffinity(0)
    bound = world.run("sh", "-c", "grep Cpus_allowed_list /proc/self/status", processors=(max(usable),))
    assert world.output(bound).split()[1:] == [b"%d" % max(usable)]
    free = world.run(sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))")
    assert world.output(free).decode().strip() == str(sorted(usable))


@pytest.mark.parametrize(
    ("processors", "reason"),
    [
        ((), "processors without a number: Invalid argument"),
        ((1_000_000,), "processors 1000000: "),
        ((min(os.sched_getaffinity(0)), 100_000), "not all of them can be used"),
    ],
)
def test_processors_that_cannot_be_had_are_named(world: Start, processors: tuple[int, ...], reason: str) -> None:
    refused = world.end(world.start("/bin/true", processors=processors))
    assert isinstance(refused, CommandNotStarted)
    assert (refused.code, reason in refused.reason) == (125, True), refused.reason
