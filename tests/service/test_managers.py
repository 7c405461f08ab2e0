"""Two plugins on one endpoint, one after the other: each sees its own messages only."""

from __future__ import annotations

import json

from orcha._protocol import values
from orcha._protocol.messages import Item, Verdict
from support.document import Document, lines, states, wait_for_state
from support.waiting import wait_for

OTHER = """
import os
from orcha.interfaces import Petition
from orcha.lib import Manager

class Other(Manager):
    def convert_to_petition(self, m):
        with open(os.environ["TEST_SEEN"], "a") as seen:
            print(m.id, file=seen)
        return Petition(m.id, m.extras.get("queue"), lambda cb, p: p.finish(0), lambda p: True)
    def on_start(self, p): pass
    def on_finish(self, p): pass
"""


def test_another_plugins_manager_never_gets_the_first_ones_messages(serve, observer, connect, tmp_path):
    hold, seen = tmp_path / "hold", tmp_path / "seen"
    hold.touch()
    document = Document(serve, TEST_HOLD=str(hold))
    client = document.send("m1", counter=3)
    first = observer(document)
    wait_for_state(first, "m1", "queued")
    token = b"\0" * 16
    resent = Item(token, "m2", values.encode({"counter": 1, "sleep_time": 0, "queue": None}), None)
    (result,) = first.manager.client.submit([resent])
    assert result.verdict == Verdict.ACCEPTED
    assert document.service.stop() == 0

    other = serve("other:Other", source=OTHER, port=document.service.port, environment={"TEST_SEEN": str(seen)})
    second = connect(other)
    wait_for(lambda: states(second) == {"m1": "queued", "m2": "queued"}, what="they are shown")
    shown = json.loads(other.run("ps", "--json").stdout)
    assert "it belongs to orcha_variant:VariantManager, which is not served now" in shown[0]["why"]
    (result,) = second.manager.client.submit([resent])  # its answer was lost, say
    assert result.verdict == Verdict.KNOWN
    assert not seen.exists()
    assert other.stop() == 0

    hold.unlink()
    document.restart()
    out, _, code = client.ended()
    assert (out, code) == (lines(3), 0)
