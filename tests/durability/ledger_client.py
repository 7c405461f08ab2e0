"""A client of a `LedgerManager` under load: ``python ledger_client.py ADDRESS PORT JOURNAL LEDGER SEED [WORKERS]``.

It submits, cancels, sends again and follows until its standard input is closed, then reads what it follows to the end
and leaves with 0. Everything it does and is told is in its journal.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

from durability.history import Journal
from orcha._client.channel import ClientChannel
from orcha._client.client import Client
from orcha._protocol import values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item, Verdict
from orcha.exceptions import OrchaConnectionError
from support.waiting import wait_for


class Worker:
    """One thread that does one thing after another."""

    def __init__(self, client: Client, journal: Journal, ledger: str, name: str, source: random.Random) -> None:
        """Name its petitions after it."""
        self._client = client
        self._journal = journal
        self._ledger = ledger
        self._name = name
        self._random = source
        self._count = 0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        while not stop.is_set():
            self._together(self._random.choice([1, 1, 1, 2, 4]), shared=self._random.random() < 0.2)

    def _together(self, count: int, *, shared: bool) -> None:
        """Ask for some petitions at once, do something about them, read what comes of them."""
        one = self._client.channel()
        channels = [one if shared else self._client.channel() for _ in range(count)] if count > 1 else [one]
        items = [self.item(channel) for channel in channels]
        before = [item for item in items if self._random.random() < 0.05 and self.cancel(item, before=True)]
        if not self.submit(items):
            return
        if self._random.random() < 0.1 and not self.submit(items):
            return
        for item in items:
            if item not in before and self._random.random() < 0.15:
                self.cancel(item, before=False)
        for channel in dict.fromkeys(channels):
            self.read(channel, channels.count(channel))

    def item(self, channel: ClientChannel, **script: Any) -> Item:
        """Give a message to submit; what the script leaves open is left to chance."""
        self._count += 1
        identity = f"{self._name}-{self._count}"
        extras: dict[str, Any] = {"queue": channel, "ledger": self._ledger}
        extras["policy"] = policy = script.get("policy") or self._random.choice(["fail", "fail", "rerun"])
        extras["lines"] = self._random.choice([0, 1, 3, 10])
        extras["pause"] = self._random.choice([0, 0, 0.002, 0.01])
        extras["child"] = self._random.random() < 0.1
        extras["priority"] = self._random.randrange(3)
        extras["code"] = self._random.choice([None, None, 0, 3])
        item = Item(new_identity(), identity, values.encode(extras | script), channel.__orcha_channel__)
        self._journal.note("invoke", token=item.token.hex(), id=identity, channel=_hex(channel), policy=policy)
        return item

    def submit(self, items: list[Item]) -> bool:
        """Submit; tell whether there is something to read of each."""
        try:
            results = self._client.submit(items)
        except OrchaConnectionError as error:
            self._journal.note("unknown", why=str(error))
            return False
        for item, result in zip(items, results, strict=True):
            accepted = result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN}
            self._journal.note("ok" if accepted else "fail", token=item.token.hex(), reason=result.reason)
        return all(result.verdict in {Verdict.ACCEPTED, Verdict.KNOWN} for result in results)

    def cancel(self, item: Item, *, before: bool) -> bool:
        """Cancel, `before` the submit or after; tell whether it was answered."""
        try:
            reply = self._client.cancel(token=item.token)
        except OrchaConnectionError:
            return False
        outcome = values.decode(reply.value) if reply.value is not None else None
        self._journal.note("cancelled", token=item.token.hex(), outcome=outcome, before=before)
        return True

    def read(self, channel: ClientChannel, finals: int = 1) -> None:
        """Read what comes, up to so many finals."""
        while finals:
            value = channel.get()
            final = value is None or isinstance(value, int)
            if value == 69 and not channel.qsize():
                self._journal.note("unknown", why="the service stayed away")
                return
            self._journal.note("got", durable=False, channel=_hex(channel), value=value)
            finals -= final
        self._journal.note("end", channel=_hex(channel))


def _hex(channel: ClientChannel) -> str:
    return channel.__orcha_channel__.hex()


def _connects(client: Client) -> bool:
    """Connect, if the service is there just now."""
    try:
        client.connect()
    except OrchaConnectionError:
        return False
    return True


def main(address: str, port: str, journal: str, ledger: str, seed: str, workers: str = "6") -> None:
    """Work until standard input is closed."""
    client = Client(Endpoint(address, int(port)), None, reconnect=60, notify=lambda _: None)
    wait_for(lambda: _connects(client), 60, what="a service", interval=0.02)
    log = Journal(Path(journal))
    stop = threading.Event()
    name = f"{Path(journal).stem}-{os.getpid()}"
    threads = []
    for number in range(int(workers)):
        worker = Worker(client, log, ledger, f"{name}-{number}", random.Random(f"{seed}/{number}"))
        threads.append(threading.Thread(target=worker.run, args=(stop,)))
        threads[-1].start()
    sys.stdin.buffer.read()
    stop.set()
    for thread in threads:
        thread.join()
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
