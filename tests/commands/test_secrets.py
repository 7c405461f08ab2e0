"""Nothing secret of a command shows where it is told of."""

from __future__ import annotations

from support.commands import COMMANDS, everything, run


def test_what_cannot_be_executed_is_named_without_its_secret(serve, connect):
    client = connect(serve(COMMANDS))
    written = everything(run(client, "m1", "missing-token=hunter2"))
    shown = client.manager.client.decode(client.manager.client.show("m1").value)
    assert written.code == 127
    assert "cannot execute" in written.lines[0]
    assert "hunter2" not in written.lines[0] + str(shown["reason"]) + str(shown["attempts"])
