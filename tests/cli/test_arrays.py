"""Arrays through the real command and a real service: many petitions under one id."""

from __future__ import annotations

import json

import pytest

from support.waiting import wait_for

AT_ONCE = 2
"""Commands that the service runs."""
SAYS = 'echo "$ORCHA_ID $ORCHA_INDEX $ORCHA_ITEM"'


def run(service, *words):
    return service.run("run", *map(str, words))


def detach(service, *words):
    done = run(service, "--detach", *words)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.strip()


def row(service, name):
    return next(row for row in json.loads(service.ask("ps", "--all", "--json").stdout) if row["id"] == name)


def test_each_number_is_a_command_of_its_own_and_the_array_ends_with_the_last(service):
    assert detach(service, "--array", "1-3", "--name", "train", "--", "sh", "-c", f"{SAYS}; exit {{}}") == "train"
    assert service.ask("wait", "train").returncode == 1
    known = row(service, "train")
    assert (known["outcome"], known["code"], known["elements"], known["elements_failed"]) == ("failed", 1, 3, 3)
    assert service.run("logs", "train.2").stdout == "train.2 2 2\n"
    assert service.ask("wait", "train.3").returncode == 3


def test_who_runs_it_attached_gets_the_lines_after_their_ids_and_the_code_of_the_first_that_failed(service):
    done = run(service, "--array", "9-11", "--name", "a", "--", "sh", "-c", "echo {}; exit $((({} - 9) * 2))")
    assert sorted(done.stdout.splitlines()) == ["a.10 | 10", "a.11 | 11", "a.9  | 9"]
    assert (done.returncode, done.stderr) == (2, "orcha: 2 of 3 elements failed\n")
    again = service.run("attach", "a")
    assert (sorted(again.stdout.splitlines()), again.returncode) == (sorted(done.stdout.splitlines()), 2)


def test_items_are_lines_values_of_json_and_all_combinations(service, tmp_path):
    lines = tmp_path / "lines"
    lines.write_bytes(b"a b\n{lr}\n\xff\n")
    done = service.run(
        "run", "--each-line", str(lines), "--name", "l", "--", "printf", "%s|%s\\n", "{}", "{index}", text=False
    )
    assert sorted(done.stdout.splitlines()) == [b"l.1 | a b|1", b"l.2 | {lr}|2", b"l.3 | \xff|3"]
    values = tmp_path / "values"
    values.write_text('[{"lr": 0.5}, {"lr": "x", "more": null}]')
    done = run(service, "--each-json", values, "--name", "j", "--", "sh", "-c", "echo {lr} $ORCHA_ITEM_LR {{}}")
    assert sorted(done.stdout.splitlines()) == ["j.1 | 0.5 0.5 {}", "j.2 | x x {}"]
    done = run(service, "--sweep", "lr=0.1,a", "--sweep", "seed=1-3:2", "--name", "s", "--", "echo", "{lr}", "{seed}")
    assert sorted(done.stdout.splitlines()) == ["s.1 | 0.1 1", "s.2 | 0.1 3", "s.3 | a 1", "s.4 | a 3"]


def test_standard_input_is_read_where_that_is_asked_for(service):
    client = service.spawn(*service.orcha("run", "--each-line", "-", "--", "echo", "{}"), stdin=-1, stdout=-1)
    out, _ = client.communicate(b"one\r\ntwo")
    assert (sorted(line.partition(b" | ")[2] for line in out.splitlines()), client.returncode) == ([b"one", b"two"], 0)


def test_no_more_run_at_once_than_may(service, latch):
    detach(service, "--array", "1-5%1", "--name", "one", "--", "sh", "-c", latch.wait)
    wait_for(lambda: row(service, "one")["elements_running"] == 1, what="the first runs")
    known = row(service, "one")
    assert (known["state"], known["elements_waiting"], known["elements_at_most"]) == ("running", 4, 1)
    why = service.ask("why", "one").stdout
    assert "  4 of its 5 elements wait: at most 1 of them wait or run at once as petitions\n" in why
    done = service.ask("why", "one.5")
    told = "others of the array 'one' come before it, and at most 1 of them wait or run at once"
    assert (done.stderr, done.returncode) == (f"orcha: 'one.5' is no petition yet: {told}\n", 1)
    assert "there is no petition with the id 'one.6'" in service.ask("why", "one.6").stderr
    latch.open()
    assert service.ask("wait", "one").returncode == 0
    assert row(service, "one")["elements_succeeded"] == 5


def test_no_more_start_after_as_many_failed_as_may(service):
    detach(service, "--array", "1-1000%1", "--max-fails", "2", "--name", "m", "--", "sh", "-c", "exit 4")
    assert service.ask("wait", "m").returncode == 4
    known = row(service, "m")
    assert (known["elements_failed"], known["elements_cancelled"]) == (2, 998)
    assert known["reason"] == "cancelled: 2 elements of 'm' failed, as many as may"


