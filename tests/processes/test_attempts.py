"""Which attempt a process belongs to, and which attempts may have any."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from queue import SimpleQueue

import pytest

from orcha._processes import attempt_tracking, helpers, tag
from orcha._processes.attempt_tracking import working_for
from orcha.utils.interrupts import interrupt
from support import warm
from support.waiting import wait_for


def tag_in(tagged, ordinal):
    return tag.tag_of(tagged.nonce, ordinal)


def test_an_attempt_that_started_nothing_has_no_processes(tagged) -> None:
    with working_for(1) as attempt:
        assert attempt_tracking.current_ordinal() == 1
        with Path(os.devnull).open():
            pass
    assert attempt_tracking.current_ordinal() == 0
    assert not attempt.may_have_processes


def popen():
    subprocess.Popen(["true"]).wait()


def fork():
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def posix_spawn():
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def system():
    os.system("true")


def forkpty():
    pid, descriptor = os.forkpty()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(descriptor)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("start", [popen, fork, posix_spawn, system, forkpty])
def test_every_way_to_start_a_process_is_noted_even_when_it_has_ended(tagged, start) -> None:
    with working_for(1) as attempt:
        start()
    assert attempt.may_have_processes


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.may_leave("children", "descriptors")  # the resource tracker and the fork server stay
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_multiprocessing_child_is_noted_and_tagged_without_being_named(tagged, method) -> None:
    context = multiprocessing.get_context(method)
    gate = context.Event()
    with working_for(1) as attempt:
        process = context.Process(target=gate.wait)
        process.start()
        assert tag.read_tag(process.pid) == tag_in(tagged, 1)
    assert attempt.may_have_processes
    assert tagged.sweep(1).killed == (process.pid,)
    process.join()
    assert not any(tag.read_tag(pid) == tag_in(tagged, 1) for pid in helpers.helper_pids())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("preexec", [None, os.setsid])
def test_a_program_carries_the_tag_before_it_can_start_another(tagged, preexec) -> None:
    before = resource.prlimit(0, tag.RLIMIT_LOCKS)
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])  # keeps the lock from who waits
    busy.start()
    try:
        for _ in range(10):
            with working_for(1):
                # The child is gone and its child an orphan before this thread gets to run again.
                with subprocess.Popen(
                    ["sh", "-c", "sleep 1000 >&- & echo $!"],
                    stdout=subprocess.PIPE,
                    preexec_fn=preexec,  # noqa: PLW1509
                ) as shell:
                    orphan = int(shell.stdout.read())
                assert tag.read_tag(orphan) == tag_in(tagged, 1)
            assert orphan in tagged.sweep(1).killed
    finally:
        stop.set()
        busy.join()
    assert resource.prlimit(0, tag.RLIMIT_LOCKS) == before


def test_a_program_that_cannot_be_started_leaves_the_services_own_tag(tagged) -> None:
    before = resource.prlimit(0, tag.RLIMIT_LOCKS)
    with working_for(1):
        with pytest.raises(FileNotFoundError):
            subprocess.Popen(["/does/not/exist"])
        with pytest.raises(TypeError):
            subprocess.Popen([object()])
    assert resource.prlimit(0, tag.RLIMIT_LOCKS) == before


def test_a_process_that_c_code_started_is_found_at_the_end_of_the_attempt(tagged) -> None:
    pid = ctypes.c_int()
    arguments = (ctypes.c_char_p * 3)(b"sleep", b"1000", None)
    with working_for(1) as attempt:
        failed = ctypes.CDLL(None).posix_spawn(ctypes.byref(pid), b"/bin/sleep", None, None, arguments, None)
        assert not failed
        assert not attempt.may_have_processes
    assert attempt.may_have_processes
    assert tag.read_tag(pid.value) == tag_in(tagged, 1)
    assert tagged.sweep(1).killed == (pid.value,)
    os.waitpid(pid.value, 0)


def test_a_zombie_of_an_earlier_attempt_is_not_taken_for_a_process(tagged) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with working_for(2) as attempt:
        pass
    assert not attempt.may_have_processes
    process.wait()


def test_processes_of_attempts_side_by_side_are_told_apart(tagged) -> None:
    started = {}
    done = threading.Event()
    both = threading.Barrier(2)

    def act(ordinal):
        with working_for(ordinal):
            both.wait()
            started[ordinal] = subprocess.Popen(["sleep", "1000"])
            done.wait()

    threads = [threading.Thread(target=act, args=(ordinal,)) for ordinal in (1, 2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(started) == 2)
    assert [one.pid for one in tagged.living(1)] == [started[1].pid]
    assert tagged.sweep(1).killed == (started[1].pid,)
    assert [one.pid for one in tagged.living(2)] == [started[2].pid]
    tagged.sweep(2)
    done.set()
    for thread in threads:
        thread.join()
    for process in started.values():
        process.wait()


def test_what_a_helper_thread_starts_marks_every_attempt_and_is_nobodys_until_named(tagged) -> None:
    started = []
    begin = threading.Event()

    def help_out():
        begin.wait()
        started.append(subprocess.Popen(["sleep", "1000"]))

    thread = threading.Thread(target=help_out)
    thread.start()  # by a thread that works for no attempt
    with working_for(1) as first:
        begin.set()
        thread.join()
        assert first.may_have_processes
        process = started[0]
        assert tag.read_tag(process.pid) == 0
        assert attempt_tracking.adopt(1, process.pid) == [process.pid]
        assert tag.read_tag(process.pid) == tag_in(tagged, 1)
    tagged.sweep(1)
    process.wait()


DAEMON = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >{}"


def shell_by_fork(*words):
    if (pid := os.fork()) == 0:
        os.execv("/bin/sh", words)
    os.waitpid(pid, 0)


DAEMONISES = {
    "subprocess": lambda *words: subprocess.run(words, check=True),
    "os.system": lambda *words: os.system(words[2]),
    "os.posix_spawn": lambda *words: os.waitpid(os.posix_spawn("/bin/sh", words, os.environ), 0),
    "os.posix_spawnp": lambda *words: os.waitpid(os.posix_spawnp("sh", words, os.environ), 0),
    "os.spawnv": lambda *words: os.spawnv(os.P_WAIT, "/bin/sh", words),
    "os.popen": lambda *words: os.popen(words[2]).close(),
    "os.fork": shell_by_fork,
}


def in_its_thread(call, *arguments):
    call(*arguments)


def in_a_thread_of_its_own(call, *arguments):
    thread = threading.Thread(target=call, args=arguments)
    thread.start()
    thread.join()


def in_a_thread_of_a_thread(call, *arguments):
    in_a_thread_of_its_own(in_a_thread_of_its_own, call, *arguments)


def in_a_pool(call, *arguments):
    with ThreadPoolExecutor() as pool:
        pool.submit(call, *arguments).result()


def in_a_bare_thread(call, *arguments):
    over = threading.Event()

    def run():
        call(*arguments)
        over.set()

    _thread.start_new_thread(run, ())
    over.wait()


def in_a_pool_of_another_attempt(call, *arguments):
    with ThreadPoolExecutor(1) as pool:
        in_a_thread_of_its_own(start_pool_for_another, pool)
        pool.submit(call, *arguments).result()


def in_a_pool_of_threads_of_another_attempt(call, *arguments):
    found = []
    in_a_thread_of_its_own(make_pool_for_another, found)
    found[0].apply(call, arguments)
    found[0].close()
    found[0].join()


def make_pool_for_another(found):
    with working_for(2):
        found.append(ThreadPool(1))


def start_pool_for_another(pool):
    with working_for(2):
        assert pool.submit(attempt_tracking.current_ordinal).result() == 2


PLACES = [
    in_its_thread,
    in_a_thread_of_its_own,
    in_a_thread_of_a_thread,
    in_a_bare_thread,
    in_a_pool,
    in_a_pool_of_another_attempt,
    in_a_pool_of_threads_of_another_attempt,
]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("how", DAEMONISES)
def test_what_an_action_daemonises_is_its_attempts(tagged, tmp_path, where, how) -> None:
    before = resource.prlimit(0, tag.RLIMIT_LOCKS)
    with working_for(1) as attempt:
        where(DAEMONISES[how], "sh", "-c", DAEMON.format(tmp_path / "pid"))
    orphan = int((tmp_path / "pid").read_text())
    assert attempt.may_have_processes
    assert tag.read_tag(orphan) == tag_in(tagged, 1)
    assert orphan in tagged.sweep(1).killed
    assert resource.prlimit(0, tag.RLIMIT_LOCKS) == before


def test_a_thread_that_outlives_its_attempt_works_for_none(tagged) -> None:
    over, found = threading.Event(), []

    def look():
        over.wait()
        found.append(attempt_tracking.current_ordinal())

    with working_for(1):
        thread = threading.Thread(target=look)
        thread.start()
    with working_for(2):
        over.set()
        thread.join()
    assert found == [0]


def test_a_thread_of_a_pool_works_for_each_attempt_that_submits_to_it_and_then_for_none(tagged) -> None:
    with ThreadPoolExecutor(1) as pool:
        for ordinal in (1, 2):
            with working_for(ordinal):
                assert pool.submit(attempt_tracking.current_ordinal).result() == ordinal
        assert pool.submit(attempt_tracking.current_ordinal).result() == 0


@pytest.fixture
def loop_of_another(tagged):
    """Give an event loop whose thread the attempt 7 has started, which goes on."""
    loop = asyncio.new_event_loop()
    with working_for(7):
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        yield loop
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
    loop.close()


async def ordinal_here() -> int:
    await asyncio.sleep(0)
    return attempt_tracking.current_ordinal()


async def ordinal_in_an_executor() -> int:
    return await asyncio.get_running_loop().run_in_executor(None, attempt_tracking.current_ordinal)


async def ordinal_in_a_thread() -> int:
    return await asyncio.to_thread(attempt_tracking.current_ordinal)


async def ordinal_of_a_task() -> int:
    return await asyncio.create_task(ordinal_here())


@pytest.mark.parametrize("work", [ordinal_here, ordinal_in_an_executor, ordinal_in_a_thread, ordinal_of_a_task])
def test_what_an_event_loop_of_another_attempt_is_given_belongs_to_the_attempt_that_gives_it(loop_of_another, work):
    def ordinal() -> int:
        return asyncio.run_coroutine_threadsafe(work(), loop_of_another).result()

    found: SimpleQueue[int] = SimpleQueue()

    def attempt(number: int) -> None:
        with working_for(number):
            found.put(ordinal())

    for number in (1, 2):
        thread = threading.Thread(target=attempt, args=(number,))
        thread.start()
        thread.join()
        assert found.get() == number


def test_what_a_loop_still_does_for_an_attempt_that_is_over_belongs_to_none(loop_of_another):
    goes_on, runs, asked = threading.Event(), threading.Event(), SimpleQueue()

    async def later() -> int:
        runs.set()
        await asyncio.get_running_loop().run_in_executor(None, goes_on.wait)
        return attempt_tracking.current_ordinal()

    def attempt() -> None:
        with working_for(1):
            asked.put(asyncio.run_coroutine_threadsafe(later(), loop_of_another))
            assert runs.wait(60)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    goes_on.set()
    assert asked.get().result() == 0


def test_work_of_a_queue_belongs_to_the_attempt_whose_context_it_is_given_with(tagged):
    works: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
    found: SimpleQueue[int] = SimpleQueue()

    def serve() -> None:
        while (work := works.get()) is not None:
            work()

    def attempt(number: int) -> None:
        with working_for(number):
            context = contextvars.copy_context()
            works.put(lambda: found.put(context.run(attempt_tracking.current_ordinal)))
            assert found.get() == number

    with working_for(7):
        worker = threading.Thread(target=serve)
        worker.start()
        for number in (1, 2):
            thread = threading.Thread(target=attempt, args=(number,))
            thread.start()
            thread.join()
        works.put(None)
        worker.join()


def ordinal_of(*_: object) -> int:
    return attempt_tracking.current_ordinal()


WAYS = {
    "apply": lambda pool: pool.apply(ordinal_of),
    "apply_async": lambda pool: pool.apply_async(func=ordinal_of).get(),
    "map": lambda pool: pool.map(ordinal_of, [0])[0],
    "map_async": lambda pool: pool.map_async(ordinal_of, iter([0])).get()[0],
    "starmap": lambda pool: pool.starmap(ordinal_of, [(0, 0)])[0],
    "starmap_async": lambda pool: pool.starmap_async(ordinal_of, [(0, 0)]).get()[0],
    "imap": lambda pool: next(pool.imap(ordinal_of, [0])),
    "imap by chunks": lambda pool: next(pool.imap(ordinal_of, iterable=[0, 0], chunksize=2)),
    "imap_unordered": lambda pool: next(pool.imap_unordered(ordinal_of, [0])),
    "an item of imap": lambda pool: next(pool.imap(int, map(ordinal_of, [0]))),
    "a callback": lambda pool: called_back(pool, "callback", ordinal_of),
    "an error's callback": lambda pool: called_back(pool, "error_callback", [].pop),
}


def called_back(pool: ThreadPool, name: str, function: Callable[..., object]) -> int:
    found: SimpleQueue[int] = SimpleQueue()
    pool.apply_async(function, **{name: lambda _: found.put(ordinal_of())})
    return found.get()


@pytest.mark.parametrize("way", WAYS)
def test_what_a_multiprocessing_pool_of_threads_is_given_belongs_to_the_attempt_that_gives_it(tagged, way) -> None:
    with working_for(3):
        pool = ThreadPool(1)
    for ordinal in (1, 2):
        with working_for(ordinal):
            assert WAYS[way](pool) == ordinal
    assert WAYS[way](pool) == 0
    pool.close()
    pool.join()


def test_a_pool_whose_module_is_imported_later_is_followed_too(tmp_path) -> None:
    program = """
