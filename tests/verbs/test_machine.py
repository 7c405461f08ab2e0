"""The machine's service runs each command as the user who asked for it, and nobody gets anything of root's.

Three users, root and a service, in a mount namespace whose passwd and group files the test writes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orcha._supervisor.cgroups import CgroupPlaces
from support import as_user, warm
from support.machine import ACCOUNTS, ALICE, BOB, CAROL, GONE, LAB, Machine, can_have_a_machine, has_pam
from support.processes import each_process
from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

pytestmark = [
    pytest.mark.skipif(not can_have_a_machine(), reason="only root can have users and a namespace of its own"),
    pytest.mark.slow,
]


@pytest.fixture
def stopped(serve):
    """The machine before its service is started."""
    made = Machine(serve.environment())
    yield made
    made.close()


@pytest.fixture
def machine(stopped):
    stopped.start()
    return stopped


READS_ITS_LIMIT = """
for folder in "$0"/orcha-*; do
    if grep -qx $$ $folder/cgroup.procs; then
        cat $folder/pids.max
        ! test -w $folder -o -w $folder/pids.max -o -w $folder/cgroup.procs
        exit
    fi
done
exit 9
"""
BOMB = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 >/dev/null 2>&1 & done; echo as many as it likes"
LOOK = """
echo "$(id -u) $(id -g) $(id -G) $(umask)"
echo "$HOME $USER $LOGNAME $SHELL [$SECRET_OF_ROOT]"
ls /proc/self/fd | tr '\\n' ' '; echo
grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | tr -d '\\n\\t'; echo
echo reopened > /dev/stderr
kill -0 $PPID 2>/dev/null && echo root can be signalled
cat /proc/$PPID/environ >/dev/null 2>&1 && echo root can be read
true
"""


def test_each_command_runs_as_the_user_who_asked_and_has_nothing_of_roots(machine):
    asked = ((ALICE, f"{ALICE} {LAB}", 0o027), (BOB, str(BOB), 0o077), (CAROL, str(CAROL), 0o002))
    for uid, groups, umask in asked:
        ran = machine.run(uid, "run", "--", "sh", "-c", LOOK, umask=umask)
        assert (ran.returncode, ran.stderr) == (0, "reopened\n")
        name, home = ACCOUNTS[uid], machine.home(uid)
        lines = ran.stdout.splitlines()
        assert lines[0].split() == [str(uid), str(uid), *groups.split(), f"{umask:04o}"]
        assert lines[1] == f"{home} {name} {name} /bin/sh []"
        assert lines[2].split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
        assert lines[3] == "".join(f"Cap{kind}:{0:016x}" for kind in ("Inh", "Prm", "Eff", "Amb"))
        assert len(lines) == 4
    assert machine.run(0, "run", "--", "id", "-u").stdout == "0\n"
    terminal = machine.run(ALICE, "run", "-t", "--", "sh", "-c", "stat -c %u $(tty); id -u; echo again > $(tty)")
    assert terminal.stdout.split() == [str(ALICE), str(ALICE), "again"]
    typed = machine.run(BOB, "run", "-i", "--", "cat", "/dev/stdin", input="typed\n")
    assert typed.stdout == "typed\n"
    key = machine.home(ALICE) / "key"
    key.write_text("hers")
    os.chown(key, ALICE, ALICE)
    look = 'stat -c "%u %g %a" "$ORCHA_SECRETS" "$ORCHA_SECRET_KEY"; cat "$ORCHA_SECRET_KEY"'
    given = machine.run(ALICE, "run", "--secret", f"KEY=file:{key}", "--", "sh", "-c", look)
    assert given.stdout.splitlines() == [f"{ALICE} {ALICE} 700", f"{ALICE} {ALICE} 400", "hers"]


def test_folder_and_program_are_looked_up_as_that_user(machine):
    secret = machine.folder / "private"
    secret.mkdir(mode=0o700)
    program = secret / "there"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for words in (["-C", str(secret), "--", "pwd"], ["--", str(program)], ["--", str(secret / "missing")]):
        refused = machine.run(ALICE, "run", *words)
        assert refused.returncode in {125, 126, 127}, words
        assert "Permission denied" in refused.stderr
    asked = machine.run(ALICE, "run", "--when", f'exists("{program}")', "--", "true")
    assert asked.returncode == 125
    assert "would look up as root" in asked.stderr
    made = machine.run(
        ALICE, "run", "--", "sh", "-c", "umask 022; echo mine > made; stat -c %u made", cwd=machine.home(ALICE)
    )
    assert made.stdout == f"{ALICE}\n"


def test_other_users_see_and_change_nothing(machine):
    assert machine.run(ALICE, "run", "-d", "--name", "hers", "--", "sleep", "1000").returncode == 0
    wait_for(lambda: machine.rows(ALICE)["hers"]["state"] == "running")
    for words in (
        ["cancel", "hers"],
        ["logs", "hers"],
        ["attach", "hers"],
        ["signal", "TERM", "hers"],
        ["exec", "hers", "--", "id"],
        ["pause", "hers"],
        ["set", "hers", "--timeout", "1"],
        ["stop"],
        ["drain"],
        ["stats"],
    ):
        assert machine.run(BOB, *words).returncode != 0, words
    assert machine.rows(BOB)["hers"]["command"] is None
    clears = machine.run(ALICE, "run", "--name", "clears", "--", "printf", r"\033[2J\tgone\n")
    assert clears.stdout == "\x1b[2J\tgone\n"
    for uid, more, seen in ((0, [], rb"\x1b[2J"), (0, ["--raw"], b"\x1b[2J"), (ALICE, [], b"\x1b[2J")):
        for verb in ("logs", "attach"):
            with OnTerminal(machine.words(uid, verb, *more, "clears"), machine.environment, cwd="/") as person:
                assert person.end() == 0
                assert person.seen.partition(b"\t")[0].endswith(seen)
    assert machine.run(0, "logs", "clears").stdout == clears.stdout, "what is no terminal gets what was written"
    beside = machine.run(0, "exec", "hers", "--", "id", "-u")
    assert beside.stdout == f"{ALICE}\n"
    assert machine.rows(0)["hers"]["state"] == "running"
    assert machine.run(ALICE, "cancel", "hers").returncode == 0
    assert machine.rows(ALICE)["hers"]["outcome"] == "cancelled"


def test_a_kill_of_the_service_leaves_commands_of_users_and_they_are_found_again(machine):
    fifo = machine.home(ALICE) / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, ALICE, ALICE)
    assert machine.run(ALICE, "run", "-d", "--name", "kept", "--", "sh", "-c", f"cat {fifo}; id -u").returncode == 0
    wait_for(lambda: machine.rows(ALICE)["kept"]["state"] == "running")
    machine.kill()
    machine.start()
    fifo.write_text("after\n")
    ended = machine.run(ALICE, "attach", "kept")
    assert (ended.returncode, ended.stdout) == (0, f"after\n{ALICE}\n")


def test_a_user_or_group_that_is_gone_counts_at_the_start(machine):
    assert machine.run(GONE, "run", "--", "true").returncode == 125
    assert machine.run(0, "pause", "--all").returncode == 0
    for uid, name in ((ALICE, "groups"), (BOB, "user")):
        assert machine.run(uid, "run", "-d", "--name", name, "--", "id", "-G").returncode == 0
    machine.write_accounts({ALICE: "alice"}, "")
    assert machine.run(0, "resume", "--all").returncode == 0
    without = machine.run(ALICE, "attach", "groups")
    assert (without.returncode, machine.run(ALICE, "logs", "groups").stdout) == (0, f"{ALICE}\n")
    gone = machine.run(BOB, "attach", "user")
    assert gone.returncode == 125
    assert f"no user with the uid {BOB}" in machine.rows(0)["user"]["reason"]


def test_what_runs_of_a_user_who_is_gone_goes_on_and_can_be_ended(machine):
    for name in ("goes-on", "ended"):
        words = ["sh", "-c", f"cat {machine.home(BOB)}/{name}; id -u"]
        os.mkfifo(machine.home(BOB) / name)
        os.chown(machine.home(BOB) / name, BOB, BOB)
        assert machine.run(BOB, "run", "-d", "--name", name, "--", *words).returncode == 0
        wait_for(lambda name=name: machine.rows(0)[name]["state"] == "running")
    machine.write_accounts({ALICE: "alice"}, "")
    assert machine.run(0, "cancel", "ended").returncode == 0
    assert machine.rows(0)["ended"]["outcome"] == "cancelled"
    (machine.home(BOB) / "goes-on").write_text("after\n")
    assert machine.run(0, "attach", "goes-on").returncode == 0
    assert machine.run(0, "logs", "goes-on").stdout == f"after\n{BOB}\n"


def test_a_user_who_logs_out_finds_everything_done(machine):
    runtime = machine.home(ALICE) / "run"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, ALICE, ALICE)
    environment = machine.environment | {"XDG_RUNTIME_DIR": str(runtime)}
    fifo = machine.home(ALICE) / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, ALICE, ALICE)
    words = machine.words(ALICE, "run", "--name", "runs", "--", "sh", "-c", f"echo begun; cat {fifo}; id -u")
    with OnTerminal(words, environment, cwd="/") as person:
        person.until(b"begun")
        assert machine.run(ALICE, "run", "-d", "--name", "waits", "--after", "runs", "--", "id", "-u").returncode == 0
        person.hang_up()
    runtime.rmdir()  # as systemd-logind does at the last logout
    assert machine.rows(ALICE)["runs"]["state"] == "running"
    fifo.write_text("later\n")
    assert machine.run(ALICE, "attach", "waits").stdout == f"{ALICE}\n"
    assert machine.run(ALICE, "logs", "runs").stdout == f"begun\nlater\n{ALICE}\n"


def test_a_user_ends_a_program_that_runs_as_root_by_its_set_user_id_bit(machine):
    program = machine.folder / "sleep"
    shutil.copy(shutil.which("sleep", path="/usr/bin:/bin"), program)
    program.chmod(0o755 | stat.S_ISUID)
    asked = machine.run(ALICE, "run", "-d", "--name", "set-user-id", "--", str(program), "1000")
    assert asked.returncode == 0, asked.stderr
    wait_for(lambda: machine.rows(ALICE)["set-user-id"]["state"] == "running")
    pid = next(pid for pid, words in each_process("cmdline") if words.startswith(os.fsencode(program)))
    assert "Uid:\t" + f"{ALICE}\t0\t0\t0" in Path(f"/proc/{pid}/status").read_text()
    assert machine.run(ALICE, "cancel", "set-user-id").returncode == 0
    assert machine.rows(ALICE)["set-user-id"]["outcome"] == "cancelled"
    assert not Path(f"/proc/{pid}").exists()


LIMITS = """
* soft nofile 333
* hard nofile 444
* hard core 0
* - locks 77
* - memlock 64
bob - priority 15
@lab - nproc 4000
carol - maxlogins 0
"""
"""Lines of limits.conf(5), which lower limits alone: a machine of a test may raise none."""
LOOK_AT_LIMITS = ["sh", "-c", "cat /proc/self/limits; echo nice $(nice)"]


def limits_in(text):
    """Give the soft and hard limits that a command has told, and its nice value."""
    lines = text.replace("\r", "").splitlines()
    return {line[:25].strip(): tuple(line[25:].split()[:2]) for line in lines if line.startswith("Max ")} | {
        "nice": next(line.split()[1] for line in lines if line.startswith("nice "))
    }


needs_pam = pytest.mark.skipif(
    not has_pam(),
    reason="PAM is not installed; what stands in for it is asked in tests/supervisor/test_login.py",
)


@needs_pam
def test_each_command_has_the_limits_of_its_users_login(stopped):
    machine = stopped
    machine.write_limits(LIMITS)
    machine.start()
    own = limits_in(machine.run(0, "run", "--", *LOOK_AT_LIMITS).stdout)
    wanted = {"Max open files": ("333", "444"), "Max core file size": ("0", "0"), "Max locked memory": ("65536",) * 2}
    processes = {ALICE: ("4000", "4000"), BOB: own["Max processes"]}
    for uid, nice in ((ALICE, own["nice"]), (BOB, "15")):
        ran = machine.run(uid, "run", "--", *LOOK_AT_LIMITS)
        assert ran.returncode == 0, ran.stderr
        found = limits_in(ran.stdout)
        assert wanted.items() <= found.items()
        assert (found["Max processes"], found["nice"]) == (processes[uid], nice)
        assert "77" not in found["Max file locks"], "that limit carries the tag of the attempt"
    twice = ["sh", "-c", f"{LOOK_AT_LIMITS[-1]}; test $ORCHA_ATTEMPT = 2"]
    tried = machine.run(ALICE, "run", "--retry", "1", "--retry-delay", "0.01", "--", *twice)
    assert (tried.returncode, len(re.findall(r"Max open files +333 +444", tried.stdout))) == (0, 2)
    assert own["Max open files"] != ("333", "444"), "root's commands have the limits of the service"
    refused = machine.run(CAROL, "run", "--name", "no-login", "--", "true")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "There were too many logins for 'carol'" in machine.rows(0)["no-login"]["reason"]
    assert "note: login limits" not in machine.run(0, "doctor").stdout


@needs_pam
def test_limits_of_a_login_hold_at_terminals_beside_other_commands_and_after_a_kill(stopped):
    machine = stopped
    machine.write_limits(LIMITS)
    machine.start()
    fifo = machine.home(BOB) / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, BOB, BOB)
    tell = f"cat {fifo}; {LOOK_AT_LIMITS[-1]}"
    assert machine.run(BOB, "run", "-d", "--name", "kept", "--", "sh", "-c", tell).returncode == 0
    wait_for(lambda: machine.rows(BOB)["kept"]["state"] == "running")
    told = {
        "terminal": machine.run(BOB, "run", "-t", "--", *LOOK_AT_LIMITS).stdout,
        "input": machine.run(BOB, "run", "-i", "--", "sh", input=LOOK_AT_LIMITS[-1]).stdout,
        "beside": machine.run(BOB, "exec", "kept", "--", *LOOK_AT_LIMITS).stdout,
    }
    machine.kill()
    machine.start()
    fifo.write_text("after\n")
    told["kept"] = machine.run(BOB, "attach", "kept").stdout
    told["new"] = machine.run(BOB, "run", "--", *LOOK_AT_LIMITS).stdout
    for where, text in told.items():
        found = limits_in(text)
        assert (found["Max open files"], found["Max core file size"]) == (("333", "444"), ("0", "0")), where
    assert len({limits_in(text)["nice"] for text in told.values()}) == 1


@needs_pam
def test_a_user_with_all_processes_of_the_login_is_told_so(stopped):
    machine = stopped
    machine.write_limits("alice - nproc 0\n")
    machine.start()
    refused = machine.run(ALICE, "run", "--", "true")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "cannot execute 'true': Resource temporarily unavailable" in refused.stderr
    assert machine.run(BOB, "run", "--", "true").returncode == 0


def test_without_pam_commands_have_the_limits_of_the_service_and_the_doctor_says_so(stopped):
    (stopped.folder / "pam.d").mkdir()
    stopped.start()
    files = [limits_in(stopped.run(uid, "run", "--", *LOOK_AT_LIMITS).stdout)["Max open files"] for uid in (0, ALICE)]
    assert files[0] == files[1]
    examined = stopped.run(0, "doctor")
    assert examined.returncode == 0
    assert "note: login limits: commands of users have the limits of the service" in examined.stdout


def test_a_set_user_id_program_of_a_nosuid_mount_gives_nobody_anything(machine):
    inside = f"/proc/{machine.process.pid}/root{machine.folder}/nosuid/id"
    shutil.copy(shutil.which("id", path="/usr/bin:/bin"), inside)
    Path(inside).chmod(0o755 | stat.S_ISUID)
    ran = machine.run(ALICE, "run", "--", f"{machine.folder}/nosuid/id", "-u")
    assert (ran.returncode, ran.stdout) == (0, f"{ALICE}\n")


PLUGIN = """
from orcha import ClientManager, Manager, Message
from orcha.interfaces import CommandPetition, Policy
from orcha.plugins import BasePlugin

