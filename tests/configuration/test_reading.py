"""A configuration file is read with places, or refused with all of its faults, each with line, column and cure."""

from __future__ import annotations

import json
import tomllib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orcha._configuration import kinds
from orcha._configuration.configured import together
from orcha._configuration.kinds import stock_of
from orcha._configuration.places import Places
from orcha._configuration.reading import dotted, read
from orcha._configuration.resource_texts import read_resources, read_written, written
from orcha._configuration.schema import Configuration, json_schema
from orcha._configuration.written import content_with, read_keys, read_value, spelled
from orcha._core.devices import Device
from orcha._core.quota_rules import ANY_NUMBER
from orcha._core.quotas import Limit
from orcha._core.start_log import StartRate
from orcha.interfaces import needs

WHOLE = b"""\
[service]
plugins = ["commands", "hello", "commands"]
commands = 8
new_groups = "refuse"
hook_deadline = 2.5
keep_input = "1M"
[listen]
address = "127.0.0.1"
reached_as = ["192.0.2.7:50000", "[2001:db8::7]:50000"]
[retention]
age = "30d"
[defaults]
timeout = "2h"
memory = 4096
[resources]
ram_gb = 64
memory = "1K"
gpu = ["0", "1@mem=80G"]
[[resources.rig]]
name = "a"
mem = 24
[groups.nightly]
slots = "none"
per_user = 1
default_timeout = "1h"
longest = 7200
rate = "10/m"
when = "load(1) < 4"
age = "1h"
[groups."a b"]
[quota.default]
running = 2
output = "1K"
[quota.user.ann]
running = "none"
output = "none"
resources = { gpu = 1, memory = "1K" }
[quota.members.staff]
queued = 5
[quota.group."@lab"]
slots = 3
"""


def values(data: bytes) -> dict[str, object]:
    found = read(data, "orcha.toml")
    assert found.faults == []
    return {dotted(keys): each.value for keys, each in found.given.items()}


def faults(data: bytes) -> list[str]:
    return [str(each).removeprefix("orcha.toml:") for each in read(data, "orcha.toml").faults]


