"""The service the benchmark of commands measures.

python bench/command_service.py PORT      (ORCHA_HOME in the environment)
"""

from __future__ import annotations

import sys

from orcha import properties
from orcha.interfaces import ServiceWrapper, start_service
from orcha.lib.commands import CommandManager
from orcha.lib.several import Several

if __name__ == "__main__":
    properties.port = int(sys.argv[1])
    start_service(ServiceWrapper(Several({"commands": CommandManager()})))