LOOK = ["sh", "-c", "id -u; echo $HOME"]


class Rig(Manager):
    def convert_to_petition(self, m):
        policy = Policy(run_as=m.extras["run_as"])
        return CommandPetition(m.id, m.extras["queue"], lambda _: True, argv=LOOK, policy=policy)

    def on_start(self, petition): ...
    def on_finish(self, petition): ...


class plugin(BasePlugin):
    name = "rig"
    help = "say as whom it runs"
    manager = Rig

    def create_parser(self, parser):
        parser.add_argument("run_as")

    def handle(self, namespace):
        manager = ClientManager()
        manager.connect()
        queue = manager.manager.Queue()
        manager.send(Message("rig", {"queue": queue, "run_as": namespace.run_as}))
        value = queue.get()
        while not (value is None or isinstance(value, int)):
            print(value[1].decode(), end="", flush=True)
            value = queue.get()
        manager.shutdown()
        return value or 0

    @staticmethod
    def version():
        return "rig - 1"
"""


def test_a_plugins_command_runs_as_root_and_by_its_policy_as_the_submitter(stopped):
    folder = stopped.folder / "plugins" / "orcha_rig"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PLUGIN)
    stopped.environment |= {"PYTHONPATH": os.pathsep.join([str(folder.parent), *sys.path]), as_user.PLUGINS: "1"}
    stopped.start("commands", "rig")
    for run_as, uid, home in (("submitter", ALICE, stopped.home(ALICE)), ("service", 0, "/root")):
        ran = stopped.run(ALICE, "rig", run_as)
        assert (ran.returncode, ran.stdout.split()[:1]) == (0, [str(uid)]), ran
        assert run_as == "service" or ran.stdout.split()[1:] == [str(home)]


def test_the_machines_configuration_counts_and_is_roots_alone_to_write(stopped):
    path = stopped.folder / "etc" / "orcha" / "orcha.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[groups.rig]\nslots = 0\n")
    path.chmod(0o666)
    refused = stopped.run(0, "serve", "--system")
    assert refused.returncode == 78
    assert str(path) in refused.stderr
    told = stopped.run(0, "--service", "system", "doctor").stdout
    assert re.search(rf"^fault: configuration: {re.escape(str(path))}:.*: chmod go-w", told, re.MULTILINE), told
    path.chmod(0o644)
    stopped.start()
    assert stopped.run(ALICE, "run", "-d", "--name", "waits", "-g", "rig", "--", "id", "-u").returncode == 0
    assert "rig" in stopped.run(ALICE, "why", "waits").stdout
    path.write_text("[groups.rig]\nslots = 1\n")
    assert stopped.run(ALICE, "reload").returncode != 0
    assert stopped.rows(ALICE)["waits"]["state"] == "queued"
    assert stopped.run(0, "reload").returncode == 0
    assert stopped.run(ALICE, "attach", "waits").stdout == f"{ALICE}\n"
    setting = ("--service", "system", "config", "set", "groups.rig.slots", "3")
    assert stopped.run(ALICE, *setting).returncode != 0
    assert stopped.run(0, *setting).returncode == 0
    drop_in = path.parent / "orcha.toml.d" / "90-set.toml"
    assert stopped.run(0, "reload").stdout == f"changed: groups.rig.slots ({drop_in}:2)\n"
    shown = json.loads(stopped.run(ALICE, "--service", "system", "config", "show", "--json").stdout)
    assert [(each["value"], each["origin"]) for each in shown if each["key"] == "groups.rig.slots"] == [
        ("3", f"{drop_in}:2")
    ]
    assert str(path) in stopped.run(ALICE, "--service", "system", "config", "check").stdout


def test_groups_with_weights_are_compared_before_their_members(stopped):
    path = stopped.folder / "etc" / "orcha" / "orcha.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o644)
    stopped.write_accounts(ACCOUNTS, f"lab:x:{LAB}:alice,bob\n")
    stopped.environment["ORCHA_COMMANDS"] = "1"
    stopped.start()
    for uid, name in ((ALICE, "a1"), (BOB, "b1"), (CAROL, "c1")):
        assert stopped.run(uid, "run", "-d", "--name", name, "--", "sleep", "1000").returncode == 0
    assert "another owner" not in stopped.run(BOB, "why", "b1").stdout
    path.write_text('[weights]\n"@lab" = 2\n')
    assert stopped.run(0, "reload").returncode == 0
    told = "petitions of another owner come first, who has less in use for that owner's weight: 0 % with the weight 1"
    assert f"{told}, where @lab has 100 % with the weight 2" in stopped.run(BOB, "why", "b1").stdout
    assert stopped.run(ALICE, "cancel", "a1").returncode == 0
    wait_for(lambda: stopped.rows(CAROL)["c1"]["state"] == "running", what="nobody of the lab comes first")
    assert stopped.rows(BOB)["b1"]["state"] == "queued"


def test_quotas_of_users_and_groups_hold_and_everybody_sees_who_has_what(stopped):
    path = stopped.folder / "etc" / "orcha" / "orcha.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "resources.gpu = ['0', '1', '2', '3']\nretention.least = 1\n[quota.user.alice]\nresources.gpu = 2\n"
        "[quota.members.lab]\noutput = 1000\n[quota.group.lab]\nresources.gpu = 3\n"
    )
    path.chmod(0o644)
    stopped.write_accounts(ACCOUNTS, f"lab:x:{LAB}:alice,bob\n")
    stopped.environment["ORCHA_COMMANDS"] = "9"
    stopped.start()

    def detach(uid, name, *options, command=("sleep", "1000")):
        return stopped.run(uid, "run", "-d", "--name", name, *options, "--", *command)

    for uid, name, need in ((ALICE, "a1", 1), (ALICE, "a2", 1), (ALICE, "a3", 1), (BOB, "b1", 1), (BOB, "b2", 1)):
        assert detach(uid, name, "--need", f"gpu={need}").returncode == 0
    assert "quota: 2 of alice's 2 gpu in use" in stopped.run(ALICE, "why", "a3").stdout
    assert "quota: 3 of @lab's 3 gpu in use" in stopped.run(BOB, "why", "b2").stdout
    assert detach(CAROL, "c1", "--need", "gpu=1").returncode == 0
    wait_for(lambda: stopped.rows(CAROL)["c1"]["state"] == "running", what="a quota keeps nobody else waiting")
    (own,) = [
        each for each in json.loads(stopped.run(CAROL, "who", "--json").stdout)["users"] if each["user"] == "carol"
    ]
    assert (own["role"], own["running"], own["connections"], own["quota"]) == ("submitter", 1, 1, None)
    known = json.loads(stopped.run(0, "who", "--json").stdout)
    users = {each["user"]: each for each in known["users"]}
    assert (users["alice"]["queued"], users["alice"]["running"], users["alice"]["held"]) == (1, 2, {"gpu": 2})
    assert (users["bob"]["queued"], users["bob"]["groups"]) == (1, ["@lab"])
    assert len(users["alice"]["devices"]["gpu"]) == 2
    assert [(each["group"], each["queued"], each["held"]) for each in known["groups"]] == [("@lab", 2, {"gpu": 3})]
    shown = stopped.run(0, "who").stdout
    assert "(2 of 2)" in shown
    assert "3 of 3 gpu" in shown
    assert "  alice  " in stopped.run(0, "ps").stdout
    assert stopped.run(BOB, "cancel", "a2").returncode != 0
    assert stopped.run(CAROL, "drain").returncode != 0
    assert stopped.run(0, "set", "a1", "--timeout", "1h").returncode == 0

    def events(uid, *options):
        found = json.loads(stopped.run(uid, "events", "--json", *options).stdout)
        return [(each["user"], each["verb"], *each["ids"], each["outcome"]) for each in found]

    refused, deed = ("bob", "cancel", "a2", "refused"), ("root", "set", "a1", "done")
    assert [each for each in events(ALICE) if each[1] != "submit"] == [refused, deed]
    assert {each[0] for each in events(BOB)} == {"bob"}
    assert refused in events(BOB)
    assert [each for each in events(CAROL) if each[1] != "submit"] == [("carol", "drain", "refused")]
    assert {refused, deed, ("alice", "submit", "a1", "done")} <= {*events(0, "--since", "1h")}
    assert events(0, "--who", "bob", "--verb", "cancel") == [refused]
    assert events(0, "--who", "nobody") == events(0, "--id", "nothing") == []
    assert stopped.run(ALICE, "cancel", "a1").returncode == 0
    wait_for(lambda: stopped.rows(ALICE)["a3"]["state"] == "running" or stopped.rows(BOB)["b2"]["state"] == "running")
    stopped.kill()
    stopped.start()
    assert "gpu in use" in stopped.run(BOB, "why", "b2").stdout + stopped.run(ALICE, "why", "a3").stdout
    assert stopped.run(BOB, "run", "--", "head", "-c", "100000", "/dev/zero").returncode == 0
    wait_for(
        lambda: stopped.run(BOB, "run", "--", "true").returncode == 125, what="the output is measured", interval=1.0
    )
    refused = stopped.run(BOB, "run", "--", "true")
    assert "of bob's output are kept, and 1000 may be (quota.members.lab.output, " in refused.stderr
    assert stopped.run(CAROL, "run", "--", "true").returncode == 0


@pytest.mark.skipif("pids" not in CgroupPlaces().available, reason="no cgroup can be written here")
def test_limits_by_cgroups_hold_for_the_commands_of_a_user(machine):
    looked = machine.run(ALICE, "run", "--pids", "7", "--", "sh", "-c", "id -u; cat /proc/self/cgroup")
    assert looked.returncode == 0, looked.stderr
    uid, *groups = looked.stdout.splitlines()
    assert uid == str(ALICE)
    assert groups != Path("/proc/self/cgroup").read_text().splitlines()
    read = machine.run(ALICE, "run", "--pids", "7", "--", "sh", "-c", READS_ITS_LIMIT, CgroupPlaces().bases["pids"])
    assert (read.stdout, read.returncode) == ("7\n", 0), read.stderr
    bomb = machine.run(ALICE, "run", "--pids", "7", "--", "sh", "-c", BOMB)
    assert (bomb.returncode != 0, bomb.stdout) == (True, "")
    assert "fork" in bomb.stderr


CALLS = """
import sys
from support.as_user import become
become(int(sys.argv[1]), sys.argv[2])
from orcha import ClientManager, Message
from orcha.lib.remote import Remote
client = ClientManager()
client.plugin_name = "commands"
assert client.connect()
for name, arguments in (("finish", ("hers",)), ("send", ({"id": "bad", "extras": {"argv": ["id"]}},))):
    try:
        print(client._reach().call(name, arguments, {}))
    except Exception as error:
        print(type(error).__name__, error)