def test_everything_that_may_stand_in_a_file_is_read():
    known = values(WHOLE)
    assert known["service.plugins"] == ("commands", "hello")
    assert (known["service.commands"], known["service.new_groups"]) == (8, "refuse")
    assert (known["service.hook_deadline"], known["service.keep_input"]) == (2.5, 1 << 20)
    assert known["listen.reached_as"] == ("192.0.2.7:50000", "[2001:db8::7]:50000")
    assert (known["retention.age"], known["defaults.timeout"]) == (30 * 86_400.0, 7200.0)
    assert known["resources.gpu"] == (Device("0"), Device("1", {"mem": 80 << 30}))
    assert known["resources.rig"] == (Device("a", {"mem": 24}),)
    configured, wrong = together([read(WHOLE, "orcha.toml")])
    assert wrong == []
    assert configured.resources["ram_gb"] == 64
    assert configured.defaults == {"timeout": 7200.0, "memory": 4096}
    slots, rules = configured.groups["nightly"]
    assert (slots, rules.per_user, rules.rate, rules.age) == (None, 1, StartRate(10, 60.0), 3600.0)
    assert configured.groups["a b"][0] is None
    quotas = configured.quotas
    assert quotas.default.limits["output"] == Limit(1024, "quota.default.output", "orcha.toml:33")
    assert quotas.users["ann"].limits["running"].most == quotas.users["ann"].limits["output"].most == ANY_NUMBER
    assert {name: limit.most for name, limit in quotas.users["ann"].resources.items()} == {"gpu": 1, "memory": 1024}
    assert quotas.members["staff"].limits["queued"].most == 5
    assert quotas.groups["lab"].limits["slots"].key == 'quota.group."@lab".slots'
    assert configured.value("service", "commands", 1) == 8
    assert configured.value("service", "stop_grace", 10.0) == 10.0
    assert configured.origin("groups", "nightly", "slots") == "orcha.toml:23"
    assert configured.origin("groups", "nightly", "colour") is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"[servise]\n", "1:2: there is no servise: did you mean service?"),
        (b"[service]\ncolour = 1\n", "2:1: there is no service.colour: there are abandon_after"),
        (b"service = 1\n", "1:11: service is a table, not 1: write [service]"),
        (b'[tls]\ncertificate = "box.pem"\n', "2:15: tls.certificate is the path of a file from the root on"),
        (b"groups = 1\n", "1:10: groups is a table, not 1: write [groups]"),
        (b"groups.rig = 1\n", "1:14: groups.rig is a table, not 1"),
        (b'[groups.""]\n', "1:9: '' is no name: give 1 to 200 characters"),
        (b"[groups.rig]\nslots = -1\n", "2:9: groups.rig.slots is a whole number from 0"),
        (b"weights = 1\n", "1:11: weights is a table, not 1: write [weights]"),
        (b"weights.ann = 0\n", "1:15: weights.ann is a whole number from 1 to 1000, not 0"),
        (b'[weights]\n"@" = 2\n', '2:1: weights."@" names no Unix group: write the group behind the @'),
        (b'[weights]\n"@bio" = 0.5\n', '2:10: weights."@bio" is a whole number from 1 to 1000, not 0.5'),
        (b"quota.default = 1\n", "1:17: quota.default is a table, not 1: write [quota.default]"),
        (b"quota.users.ann = 1\n", "1:7: there is no quota.users: did you mean user?"),
        (b"[quota.user.ann]\nrunnin = 1\n", "2:1: there is no quota.user.ann.runnin: did you mean running?"),
        (b"[quota.user.ann]\nrunning = -1\n", "2:11: quota.user.ann.running is a whole number from 0 to 1000000000,"),
        (b'[quota.user.ann]\nslots = "few"\n', "2:9: quota.user.ann.slots is a whole number"),
        (b'[quota.user.ann]\noutput = "much"\n', "2:10: quota.user.ann.output is a number of bytes"),
        (b'[quota.user.ann]\nresources.gpu = "x"\n', "2:17: quota.user.ann.resources.gpu is a number of bytes"),
        (b"[quota.user.ann]\nresources.gpu = 0.5\n", "2:17: quota.user.ann.resources.gpu is a whole number"),
        (b'[groups.rig]\nslots = "many"\n', "2:9: groups.rig.slots is a whole number from 0"),
        (b"[groups.rig]\nslots = true\n", "2:9: groups.rig.slots is a whole number from 0"),
        (b"[groups.rig]\nage = 5\n", "2:7: groups.rig.age is a duration of at least 60 seconds"),
        (b'[groups.rig]\nrate = "0/m"\n', "2:8: groups.rig.rate is a number of starts"),
        (b'[service]\nfair = "future"\n', '2:8: service.fair is "now", "past", or with a half-life'),
        (b'[service]\nfair = "past:59s"\n', '2:8: service.fair is "now", "past", or with a half-life'),
        (b'[groups.rig]\nrate = "3"\n', "2:8: groups.rig.rate is a number of starts"),
        (b'[groups.rig]\nwhen = "hour <"\n', "2:8: groups.rig.when is a condition in text"),
        (b'service.stop_grace = "soon"\n', "1:22: service.stop_grace is a duration: seconds, or a text"),
        (b"service.stop_grace = nan\n", "1:22: service.stop_grace is a duration"),
        (b"service.hook_deadline = 0\n", "1:25: service.hook_deadline is a duration above zero"),
        (b"service.keep_input = -1\n", "1:22: service.keep_input is a number of bytes"),
        (b"service.plugins = []\n", "1:19: service.plugins is a list of names, not []"),
        (b'service.store = "disk"\n', "1:17: service.store is one of sqlite, memory, not 'disk'"),
        (b"listen.port = 70000\n", "1:15: listen.port is a whole number from 0 to 65535, not 70000"),
        (b'listen.address = "/"\n', "1:18: listen.address is an address to listen on"),
        (b'listen.reached_as = ["here:1"]\n', "1:21: listen.reached_as is a list of IP addresses"),
        (b'listen.reached_as = ["192.0.2.7:0"]\n', "1:21: listen.reached_as is a list of IP addresses"),
        (b'resources.gpu = "0,1"\n', '1:17: resources.gpu is a whole number, a size as "64G", or a list of devices'),
        (b'resources.gpu = ["0", "0"]\n', "1:17: resources.gpu is"),
        (b'resources.gpu = ["0,1"]\n', "1:17: resources.gpu is"),
        (b"resources.gpu = []\n", "1:17: resources.gpu is"),
        (b'resources.gpu = ["a=b"]\n', "1:17: resources.gpu is"),
        (b"[[resources.gpu]]\nmem = 1\n", "1:13: resources.gpu is"),
        (b"service.stop_grace = 1979-05-27 07:32:00\n", "1:22: service.stop_grace is"),
        (b"a = \n", "1:5: it is no TOML: invalid value"),
        (b"a = [", "1:6: it is no TOML: "),
        (b"a = " + b"9" * 5000, "1:1: it is no TOML: "),
        (b"a = " + b"[" * 5000, "1:1: it is nested too deeply"),
        (b"a = 1\n\xff", "2:1: it is no UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_the_cure(data, told):
    (line,) = faults(data)
    assert line.startswith(told)


@pytest.mark.parametrize(
    "text", ["x", "=1", "*=1", "gpu=much", "gpu=9999999999", "gpu=0@=1,", "gpu=@mem=1,", "gpu=,", "gpu=0,0"]
)
def test_what_is_no_resource_is_refused(text):
    with pytest.raises(ValueError, match="resource"):
        read_resources(text)


@pytest.mark.parametrize("text", ["1G", "1000000.015625K", "1000000000", "999T", "0"])
def test_an_amount_is_read_again_without_its_unit(text):
    """A bare number above MAX_COUNT is refused from people, who have probably forgotten a unit."""
    amount = read_resources(f"memory={text}")["memory"]
    assert read_written("memory", written(amount)) == amount


def test_a_name_with_the_signs_of_a_list_is_a_fault():
    (told,) = faults(b'[resources]\n"a=1,b" = 2\n')
    assert told.startswith('2:11: resources."a=1,b" is a whole number')


def test_a_resource_is_written_as_it_is_read():
    known = read_resources("gpu=0@mem=1K@model=a,1,ram_gb=2,")
    assert read_resources(",".join(f"{name}={written(stock)}" for name, stock in known.items())) == known
    assert {name: read_written(name, written(stock)) for name, stock in known.items()} == known
    assert read_resources(",") == {}
    with pytest.raises(ValueError, match="means something else"):
        read_resources("id=0,1")


NUMBERS = st.from_regex(r"[0-9]{1,34}(\.[0-9]{1,6})?([KMGT]|[KMGT]i?B)?", fullmatch=True)


@given(NUMBERS)
@example("9P")  # no unit: a text
@example("9007199254740993")
@example("16384T")
@example("9999999999999999.999999T")
@example("0.000001")
@example("9007199254740993.000001")
@example("9" * 30)
@example("9" * 31)
@example("9" * 30 + "T")
def test_a_property_is_the_same_when_it_is_read_again_and_when_a_program_has_it(text):
    (device,) = read_resources(f"disk=0@room={text},")["disk"]
    value = device.properties["room"]
    assert read_written("disk", written((device,))) == (device,)
    assert needs.read_value(str(json.loads(json.dumps(needs.shown_value(value))))) == value
    assert needs.read(f"1@room={text}").where[0].is_met_by(value)


@pytest.mark.parametrize("text", ["9000T", "16384T", "1" * 17, "9" * 30])
def test_more_than_is_wanted_will_do_however_large_it_is(text):
    """A larger number than 2**53 was read back as text, which is compared with no amount."""
    (device,) = read_resources(f"disk=0@room={text},")["disk"]
    (known,) = read_written("disk", written((device,)))
    assert needs.read("1@room>=20G").where[0].is_met_by(known.properties["room"])


def test_a_device_without_a_name_is_refused():
    with pytest.raises(ValueError, match="a device needs a name"):
        stock_of("gpu", [{"mem": 1}])
    with pytest.raises(ValueError, match="a device is a name"):
        stock_of("gpu", ["a=b"])
    with pytest.raises(ValueError, match='gpu = "64G"'):
        stock_of("gpu", "rig=2")


def test_a_condition_may_name_what_a_plugin_knows():
    assert values(b'groups.rig.when = "rig.heat < 60"')["groups.rig.when"] == "rig.heat < 60"


def test_all_faults_are_told_in_the_order_of_the_file():
    told = faults(b"[retention]\nage = 'x'\nagge = 1\n[groups.a]\nslotz = 1\n")
    assert [each.partition(": ")[0] for each in told] == ["2:7", "3:1", "5:1"]


def test_the_later_file_counts_key_by_key():
    first = read(b"[groups.a]\nslots = 1\nper_user = 1\n[groups.b]\nslots = 1\n", "a.toml")
    second = read(b"[groups.a]\nslots = 2\n", "b.toml")
    made, _ = together([first, second])
    assert {name: (slots, rules.per_user) for name, (slots, rules) in made.groups.items()} == {
        "a": (2, 1),
        "b": (1, None),
    }
    assert made.origin("groups", "a", "slots") == "b.toml:2"


def test_what_contradicts_itself_over_two_files_is_told():
    first, second = read(b"groups.a.longest = 5", "a.toml"), read(b"groups.a.default_timeout = 6", "b.toml")
    (fault,) = together([first, second])[1]
    assert str(fault).startswith("b.toml:1:28: the default timeout of a is 6 s, and its longest 5 s")


# --- places ----------------------------------------------------------------------------------------------------------

ODD = '''\
# "not" = [a, key]
a."b c".'d' = [1, [2, # no comment = 1
   3], { x = "}", y.z = 'q' },]
"""no""" = 1
'''
TEXT = """\
s = \"\"\"a"b]\\" \"\"\"\"\"
t = '''x''y'''
u = 1979-05-27 07:32:00   # when
[[t2.x]]
k = 1
[[t2.x]]
k = "2"
[t2.x.y]
z = {}
"""


def test_places_are_those_of_the_text():
    odd = Places(ODD.partition('"""no')[0])
    path = ("a", "b c", "d")
    assert odd.key(path) == (2, 3 + len('"b c".'))
    assert (odd.value((*path, 1, 1)), odd.key((*path, 2, "y", "z")), odd.key((*path, 1))) == ((3, 4), (3, 21), (2, 19))
    found = Places(TEXT)
    assert found.key(("u",)) == (3, 1)
    assert [found.value(("t2", "x", number, "k")) for number in (0, 1)] == [(5, 5), (7, 5)]
    assert found.value(("t2", "x", 1, "y", "z")) == (9, 5)
    assert found.key(("t2", "x", 1)) == (4, 6)


def paths(found, path=()):
    for key, each in found.items() if isinstance(found, dict) else enumerate(found):
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from paths(each, (*path, key))


_keys = st.text("ab-_ .\"'#=]é", max_size=3)
_leaves = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text("a\"'\\]},#=\n", max_size=5))
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(_keys, _values, max_size=4))
def test_each_value_of_any_text_has_a_place(found):
    text = "".join(f"{dotted((key,))} = {spelled(value)}\n" for key, value in found.items())
    assert tomllib.loads(text) == found
    places = Places(text)
    lines = text.split("\n")
    for path in paths(found):
        for place in (places.key(path), places.value(path)):
            assert lines[place.line - 1][place.column - 1 :]


