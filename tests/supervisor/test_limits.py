"""Limits, accounts, and nothing of one attempt in the next."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from service_start import Start, boxes, kill_shim

from orcha._supervisor import cgroups
from orcha._supervisor.attempt_limits import AttemptLimits
from orcha._supervisor.cgroups import AttemptCgroup, CgroupPlaces, NotAvailableError
from orcha._supervisor.contract import CommandSpec, CommandStarted
from orcha._supervisor.process_tree import Child, ProcessTree
from orcha._supervisor.usage import UsageAccount
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

AVAILABLE = CgroupPlaces().available
INTERNAL = 1 << 31 | 1 << 32  # the C library keeps signals 32 and 33 to itself
BUSY = "while True: pass"


class NoProcesses(ProcessTree):
    """Stands for the processes of an attempt; this process may have children of other tests."""

    def living(self) -> Iterator[Child]:
        """Give none."""
        return iter(())


def needs(limit: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(limit not in AVAILABLE, reason=f"no cgroup here for {limit}")


def test_wall_time_ends_a_command(world: Start) -> None:
    ended = world.end(world.start("sleep", "1000", timeout=0.1))
    assert (ended.why, ended.signal) == ("timeout", signal.SIGINT)


@pytest.mark.parametrize("seconds", [0.5 * 86_400, 24.9 * 86_400, 25 * 86_400, 2**31, 36_500 * 86_400])
@pytest.mark.parametrize("limit", ["timeout", "idle_timeout", "cpu_timeout", "grace"])
def test_a_limit_that_is_far_away_ends_nothing_and_a_cancel_does(
    world: Start, limit: str, seconds: float, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "go")
    stays = world.start(
        "sh",
        "-c",
        "trap '' INT; echo a; cat $GO; echo b; exec sleep 1000",
        **{limit: seconds},
        env={**os.environ, "GO": str(tmp_path / "go")},
    )
    world.said(stays, b"a")
    if limit == "grace":
        world.commands.cancel(*stays, "test")
    (tmp_path / "go").write_text("")
    world.said(stays, b"b")
    world.commands.kill(*stays, "test")
    ended = world.end(stays)
    assert (ended.why, ended.signal) == ("test", signal.SIGKILL)


def test_what_a_failure_of_ours_ended_says_so(world: Start) -> None:
    key = world.start("sleep", "1000")
    world.wait(key, CommandStarted)
    shim = world.shim_of(key).pid
    resource.prlimit(shim, resource.RLIMIT_FSIZE, (0, 0))  # its next word in its box raises
    world.commands.cancel(*key, "test")
    lost = world.end(key)
    assert lost.failure == "OSError: [Errno 27] File too large"
    assert lost.ended is None


def test_silence_ends_a_command_and_output_delays_it(world: Start) -> None:
    key = world.start("sh", "-c", "for i in $(seq 10); do date +%s.%N; sleep 0.1; done; sleep 1000", idle_timeout=0.5)
    ended = world.end(key)
    assert ended.why == "idle"
    last_line = max(map(float, world.output(key).split()), default=0.0)
    assert ended.signals[0][0] - last_line > 0.49, "the silence was counted from before its last line"


def test_silence_while_it_is_paused_ends_nothing(world: Start) -> None:
    key = world.start("sh", "-c", "echo a; sleep 0.4; echo b", idle_timeout=5.0)
    world.said(key, b"a")
    world.commands.signal(*key, signal.SIGSTOP)
    world.commands.signal(*key, signal.SIGCONT)
    assert world.end(key).why is None


@pytest.mark.parametrize("limit", ["timeout", "idle_timeout"])
def test_wall_time_and_silence_stand_still_in_a_pause_and_go_on_after_it(limit: str) -> None:
    limits = AttemptLimits(CommandSpec(1, 1, b"", ("true",), "/", {})._replace(**{limit: 10.0}))
    account, tree = UsageAccount(), NoProcesses(0)
    limits.begin(100.0)
    assert limits.due == 110.0
    limits.note(signal.SIGSTOP, 104.0)
    limits.note(signal.SIGSTOP, 105.0)
    assert limits.due == float("inf")
    assert limits.exceeded(1000.0, account, tree) is None
    limits.note(signal.SIGCONT, 1000.0)
    limits.note(signal.SIGCONT, 1001.0)
    assert limits.due == 1006.0
    assert limits.exceeded(1005.9, account, tree) is None
    assert limits.exceeded(1006.0, account, tree) == limit.removesuffix("_timeout")


def test_a_warning_comes_once_before_the_wall_time_is_over_and_a_pause_delays_it() -> None:
    spec = CommandSpec(1, 1, b"", ("true",), "/", {}, timeout=10.0, warn_signal=signal.SIGUSR1, warn_seconds=3.0)
    limits = AttemptLimits(spec)
    limits.begin(100.0)
    assert limits.due == 107.0
    assert limits.warning(106.9) is None
    limits.note(signal.SIGSTOP, 105.0)
    assert limits.warning(200.0) is None
    limits.note(signal.SIGCONT, 205.0)
    assert limits.due == 207.0
    assert limits.exceeded(207.0, UsageAccount(), NoProcesses(0)) is None
    assert [limits.warning(207.0), limits.warning(207.0)] == [signal.SIGUSR1, None]
    assert limits.due == 210.0


@pytest.mark.parametrize(("timeout", "due"), [(2.0, 100.0), (None, float("inf"))])
def test_a_warning_before_the_start_comes_at_the_start_and_without_a_limit_never(
    timeout: float | None, due: float
) -> None:
    spec = CommandSpec(1, 1, b"", ("true",), "/", {}, timeout=timeout, warn_signal=10, warn_seconds=3.0)
    limits = AttemptLimits(spec)
    limits.begin(100.0)
    assert limits.due == due


def test_a_command_that_is_warned_can_end_in_good_order(world: Start) -> None:
    key = world.start("sh", "-c", "trap 'echo saved; exit 0' USR1; echo a; while :; do sleep 0.02; done",
                      timeout=600.0, warn_signal=signal.SIGUSR1, warn_seconds=599.5)  # fmt: skip
    ended = world.end(key)
    assert (ended.why, ended.code) == (None, 0)
    assert world.output(key) == b"a\nsaved\n"
    assert [number for _, number, _ in ended.signals] == [signal.SIGUSR1]


def test_processor_time_is_looked_at_in_a_pause_too() -> None:
    limits = AttemptLimits(CommandSpec(1, 1, b"", ("true",), "/", {}, timeout=10.0, cpu_timeout=0.5))
    limits.begin(100.0)
    limits.note(signal.SIGSTOP, 100.0)
    assert limits.due < 101.0
    account = UsageAccount()
    account.user = 0.6
    assert limits.exceeded(101.0, account, NoProcesses(0)) == "cpu"


def test_limits_that_are_changed_hold_and_the_others_stay() -> None:
    spec = CommandSpec(1, 1, b"", ("true",), "/", {}, timeout=10.0, warn_signal=10, warn_seconds=3.0)
    limits, account, tree = AttemptLimits(spec), UsageAccount(), NoProcesses(0)
    limits.begin(100.0)
    assert limits.warning(107.0) == 10
    limits.change({"timeout": 10.0, "idle_timeout": 8.5, "cpu_timeout": 0.5}, 108.0)
    assert limits.warning(108.0) is None, "it was warned"
    account.user = 0.4
    assert limits.exceeded(108.4, account, tree) is None
    assert limits.exceeded(108.5, account, tree) == "idle"
    limits.change({"timeout": 90.0}, 109.0)
    assert limits.due == float("inf"), "it is being ended"


def test_a_limit_may_come_where_there_was_none_and_go_again() -> None:
    limits = AttemptLimits(CommandSpec(1, 1, b"", ("true",), "/", {}))
    limits.begin(100.0)
    limits.change({"cpu_timeout": 5.0}, 101.0)
    assert limits.due == 101.0
    limits.change({"cpu_timeout": None, "timeout": 7.0}, 102.0)
    assert limits.due == 107.0


def test_a_pause_is_no_part_of_the_wall_time(world: Start, tmp_path: Path) -> None:
    key = world.start("sh", "-c", f"echo a; while [ ! -e {tmp_path}/end ]; do sleep 0.01; done", timeout=600.0)
    world.said(key, b"a")
    world.commands.signal(*key, signal.SIGSTOP)
    (tmp_path / "end").touch()
    world.commands.signal(*key, signal.SIGCONT)
    assert world.end(key).why is None


def test_processor_time_of_all_its_processes_ends_a_command(world: Start) -> None:
    key = world.start(
        "sh", "-c", f"{sys.executable} -c '{BUSY}' & {sys.executable} -c '{BUSY}' & wait", cpu_timeout=0.5
    )
    ended = world.end(key)
    assert ended.why == "cpu"
    assert ended.usage.user + ended.usage.system >= 0.5


def test_processor_time_is_not_wall_time(world: Start) -> None:
    assert world.end(world.start("sleep", "0.4", cpu_timeout=0.1)).why is None


@needs("memory")
def test_out_of_memory_is_told_with_the_peak(world: Start) -> None:
    limit = 48 << 20
    key = world.start(sys.executable, "-c", "data = bytearray(200 << 20)", memory=limit)
    ended = world.end(key)
    assert (ended.why, ended.signal) == ("memory", signal.SIGKILL)
    assert limit * 0.9 <= ended.usage.peak <= limit


@needs("memory")
def test_a_command_within_its_memory_ends_by_itself(world: Start) -> None:
    ended = world.end(world.start(sys.executable, "-c", "data = bytearray(20 << 20)", memory=200 << 20))
    assert (ended.code, ended.why) == (0, None)
    assert 20 << 20 <= ended.usage.peak <= 60 << 20


@needs("pids")
def test_the_number_of_processes_is_bounded(world: Start) -> None:
    script = (
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 100:\n"
        "        if os.fork() == 0: time.sleep(1000)\n"
        "        made += 1\n"
        "except BlockingIOError: print(made)"
    )
    key = world.run(sys.executable, "-c", script, pids=10)
    assert world.output(key) == b"9\n"


@needs("cpu_share")
def test_the_share_of_a_processor_is_set(world: Start) -> None:
    key = world.start("sleep", "1000", cpu_share=25)
    pid = world.wait(key, CommandStarted).pid
    base = Path(CgroupPlaces().bases["cpu"])
    [folder] = [path for path in base.glob("orcha-*") if str(pid) in (path / "cgroup.procs").read_text().split()]
    if CgroupPlaces().unified:
        assert (folder / "cpu.max").read_text() == "25000 100000\n"
    else:
        assert (folder / "cpu.cfs_quota_us").read_text() == "25000\n"
    world.commands.kill(*key, "test")
    world.end(key)
    assert not folder.exists()


@needs("pids")
def test_the_groups_of_a_dead_shim_are_removed(world: Start, nap: str) -> None:
    base = Path(CgroupPlaces().bases["pids"])
    key = world.start(nap, "1000", pids=20)
    world.wait(key, CommandStarted)
    mine = [
        path
        for path in base.glob("orcha-*")
        if str(world.wait(key, CommandStarted).pid) in (path / "cgroup.procs").read_text().split()
    ]
    assert len(mine) == 1
    kill_shim(world.shim_of(key))
    world.end(key)
    wait_for(lambda: not mine[0].exists())


@pytest.mark.parametrize(("field", "word"), [("memory", "memory"), ("pids", "pids"), ("cpu_share", "cpu")])
def test_a_limit_that_cannot_be_had_is_named(tmp_path: Path, field: str, word: str) -> None:
    places = CgroupPlaces(mounts=os.devnull, own=os.devnull)
    assert places.available == frozenset()
    spec = CommandSpec(1, 1, b"", ("true",), "/", {})._replace(**{field: 5})
    with pytest.raises(
        NotAvailableError, match=f"the limit '{field}' is not available here: no writable cgroup .*'{word}'"
    ):
        AttemptCgroup(places, "x", spec)


def test_version_2_is_used_where_its_controllers_are_handed_over(tmp_path: Path) -> None:
    base = tmp_path / "cgroup" / "user"
    base.mkdir(parents=True)
    for name, text in {
        "cgroup.procs": "",
        "cgroup.controllers": "cpu memory pids",
        "cgroup.subtree_control": "cpu memory pids",
    }.items():
        (base / name).write_text(text)
    (tmp_path / "mounts").write_text(f"cgroup2 {tmp_path}/cgroup cgroup2 rw 0 0\n")
    (tmp_path / "own").write_text("0::/user\n")
    places = CgroupPlaces(str(tmp_path / "mounts"), str(tmp_path / "own"))
    assert places.unified == str(base)
    assert places.available == {"memory", "pids", "cpu_share"}
    assert cgroups._settings("memory", 5, unified=True)[0] == ("memory.max", "5", True)
    assert cgroups._settings("cpu_share", 150, unified=True) == [("cpu.max", "150000 100000", True)]
    group_folder = base / "orcha-x"
    group_folder.mkdir()
    for name in ("memory.max", "memory.swap.max"):
        (group_folder / name).write_text("")
    group = AttemptCgroup(places, "x", CommandSpec(1, 1, b"", ("true",), "/", {}, memory=1 << 20))
    (group_folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (group_folder / "memory.peak").write_text("1048576\n")
    assert group.procs == [f"{group_folder}/cgroup.procs"]
    assert group.ran_out()
    assert group.peak() == 1 << 20


@pytest.fixture
def handed(tmp_path: Path) -> tuple[Path, str, str]:
    """Give the group that systemd hands to a service, and the files that say where the service is."""
    unit = tmp_path / "cgroup" / "system.slice" / "orcha.service"
    for folder in (unit, unit / cgroups.SERVICE_GROUP, unit / cgroups.COMMANDS_GROUP):
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text("")
        (folder / "cgroup.controllers").write_text("cpu memory pids")
        (folder / "cgroup.subtree_control").write_text("cpu memory pids")
    (tmp_path / "mounts").write_text(f"cgroup2 {tmp_path}/cgroup cgroup2 rw 0 0\n")
    (tmp_path / "own").write_text(f"0::/system.slice/orcha.service/{cgroups.SERVICE_GROUP}\n")
    return unit, str(tmp_path / "mounts"), str(tmp_path / "own")


def test_groups_are_made_in_the_group_that_systemd_hands_to_the_service(handed: tuple[Path, str, str]) -> None:
    unit, mounts, own = handed
    assert CgroupPlaces(mounts, own).unified == str(unit)
    Path(own).write_text(f"0::/system.slice/orcha.service/{cgroups.COMMANDS_GROUP}\n")
    assert CgroupPlaces(mounts, own).unified == str(unit)


def test_the_supervisor_leaves_the_group_of_the_service(handed: tuple[Path, str, str]) -> None:
    unit, mounts, own = handed
    assert cgroups.enter_commands_group(mounts, own)
    assert (unit / cgroups.COMMANDS_GROUP / "cgroup.procs").read_text() == "0"
    assert (unit / cgroups.SERVICE_GROUP / "cgroup.procs").read_text() == ""


def test_a_command_may_read_its_groups_and_write_nothing_there(handed: tuple[Path, str, str]) -> None:
    """The unit has UMask=0077, and a command of the machine's service belongs to another user than the groups."""
    unit, mounts, own = handed
    limited = unit / "orcha-x"
    limited.mkdir()
    (limited / "pids.max").write_text("")
    groups = (unit / cgroups.COMMANDS_GROUP, limited)
    for folder in groups:
        folder.chmod(0o700)
    assert cgroups.enter_commands_group(mounts, own)
    AttemptCgroup(CgroupPlaces(mounts, own), "x", CommandSpec(1, 1, b"", ("true",), "/", {}, pids=7))
    assert [oct(folder.stat().st_mode & 0o777) for folder in groups] == ["0o755", "0o755"]


