"""The kept inputs of the fuzzer: each target keeps its word for each of them, without atheris."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
MAX_CORPUS_BYTES = 256 * 1024


def test_each_target_has_inputs_and_they_are_small():
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MAX_CORPUS_BYTES


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_keeps_its_word_for_each_kept_input(target):
    for path in sorted((CORPUS / target).iterdir()):
        try:
            TARGETS[target](path.read_bytes())
        except BaseException as error:
            raise AssertionError(f"{target} with the input {path.name}") from error