_words = st.sampled_from(
    (
        *(b"[groups.a]\n", b"[[resources.gpu]]\n", b"[defaults]\n", b"slots", b" = ", b"1", b"service", b".", b"name"),
        *(b"stop_grace", b"age", b"nan", b"true", b'"""', b"#", b"\r", b"\\", b"\x00", b"\xff", b"\n", b'"', b"'"),
        *(b"[", b"]", b"{", b"}", b","),
    )
)


@given(st.lists(_words, max_size=30).map(b"".join) | st.binary(max_size=60))
@example(b'[[resources.gpu]]\nname = "0"\n[resources.gpu.x]\ny = 1\n')
@example(b"[[groups]]\n")
@example(b"resources.gpu = [[1]]\n")
def test_any_bytes_are_read_or_refused_with_a_place(data):
    found = read(data, "orcha.toml")
    for fault in found.faults:
        assert fault.line >= 1
        assert fault.column >= 1
        assert fault.text
        assert "\n" not in str(fault)
    if not found.faults and data.strip():
        msgspec.convert(tomllib.loads(data.decode()), Configuration)  # what is read meets the schema


# --- writing ---------------------------------------------------------------------------------------------------------


@given(_values)
def test_a_value_is_read_as_it_was_written(value):
    assert tomllib.loads(f"a = {spelled(value)}")["a"] == value


