"""The service under test: ``python serve.py MODULE:MANAGER ADDRESS PORT [START_METHOD]``."""

from __future__ import annotations

import importlib
import multiprocessing
import sys


def main(name: str, address: str, port: str, start_method: str = "") -> None:
    """Serve that manager until SIGTERM."""
    from orcha.interfaces import ServiceWrapper, start_service

    if start_method:
        multiprocessing.set_start_method(start_method)
    module, _, manager_class = name.partition(":")
    manager = getattr(importlib.import_module(module), manager_class)
    start_service(ServiceWrapper(manager(listen_address=address, port=int(port))))


if __name__ == "__main__":
    main(*sys.argv[1:])
