"""Tell the statistics of the service."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from orcha._core.quota_rules import written
from orcha._core.state import Outcome, State
from orcha._processes.hidden_processes import hidden
from orcha._protocol.messages import Reply, Stats, Verdict
from orcha._service.reports.state_names import state_of
from orcha._service.reports.statistics import percentiles
from orcha._service.verbs import answer_size as fitting
from orcha.interfaces.built_in import COMMAND_MANAGER, WATCHDOG

if TYPE_CHECKING:
    from orcha._core.group_admission import GroupUse
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def stats(engine: Engine, peer: Peer, message: Stats) -> None:
    """Answer with counts, rates and times."""
    engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(describe(engine))))


def describe(engine: Engine) -> dict[str, Any]:
    """Give the map of Stats that `docs/wire.md` describes."""
    known, steady = engine.statistics, engine.petitions.now.steady
    managers = {each.name: len(engine.granted.of_manager(each.name)) for each in engine.managers.served}
    managers.pop(engine.managers.name_of(WATCHDOG) or "", None)
    return {
        "version": known.build.version,
        "other_build": known.build.other(time.monotonic()),
        "hidden": hidden(),
        "python": platform.python_version(),
        "pid": os.getpid(),
        "started": known.started,
        "uptime": known.uptime(steady),
        "managers": managers,
        "unproved_keys": engine.keys.unproved(asks=_asks_for_certificates(engine)),
        "broken_managers": dict(engine.managers.broken),
        "states": _states(engine),
        "outcomes": {outcome.name.lower(): known.outcomes[outcome] for outcome in Outcome},
        "accepted": known.accepted,
        "started_count": known.starts,
        "ended_count": known.ends,
        "rates": known.rates(steady),
        "waited": percentiles(known.waited),
        "ran": percentiles(known.ran),
        "slots": {each.name: each.manager.most for each in engine.managers.served if each.name == COMMAND_MANAGER},
        "groups": [_group(engine, use) for use in engine.admission.groups_in_use()],
        "resources": [use._asdict() for use in engine.admission.resources.in_use()],
        "quotas": _quotas(engine),
        "fair": _fair(engine),
        "paused": engine.paused,
        "drained": None if engine.drains.drained is None else engine.drains.drained._asdict(),
        "configuration": None if engine.reloading is None else engine.reloading.described(),
        "connections": len(engine.outbox.peers),
        "stop": {"grace": engine.settings.stop_grace, "keeps_commands": engine.commands.keep},
        "store": {"durable": engine.store.durable, "size": _size(engine)},
    }


def _asks_for_certificates(engine: Engine) -> bool:
    shows = None if engine.reloading is None else engine.reloading.shows
    return shows is not None and bool(shows.client_ca)


def _quotas(engine: Engine) -> dict[str, Any]:
    """Give the quotas of each owner who has petitions that have not ended."""
    quotas = engine.petitions.quotas
    return {} if quotas is None else {owner: written(each) for owner, each in quotas.all_accounts().items() if each}


def _fair(engine: Engine) -> dict[str, Any]:
    """Give what counts in whose turn it is among owners."""
    fairness = engine.petitions.fairness
    weights = {} if fairness is None else fairness.weights()
    return {
        "half_life": engine.past.half_life,
        "used": engine.granted.used_before(),
        "weights": {owner: weight._asdict() for owner, weight in weights.items()},
    }


def _group(engine: Engine, use: GroupUse) -> dict[str, Any]:
    """Give a group with its rules, each by its own name, and the starts that its rate counts."""
    log = engine.granted.start_logs.get(use.group)
    known = {name: value for name, value in use._asdict().items() if name != "rules"}
    begun = None if log is None else log.walls(engine.petitions.now)
    return known | use.rules._asdict() | {"begun": begun, "origin": engine.admitting.origin_of(use.group)}


def _states(engine: Engine) -> dict[str, int]:
    petitions = engine.petitions
    live = Counter(state_of(record) for record in petitions.records.values() if record.state is not State.QUEUED)
    live["queued"] = len(petitions.waiting) + petitions.waiting.parked
    live["ended"] = engine.store.ended()
    return {name: live[name] for name in (state.name.lower() for state in State)}


def _size(engine: Engine) -> int | None:
    """Give the bytes of the database and its log."""
    if not engine.store.durable:
        return None
    path = engine.settings.endpoint.database_path
    return sum(os.stat(each).st_size for each in (path, f"{path}-wal") if os.path.exists(each))  # noqa: PTH110, PTH116
