"""What a program finds around it is the same, whether a new interpreter or a warm one runs it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import orcha
from support import warm, warm_helpers
from support.processes import processes_of
from support.waiting import wait_for
from support.warm import WARM
from support.warm_interpreter import is_command

TELLS = """
import json, locale, os, random, signal, sys, threading
import multiprocessing.process

def of(path):
    with open("/proc/self/" + path, "rb") as file:
        return file.read()

status = dict(line.split(":", 1) for line in of("status").decode().splitlines())
print(json.dumps({
    "is warm": "apsw" in sys.modules,
    "argv": sys.argv,
    "orig_argv": sys.orig_argv,
    "path": [entry for entry in sys.path],
    "main": sorted(name for name in vars(sys.modules["__main__"]) if name.startswith("__")),
    "file": globals().get("__file__"),
    "environment": dict(os.environ),
    "shown environment": sorted(set(of("environ").decode().split("\\0")) - {""}),
    "shown words": of("cmdline").decode().rstrip("\\0").split("\\0"),
    "leads": (os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()),
    "group": os.getpgrp() if os.getpgrp() != os.getpid() else None,
    "descriptors": {
        number: os.readlink(f"/proc/self/fd/{number}").partition(":")[0]
        for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")
    },
    "signals": {
        name: int(status[name], 16) & ~(0b11 << 31)  # 32 and 33 are the C library's own
        for name in ("SigBlk", "SigIgn", "SigCgt")
    },
    "handlers": {
        int(number): str(signal.getsignal(number)).partition(" at ")[0]
        for number in signal.valid_signals() if number not in (4, 6, 7, 8, 11)  # what faulthandler has
    },
    "umask": status["Umask"],
    "user": (status["Uid"], status["Gid"], status["Groups"]),
    "folder": os.getcwd(),
    "threads": (status["Threads"], threading.main_thread().ident == threading.get_ident()),
    "streams": [
        stream and (
            stream.name, stream.encoding, stream.errors, stream.mode, stream.line_buffering, stream.write_through,
            type(stream.buffer).__name__,
        )
        for stream in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "locale": (locale.getlocale(), sys.getfilesystemencoding()),
    "limits": (sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode),
    "start folder": multiprocessing.process.ORIGINAL_DIR,
}))
print(random.random(), multiprocessing.process.current_process().authkey.hex(), file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def _is_warm():
    if not WARM.is_there:
        pytest.skip("nothing is started warm where TEST_COLD is set")


def told(words, **options):
    """Give what the program says of itself when it is started warm, and when it is not."""
    both = [
        json.loads(
            warm.run(
                [sys.executable, *words],
                warm=is_warm,
                **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
            ).stdout
        )
        for is_warm in (True, False)
    ]
    assert [one.pop("is warm") for one in both] == [True, False]
    return both


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "tells.py"
    path.write_text(TELLS)
    return str(path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"start_new_session": True},
        {"process_group": 0},
        {"umask": 0o027},
        {"stdin": subprocess.DEVNULL, "cwd": "/"},
        {"input": b"words"},
        {"env": os.environ | {"A": "ä", "HOME": "/nowhere"}},
        {"env": os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": "/usr/share:relative", "PYTHONFAULTHANDLER": "1"}},
    ],
    ids=["none", "session", "group", "umask", "streams", "input", "environment", "path"],
)
def test_a_script_finds_the_same(script, options):
    warm_one, cold_one = told([script, "a word", "ä"], **options)
    assert warm_one == cold_one


def test_a_variable_that_a_library_has_set_is_there(script):
    """Readline sets COLUMNS and LINES in a process that imports it, which Python's `os.environ` does not show."""
    library = ctypes.CDLL(None)
    library.setenv(b"SET_BY_A_LIBRARY", b"24", 1)
    try:
        warm_one, cold_one = told([script])
    finally:
        library.unsetenv(b"SET_BY_A_LIBRARY")
    assert warm_one == cold_one
    assert warm_one["environment"]["SET_BY_A_LIBRARY"] == "24"


@pytest.mark.parametrize("words", [["-c", TELLS, "a"], ["-P", "-c", TELLS], ["-c", TELLS, "-c", "--port", "1"]])
def test_a_line_of_code_finds_the_same(words):
    warm_one, cold_one = told(words)
    assert warm_one == cold_one


def test_it_has_the_descriptors_that_are_passed_and_no_other(script):
    reader, writer = os.pipe()
    try:
        warm_one, cold_one = told([script], pass_fds=[reader, writer])
    finally:
        os.close(reader)
        os.close(writer)
    assert warm_one == cold_one
    assert {str(reader), str(writer)} < warm_one["descriptors"].keys()


def test_what_this_process_ignores_and_blocks_it_ignores_and_blocks(script):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        warm_one, cold_one = told([script])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGHUP, before)
    assert warm_one == cold_one


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (["-m", "orcha", "ps"], True),
        (["-P", "-m", "orcha", "--port", "1", "--no-store", "--key=serve", "run", "--", "serve"], True),
        (["-m", "orcha", "--listen-address", "ps", "serve"], False),
        (["-m", "orcha", "hello", "ps"], False),
        (["-m", "orcha", "--help"], False),
        (["-m", "pytest", "ps"], False),
        (["-c", "ps"], False),
        ([], False),
    ],
)
def test_a_command_is_known_by_its_verb(words, is_one):
    assert is_command(words) is is_one


