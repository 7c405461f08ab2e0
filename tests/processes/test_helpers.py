"""multiprocessing's own processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import json, multiprocessing, sys, time
from orcha._processes import helpers, tag
def main():
    method = sys.argv[1]
    if method != "none":
        multiprocessing.set_start_method(method)
    tag.tag_self(tag.tag_of(5, 0))
    pids = helpers.ensure_helpers(["json"])
    again = helpers.ensure_helpers(["json"])
    tags = [tag.read_tag(pid) for pid in pids]
    fixed = multiprocessing.get_start_method(allow_none=True)
    children = [multiprocessing.Process(target=time.sleep, args=(1000,)) for _ in range(2)]
    for child in children:
        child.start()
    left = helpers.end_multiprocessing_children()
    print(json.dumps([len(pids), pids == again, tags, fixed, left, [child.exitcode for child in children]]))
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(("method", "count"), [("fork", 1), ("spawn", 1), ("forkserver", 2), ("none", None)])
def test_helpers_carry_the_services_tag_and_children_do_not_hold_up_its_exit(tmp_path, method, count) -> None:
    script = tmp_path / "script.py"
    script.write_text(CODE)
    answer = subprocess.run([sys.executable, str(script), method], stdout=subprocess.PIPE, check=True, timeout=60)
    found, same, tags, fixed, left, codes = json.loads(answer.stdout)
    if count is None:  # the default of this version of Python, which is not fixed by asking for it
        count = 2 if sys.version_info >= (3, 14) else 1
        assert fixed is None
    assert found == count
    assert same
    assert tags == [5 << 32] * count
    assert left == []
    assert len(codes) == 2
    assert 0 not in codes
