"""Numbers that messages carry, in a module of their own: a channel reads them before anything needs msgspec."""

from __future__ import annotations


class Verdict:
    """What became of a Submit's item, or of a request. The numbers are the protocol: never renumber."""

    OK = 0
    ACCEPTED = 1
    """Kept: no crash loses the petition any more."""
    KNOWN = 2
    """This token names a petition already, whose final value comes (again) on its channel."""
    REFUSED = 3
    """Not kept, and the same again would be refused too: the reason says why."""
    BUSY = 4
    """Not kept; try again later: the reason says why."""
    STOPPING = 5
    """Not kept: the service is stopping."""
    GONE = 6
    """The attempt or channel is over or unknown: what was sent changes nothing."""
    UNKNOWN = 7
    """No such petition, function or verb."""
    RAISED = 8
    """The called function raised, or the service failed at this message: the reason says what."""
    DENIED = 9
    """This connection may not do that."""


class Kind:
    """The kind of a channel's record. The numbers are stored: never renumber."""

    VALUE = 0
    NOTICE = 1
    """A line for people, put by the service; a reader gets a str."""
    FINAL = 2
    """None or an int."""
    CLOSED = 3
    """Nothing comes after this record."""
