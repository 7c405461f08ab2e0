"""One service for the managers of several plugins: each gets its own messages, and counts its own petitions."""

from __future__ import annotations

import json

from orcha._protocol import values
from orcha._protocol.messages import Item, Verdict
from support.plugins_served import install
from support.waiting import wait_for


def token(number):
    return number.to_bytes(16, "big")


def ask(client, number, identity, plugin, **extras):
    item = Item(token(number), identity, values.encode(extras), None)
    (result,) = client.manager.client.submit([item], plugin)
    return result


def states(service):
    rows = json.loads(service.run("ps", "--all", "--json").stdout)
    return {row["id"]: row["outcome"] or row["state"] for row in rows}


def test_each_plugins_client_reaches_its_own_manager(serve, with_plugins):
    service = serve(arguments=("serve", "alpha", "beta"), environment=with_plugins)
    for name in ("alpha", "beta"):
        said = service.run(name, f"a message of {name}")
        assert (said.stdout, said.returncode) == (f"{name} runs a message of {name}\n{name}\n", 0), said.stderr


def test_what_names_no_plugin_or_an_unknown_one_is_refused_and_told_which_there_are(serve, connect, with_plugins):
    client = connect(serve(arguments=("serve", "alpha", "beta"), environment=with_plugins))
    nobody = ask(client, 1, "a", None)
    assert nobody.verdict == Verdict.REFUSED
    assert "names no plugin" in nobody.reason
    assert "alpha, beta" in nobody.reason
    other = ask(client, 2, "a", "gamma")
    assert (other.verdict, "'gamma'" in other.reason) == (Verdict.REFUSED, True)


def test_a_manager_counts_its_own_petitions_only(serve, connect, tmp_path, with_plugins):
    service = serve(arguments=("serve", "alpha", "beta"), environment=with_plugins)
    client, hold = connect(service), tmp_path / "hold"
    hold.touch()
    for number, (identity, plugin) in enumerate((("a1", "alpha"), ("a2", "alpha"), ("b1", "beta"), ("b2", "beta"))):
        assert ask(client, number, identity, plugin, hold=str(hold), most=1).verdict == Verdict.ACCEPTED
    expected = {"a1": "running", "a2": "queued", "b1": "running", "b2": "queued"}
    wait_for(lambda: states(service) == expected, what="one of each runs")
    hold.unlink()
    wait_for(lambda: set(states(service).values()) == {"succeeded"}, what="all have run")


def test_after_a_kill_each_manager_gets_its_own_petitions_again(serve, connect, tmp_path):
    install(tmp_path, "alpha", "beta")
    service = serve(arguments=("serve", "alpha", "beta"))
    client = connect(service)
    for number, plugin in enumerate(("alpha", "beta")):
        assert ask(client, number, plugin, plugin, most=0).verdict == Verdict.ACCEPTED
    service.kill()
    for plugin in ("alpha", "beta"):
        text = (tmp_path / f"orcha_{plugin}.py").read_text()
        (tmp_path / f"orcha_{plugin}.py").write_text(text.replace("< most", ">= most"))
    service.start()
    wait_for(lambda: states(service) == {"alpha": "succeeded", "beta": "succeeded"}, what="both have run")
    manager = {row["id"]: row["manager"] for row in json.loads(service.run("ps", "--all", "--json").stdout)}
    assert manager == {"alpha": "orcha_alpha:AlphaManager", "beta": "orcha_beta:BetaManager"}


def test_a_plugin_that_cannot_be_built_is_named_and_the_others_are_served(serve, connect, tmp_path):
    install(tmp_path, "alpha", "beta")
    with (tmp_path / "orcha_beta.py").open("a") as file:
        file.write("\ndef broken(*_):\n    raise ValueError('no rig')\n\nBetaPlugin.manager = broken\n")
    service = serve(arguments=("serve", "alpha", "beta"))
    assert "beta is not served: ValueError: no rig" in service.stderr()
    client = connect(service)
    refused = ask(client, 1, "b", "beta")
    assert (refused.verdict, "no rig" in refused.reason) == (Verdict.REFUSED, True)
    assert ask(client, 2, "a", "alpha").verdict == Verdict.ACCEPTED


