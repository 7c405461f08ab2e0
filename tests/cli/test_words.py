"""What people write on the command line, and how they are answered."""

from __future__ import annotations

import argparse
import doctest
import importlib

import pytest

from orcha._cli import descriptions, keys, options, output, printing, redact, render
from orcha._cli.output import ShownOutput


@pytest.mark.parametrize(
    "name", ["attached", "keys", "layout", "options", "output", "printing", "redact", "render", "descriptions"]
)
def test_examples_are_true(name):
    done = doctest.testmod(importlib.import_module(f"orcha._cli.{name}"))
    assert done.failed == 0
    assert done.attempted > 0


@pytest.mark.parametrize("text", ["", "x", "5x", "-1", "0", "1..2", "h", "5 m x", "nan", "inf", "1e400h"])
def test_no_durations(text):
    with pytest.raises(argparse.ArgumentTypeError):
        options.duration(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "5X", "M", "inf", "1e30T"])
def test_no_sizes(text):
    with pytest.raises(argparse.ArgumentTypeError):
        options.size(text)


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (options.duration, "99999999999999999999", "at most 36500d"),
        (options.duration, "0", "above zero"),
        (options.size, "99999999999999T", "less than 4194304T"),
        (options.size, "0", "is no size"),
    ],
)
def test_a_limit_of_what_can_be_given_is_said(read, text, said):
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        read(text)


@pytest.mark.parametrize("text", ["", "NOPE", "0", "999"])
def test_no_signals(text):
    with pytest.raises(argparse.ArgumentTypeError):
        options.signal_number(text)


def test_priorities_are_numbers():
    assert [options.number(text) for text in ("5", "-5", "0.5", "-inf")] == [5, -5, 0.5, float("-inf")]
    with pytest.raises(argparse.ArgumentTypeError):
        options.number("nan")
    with pytest.raises(argparse.ArgumentTypeError):
        options.number("high")


def test_variables_that_are_no_text_go_as_bytes():
    chosen = options.environment({"PATH": "/bin", "HOME": "\udcff"}, ["\udcfe=é"])
    assert chosen == {"PATH": "/bin", "HOME": b"\xff", b"\xfe": "é"}


TEXT = "é漢🙂\u0800\ud7ff\ue000\U00010000\U0010ffff".encode()


def cut(data, size, begun=b""):
    """Give the parts of bytes that come in pieces, and what is left."""
    parts = []
    for place in range(0, len(data), size):
        found, begun = printing.as_text(begun, data[place : place + size])
        parts += found
    return parts, begun


@pytest.mark.parametrize("size", range(1, len(TEXT) + 1))
def test_text_comes_as_text_however_it_is_cut(size):
    parts, rest = cut(TEXT * 3, size)
    assert all(isinstance(part, str) for part in parts)
    assert ("".join(parts).encode(), rest) == (TEXT * 3, b"")


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(
    "wrong", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe6", b"\xf0\x9f\x99"]
)
def test_no_byte_is_lost_where_it_is_no_text(size, wrong):
    for data in (wrong, b"a" + wrong, wrong + b"b", TEXT + wrong + TEXT, wrong * 3):
        parts, rest = cut(data, size)
        given = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
        assert given + rest == data
        assert len(rest) < 4
        assert all(parts)


@pytest.mark.parametrize("text", ["ctrl-c", "ctrl-z", "ctrl-\\", "x,,y", "ctrl-", "é", "meta-x"])
def test_no_keys(text):
    with pytest.raises(ValueError):
        keys.parse(text)


def test_without_keys_everything_goes_through():
    detector = keys.Detector(keys.parse(""))
    assert detector.feed(b"\x1dd") == (b"\x1dd", False)


def test_what_only_looked_like_the_keys_goes_through():
    detector = keys.Detector(b"aab")
    assert detector.feed(b"xa") == (b"x", False)
    assert detector.feed(b"a") == (b"", False)
    assert detector.feed(b"a") == (b"a", False)
    assert detector.rest() == b"aa"
    assert detector.feed(b"ab") == (b"ab", False)
    assert detector.feed(b"aab rest") == (b"", True)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["mysql", "--password=pw", "-u", "me"], ["mysql", "--password=***", "-u", "me"]),
        (["x", "--api-key", "abc", "y"], ["x", "--api-key", "***", "y"]),
        (["x", "--token", "--verbose"], ["x", "--token", "--verbose"]),
        (["env", "DB_PASSWORD=abc", "PORT=1", "make"], ["env", "DB_PASSWORD=***", "PORT=1", "make"]),
        (["sh", "-c", "cd x; TOKEN=abc make; PASSWORD='x' y"], ["sh", "-c", "cd x; TOKEN=*** make; PASSWORD=*** y"]),
        (["sh", "-c", "x --password 'a b' c"], ["sh", "-c", "x --password *** c"]),
        (["x", "--secret=a b c"], ["x", "--secret=***"]),
        (["curl", "-H", "Authorization: Bearer abc"], ["curl", "-H", "Authorization: Bearer ***"]),
        (["git", "clone", "https://me:pw@host/x"], ["git", "clone", "https://me:***@host/x"]),
        (["make", "tokens", "-j4", "a=b"], ["make", "tokens", "-j4", "a=b"]),
    ],
)
def test_secrets_in_commands_are_hidden(command, shown):
    assert redact.words(command) == shown


def test_escape_sequences_are_inert():
    assert render.plain("a\x1b[2Jb\n\u202e") == "a\\x1b[2Jb\\n\\u202e"
    assert descriptions.value("label", "\x1b]0;x\x07") == "\\x1b]0;x\\x07"
    assert descriptions.value("", {"\x1b": "\x9b"}) == "\\x1b \\x9b"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"a\nb\nc", b"a\nb\nc\n", b"\n\n\n\n", b"a\n\nb\n"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_last_lines_are_those_of_the_whole(text, count, size):
    pieces = [ShownOutput(1 + place % 2, text[place : place + size]) for place in range(0, len(text), size)]
    last, complete = output.last_lines(iter(pieces), count)
    lines = text.splitlines(keepends=True)
    assert b"".join(piece.data for piece in last) == b"".join(lines[max(0, len(lines) - count) :])
    if complete and count:
        assert len(lines) > count


def test_a_small_peak_is_a_bound():
    assert descriptions.value("peak", 12 << 20) == "at most 12 MiB"
    assert descriptions.value("peak", 64 << 20) == "64 MiB"
