"""Have the configuration files read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Reply, Verdict
from orcha._service.verbs import answer_size as fitting

if TYPE_CHECKING:
    from orcha._protocol.messages import Reload
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._service.lifecycle.reloading import ReloadReport


def reload(engine: Engine, peer: Peer, message: Reload) -> None:
    """Read the files, and answer with what changed; where a file is wrong, with what is wrong."""

    def answer(report: ReloadReport) -> None:
        told = {name: list(each) if isinstance(each, tuple) else each for name, each in report._asdict().items()}
        engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(told)))

    assert engine.reloading is not None
    engine.reloading.ask(answer)


__all__ = ["reload"]
