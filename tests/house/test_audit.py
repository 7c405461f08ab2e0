"""The audit of packages fails for a known fault alone; without a network it says why nothing was looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).resolve().parent.parent.parent / "scripts" / "audit"
FAULTY = {"name": "left", "version": "1.0", "vulns": [{"id": "X-1", "fix_versions": ["1.1"]}]}
CLEAN = {"name": "right", "version": "2.0", "vulns": []}


@pytest.mark.parametrize(
    ("out", "error", "code", "said"),
    [
        (json.dumps({"dependencies": [CLEAN]}), "", (0, 0), "no fault is known of 1 packages"),
        (json.dumps({"dependencies": [CLEAN, FAULTY]}), "", (1, 1), "left 1.0: X-1, mended by 1.1"),
        ("", "trace\nConnectionError: nobody answers\n", (1, 0), "skipped: ConnectionError: nobody answers"),
        ("", "", (1, 0), "skipped: pip-audit said nothing"),
    ],
)
def test_it_fails_for_a_known_fault_alone(tmp_path, out, error, code, said):
    (tmp_path / "out").write_text(out)
    (tmp_path / "error").write_text(error)
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/out\ncat {tmp_path}/error >&2\nexit {code[0]}\n")
    program.chmod(0o755)
    done = subprocess.run([sys.executable, AUDIT, program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code[1], f"{said}\n")


def test_a_program_that_is_not_there_is_told(tmp_path):
    done = subprocess.run([sys.executable, AUDIT, tmp_path / "none"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("skipped: ")
