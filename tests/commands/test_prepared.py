"""What executes commands is started with a service that offers them, so that the first one does not wait for it."""

from __future__ import annotations

from support.commands import COMMANDS, everything, run
from support.processes import command_line
from support.waiting import wait_for


def shims(service):
    folder = service.home / f"{service.address}-{service.port}" / "shims"
    return sorted(path.stem for path in folder.glob("*.box")) if folder.is_dir() else []


def test_a_service_that_offers_commands_has_a_shim_before_the_first_one(serve, connect):
    service = serve(COMMANDS)
    ready = wait_for(lambda: shims(service), what="a shim")
    queue = run(connect(service), "a", "sh", "-c", "echo here")
    assert everything(queue) == (b"here\n", b"", [], 0)
    assert set(ready) <= set(shims(service))


def test_another_one_has_none_and_no_supervisor(service):
    assert shims(service) == []
    assert not any("_supervisor" in command_line(pid) for pid in service.processes())