client.shutdown()
"""


def test_nobody_else_calls_what_acts_as_the_service(machine):
    assert machine.run(ALICE, "run", "-d", "--name", "hers", "--", "sleep", "1000").returncode == 0
    called = warm.run(
        [sys.executable, "-c", CALLS, str(BOB), str(machine.home(BOB))],
        env=machine.environment,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    assert called.returncode == 0, called.stderr
    lines = called.stdout.splitlines()
    assert len(lines) == 2
    assert all("only an admin may call what acts as the service" in line for line in lines), lines
    assert machine.rows(ALICE)["hers"]["state"] in {"queued", "starting", "running"}


def test_only_root_serves_the_machine_and_on_its_socket_alone(machine):
    assert machine.run(ALICE, "serve", "--system").returncode == 2
    assert machine.run(0, "--port", "0", "serve", "--system").returncode == 2
    where = json.loads(machine.run(ALICE, "where", "--json").stdout)
    assert (where["kind"], where["uid"], where["named_by"]) == ("system", 0, None)
    assert len(where["tried"]) == 2


def test_the_doctor_looks_at_the_service_that_the_client_would_use(machine):
    roots = machine.run(0, "doctor")
    assert roots.returncode == 0, roots.stdout
    assert f"the service is pid {machine.process.pid}," in roots.stdout
    users = machine.run(ALICE, "doctor")
    assert (users.returncode, users.stdout.count("\n")) == (0, 1), users.stdout
    assert "the machine's service answers" in users.stdout
    machine.kill()
    without = machine.run(ALICE, "doctor", "--json")
    assert (without.returncode, json.loads(without.stdout)["findings"][0]["check"]) == (1, "socket")
    assert machine.run(ALICE, "--service", "user", "doctor").returncode == 0


def test_the_state_of_the_machines_service_is_copied_and_put_back_by_root_alone(machine):
    copy = machine.folder / "copy.tar"
    assert machine.run(ALICE, "run", "--name", "hers", "--", "echo", "kept").returncode == 0
    for words in (["backup"], ["--service", "system", "backup"]):
        closed = machine.run(ALICE, *words, f"{machine.home(ALICE)}/copy.tar")
        assert (closed.returncode, "is closed to you: back up as its user, root (uid 0)" in closed.stderr) == (78, True)
    assert machine.run(0, "backup", str(copy)).returncode == 0
    assert machine.run(0, "stop").returncode == 0
    machine.process.communicate(timeout=DEADLINE)
    shutil.rmtree(machine.folder / "var" / "lib" / "orcha")
    copy.chmod(0o644)
    refused = machine.run(ALICE, "--service", "system", "restore", str(copy))
    assert (refused.returncode, refused.stderr.count("\n")) == (78, 1), refused.stderr
    asked = machine.run(0, "restore", str(copy))
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "the backup is of a machine's service for all users, and root may have another one" in asked.stderr
    assert f"orcha --service system restore {copy}" in asked.stderr
    restored = machine.run(0, "--service", "system", "restore", str(copy))
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.endswith("; orcha serve --system goes on from there\n")
    asked = machine.run(0, "restore", str(copy))
    assert (asked.returncode, "this machine has a service for all users" in asked.stderr) == (2, True)
    roots = machine.run(0, "--service", "user", "restore", str(copy))
    assert (roots.returncode, roots.stderr) == (0, "")
    both = machine.run(0, "backup", f"{copy}.2")
    assert (both.returncode, f"orcha --service user backup {copy}.2" in both.stderr) == (2, True)
    machines = machine.run(0, "--service", "system", "backup", f"{copy}.2")
    assert machines.stdout.endswith(f", from {machine.folder}/var/lib/orcha/system\n"), machines.stderr
    shutil.rmtree(machine.home(0) / "default")
    machine.start()
    assert machine.run(ALICE, "logs", "hers").stdout == "kept\n"


def test_roles_come_from_the_configuration_and_change_for_connected_clients(stopped):
    machine, file = stopped, stopped.folder / "etc/orcha/orcha.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[roles]\noperator = ["@lab"]\nviewer = ["carol"]\n')
    machine.start("commands")
    assert machine.run(BOB, "run", "--detach", "--name", "bobs", "--", "sleep", "600").returncode == 0
    refused = machine.run(CAROL, "run", "--", "true")
    assert refused.returncode == 125
    assert "only a submitter may ask for petitions, and you are a viewer here: an admin" in refused.stderr
    assert "you are a viewer here" in machine.run(CAROL, "cancel", "bobs").stderr
    for words in (["pause", "bobs"], ["resume", "bobs"], ["drain"], ["undrain"]):
        assert machine.run(ALICE, *words, groups=f"1 {LAB}").returncode == 0, words
    assert (
        "only an admin may change the service, and you are an operator here"
        in machine.run(ALICE, "reload", groups=str(LAB)).stderr
    )
    typed = machine.run(ALICE, "exec", "bobs", "--", "id", groups=str(LAB))
    assert (typed.returncode, typed.stdout) == (125, "")
    follows = warm.Popen(
        machine.words(BOB, "attach", "bobs"),
        env=machine.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with follows:
        file.write_text('[roles]\nothers = "none"\nsubmitter = ["carol"]\n')
        assert machine.run(0, "reload").returncode == 0
        _, said = follows.communicate(timeout=DEADLINE)
        assert follows.returncode != 0, said
    assert machine.run(CAROL, "run", "--", "id", "-un").stdout == "carol\n"
    for uid in (ALICE, BOB):
        assert machine.run(uid, "ps").returncode != 0
    file.write_text('[roles]\nadmin = ["nobody-by-this-name"]\n')
    told = machine.run(0, "reload")
    assert f"{file}:2:9: roles.admin: this machine has no user nobody-by-this-name" in told.stdout + told.stderr
    assert machine.run(CAROL, "run", "--", "true").returncode == 0


def test_an_admin_who_is_not_root_stops_the_service_and_waits_for_its_end(stopped):
    """The lock of the service is closed to that admin."""
    machine, file = stopped, stopped.folder / "etc/orcha/orcha.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[roles]\nadmin = ["carol"]\n')
    machine.start("commands")
    done = machine.run(CAROL, "stop")
    assert (done.returncode, done.stderr) == (0, "")
    machine.process.communicate(timeout=DEADLINE)


def test_what_others_see_of_a_command_is_as_the_configuration_says(stopped):
    machine, file, canary = stopped, stopped.folder / "etc/orcha/orcha.toml", "canary-of-alice"
    file.parent.mkdir(parents=True)
    machine.start("commands")
    words = ["sh", "-c", f"echo {canary}; cat /{canary}; exec sleep 600"]
    (machine.home(ALICE) / canary).mkdir(mode=0o755)
    asked = ["run", "-d", "--name", "hers", "--label", canary, "--env", f"C={canary}", "--", *words]
    assert machine.run(ALICE, *asked, cwd=machine.home(ALICE) / canary).returncode == 0
    wait_for(lambda: canary in machine.run(ALICE, "logs", "hers").stdout)
    looks = (["ps", "--all"], ["ps", "--json"], ["show", "hers"], ["show", "--json", "hers"], ["why", "hers"])
    looks += (["logs", "hers"], ["resource", "ls"], ["history"], ["run", "--name", "hers", "--", "true"])
    looks += (["cancel", "hers"], ["attach", "hers"], ["cron", "ls"], ["estimate"])
    for visibility in ("metadata", "private", "open"):
        file.write_text(f'[roles]\nvisibility = "{visibility}"\n')
        assert machine.run(0, "reload").returncode == 0
        if visibility != "open":
            told = {tuple(words): (ran := machine.run(BOB, *words)).stdout + ran.stderr for words in looks}
            assert [words for words, text in told.items() if canary in text] == []
            assert ("hers" in told["ps", "--all"]) is (visibility == "metadata")
            assert ("Traceback" in "".join(told.values())) is False
        else:
            assert machine.run(BOB, "logs", "hers").stdout == f"{canary}\n"
            assert canary in machine.run(BOB, "ps").stdout


def test_a_key_acts_as_the_user_for_whom_it_was_added_and_runs_nothing_for_nobody(machine):
    for name, more in (("build", ("--as", "alice")), ("plain", ())):
        made, file = machine.folder / f"{name}.key", machine.home(BOB) / f"{name}.key"
        assert machine.run(BOB, "key", "add", name, "--role", "admin", "--out", "-").returncode != 0
        added = machine.run(0, "key", "add", name, "--role", "submitter", *more, "--out", str(made))
        assert (added.returncode, added.stdout) == (0, "")
        shutil.copyfile(made, file)
        os.chown(file, BOB, BOB)
        file.chmod(0o600)
        place = f"unix:{machine.folder}/run/orcha/orcha.sock"
        assert machine.run(BOB, "service", "add", name, place, "--key-file", str(file)).returncode == 0
    ran = machine.run(BOB, "--service", "build", "run", "--name", "built", "--", "sh", "-c", "id -u; echo $HOME")
    assert (ran.returncode, ran.stdout.split()) == (0, [str(ALICE), str(machine.home(ALICE))])
    assert machine.rows(ALICE)["built"]["owner"] == f"uid:{ALICE}"
    assert machine.run(BOB, "rm", "built").returncode != 0
    assert machine.run(ALICE, "rm", "built").returncode == 0
    refused = machine.run(BOB, "--service", "plain", "run", "--", "id")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "key:plain" in refused.stderr
    assert "orcha key add --as" in refused.stderr
    assert machine.run(0, "key", "revoke", "build").returncode == 0
    assert "does not accept the key" in machine.run(BOB, "--service", "build", "ps").stderr