def test_a_service_of_one_plugin_is_not_given_commands(serve, connect, with_plugins):
    client = connect(serve(arguments=("serve", "alpha"), environment=with_plugins))
    refused = ask(client, 1, "a", "commands")
    assert refused.verdict == Verdict.REFUSED
    assert ask(client, 2, "a", "alpha").verdict == Verdict.ACCEPTED


def test_the_documents_way_to_serve_takes_messages_that_name_nobody(service, connect):
    client = connect(service)
    assert ask(client, 1, "a", None, do=[]).verdict == Verdict.ACCEPTED
    assert ask(client, 2, "b", "some-plugin", do=[]).verdict == Verdict.ACCEPTED
    refused = ask(client, 3, "c", "commands", do=[])
    assert (refused.verdict, "'commands'" in refused.reason) == (Verdict.REFUSED, True)


def test_the_watchdog_is_answered_whoever_is_served(serve, with_plugins):
    service = serve(arguments=("serve", "alpha", "beta"), environment=with_plugins)
    answer = service.run("watchdog", "--timeout", "20")
    assert answer.returncode == 0, answer.stderr


def test_a_plugin_that_is_not_there_or_offers_nothing_is_told(serve, tmp_path):
    install(tmp_path, "alpha")
    with (tmp_path / "orcha_alpha.py").open("a") as file:
        file.write("\nAlphaPlugin.manager = None\n")
    service = serve(arguments=("serve", "nobody"), start=False)
    said = service.run("serve", "nobody")
    assert (said.returncode, "there is no plugin nobody" in said.stderr) == (78, True)
    said = service.run("serve", "alpha")
    assert (said.returncode, "alpha offers no manager" in said.stderr) == (78, True)


def test_where_one_plugin_is_served_a_message_need_not_name_it(serve, connect, with_plugins):
    client = connect(serve(arguments=("serve", "alpha"), environment=with_plugins))
    assert ask(client, 1, "a", None).verdict == Verdict.ACCEPTED
    assert ask(client, 2, "b", "beta").verdict == Verdict.REFUSED


def test_the_built_in_manager_served_alone_takes_commands_and_nothing_of_others(serve, connect):
    client = connect(serve("orcha.lib:CommandManager"))
    assert ask(client, 1, "a", "commands", argv=["true"]).verdict == Verdict.ACCEPTED
    assert ask(client, 2, "b", None, argv=["true"]).verdict == Verdict.ACCEPTED
    assert ask(client, 3, "c", "some-plugin", argv=["true"]).verdict == Verdict.REFUSED


def test_commands_and_a_plugin_are_served_side_by_side(serve, connect, tmp_path):
    install(tmp_path, "alpha")
    service = serve(arguments=("serve",))
    client = connect(service)
    assert service.stderr().startswith("orcha: serving commands, alpha on ")
    assert ask(client, 1, "c", "commands", argv=["true"]).verdict == Verdict.ACCEPTED
    assert ask(client, 2, "a", "alpha").verdict == Verdict.ACCEPTED
    wait_for(lambda: states(service) == {"c": "succeeded", "a": "succeeded"}, what="both have run")


def test_a_plugin_that_cannot_be_imported_is_named_and_the_others_are_served(serve, connect, tmp_path):
    install(tmp_path, "alpha")
    (tmp_path / "orcha_no_rig.py").write_text("raise ImportError('no rig today')\n")
    service = serve(arguments=("serve",))
    assert "orcha: no-rig is not served: ImportError: no rig today" in service.stderr()
    client = connect(service)
    refused = ask(client, 1, "b", "no-rig")
    assert (refused.verdict, "no rig today" in refused.reason) == (Verdict.REFUSED, True)
    assert ask(client, 2, "a", "alpha").verdict == Verdict.ACCEPTED


def test_a_hook_that_hangs_ends_its_own_petition_and_the_other_managers_go_on(serve, connect, tmp_path):
    install(tmp_path, "alpha", "beta")
    with (tmp_path / "orcha_beta.py").open("a") as file:
        file.write("\nimport threading\nBetaManager.on_start = lambda self, petition: threading.Event().wait()\n")
    service = serve(arguments=("serve", "alpha", "beta"), environment={"ORCHA_HOOK_DEADLINE": "1"})
    client = connect(service)
    assert ask(client, 1, "b", "beta").verdict == Verdict.ACCEPTED
    assert ask(client, 2, "a", "alpha").verdict == Verdict.ACCEPTED
    wait_for(lambda: states(service) == {"a": "succeeded", "b": "broken"}, what="both have ended")