import sys
from orcha._processes import attempt_tracking, tag
from orcha._processes.attempt_processes import TaggedProcesses
assert "multiprocessing.pool" not in sys.modules
attempt_tracking.install(attempt_tracking.ServiceState(TaggedProcesses(tag.new_nonce())))
from multiprocessing.pool import ThreadPool
with attempt_tracking.working_for(1):
    pool = ThreadPool(1)
with attempt_tracking.working_for(2):
    print(pool.apply(attempt_tracking.current_ordinal))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


def test_what_waits_in_a_pool_beyond_the_end_of_its_attempt_works_for_none(tagged) -> None:
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with working_for(1):
            late = pool.submit(lambda: over.wait() and attempt_tracking.current_ordinal())
        over.set()
        assert late.result() == 0


def test_a_bare_thread_takes_its_arguments_and_its_error_stays_its_own(tagged, monkeypatch) -> None:
    found, errors = [], []
    over = threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", lambda told: (errors.append(told.exc_value), over.set()))

    def run(first, *, second):
        found.append((first, second, attempt_tracking.current_ordinal()))
        raise LookupError("its own")

    with working_for(1):
        _thread.start_new_thread(run, (1,), {"second": 2})
        over.wait()
    assert found == [(1, 2, 1)]
    assert [type(error) for error in errors] == [LookupError]


