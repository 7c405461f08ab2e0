"""What is hidden of command lines that are shown, and what is not."""

from __future__ import annotations

import doctest
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._cli.run import made_up
from orcha.utils import redact


def test_examples_are_true():
    done = doctest.testmod(redact)
    assert (done.failed, done.attempted > 0) == (0, True)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["x", "--pass=pw"], ["x", "--pass=***"]),
        (["x", "--pass", "pw", "--db-pass", "pw"], ["x", "--pass", "***", "--db-pass", "***"]),
        (["keytool", "-storepass", "pw", "-keypass", "pw"], ["keytool", "-storepass", "***", "-keypass", "***"]),
        (["x", "--pwd", "pw", "--pwd=pw"], ["x", "--pwd", "***", "--pwd=***"]),
        (["env", "MYSQL_PWD=pw", "mysql"], ["env", "MYSQL_PWD=***", "mysql"]),
        (["env", "MYSQL_PWD=/pw", "mysql"], ["env", "MYSQL_PWD=***", "mysql"]),
        (["isql", "-k", "UID=sa;PWD=pw;Server=x"], ["isql", "-k", "UID=sa;PWD=***;Server=x"]),
        (["curl", "-u", "me:pw", "h"], ["curl", "-u", "me:***", "h"]),
        (["curl", "-ume:pw", "--proxy-user=me:pw"], ["curl", "-ume:***", "--proxy-user=me:***"]),
        (["curl", "--user", "me:p:w"], ["curl", "--user", "me:***"]),
        (["sh", "-c", "curl -u me:pw h; x --auth pw"], ["sh", "-c", "curl -u me:*** h; x --auth ***"]),
        (["x", "--auth", "pw", "--auth=me:pw"], ["x", "--auth", "***", "--auth=***"]),
        (["x", '{"password": "pw", "a": 1}'], ["x", '{"password": ***, "a": 1}']),
        (["x", '{"a": {"pwd":"p\\"w"}}'], ["x", '{"a": {"pwd":***}}']),
        (["x", "{'pass': 'p w'}"], ["x", "{'pass': ***}"]),
        (["sh", "-c", 'x "{\\"auth\\": \\"p w\\"}"'], ["sh", "-c", 'x "{\\"auth\\": ***}"']),
        (["x", '{"Authorization": "Bearer abc"}'], ["x", '{"Authorization": "Bearer ***"}']),
        (["psql", "postgresql://me:p@w@host/x"], ["psql", "postgresql://me:***@host/x"]),
        (["x", "redis://:pw@host"], ["x", "redis://:***@host"]),
        (["nope-token=pw31"], ["nope-token=***"]),
        (["x", "clientSecret=abc", "authToken:abc"], ["x", "clientSecret=***", "authToken:***"]),
        (["openssl", "-passin", "pass:pw"], ["openssl", "-passin", "pass:***"]),
        (["/usr/bin/mysql", "-ppw", "-P", "3306"], ["/usr/bin/mysql", "-p***", "-P", "3306"]),
        (["sh", "-c", "x --password 'a b' --other=pw"], ["sh", "-c", "x --password *** --other=pw"]),
    ],
)
def test_secrets_are_hidden(command, shown):
    assert redact.words(command) == shown


@pytest.mark.parametrize(
    "command",
    [
        ["make", "tokens", "-j4", "a=b"],
        ["ffmpeg", "-pass", "1", "-i", "x"],
        ["sox", "in", "out", "lowpass=300", "--bypass", "yes", "--passes=3", "--compass", "n"],
        ["git", "commit", "--author", "Me <me@host>", "--author=me"],
        ["env", "PWD=/srv", "OLDPWD=/srv", "SSH_AUTH_SOCK=/run/x", "make"],
        ["apptainer", "exec", "--pwd", "/data", "--pwd=/data", "x"],
        ["x", "--auth", "basic", "--auth=none", "--auth-type", "x", "--no-auth", "x", "oauth=x"],
        ["train", "--tokenizer", "bert", "--max-tokens", "100", "max_tokens=100", "--secretary=x"],
        ["x", "--password-file", "/etc/x", "TOKEN_URL=https://host/x", "--token-type=jwt"],
        ["docker", "run", "-u", "1000:1000", "--user", "1000:1000", "x"],
        ["python", "-u", "x.py", "a:b"],
        ["ffuf", "-u", "https://host:80/x"],
        ["id", "-u", "me"],
        ["echo", "all tests pass: yes", "the author: me", "pwd: here", "auth: x"],
        ["sh", "-c", "cd $(pwd); TOKEN=$TOKEN make; PWD=$(pwd) x", "--key", "2", "--password", "$PASSWORD"],
        ["curl", "http://host:80/a@b", "x@host:/srv", "12:30"],
        ["ssh", "-p", "22", "-p2222"],
    ],
)
def test_what_is_no_secret_is_shown(command):
    assert redact.words(command) == command


def test_ids_that_are_made_up_hold_no_secret():
    made = [made_up(program) for program in ("nope-token=pw31", b"nope-token=pw31", "x/DB_PASS=a/pw31", "/bin/true")]
    assert [name[:-7] for name in made] == ["nope-token", "nope-token", "DB_PASS", "true"]


def test_a_long_word_is_looked_at_once():
    """It ends: looked at again from each of its characters, this would take hours."""
    assert redact.text("pass" * 250_000) == "pass" * 250_000


FRAGMENTS = [
    *("pass", "PWD", "auth", "secret", "token", "credential", "api-key", "user", "curl", "mysqldump", "mariadb"),
    *("-u", "-p", "--", "-", "=", ":", " ", "://", "@", "'", '"', "x", "me", "1", "make", "Authorization", "Bearer"),
]


@given(st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=5).map("".join), max_size=5))
@settings(max_examples=500, deadline=None)
def test_a_command_without_a_sign_of_secrets_is_what_the_long_way_gives(command):
    whole = redact.SIGN
    quick = redact.words(command)
    redact.SIGN = re.compile("")
    try:
        assert redact.words(command) == quick
    finally:
        redact.SIGN = whole