@pytest.mark.once
def test_the_interpreter_for_commands_imports_nothing_of_a_service():
    code = "import sys; from support.warm_interpreter import warm_up_for_commands as up; up(); print(*sys.modules)"
    known = os.environ | {"PYTHONPATH": str(Path(warm.__file__).parents[1])}
    there = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=True).stdout
    assert {"orcha.bin.main", "orcha._cli.ps", "ssl"} <= set(there.split())
    heavy = ("apsw", "cryptography", "uvloop", "orcha._service", "orcha._store", "orcha._server", "orcha._supervisor")
    assert not [name for name in there.split() if name.startswith(heavy)]


def test_no_two_share_what_is_drawn_by_lot(script):
    drawn = [warm.run([sys.executable, script], capture_output=True).stderr.split() for _ in range(2)]
    assert len({*drawn[0], *drawn[1]}) == 4


@pytest.mark.parametrize("code", [0, 3, 255])
def test_its_exit_code_comes(code):
    assert warm.run([sys.executable, "-c", f"import sys; sys.exit({code})"]).returncode == code


ENDS = {
    "an error": "raise ValueError('no')",
    "a text": "sys.exit('no')",
    "a large number": "sys.exit(1000)",
    "Ctrl+C": "raise KeyboardInterrupt",
    "no end in order": "os._exit(7)",
    "an object that the interpreter takes down": "class Told:\n def __del__(self): print('told')\ntold = Told()",
    "a cycle": "class Told:\n def __del__(self): print('told')\ntold = Told(); told.own = told; del told",
    "what is called at the exit": "import atexit; atexit.register(print, 'one'); atexit.register(print, 'two')",
    "an error at the exit": "import atexit; atexit.register(lambda: 1 / 0)",
    "a thread that goes on": "threading.Timer(0.01, print, ['ran on']).start()",
    "a daemon thread": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "words that nobody reads": "os.close(reading); sys.stdout = open(writing, 'w'); print('words')",
    "a closed stream": "sys.stdout.close()",
}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_it_ends_the_same(code):
    both = []
    code = f"import os, sys, threading\nreading, writing = os.pipe()\n{code}"
    for is_warm in (True, False):
        done = warm.run([sys.executable, "-c", code], warm=is_warm, capture_output=True, text=True)
        both.append((done.returncode, done.stdout, done.stderr.splitlines()[-1:]))  # tracebacks have other files
    assert both[0] == both[1]


