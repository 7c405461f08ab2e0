"""What the configuration says of the quotas of a user, which the hook thread may look up while it changes."""

from __future__ import annotations

from types import SimpleNamespace

from orcha._configuration.configured import together
from orcha._configuration.reading import read
from orcha._core.admission import Admission
from orcha._core.petitions import Petitions
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
