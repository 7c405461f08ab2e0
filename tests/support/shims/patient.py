"""A supervisor whose shims wait without an end for a SIGTERM that explains the end of their command.

Run as ``main.py`` of the package is, with the folder of the sources after the endpoint's folder.
"""

from __future__ import annotations

import sys


def main(folder: str, sources: str) -> None:
    """Serve as the supervisor does."""
    sys.path.append(sources)
    from orcha._supervisor import main as supervisor
    from orcha._supervisor import outside_shutdown

    outside_shutdown.WAIT_SECONDS = 1e6
    supervisor.main(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