def test_the_supervisor_stays_where_no_group_was_handed_to_the_service(handed: tuple[Path, str, str]) -> None:
    unit, mounts, own = handed
    (unit / cgroups.COMMANDS_GROUP / "cgroup.procs").unlink()  # as where it cannot be written
    assert not cgroups.enter_commands_group(mounts, own)
    Path(own).write_text("0::/user.slice\n")
    assert not cgroups.enter_commands_group(mounts, own)
    assert not cgroups.enter_commands_group(os.devnull, os.devnull)


def test_the_account_of_an_attempt_is_that_of_all_its_processes(world: Start) -> None:
    script = (
        "import os, resource, sys\n"
        "data = bytearray(64 << 20)\n"
        "while sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) < 0.3: pass\n"
    )
    key = world.start("sh", "-c", f'{sys.executable} -c "{script}" & {sys.executable} -c "{script}"; wait')
    usage = world.end(key).usage
    assert usage.user + usage.system >= 0.6
    assert 64 << 20 <= usage.peak <= 96 << 20
    assert usage.wall > 0


def test_bytes_to_the_disk_are_counted(world: Start, tmp_path: Path) -> None:
    target = tmp_path / "file"
    ended = world.end(world.start("dd", "if=/dev/zero", f"of={target}", "bs=1M", "count=8", "conv=fsync"))
    assert ended.usage.written in {0, 8 << 20} or ended.usage.written >= 8 << 20  # a file system in memory writes none