@pytest.mark.parametrize("code", [0, 3])
def test_os_system_gives_the_status_of_its_shell(tagged, code) -> None:
    with working_for(1):
        assert os.waitstatus_to_exitcode(os.system(f"exit {code}")) == code
        assert os.waitstatus_to_exitcode(os.system(b"kill -TERM $$")) == -signal.SIGTERM


def test_what_the_service_starts_for_itself_belongs_to_no_attempt(tagged) -> None:
    with working_for(1) as attempt:
        with attempt_tracking.apart():
            process = subprocess.Popen(["sleep", "1000"])
        assert not attempt.may_have_processes
        assert tag.read_tag(process.pid) == 0
        process.kill()
        process.wait()


def test_what_nobody_named_is_claimed_from_another_thread(tagged) -> None:
    pid = ctypes.c_int()
    arguments = (ctypes.c_char_p * 3)(b"sleep", b"1000", None)
    found = []
    with working_for(1):
        ctypes.CDLL(None).posix_spawn(ctypes.byref(pid), b"/bin/sleep", None, None, arguments, None)
        thread = threading.Thread(target=lambda: found.extend(attempt_tracking.claim_children(1)))
        thread.start()
        thread.join()
    assert found == [pid.value]
    assert attempt_tracking.claim_children(1) == []  # over
    tagged.sweep(1)
    os.waitpid(pid.value, 0)