def test_settings_are_written_one_a_line():
    content = content_with("", ("groups", "a b", "slots"), 2)
    content = content_with(content, ("resources", "gpu"), ["0"])
    assert content.splitlines()[1:] == ['groups."a b".slots = 2', 'resources.gpu = ["0"]']
    assert content_with(content, ("resources", "gpu"), None).splitlines()[1:] == ['groups."a b".slots = 2']
    assert content_with("[groups.a]\n", ("x",), 1).splitlines()[1:] == ["groups.a = {}", "x = 1"]


@pytest.mark.parametrize("text", ["", "a = 1", "a b", "a\nb", "[a]", "." * 5000])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="is no key"):
        read_keys(text)


@pytest.mark.parametrize("text", ["1\nb = 2", "[" * 5000, "1h"])
def test_what_is_no_toml_value_is_text(text):
    assert read_value(text) == text


def test_the_schema_names_all_tables_and_says_what_each_setting_is():
    schema = json.loads(json.dumps(json_schema()))
    tables = schema["$defs"]
    assert {*tables["Configuration"]["properties"]} == {
        "service",
        "listen",
        "tls",
        "retention",
        "audit",
        "defaults",
        "resources",
        "groups",
        "roles",
        "quota",
        "weights",
    }
    assert tables["GroupTable"]["additionalProperties"] is False
    assert all(each.get("description") for each in tables["ServiceTable"]["properties"].values())


def test_sizes_and_rates_have_bounds():
    assert kinds.SIZE.read("2K") == 2048
    for text in ("x/m", "2000/m", "1/", "1/0s"):
        with pytest.raises(ValueError):
            kinds.read_rate(text)