def test_a_cancel_ends_all_of_it(service, latch):
    detach(service, "--array", "1-100000", "--name", "big", "--", "sh", "-c", latch.wait)
    wait_for(lambda: row(service, "big")["elements_running"] == AT_ONCE, what="as many run as may")
    assert service.ask("cancel", "big.99999").returncode == 0
    assert service.ask("cancel", "big", "--why", "enough").returncode == 0
    known = row(service, "big")
    assert (known["outcome"], known["elements_cancelled"], known["reason"]) == (
        "cancelled",
        100_000,
        f"cancelled by {known['owner']}: enough",
    )
    assert service.ask("ps").stdout == "nothing waits or runs\n"


def test_an_array_waits_for_others_and_others_wait_for_all_of_it(service, latch, tmp_path):
    order = tmp_path / "order"
    detach(service, "--name", "first", "--", "sh", "-c", f"{latch.wait}; echo first >> {order}")
    detach(service, "--after-ok", "first", "--array", "1-3", "--name", "many", "--", "sh", "-c", f"echo x >> {order}")
    detach(service, "--after-ok", "many", "--name", "last", "--", "sh", "-c", f"echo last >> {order}")
    assert row(service, "many")["why"] == "it waits for first to succeed"
    latch.open()
    assert service.ask("wait", "last").returncode == 0
    assert order.read_text().split() == ["first", "x", "x", "x", "last"]


def test_an_array_is_cancelled_where_what_it_waits_for_fails(service, latch):
    detach(service, "--name", "first", "--", "sh", "-c", f"{latch.wait}; exit 3")
    detach(service, "--after-ok", "first", "--array", "1-3", "--name", "many", "--", "true")
    latch.open()
    assert service.ask("wait", "many").returncode == 130
    known = row(service, "many")
    assert (known["outcome"], known["elements_cancelled"]) == ("cancelled", 3)


def test_the_ids_of_elements_belong_to_the_array(service, latch):
    detach(service, "--name", "b.2", "--", "sh", "-c", latch.wait)
    refused = run(service, "--detach", "--array", "1-3", "--name", "b", "--", "true")
    assert (refused.returncode, "the id 'b.2' of an element is taken" in refused.stderr) == (125, True)
    detach(service, "--array", "1-3%1", "--name", "c", "--", "sh", "-c", latch.wait)
    refused = run(service, "--detach", "--name", "c.3", "--", "true")
    assert (refused.returncode, "'c.3' is that of an element of an array" in refused.stderr) == (125, True)
    assert run(service, "--detach", "--name", "c.4", "--", "true").returncode == 0
    refused = run(service, "--detach", "--array", "1-3", "--name", "c", "--", "true")
    assert (refused.returncode, "the id 'c' is taken" in refused.stderr) == (125, True)
    latch.open()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--array", "3-1"), "goes upwards"),
        (("--array", "1-3%0"), "runs nothing"),
        (("--array", "x"), "is no range: write it as 1-100"),
        (("--array", "1-2", "--sweep", "a=1"), "not allowed with"),
        (("--max-fails", "2"), "--max-fails is about many: give --array"),
        (("--array", "1-3%2", "--at-most", "3"), "say the same"),
        (("--sweep", "a"), "is no name with values"),
        (("--sweep", "a=1", "--sweep", "a=2"), "--sweep a is given twice"),
        (("--sweep", "a=5-1"), "goes upwards"),
    ],
)
def test_wrong_options_are_named_with_the_cure(service, words, why):
    done = run(service, *words, "--", "true")
    assert (done.returncode, why in done.stderr) == (2, True)


def test_items_that_do_not_fit_are_named(service, tmp_path):
    given = tmp_path / "given"
    for option, content, why in (
        ("--each-line", b"", "there is no item in it"),
        ("--each-line", b"a\0b", "holds a byte 0"),
        ("--each-json", b'{"a": 1}\n{', "line 2 of"),
        ("--each-json", b'[{"b": 1}]', "item 1 has no {a}: it has {}, {index}, {b}; {{a}} is literal"),
    ):
        given.write_bytes(content)
        done = run(service, option, given, "--", "echo", "{a}")
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr
    done = run(service, "--each-line", tmp_path / "nothing", "--", "true")
    assert (done.returncode, "nothing" in done.stderr) == (125, True)
    for more, why in ((("--once", "k"), "leave out --once"), (("--stdin",), "leave out --stdin")):
        done = run(service, "--array", "1-2", *more, "--", "true")
        assert (done.returncode, why in done.stderr) == (125, True)