IN_A_CHILD = """
import os, sys, threading
from orcha._processes.attempt_tracking import working_for
pid = os.fork()
if not pid:
    with working_for(1) as attempt:
        os._exit(attempt.thread != threading.get_native_id())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_process_that_was_forked_looks_for_children_of_its_own_thread() -> None:
    assert warm.run([sys.executable, "-c", IN_A_CHILD]).returncode == 0


def test_pids_that_no_attempt_can_own_are_refused(tagged, monkeypatch) -> None:
    monkeypatch.setattr("orcha._processes.attempt_processes.helper_pids", lambda: frozenset({4242}))
    for pid in (0, 1, os.getpid(), 4242):
        with pytest.raises(ValueError):
            attempt_tracking.adopt(1, pid)


def test_a_note_marks_an_attempt_that_lives(tagged) -> None:
    with working_for(1) as attempt:
        attempt_tracking.note(1)
        attempt_tracking.note(2)
    assert attempt.may_have_processes


def test_a_service_is_followed_once(tagged) -> None:
    with pytest.raises(RuntimeError):
        attempt_tracking.install(attempt_tracking.ServiceState(tagged))


def test_nothing_is_followed_before_the_service_says_so() -> None:
    with pytest.raises(RuntimeError):
        attempt_tracking.adopt(1, 2)
    original = subprocess.Popen.__init__
    assert not hasattr(original, "__wrapped__")
    with working_for(1) as attempt:
        popen()
    assert not attempt.may_have_processes


def test_importing_changes_nothing() -> None:
    code = (
        "import os, signal, subprocess, sys, threading\n"
        "before = subprocess.Popen.__init__, threading.enumerate(), set(os.listdir('/proc/self/fd'))\n"
        "from orcha._processes import attempt_tracking, terminator, helpers, lock\n"
        "from orcha._processes import attempt_processes, sweep, tag, watcher_process\n"
        "assert before == (subprocess.Popen.__init__, threading.enumerate(), set(os.listdir('/proc/self/fd')))\n"
        "assert not tag.read_tag(os.getpid())\n"
        "assert 'psutil' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_drops_the_services_descriptors_but_keeps_their_numbers_taken() -> None:
    from orcha._processes.attempt_processes import TaggedProcesses

    reading, writing = os.pipe()
    held = os.open("/proc/self/stat", os.O_RDONLY)
    forgotten = []
    state = attempt_tracking.ServiceState(
        TaggedProcesses(tag.new_nonce()), lambda: [held, -1], (lambda: forgotten.append(os.getpid()),)
    )
    attempt_tracking.install(state)
    try:
        with working_for(3):
            pid = os.fork()
            if pid == 0:
                link = str(Path(f"/proc/self/fd/{held}").readlink())
                words = [
                    link,
                    forgotten == [os.getpid()],
                    tag.read_tag(os.getpid()) == tag.tag_of(state.population.nonce, 3),
                ]
                os.write(writing, repr(words).encode())
                os._exit(0)
    finally:
        attempt_tracking.uninstall()
    os.waitpid(pid, 0)
    assert os.read(reading, 1000).decode() == repr(["/dev/null", True, True])
    assert str(Path(f"/proc/self/fd/{held}").readlink()) != "/dev/null"
    assert forgotten == []
    for descriptor in (reading, writing, held):
        os.close(descriptor)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_cannot_let_go_does_not_run(capfd) -> None:
    from orcha._processes.attempt_processes import TaggedProcesses

    def fail():
        raise OSError("the secret sticks")

    attempt_tracking.install(attempt_tracking.ServiceState(TaggedProcesses(tag.new_nonce()), forget=(fail,)))
    try:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
    finally:
        attempt_tracking.uninstall()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 70
    assert "the secret sticks" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_default_handlers_and_open_signals(tagged) -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    reading, writing = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            handlers = [signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
                        signal.getsignal(signal.SIGINT) is interrupt,
                        signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])]  # fmt: skip
            os.write(writing, repr(handlers).encode())
            os._exit(0)
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.waitpid(pid, 0)
    assert os.read(reading, 100) == b"[True, True, False]"
    os.close(reading)
    os.close(writing)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_waits_for_a_program_that_is_being_started(tagged, monkeypatch) -> None:
    order = []
    starting, go_on = threading.Event(), threading.Event()
    original = subprocess.Popen._execute_child

    def slow(self, *args, **kwargs):
        starting.set()
        go_on.wait()
        original(self, *args, **kwargs)
        order.append("started")

    def fork_now():
        order.append("forks")
        fork()
        order.append("forked")

    monkeypatch.setattr(subprocess.Popen, "_execute_child", slow)
    popping, forking = threading.Thread(target=popen), threading.Thread(target=fork_now)
    popping.start()
    starting.wait()
    forking.start()
    wait_for(lambda: order == ["forks"])
    go_on.set()
    popping.join()
    forking.join()
    assert order == ["forks", "started", "forked"]
