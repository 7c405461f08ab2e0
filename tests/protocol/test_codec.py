"""The codec of messages is made once, however many threads send and receive their first message at one moment."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading, typing
from contextlib import suppress
from orcha._protocol import frames, messages

is_making, is_over = threading.Event(), threading.Event()
hash_of = typing._AnnotatedAlias.__hash__

def waits_for_its_turn(thread):
    frame = sys._current_frames().get(thread.ident)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>" and frame.f_code.co_name == "acquire":
            return True
        frame = frame.f_back
    return False

def stop_once(alias):
    # msgspec asks for this while it finds out what the fields of a message are.
    if threading.current_thread().name == "first" and not is_making.is_set():
        is_making.set()
        while not is_over.wait(0.01) and not waits_for_its_turn(second):
            pass
    return hash_of(alias)

def receive():
    import msgspec
    is_making.wait()
    for tag in range(60):
        for filler in (1, None, b"x", "x", [], True):
            for body in ([tag, 1] + [filler] * 12, [tag] + [filler] * 12):
                with suppress(frames.FrameError):
                    frames.decode_client_message(msgspec.msgpack.encode(body))
    is_over.set()

typing._AnnotatedAlias.__hash__ = stop_once
first = threading.Thread(target=frames.encode, args=(messages.Ping(0),), name="first")
second = threading.Thread(target=receive)
second.start()
first.start()
first.join()
second.join()
print(is_making.is_set(), frames.decode_client_message(frames.encode(messages.Ping(7))[4:]))
"""


def test_a_thread_that_receives_waits_for_the_thread_that_makes_the_codec():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "True Ping(request=7)\n"), ran.stderr
