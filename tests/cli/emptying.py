"""A service that several tests share is empty between them."""

from __future__ import annotations

from orcha._cli.session import ENDED_STATES, LIVE_STATES, Session
from orcha._protocol.endpoint import Endpoint
from support.service import RunningService


def empty(service: RunningService) -> None:
    """End and forget all that the service knows; ORCHA_HOME is to be the service's."""
    session = Session(Endpoint(service.address, service.port), None)
    session.connect()
    try:
        while live := session.rows(LIVE_STATES, 100):
            for row in live:
                session.cancel(id=str(row["id"]), at_once=True)
        while ended := session.rows(ENDED_STATES, 100):
            for row in ended:
                session.remove(seq=int(row["seq"]))  # type: ignore[arg-type]
    finally:
        session.close()
