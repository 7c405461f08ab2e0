"""Users and groups that the configuration names and the machine does not have are noted, with the nearest name."""

from __future__ import annotations

import grp
import pwd
from types import SimpleNamespace

import pytest

from orcha._configuration.configured import together
from orcha._configuration.named_accounts import faults_of_accounts, notes_on_accounts
from orcha._configuration.reading import read
from orcha.utils import accounts

USERS = {"alice": 1001, "bob": 1002}
GROUPS = {"lab": 1100, "staff": 1101}


@pytest.fixture(autouse=True)
def _directory(monkeypatch):
    """Have the machine know alice and bob, and the groups lab and staff."""
    users = {name: SimpleNamespace(pw_name=name, pw_uid=number) for name, number in USERS.items()}
    groups = {name: SimpleNamespace(gr_name=name, gr_gid=number) for name, number in GROUPS.items()}
    monkeypatch.setattr(pwd, "getpwnam", users.__getitem__)
    monkeypatch.setattr(pwd, "getpwall", lambda: [*users.values()])
    monkeypatch.setattr(grp, "getgrnam", groups.__getitem__)
    monkeypatch.setattr(grp, "getgrall", lambda: [*groups.values()])


def configured(text):
    made, faults = together([read(text.encode(), "orcha.toml")])
    assert faults == []
    return made


ALICE = "this machine has no user alcie (did you mean alice?): mend the name, or make that user"
LAB = "this machine has no group lba (did you mean lab?): mend the name, or make that group"
XYZ = "this machine has no group xyz: mend the name, or make that group"
WHICH = "it is for users: write quota.members.lab for each member, or quota.group.lab for all together"
MEND = "mend the name, or give its number"
WEIGHT = 'has no weight: this machine has no user lab, and a group: write "@lab" for the group'


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("[quota.user.alcie]\nrunning = 1", f"1:13: quota.user.alcie limits nobody: {ALICE}"),
        ("quota.members.xyz.running = 1", f"1:15: quota.members.xyz limits nobody: {XYZ}"),
        ('[quota.group."@lba"]\nresources.gpu = 1', f'1:14: quota.group."@lba" limits nobody: {LAB}'),
        ('quota.user."@lab".running = 1', f'1:12: quota.user."@lab" limits nobody: {WHICH}'),
        ("quota.user.1001.queued = 1", '1:12: quota.user.1001 limits nobody: a number is written "uid:1001" here'),
        ("quota.group.11.queued = 1", "1:13: quota.group.11 limits nobody: a group has its name here: write that"),
        ('quota.user."a b".queued = 1', '1:12: quota.user."a b" limits nobody: this machine has no user a b: '),
        ("[weights]\nalcie = 2", f"2:9: weights.alcie has no weight: {ALICE}"),
        ('weights."@lba" = 2', f'1:18: weights."@lba" has no weight: {LAB}'),
        ("weights.lab = 2", f"1:15: weights.lab {WEIGHT}"),
    ],
)
def test_a_quota_or_a_weight_of_nobody_is_noted_with_its_place(text, note):
    (told,) = notes_on_accounts(configured(text))
    assert str(told).startswith(f"orcha.toml:{note}")


def test_nothing_is_noted_of_users_and_groups_that_are_there():
    text = """\
service.commands = 2
quota.default.running = 1
quota.user.alice.running = 1
quota.user."uid:4711".running = 1
quota.user."key:ci".running = 1
quota.members."@lab".running = 1
quota.group.staff.running = 1
weights.bob = 2
weights."@lab" = 3
"""
    assert notes_on_accounts(configured(text)) == ()


def test_a_role_of_nobody_is_a_fault_that_names_the_nearest_user():
    found = configured('[roles]\nadmin = ["root2", "@labb", 1001]\n[listen]\nshare = ["alise", "bob"]\n')
    assert [str(each) for each in faults_of_accounts(found)] == [
        f"orcha.toml:2:9: roles.admin: this machine has no user root2: {MEND}",
        f"orcha.toml:2:9: roles.admin: this machine has no group labb (did you mean lab?): {MEND}",
        f"orcha.toml:4:9: listen.share: this machine has no user alise (did you mean alice?): {MEND}",
    ]


def test_a_silent_directory_of_users_holds_nothing_up_for_a_note(monkeypatch):
    def silent(word):
        raise accounts.SilentDirectoryError(word)

    monkeypatch.setattr("orcha._configuration.named_accounts.is_known", silent)
    assert notes_on_accounts(configured("weights.zoe = 2")) == ()
