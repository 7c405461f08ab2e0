"""What is remembered of a plugin, and how it is written down: text that no reader can be harmed by."""

from __future__ import annotations

import os

FIELD, RECORD, PART = "\x1f", "\x1e", "\x1d"
TOO_SLOW = "it was not imported within"
"""How the problem of a plugin begins that took too long; the next time it may not."""
_SEPARATORS = {ord(each): " " for each in (FIELD, RECORD, PART, "\x1c", "\r", "\n", "\0")}


class Stamp:
    """A file or folder, and when and to what size it was last written."""

    __slots__ = ("modified", "path", "size")

    def __init__(self, path: str, modified: int, size: int) -> None:
        """Hold them."""
        self.path, self.modified, self.size = path, modified, size

    @classmethod
    def of(cls, path: str) -> Stamp:
        """Look at a path now; a path that does not exist has the time -1. A folder's size says nothing and is 0."""
        try:
            status = os.stat(path)  # noqa: PTH116 - pathlib is heavy
        except (OSError, ValueError):
            return cls(path, -1, 0)
        folder = status.st_mode & 0o170000 == 0o040000
        return cls(path, status.st_mtime_ns, 0 if folder else status.st_size)

    def holds(self) -> bool:
        """Whether it has not been written since."""
        now = Stamp.of(self.path)
        return now.modified == self.modified and now.size == self.size


class Plugin:
    """What the command line needs of a plugin without importing it."""

    __slots__ = ("aliases", "attribute", "distribution", "help", "module", "name", "problem", "stamps", "version")

    def __init__(self, module: str, attribute: str = "plugin", distribution: str = "", name: str = "") -> None:
        """Hold where it is; the rest is found out by importing it once."""
        self.module = module
        """Name of the module that exports it."""
        self.attribute = attribute
        """The class in that module; dots lead into other objects."""
        self.distribution = distribution or module.partition(".")[0].replace("_", "-")
        """Name of the distribution it came with, else its module's name with ``-``."""
        self.name = name
        """The command; empty where it cannot be used."""
        self.aliases: list[str] = []
        self.help = ""
        self.version = ""
        """Its line in ``orcha ls``; empty where it was not asked, or raised."""
        self.problem = ""
        """Why the plugin, or one of its names, cannot be used."""
        self.stamps: list[Stamp] = []
        """The files that this was read from."""

    @property
    def usable(self) -> bool:
        """Whether its command can be given."""
        return bool(self.name)

    def write(self) -> str:
        """Give it as text, for `read`."""
        fields = [self.module, self.attribute, self.distribution, self.name, self.help, self.version, self.problem]
        parts = [clean(each) for each in fields]
        stamps = [f"{clean(stamp.path)}{PART}{stamp.modified}{PART}{stamp.size}" for stamp in self.stamps]
        return FIELD.join([*parts, PART.join(clean(alias) for alias in self.aliases), *stamps])

    @classmethod
    def read(cls, text: str) -> Plugin:
        """Read what `write` wrote.

        Raises:
            ValueError: it is something else.

        """
        module, attribute, distribution, name, help_, version, problem, aliases, *stamps = text.split(FIELD)
        plugin = cls(module, attribute, distribution, name)
        plugin.help, plugin.version, plugin.problem = help_, version, problem
        plugin.aliases = aliases.split(PART) if aliases else []
        for stamp in stamps:
            path, modified, size = stamp.split(PART)
            plugin.stamps.append(Stamp(path, int(modified), int(size)))
        return plugin


def clean(text: str) -> str:
    """Give text in one line, without what separates fields."""
    return text.translate(_SEPARATORS)
