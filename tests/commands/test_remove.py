"""An ended command is forgotten as soon as nothing of it is there, whatever of that is kept already."""

from __future__ import annotations

from commands.fake_commands import ended, started
from orcha._protocol.messages import Remove, Reply, Verdict
from orcha._service import transaction
from support.waiting import wait_for


def test_it_is_forgotten_although_the_end_of_its_hook_is_not_kept_yet(engine, monkeypatch):
    """What only says that nothing is owed any more waits for a transaction to ride with."""
    monkeypatch.setattr(transaction, "FLAGS_WAIT_SECONDS", 3600)
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.commands.tell(ended(spec, 3))
    engine.settle(asked)
    petitions = engine.engine.petitions
    wait_for(lambda: petitions.changes.flags.get(spec.seq) == (False, False), what="nothing of it is there")
    assert engine.row(asked).hook_pending
    answers = []
    monkeypatch.setattr(engine, "_take", answers.append)
    engine.engine.receive(engine.peer, Remove(1, asked.id))
    reply = wait_for(lambda: next((each for each in answers if isinstance(each, Reply)), None), what="the answer")
    assert reply.verdict == Verdict.OK
    assert [row.id for row in engine.store.page(states=0xFF, limit=9)] == []
