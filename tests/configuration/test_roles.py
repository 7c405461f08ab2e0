"""Roles in the configuration: users and groups by name and number, and what is wrong with them."""

from __future__ import annotations

import grp
import os
import pwd
import threading

import pytest

from orcha._configuration.files import load
from orcha._service.lifecycle.role_book import role_book
from orcha._service.lifecycle.settings import share_of
from orcha.exceptions import ConfigurationError
from orcha.interfaces.roles import RoleBook
from orcha.utils import accounts
from orcha.utils.accounts import SilentDirectoryError, number_named


@pytest.fixture
def loaded(tmp_path):
    def give(text):
        path = tmp_path / "orcha.toml"
        path.write_text(text)
        return load(str(path))

    return give


def test_users_and_groups_get_roles_by_name_and_number(loaded):
    said = loaded("[roles]\nviewer = [4711]\noperator = ['root', '@root', '@4712']\nothers = 'viewer'\n")
    assert said.faults == ()
    book = role_book(said.configured, is_system=False)
    assert book == RoleBook({4711: "viewer", 0: "operator"}, {0: "operator", 4712: "operator"}, "viewer")
    assert role_book(said.configured, is_system=False, shared_with=["4711", "4713", "@9"]) == RoleBook(
        {4711: "viewer", 0: "operator", 4713: "submitter"},
        {0: "operator", 4712: "operator", 9: "submitter"},
        "viewer",
    )


@pytest.mark.parametrize(
    ("text", "uid", "told"),
    [
        (None, 0, (False, ())),
        ("0", 0, (False, ())),
        ("1", 0, (True, ())),
        ("alice, @lab,", 7, (False, ("alice", "@lab"))),
        ("1001", 7, (False, ("1001",))),
        ("alice", 0, "a service of root is not shared with some users"),
        ("alice,a:b", 7, "'a:b' is no user and no group"),
        (",", 7, "ORCHA_SHARE is ',': set it to 0, 1, or users and groups"),
        ("", 0, "ORCHA_SHARE is '': set it to 0, 1, or users and groups"),
        ("-1", 7, "ORCHA_SHARE is '-1': set it to a number"),
    ],
)
def test_the_variable_says_whom_a_service_is_shared_with(monkeypatch, text, uid, told):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.delenv("ORCHA_SHARE", raising=False)
    if text is not None:
        monkeypatch.setenv("ORCHA_SHARE", text)
    if isinstance(told, str):
        with pytest.raises(ConfigurationError, match=told):
            share_of(configured=False)
        return
    assert share_of(configured=False) == told


def test_the_configuration_says_whom_a_service_is_shared_with_where_the_variable_does_not(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.delenv("ORCHA_SHARE", raising=False)
    assert [share_of(said) for said in (True, (), ("alice",))] == [(True, ()), (False, ()), (False, ("alice",))]
    monkeypatch.setenv("ORCHA_SHARE", "0")
    assert share_of(("alice",)) == (False, ())


@pytest.mark.parametrize(("is_system", "others"), [(True, "submitter"), (False, "")])
def test_without_a_word_every_local_user_submits_to_the_machines_service_alone(loaded, is_system, others):
    assert role_book(loaded("").configured, is_system=is_system) == RoleBook(others=others)
    assert role_book(loaded("roles.others = 'none'").configured, is_system=is_system) == RoleBook()
    assert RoleBook(others=others).lets_in_others is is_system


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("operator = ['nobody-by-this-name']", "2:12: roles.operator: this machine has no user nobody-by-this-name"),
        ("admin = ['@no-such-group']", "2:9: roles.admin: this machine has no group no-such-group"),
        ("admin = ['a b']", "2:9: roles.admin is a list of users and groups"),
        ("king = ['root']", "2:1: there is no roles.king"),
        ("others = 'admin'", "2:10: roles.others is one of none, viewer, submitter"),
        ("viewer = ['root']\nadmin = ['root']", "3:9: root has the role viewer already"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_column(loaded, line, fault):
    found = loaded(f"[roles]\n{line}\n")
    (told,) = found.faults
    assert fault in str(told)
    if "this machine" in fault:
        with pytest.raises(ConfigurationError, match="this machine has no"):
            role_book(found.configured, is_system=False)


def test_a_group_counts_less_than_the_user_and_more_than_all():
    book = RoleBook({7: "viewer"}, {1: "submitter", 2: "operator", 3: "viewer"}, "viewer")
    told = [book.role_for(7, [2]), book.role_for(8, [3, 2, 1]), book.role_for(8, [1, 3]), book.role_for(8, [9])]
    assert told == ["viewer", "operator", "submitter", "viewer"]
    assert RoleBook().role_for(os.getuid(), os.getgroups()) == ""


@pytest.fixture
def silence(monkeypatch):
    """Have the directory of users answer about nobody until the test is over."""
    let_go = threading.Event()
    for module, name in ((pwd, "getpwnam"), (grp, "getgrnam")):
        monkeypatch.setattr(module, name, lambda _: let_go.wait())
    yield
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == "orcha-lookup":
            thread.join()


@pytest.mark.usefixtures("silence")
def test_numbers_need_no_directory_of_users(loaded):
    said = loaded("[roles]\nviewer = [4711]\noperator = ['@4712', '1005']\n")
    assert said.faults == ()
    book = role_book(said.configured, is_system=False, shared_with=["4713"])
    assert book == RoleBook({4711: "viewer", 1005: "operator", 4713: "submitter"}, {4712: "operator"})


@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize("word", ["alice", "@lab"])
def test_nobody_has_a_role_where_nobody_says_whom_a_name_means(loaded, monkeypatch, word):
    """A user whose name is not known would have the role of all others, which may be a stronger one."""
    monkeypatch.setattr(number_named, "__kwdefaults__", {"seconds": 0.01})
    with pytest.raises(SilentDirectoryError, match=f"has not answered within 0.01 s who '{word}' is") as raised:
        loaded(f"[roles]\nviewer = ['{word}']\nothers = 'submitter'\n")
    assert "write the number in place of the name" in str(raised.value)
    assert raised.value.exit_code == 1, "so that systemd starts the service again"
    with pytest.raises(SilentDirectoryError):
        role_book(loaded("").configured, is_system=True, shared_with=[word])


def test_a_name_of_digits_is_a_number(monkeypatch):
    monkeypatch.setattr(pwd, "getpwnam", lambda _: pytest.fail("it is a number"))
    assert (number_named("1005"), accounts.uid_named("1005"), accounts.gid_named("1005")) == (1005, 1005, 1005)
