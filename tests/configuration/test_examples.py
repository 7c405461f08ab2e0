"""The examples in the docstrings of the configuration."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import orcha._configuration

MODULES = [each.name for each in pkgutil.iter_modules(orcha._configuration.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_happens(name):
    failed, _ = doctest.testmod(importlib.import_module(f"orcha._configuration.{name}"))
    assert failed == 0
