"""Users of this machine, for people."""

from __future__ import annotations


def described(uid: int) -> str:
    """Give a user's name and number: ``alice (uid 1001)``; the number alone where it has no name here.

    >>> described(0)
    'root (uid 0)'
    """
    name = name_of(uid)
    return f"{name} (uid {uid})" if name else f"uid {uid}"


def described_group(gid: int) -> str:
    """Give a group's name and number: ``the group lab (gid 1100)``; the number alone where it has no name here.

    >>> described_group(0), described_group(2**31 - 5)
    ('the group root (gid 0)', 'the group 2147483643')
    """
    import grp

    try:
        return f"the group {grp.getgrgid(gid).gr_name} (gid {gid})"
    except (KeyError, OverflowError):
        return f"the group {gid}"


def name_of(uid: int) -> str:
    """Give a user's name; empty where it has none here.

    >>> name_of(0), name_of(2**31 - 5)
    ('root', '')
    """
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""


def groups_of(uid: int) -> tuple[str, ...]:
    """Give the names of the Unix groups that a user is in now, sorted; none where the user has no name here.

    >>> "root" in groups_of(0), groups_of(2**31 - 5)
    (True, ())
    """
    import grp
    import os
    import pwd

    try:
        known = pwd.getpwuid(uid)
        numbers = os.getgrouplist(known.pw_name, known.pw_gid)
    except (KeyError, OverflowError, OSError):
        return ()
    names = []
    for number in numbers:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:  # a group without a name cannot be meant by one
            continue
    return tuple(sorted(names))


__all__ = ["described", "described_group", "groups_of", "name_of"]
