"""The real `orcha` command in a world of its own: a folder on PYTHONPATH that holds the plugins, and a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from support import warm

PLUGIN = """
from orcha.plugins import BasePlugin

class {classname}(BasePlugin):
    name = {name!r}
    aliases = {aliases!r}
    help = {help!r}

    def create_parser(self, parser):
        parser.add_argument("words", nargs="*")

    def handle(self, namespace):
        print({name!r}, *namespace.words)
        return 0

    @staticmethod
    def version():
        return {version!r}

plugin = {classname}
"""


class Command:
    """Runs `orcha` with the plugins that were written into `folder`."""

    def __init__(self, tmp_path: Path, *others: Path) -> None:
        """Make the folders; `others` have plugins too, which were written before."""
        self.folder = tmp_path / "installed"
        self.folder.mkdir()
        self._others = others
        self.home = tmp_path / "home"
        self.home.mkdir()
        self.start = ["-P", "-m", "orcha"]
        self.python = sys.executable

    def module(self, name: str, source: str) -> Path:
        """Write a module."""
        path = self.folder / f"{name}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def plugin(self, module: str, name: str, **fields: object) -> Path:
        """Write a plugin that prints its name and its words."""
        known: dict[str, object] = {"aliases": (), "help": None, "version": f"{module} - 1", "classname": "Plugin"}
        return self.module(module, PLUGIN.format(**(known | {"name": name} | fields)))

    def distribution(self, name: str, version: str, **files: str) -> None:
        """Write what describes an installed distribution, with more files in its folder."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        for file, text in files.items():
            (info / file.replace("__", ".")).write_text(text, encoding="utf-8")

    def settle(self) -> None:
        """Let the folder look as if nothing had been installed lately: what is known of it is kept only then."""
        os.utime(self.folder, (1_000_000_000, 1_000_000_000))

    def environment(self, **more: str) -> dict[str, str]:
        """Give the environment of a run."""
        folders = [self.folder, *self._others] if not self._others or any(self.folder.iterdir()) else self._others
        path = os.pathsep.join(map(str, folders))
        own = {"PYTHONPATH": path, "ORCHA_HOME": str(self.home), "COLUMNS": "200"}
        own["PYTHONDONTWRITEBYTECODE"] = ""  # plugins have bytecode, as nearly everywhere
        return {**os.environ, **own, **more}

    def run(self, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return warm.run(
            [self.python, *self.start, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=self.environment(**environment),
            cwd=cwd,
            timeout=60,
        )
