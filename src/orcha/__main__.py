"""``python -m orcha``: the same as the ``orcha`` command."""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    from orcha.plugins.places import safe_path, with_orcha

    sys.path[:] = with_orcha(safe_path())  # what is imported is what is installed, never what lies where we stand

    from orcha.bin.main import main

    sys.exit(main())
