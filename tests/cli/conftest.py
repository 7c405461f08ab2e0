"""Fixtures for the tests of the command."""

from __future__ import annotations

import pytest

from support.command import Command


@pytest.fixture
def orcha(tmp_path):
    """Give the command, in a world of its own, with a plugin whose end is chosen by its argument."""
    command = Command(tmp_path)
    command.module("orcha_t", PLUGIN)
    command.settle()
    return command


PLUGIN = """
import sys
from orcha import properties
from orcha.exceptions import *
from orcha.plugins import BasePlugin

AT_IMPORT = (properties.listen_address, properties.port, properties.authkey, properties.systemd)

class plugin(BasePlugin):
    name = "t"
    help = "end as told, 100 % of the time"

    def create_parser(self, parser):
        parser.add_argument("code")

    def handle(self, namespace):
        return eval("lambda: " + namespace.code)()  # called outside eval(), which marks an interrupt for itself

    def can_handle(self, owner):
        return "unhandled" not in sys.argv and super().can_handle(owner)

    @staticmethod
    def version():
        return "tést - 1"

def throw(error):
    raise error
"""
