"""What the configuration says of the quotas of a user, which the hook thread may look up while it changes."""

from __future__ import annotations

from types import SimpleNamespace

from orcha._configuration.configured import together
from orcha._configuration.reading import read
from orcha._core.admission import Admission
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._core.transitions import submit
from orcha._service.hooks.user_quotas import UserQuotas


def settings(running):
    text = f"[quota.default]\nrunning = {running}\n"
    return SimpleNamespace(configured=together([read(text.encode(), "orcha.toml")])[0])


class KnownUser:
    """A user at whose groups nobody looks without `meanwhile` being called."""

    def __init__(self):
        self.meanwhile = lambda: None

    @property
    def groups(self):
        self.meanwhile()
        return ()


def test_what_was_looked_up_while_other_quotas_came_to_hold_is_looked_up_again():
    petitions, known = Petitions(), KnownUser()
    directory = SimpleNamespace(on_news=[], renew_for=lambda *_, **__: None, known=lambda _: known)
    quotas = UserQuotas(Admission(petitions), petitions, lambda: None, directory)

    def most():
        return [account.limits["running"].most for account in quotas.accounts_of("uid:7")]

    quotas.configure(settings(1))
    known.meanwhile = lambda: quotas.configure(settings(2))
    assert most() == [1]
    assert most() == [2]


def test_what_waits_for_the_quota_of_a_group_is_let_go_when_the_directory_tells_that_the_user_has_left_it():
    petitions, groups = Petitions(), ["lab"]
    admission = Admission(petitions)
    directory = SimpleNamespace(
        on_news=[], renew_for=lambda *_, **__: None, known=lambda _: SimpleNamespace(groups=tuple(groups))
    )
    quotas = UserQuotas(admission, petitions, admission.unpark_resumed, directory)
    text = b"[quota.group.lab]\nrunning = 0\n"
    quotas.configure(SimpleNamespace(configured=together([read(text, "orcha.toml")])[0]))
    record = Record(1, b"1", "a", "m", "uid:7", b"", b"", 0.0)
    assert submit.receive(petitions, record) is None
    submit.accept(petitions, record, petitions.now, start=False, new_channel=False)
    assert admission.blocked_by(record) is not None
    admission.park(record)
    assert petitions.waiting.is_parked(record.place)
    groups.clear()
    for tell in directory.on_news:
        tell("uid:7")
    assert not petitions.waiting.is_parked(record.place)
    assert admission.blocked_by(record) is None