def test_each_element_runs_once_over_a_kill_of_the_service(own_service, latch, tmp_path):
    service, ran = own_service, tmp_path / "ran"
    detach(service, "--array", "1-40", "--name", "k", "--", "sh", "-c", f"{latch.wait}; echo {{}} >> {ran}")
    wait_for(lambda: row(service, "k")["elements_running"] == AT_ONCE, what="as many run as may")
    service.kill()
    service.start()
    latch.open()
    assert service.ask("wait", "k").returncode == 0
    assert sorted(map(int, ran.read_text().split())) == list(range(1, 41))


def test_ps_has_one_line_for_an_array_and_lists_its_elements_where_they_are_asked_for(service, latch):
    detach(service, "--array", "1-9%1", "--name", "p", "--", "sh", "-c", f"test {{}} = 1 || {latch.wait}; exit {{}}")
    wait_for(lambda: row(service, "p")["elements_failed"] == 1, what="the first one failed")
    wait_for(lambda: row(service, "p")["elements_running"] == 1, what="the second one runs")
    (line,) = service.ask("ps").stdout.splitlines()[1:]
    assert line.split()[:2] == ["p", "running"]
    assert "[#.........] 1/9, 1 run, 1 failed" in line
    assert [each["id"] for each in json.loads(service.ask("ps", "--json", "--state", "running").stdout)] == ["p"]
    assert service.ask("ps", "--state", "queued").stdout == "no petitions\n"
    first, second, rest = service.ask("ps", "p").stdout.splitlines()[1:]
    assert (first.split()[0], second.split()[:2], rest) == (
        "p.2",
        ["p.1", "failed"],
        "p: [#.........] 1/9, 1 run, 1 failed, 7 wait",
    )
    assert [each["array"] for each in json.loads(service.ask("ps", "p", "--json").stdout)] == ["p", "p"]
    assert "array:         p\n" in service.ask("show", "p.1").stdout
    assert "p.1 is no array" in service.ask("ps", "p.1").stderr
    latch.open()


def test_the_logs_of_an_array_are_those_of_its_elements_in_their_order(service):
    run(service, "--array", "9-11", "--name", "o", "--", "sh", "-c", "echo {}")
    assert service.run("logs", "o").stdout == "o.9  | 9\no.10 | 10\no.11 | 11\n"
    assert sorted(service.run("logs", "-f", "o").stdout.splitlines()) == ["o.10 | 10", "o.11 | 11", "o.9  | 9"]
    assert service.run("logs", "nothing").returncode == 1


def test_what_failed_runs_once_more_and_the_rest_stays_as_it_ended(service, tmp_path):
    mended, ran = tmp_path / "mended", tmp_path / "ran"
    lines = tmp_path / "lines"
    lines.write_text("a\nb\nc\n")
    script = f"echo {{}} >> {ran}; test {{}} != b || test -e {mended}"
    done = run(service, "--each-line", lines, "--name", "r", "--", "sh", "-c", script)
    assert done.returncode == 1
    mended.touch()
    assert service.ask("retry", "--failed", "r", "--attach").returncode == 0
    known = json.loads(service.ask("show", "r", "--json").stdout)
    assert (sorted(ran.read_text().split()), known["elements_succeeded"]) == (["a", "b", "b", "c"], 3)
    refused = service.ask("retry", "--failed", "r")
    assert (refused.returncode, refused.stderr) == (1, "orcha: no element of 'r' ended without success\n")
    assert service.ask("retry", "r", "--attach").returncode == 0
    assert len(ran.read_text().split()) == 7


def test_what_failed_runs_once_more_while_the_array_runs(service, latch, tmp_path):
    mended = tmp_path / "mended"
    script = f"test {{}} = 1 && {{ test -e {mended}; exit; }}; {latch.wait}"
    detach(service, "--array", "1-2", "--name", "w", "--", "sh", "-c", script)
    wait_for(lambda: row(service, "w")["elements_failed"] == 1, what="the first one failed")
    mended.touch()
    assert service.ask("retry", "--failed", "w").returncode == 0
    wait_for(lambda: row(service, "w")["elements_succeeded"] == 1, what="it succeeded")
    latch.open()
    assert service.ask("wait", "w").returncode == 0


def test_a_paused_array_starts_no_more_elements_until_it_goes_on(service, latch):
    detach(service, "--array", "1-3%1", "--name", "z", "--", "sh", "-c", latch.wait)
    wait_for(lambda: row(service, "z")["elements_running"] == 1, what="the first one runs")
    assert service.ask("pause", "z").returncode == 0
    latch.open()
    wait_for(lambda: row(service, "z")["elements_succeeded"] == 1, what="it has ended")
    known = row(service, "z")
    assert (known["elements_waiting"], known["why"]) == (2, "it is paused")
    assert service.ask("resume", "z").returncode == 0
    assert service.ask("wait", "z").returncode == 0
