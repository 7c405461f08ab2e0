"""API.md: `OrchaError` and its tree, `RejectedError`, `ManagerShutdownError`, `ConditionFailed`."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from orcha.exceptions import (
    AuthenticationError,
    ConditionFailed,
    ConfigurationError,
    EndpointInUseError,
    ManagerShutdownError,
    OrchaConnectionError,
    OrchaError,
    RejectedError,
    StaleCall,
    shutdown,
)
from orcha.interfaces import Message


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (OrchaError, 1),
        (OrchaConnectionError, 69),
        (EndpointInUseError, 69),
        (AuthenticationError, 77),
        (ConfigurationError, 78),
        (ManagerShutdownError, 75),
        (RejectedError, 1),
        (ConditionFailed, 1),
    ],
)
def test_every_error_is_an_orcha_error_with_an_exit_code(kind, code):
    assert issubclass(kind, OrchaError)
    assert kind.exit_code == code


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        (OrchaConnectionError, "start it (orcha serve --background)"),
        (EndpointInUseError, "another --port"),
        (AuthenticationError, "the same --key"),
        (ManagerShutdownError, "send it again"),
    ],
)
def test_the_default_message_is_one_line_with_the_cure(kind, cure):
    text = str(kind())
    assert cure in text
    assert "\n" not in text
    assert str(kind("another text")) == "another text"


def test_a_connection_error_is_what_the_original_raised():
    assert issubclass(OrchaConnectionError, ConnectionRefusedError)
    with pytest.raises(ConnectionRefusedError):
        raise OrchaConnectionError


def test_a_wrong_setting_is_a_wrong_value():
    assert issubclass(ConfigurationError, ValueError)
    assert str(ConfigurationError("no folder")) == "no folder"


def test_shutdown_error_lives_where_plugins_import_it_from():
    assert shutdown.ManagerShutdownError is ManagerShutdownError


def test_rejected_error_says_which_and_why():
    accepted, refused = [Message("a", {})], [(Message(name, {}), f"no {name}") for name in "bcdef"]
    error = RejectedError(accepted, refused)
    assert error.accepted == tuple(accepted)
    assert error.rejected == tuple(refused)
    assert str(error) == "5 of 6 refused: b: no b; c: no c; d: no d; and 2 more"


@pytest.mark.parametrize(
    "error",
    [
        OrchaError("x"),
        OrchaConnectionError("x"),
        ConditionFailed("x"),
        RejectedError([Message("a", {})], [(Message("b", {}), "no")]),
    ],
)
def test_errors_survive_pickling(error):
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin)) == (type(error), str(error))


def test_a_failed_condition_is_false_and_has_a_reason():
    failed = ConditionFailed("waiting for rig 3")
    assert not failed
    assert failed.reason == str(failed) == "waiting for rig 3"
    assert failed == ConditionFailed("waiting for rig 3")
    with pytest.raises(ConditionFailed, match="rig 3"):
        raise failed


def test_a_stale_call_passes_through_what_catches_exceptions():
    assert not issubclass(StaleCall, Exception)
    assert "outlived" in str(StaleCall())


def test_they_import_nothing():
    code = "import sys; before = set(sys.modules); import orcha.exceptions; print(*sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in found if name != "__future__" and not name.startswith("orcha")] == []