def report_of(world: Start, **fields: object) -> dict[str, str]:
    """Run a command that tells everything it got."""
    script = (
        "import os, resource, signal\n"
        "print('cwd', os.getcwd())\n"
        "print('umask', oct(os.umask(0)))\n"
        "print('descriptors', sorted(os.listdir('/proc/self/fd'))[:-1])\n"
        "print('environment', sorted(os.environ))\n"
        "print('limits', [resource.getrlimit(n) for n in range(16) if n != 10])\n"
        "text = open('/proc/self/status').read()\n"
        "print('signals', [line for line in text.splitlines() if line.startswith(('SigBlk', 'SigIgn'))])\n"
        "print('nice', os.nice(0), os.sched_getscheduler(0))\n"
        "print('session', os.getsid(0) == os.getpid() == os.getpgid(0))\n"
        "print('comm', open('/proc/self/comm').read().strip())\n"
    )
    key = world.run(sys.executable, "-I", "-S", "-c", script, **{"env": {"ONLY": "1", "LC_ALL": "C.UTF-8"}, **fields})
    assert world.end(key).code == 0, world.output(key, 2)
    return dict(line.split(" ", 1) for line in world.output(key).decode().splitlines())


def test_nothing_of_one_attempt_reaches_the_next(world: Start, tmp_path: Path) -> None:
    before = report_of(world)
    shims = {word.pid for word in boxes(world.folder)}
    for _ in range(4):
        world.run(
            "sh", "-c", "ulimit -n 50; umask 0; cd /tmp; trap '' HUP; exec 5>/dev/null", cwd=str(tmp_path), umask=0o777
        )
        world.run("orcha-no-such-program", cwd=str(tmp_path), umask=0o777)
        world.run("cat", tty=(24, 80), timeout=0.05, umask=0o111, cwd=str(tmp_path))
        if AVAILABLE:
            world.run("true", **dict.fromkeys(AVAILABLE & {"memory"}, 1 << 26))
    assert {word.pid for word in boxes(world.folder)} == shims
    assert [report_of(world) for _ in range(3)] == [before] * 3
    assert before["descriptors"] == "['0', '1', '2']"
    assert before["session"] == "True"
    assert before["environment"] == "['LC_ALL', 'ONLY']"
    signals = re.findall(r"(\w+):\\t(\w+)", before["signals"])
    assert ("SigBlk", "0" * 16) in signals


