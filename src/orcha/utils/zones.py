"""Zones of time by their names, and the zone that this machine is in."""

from __future__ import annotations

import os
import re
import zoneinfo
from datetime import UTC, tzinfo

LOCAL_ZONE_FILE = "/etc/localtime"
_NAME = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", re.ASCII)


class UnknownZoneError(ValueError):
    """There is no such zone on this machine."""


def zone_of(name: str | None) -> tzinfo:
    """Give a zone by its name; of None that of the machine: as ``TZ`` says, else as ``/etc/localtime`` does, else UTC.

    >>> zone_of("UTC").utcoffset(None)
    datetime.timedelta(0)

    Raises:
        UnknownZoneError: the machine knows no such zone.

    """
    if name is None:
        return _local_zone()
    if not _NAME.fullmatch(name) or not any(os.path.isfile(os.path.join(path, name)) for path in zoneinfo.TZPATH):  # noqa: PTH113, PTH118 - nothing else here needs pathlib
        error = f"{name[:80]!a} is no zone of this machine, whose package tzdata has them: write Europe/Berlin, or UTC"
        raise UnknownZoneError(error)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as problem:
        error = f"the file of the zone {name} cannot be read: {problem}"
        raise UnknownZoneError(error) from None


def _local_zone() -> tzinfo:
    named = os.environ.get("TZ", "").removeprefix(":")
    if named:
        try:
            return zone_of(named)
        except UnknownZoneError:
            return UTC
    try:
        with open(LOCAL_ZONE_FILE, "rb") as file:  # noqa: PTH123 - as above
            return zoneinfo.ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


__all__ = ["UnknownZoneError", "zone_of"]
