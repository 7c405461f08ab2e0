"""Logins are told once in an hour for each kind, and no flood of them grows without bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orcha._server.client_login import STRANGER, ClientLogin
from orcha._service.login_book import MAX_KINDS_OF_ONE_USER, WINDOW_SECONDS, LoginBook


class Counted:
    """A book whose clock the test sets."""

    def __init__(self):
        self.now = 0.0
        self.told = []
        self.book = LoginBook(lambda login, count: self.told.append((login, count)), now=lambda: self.now)

    def comes(self, who="uid:7", host="", reason=""):
        self.book.note(ClientLogin(who, "", "key", host, reason))

    def hosts(self):
        return [login.host for login, _ in self.told]


def test_a_kind_that_comes_no_more_is_told_with_the_next_login_of_anybody():
    counted = Counted()
    for _ in range(5):
        counted.comes(STRANGER, "192.0.2.7", "a wrong key")
    assert [count for _, count in counted.told] == [1]
    counted.now = WINDOW_SECONDS
    counted.comes()
    assert [(login.who, count) for login, count in counted.told[1:]] == [("uid:7", 1), (STRANGER, 4)]


def test_a_flood_from_many_machines_is_told_as_one_kind_and_hides_nobody_else():
    counted = Counted()
    for number in range(10 * MAX_KINDS_OF_ONE_USER):
        counted.comes(STRANGER, f"host{number}", "a wrong key")
    assert len(counted.told) == MAX_KINDS_OF_ONE_USER + 1
    assert counted.hosts()[-1] == ""
    counted.comes()
    assert counted.told[-1][0].who == "uid:7"
    assert len(counted.book._since) == MAX_KINDS_OF_ONE_USER + 2
    counted.now = 3 * WINDOW_SECONDS
    counted.comes()
    counted.now = 5 * WINDOW_SECONDS
    counted.comes()
    assert len(counted.book._since) == 1, "what comes no more is forgotten"
    counted.comes(STRANGER, "host1", "a wrong key")
    assert counted.hosts()[-1] == "host1"


def test_a_flood_of_certificates_is_told_as_one_kind():
    """Who holds certificates of the authority has any number of them, each with names of its own."""
    counted = Counted()
    for number in range(10 * MAX_KINDS_OF_ONE_USER):
        counted.comes(STRANGER, "host", f"no key is of its certificate (cn:{number})")
    assert len(counted.told) == len(counted.book._since) == MAX_KINDS_OF_ONE_USER + 1
    assert counted.told[0][0].reason == "no key is of its certificate (cn:0)"
    assert counted.told[-1][0].reason == "no key is of its certificate"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3000)), max_size=40))
def test_every_login_is_counted_once(logins):
    counted = Counted()
    for host, later in logins:
        counted.now += later
        counted.comes(host=host)
    for _ in range(2):
        counted.now += 2 * WINDOW_SECONDS
        counted.comes(host="end")
    assert sum(count for login, count in counted.told if login.host != "end") == len(logins)