def test_no_signal_is_ignored_by_a_command_but_what_its_own_interpreter_ignores(world: Start) -> None:
    key = world.run("grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status")
    pipes = world.output(key).split()
    key = world.run("grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status", tty=(24, 80))
    for words in (pipes, world.output(key).split()):
        assert (words[0], words[2]) == (b"SigBlk:", b"SigIgn:")
        assert int(words[1], 16) == 0
        assert int(words[3], 16) & ~INTERNAL == 0


def test_a_shim_keeps_its_descriptors_to_itself_and_leaks_none(world: Start) -> None:
    world.run("/bin/true")
    [word] = [one for one in boxes(world.folder) if one.seq]
    before = sorted(path.name for path in Path(f"/proc/{word.pid}/fd").iterdir())
    for fields in ({}, {"stdin": "pipe"}, {"tty": (24, 80)}, {"cwd": "/no/such"}):
        for _ in range(3):
            world.run("head", "-c", "3000000", "/dev/zero", **fields) if "stdin" not in fields else world.run(
                "true", **fields
            )
    wait_for(lambda: sorted(path.name for path in Path(f"/proc/{word.pid}/fd").iterdir()) == before)


def test_a_shim_s_own_memory_is_small(world: Start) -> None:
    for _ in range(20):
        world.run("echo", "hi")
    for word in boxes(world.folder):
        text = Path(f"/proc/{word.pid}/smaps_rollup").read_text()
        private = sum(int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) for name in ("Private_Clean", "Private_Dirty"))
        assert private <= 3072