def test_the_signal_that_ends_it_comes():
    with warm.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def test_it_is_found_by_its_environment(tmp_path):
    code = "import sys; print('there', flush=True); sys.stdin.read()"
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with warm.Popen([sys.executable, "-c", code], env={"ORCHA_HOME": str(tmp_path)}, **streams) as process:
        assert process.stdout.readline() == b"there\n"
        assert processes_of(tmp_path) == [process.pid]
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize("name", ["sitecustomize", "ssl", "orcha", "msgspec"])
def test_where_another_module_would_be_imported_the_interpreter_is_a_new_one(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("mine = True")
    code = f"import sys, {name}; print('support.warm_interpreter' in sys.modules or 'apsw' in sys.modules, {name}.mine)"
    done = warm.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.stdout == "False True\n", done.stderr


@pytest.mark.parametrize("words", [["-X", "utf8", "-c"], ["-S", "-c"], ["-I", "-c"]])
@pytest.mark.parametrize("environment", [{}, {"PYTHONHASHSEED": "1"}])
def test_options_of_the_interpreter_have_a_new_one(words, environment):
    code = "import sys; print('apsw' in sys.modules)"
    done = warm.run([sys.executable, *words, code], env=environment, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_a_variable_that_the_interpreter_reads_has_a_new_one():
    code = "import sys; print('apsw' in sys.modules)"
    for variables, known in (({}, "True\n"), ({"PYTHONHASHSEED": "1"}, "False\n"), ({"LC_ALL": "C"}, "False\n")):
        done = warm.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True)
        assert done.stdout == known


TRACKER = """
import json, os, signal, time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from orcha._processes.own_group import group

def of(path):
    with open(f"/proc/{pid}/{path}", "rb") as file:
        return file.read()

signal.signal(signal.SIGHUP, lambda *_: None)
with group.led_by_next():
    resource_tracker.ensure_running()
pid = resource_tracker._resource_tracker._pid
while not int(of("status").split(b"SigIgn:")[1].split()[0], 16) >> 14 & 1:
    time.sleep(0.001)  # until it ignores SIGTERM, as its first step
status = dict(line.split(":", 1) for line in of("status").decode().splitlines())
numbers = os.listdir(f"/proc/{pid}/fd")
descriptors = {number: os.readlink(f"/proc/{pid}/fd/{number}").partition(":")[0] for number in numbers}
memory = SharedMemory(create=True, size=1)
memory.close()
print(json.dumps({
    "is warm": len(of("maps").splitlines()) > 200,
    "words": of("cmdline").decode().rstrip("\\0").split("\\0"),
    "environment": sorted(set(of("environ").decode().split("\\0")) - {""}),
    "leads": os.getpgid(pid) == pid, "session": os.getsid(pid) == os.getsid(0),
    "is its child": status["PPid"].strip() == str(os.getpid()),
    "descriptors": descriptors, "threads": status["Threads"],
    "signals": {name: int(status[name], 16) & ~(0b11 << 31) for name in ("SigBlk", "SigIgn", "SigCgt")},
    "left": memory.name,
}))
"""


def test_the_resource_tracker_of_a_program_is_the_same_and_cleans_up():
    warm_one, cold_one = told(["-c", TRACKER], stderr=subprocess.DEVNULL)
    left = {one.pop("left") for one in (warm_one, cold_one)}
    assert len(left) == 2
    assert warm_one == cold_one
    assert (warm_one["leads"], warm_one["session"], warm_one["is its child"]) == (True, True, True)
    wait_for(
        lambda: not [name for name in left if Path("/dev/shm", name).exists()], what="the clean-up of the trackers"
    )


HELPERS = """
import json, os, resource, signal, sys, time
from pathlib import Path
from orcha._processes.watcher_process import Watcher
from orcha._supervisor.supervisor_process import SupervisorProcess

# A test that gave secrets in its own process has had that process, and its children since, write no core files.
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
folder = Path(sys.argv[1])
(folder / "shims").mkdir(exist_ok=True)
signal.signal(signal.SIGHUP, lambda *_: None)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

def descriptors(pid):
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[number] = os.readlink(f"/proc/{pid}/fd/{number}").partition(":[")[0]
        except FileNotFoundError:  # the process has closed it meanwhile
            continue
    return found

def of(pid, is_ready):
    while not is_ready(status := dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").open())):
        time.sleep(0.001)
    read = lambda name: Path(f"/proc/{pid}/{name}").read_text()
    return {
        "is warm": len(read("maps").splitlines()) > 200,
        "words": [word if not word.isdigit() else "N" for word in read("cmdline").rstrip("\\0").split("\\0")],
        "environment": sorted(set(read("environ").split("\\0")) - {""}),
        "leads": (os.getpgid(pid) == pid, os.getsid(pid) == pid),
        "folder": os.readlink(f"/proc/{pid}/cwd"), "descriptors": descriptors(pid),
        "limits": [line for line in read("limits").splitlines() if "file locks" not in line],
        "is its child": status["PPid"].strip() == str(os.getpid()), "threads": status["Threads"],
        "umask": status["Umask"], "user": (status["Uid"], status["Gid"], status["Groups"]),
        "signals": {name: int(status[name], 16) & ~(0b11 << 31) for name in ("SigBlk", "SigIgn", "SigCgt")},
    }

supervisor = SupervisorProcess(folder)
watcher = Watcher(12345)
watcher.need()
while watcher.pid is None:
    time.sleep(0.001)
told = {
    "supervisor": of(supervisor.pid, lambda status: int(status["SigCgt"], 16) >> signal.SIGCHLD - 1 & 1),
    "watcher": of(watcher.pid, lambda _: "anon_inode" in str(descriptors(watcher.pid))),
}
supervisor.close(wait=True)
watcher.stop()
are_warm = {each.pop("is warm") for each in told.values()}
assert len(are_warm) == 1
errors = (folder / "shims" / "errors").read_text()
print(json.dumps({"is warm": are_warm.pop(), **told, "errors": errors}))
"""


def test_a_supervisor_and_a_watcher_of_a_program_are_the_same(tmp_path):
    warm_one, cold_one = told(["-c", HELPERS, str(tmp_path)])
    assert warm_one == cold_one
    assert warm_one["errors"] == ""
    for name in ("supervisor", "watcher"):
        assert (warm_one[name]["leads"], warm_one[name]["is its child"]) == ([True, True], True)


FOUND = """
import sys
sys.path.append({source!r})
for name in {imported!r}:
    __import__(name)
print(*sys.modules)
"""


def test_a_supervisor_and_a_watcher_find_modules_of_their_own():
    """They find what `python -I -S` finds, beside it the standard library only, and no module of the service."""
    source = str(Path(orcha.__file__).parents[1])
    code = FOUND.format(source=source, imported=warm_helpers.IMPORTED)
    there = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    code = """if True:
        import sys
        from support import warm_helpers
        shared = [name for name in warm_helpers._modules if sys.modules.get(name) is warm_helpers._modules[name]]
        print(*warm_helpers._modules)
        print(*shared)
    """
    known = {"PYTHONPATH": str(Path(warm_helpers.__file__).parents[1])}
    warm_one = warm.run([sys.executable, "-c", code], env=os.environ | known, capture_output=True, text=True)
    found, shared = (set(line.split()) for line in warm_one.stdout.splitlines())
    assert {name for name in there.split() if name.startswith("orcha")} == {
        name for name in found if name.startswith("orcha")
    }
    assert not {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"orcha", "__main__"}
    assert not {name for name in shared if name.startswith("orcha")}
