"""The page on planning does what it says, command for command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from orcha._core.reasons import Reason
from support import warm

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "planning.md").read_text()
_FIRST, *_OTHERS = sorted(os.sched_getaffinity(0))
PAGE = PAGE.replace("cpu=0,1", f"cpu={_FIRST},{','.join(map(str, _OTHERS))}")
PAGE = PAGE.replace("processor 0", f"processor {_FIRST}")
TRAIN = """\
#!/bin/sh
#ORCHA --need gpu=1 --expect 2h
#ORCHA --timeout 8h --warn USR1@5m
#ORCHA --ok 0,3
exit 3
"""
NOWHERE = " > /dev/null"
SHELLS = re.compile(r"[|&;<>()$`*?~#\\]")
"""What only a shell understands, outside of single quotes."""
FAIR = "".join(
    f'{{"id": "{owner}{number}", "submitted": {at}, "seconds": 60, "owner": "{owner}"}}\n'
    for owner, number, at in (("ann", 1, 0), ("ann", 2, 0), ("ann", 3, 0), ("bob", 1, 5))
)


def steps():
    """Give the commands of the page in order, each with the lines that it prints."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def test_each_command_does_what_the_page_says(tmp_path, orcha_home):
    for name in ("notebook", "evaluate", "report", "frame"):
        (tmp_path / f"{name}.sh").write_text("#!/bin/sh\n:\n")
    (tmp_path / "train.sh").write_text(TRAIN)
    (tmp_path / "fair.json").write_text(FAIR)
    for name in ("gap.json", "before.json"):
        shown = next(lines for command, lines in steps() if command == f"cat {name}")
        (tmp_path / name).write_text("\n".join(shown) + "\n")
    for path in tmp_path.glob("*.sh"):
        path.chmod(0o755)
    commands = steps()
    assert len(commands) > 25
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        for command, printed in commands:
            done = run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert done.stdout.splitlines() == printed, (command, done.stderr)
    finally:
        subprocess.run(["orcha", "stop", "--now"], env=environment, capture_output=True, check=False)


def run(command, **options):
    """Run what a person types: by a shell, or as a shell would; new interpreters for all of these cost five seconds."""
    options |= {"capture_output": True, "text": True}
    alone = command.removesuffix(NOWHERE)
    words = shlex.split(alone)
    if words[0] != "orcha" or words[1] == "serve" or SHELLS.search(re.sub("'[^']*'", "", alone)):
        return subprocess.run(["bash", "-c", command], check=False, **options)
    done = warm.run([sys.executable, "-m", "orcha", *words[1:]], **options)
    if alone != command:
        done.stdout = ""
    return done


def test_the_table_has_each_kind_of_reason():
    kinds = {kind.kind(): kind for kind in Reason.__subclasses__()}  # a class with slots is made twice
    rows = [f"| `{name}` | {kind.__doc__.splitlines()[0]} | {ends(kind)} |" for name, kind in kinds.items()]
    table = re.search(r"^\| kind \|.*?\n\| --- .*?\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert table is not None
    assert table[1] == "\n".join(rows)


def ends(kind: type[Reason]) -> str:
    """Give what ends a reason; where nothing is given the text of the reason says it."""
    return (
        re.sub(r"(orcha [a-z]+(?: (?:--)?[a-zN{}-]+)*(?:AME=env:VARIABLE)?|--slots \S+)", r"`\1`", kind.remedy)
        or "the reason's text says it"
    )
