"""Tell what each user has of the service, and may have."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from orcha._core.authority import ATTEMPT
from orcha._core.permissions import Deed
from orcha._core.record import Phase
from orcha._core.state import State
from orcha._protocol.messages import Reply, Verdict
from orcha._service.reports.user_names import user
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs.petition_lookup import may_do
from orcha.interfaces.built_in import ARRAY_MANAGER, BESIDE_MANAGER
from orcha.interfaces.needs import WHOLE, read, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.quotas import Account, Quotas
    from orcha._protocol.messages import Who
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

_OTHERS = (Phase.CONVERTING, Phase.RESTING)
"""Phases of petitions that wait outside the queue."""


def who(engine: Engine, peer: Peer, message: Who) -> None:
    """Answer with maps of users and of groups of users, as `docs/wire.md` says."""
    if engine.users.when_known(_known(engine), partial(engine.handle, who, peer, message)):
        return
    found = described(engine, lambda owner: may_do(engine, peer, Deed.LOOK, owner))
    engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(found)))


def described(engine: Engine, may_see: Callable[[str], bool]) -> dict[str, Any]:
    """Give the map of Who that `docs/wire.md` describes, of the owners of whom the client may see something."""
    queued, uses, connected = _queued(engine), _uses(engine), _connected(engine)
    output = engine.user_quotas.output
    owners = sorted(filter(may_see, _known(engine)), key=user)
    quotas = engine.petitions.quotas
    accounts = {owner: () if quotas is None else quotas.accounts(owner) for owner in owners}
    users = []
    for owner in owners:
        peers = [peer for peer in connected if peer.identity == owner]
        own = next((each for each in accounts[owner] if not each.name.startswith("@")), None)
        use = uses.get(owner, _OwnerUse())
        users.append(
            {
                "owner": owner,
                "user": user(owner),
                "role": peers[-1].role if peers else None,
                "queued": queued[owner],
                "running": use.running,
                "beside": use.beside,
                "slots": use.slots,
                "held": {name: shown(amount) for name, amount in use.held.items()},
                "devices": use.devices,
                "output": output.get(owner) if engine.user_quotas.is_measured else None,
                "quota": None if own is None else quota(own),
                "groups": [each.name for each in accounts[owner] if each.name.startswith("@")],
                "connections": len(peers),
                "since": min((peer.since for peer in peers), default=None),
            }
        )
    return {"users": users, "groups": [] if quotas is None else _groups(quotas, accounts)}


def _connected(engine: Engine) -> list[Peer]:
    return [peer for peer in engine.outbox.peers.values() if peer.role != ATTEMPT]


def _known(engine: Engine) -> set[str]:
    """Give the owners who have something, or are connected."""
    connected = (peer.identity for peer in _connected(engine))
    return {*_queued(engine), *_uses(engine), *engine.user_quotas.output, *connected}


def quota(account: Account) -> dict[str, Any]:
    """Give the limits of an account, each with the place where it was set."""
    origins = {limit.origin for limit in (*account.limits.values(), *account.resources.values())}
    known: dict[str, Any] = {what: limit.most for what, limit in account.limits.items()}
    return known | {
        "resources": {name: limit.most for name, limit in account.resources.items()},
        "origin": sorted(origins),
    }


def _groups(quotas: Quotas, accounts: dict[str, tuple[Account, ...]]) -> list[dict[str, Any]]:
    """Give what all members of each group of users have together that has a quota."""
    found = {each.name: each for known in accounts.values() for each in known if each.name.startswith("@")}
    return [
        {"group": name, **quotas.used(name)._asdict(), "output": quotas.output(name), "quota": quota(found[name])}
        for name in sorted(found)
    ]


def _queued(engine: Engine) -> Counter[str]:
    """Count what waits of each owner: petitions, and elements of arrays that are no petitions yet."""
    petitions = engine.petitions
    waiting = petitions.waiting.counts(petitions.owner or "").items()
    found = Counter({owner: count for owner, count in waiting if owner})  # "" before the first petition
    for record in petitions.records.values():
        if record.manager != ARRAY_MANAGER and (record.phase in _OTHERS or record.state is State.HELD):
            found[record.owner] += not petitions.granted.has(record.seq)
    for owner, count in engine.arrays.unmade():
        found[owner] += count
    return found


class _OwnerUse:
    """What the petitions of one owner hold."""

    def __init__(self) -> None:
        self.running = 0
        self.beside = 0
        self.slots = 0
        self.held: dict[str, Any] = {}
        self.devices: dict[str, list[str]] = {}


def _uses(engine: Engine) -> dict[str, _OwnerUse]:
    found: dict[str, _OwnerUse] = {}
    for grant in engine.granted.grants():
        use = found.setdefault(grant.owner, _OwnerUse())
        use.running += grant.manager != BESIDE_MANAGER
        use.beside += grant.manager == BESIDE_MANAGER
        use.slots += engine.petitions.slots_of.get(grant.manager) is not None
        for name, wanted in (grant.needs or {}).items():
            use.held[name] = use.held.get(name, 0) + (1 if name == WHOLE else read(wanted).amount)
        for name, devices in (grant.devices or {}).items():
            use.devices[name] = sorted({*use.devices.get(name, ()), *devices})
    return found


__all__ = ["described", "quota", "who"]
