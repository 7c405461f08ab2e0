"""Why a petition waits: each reason is a small value that the deciding code makes, and that says itself in words.

Inside the service a reason stays what it is, so that other code can compare it, count it and look into it. It becomes
text where it leaves the service: in an answer, a refusal or the log.
One file, since it is the table of all reasons, each with its words and what ends it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

from orcha.interfaces.needs import in_units, read_amount

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

DECIDE = "resume it to run it again, or cancel it"
"""What people can do about an interrupted petition that is held."""


class Reason:
    """One reason why a petition does not start now.

    It is no abstract class of Python's: whether a reason is of a kind is looked at for each petition that says no, and
    costs ten times as much where its class is one.
    """

    __slots__ = ()

    remedy: ClassVar[str] = ""
    """What ends this reason, for people; empty where the text says it. `{id}` and `{group}` stand for names."""

    def text(self) -> str:
        """Say it to people."""
        raise NotImplementedError

    @classmethod
    def kind(cls) -> str:
        """Give the name of this kind of reason, for programs.

        >>> PetitionPaused.kind(), InOrder.kind()
        ('petition_paused', 'in_order')
        """
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__)[1:]


@dataclass(frozen=True, slots=True)
class PetitionPaused(Reason):
    """People paused this petition."""

    remedy: ClassVar[str] = "somebody resumes it: orcha resume {id}"

    def text(self) -> str:
        """Say it to people."""
        return "it is paused"


@dataclass(frozen=True, slots=True)
class GroupPaused(Reason):
    """People paused the petition's group."""

    remedy: ClassVar[str] = "somebody resumes the group: orcha resume --group {group}"

    group: str

    def text(self) -> str:
        """Say it to people.

        >>> GroupPaused("rig").text()
        'its group rig is paused'
        """
        return f"its group {self.group} is paused"


@dataclass(frozen=True, slots=True)
class EverythingPaused(Reason):
    """People paused the whole service."""

    remedy: ClassVar[str] = "somebody resumes everything: orcha resume --all"

    def text(self) -> str:
        """Say it to people."""
        return "everything is paused"


@dataclass(frozen=True, slots=True)
class SecretsLost(Reason):
    """The service does not have secrets that the petition names: it has ended since they were given."""

    remedy: ClassVar[str] = "somebody gives them again: orcha set {id} --secret NAME=env:VARIABLE"

    names: tuple[str, ...]

    def text(self) -> str:
        """Say it to people.

        >>> SecretsLost(("TOKEN", "KEY")).text()
        'its secrets TOKEN and KEY are lost: a service forgets secrets when it ends'
        """
        many = f"s {' and '.join(self.names)} are" if len(self.names) > 1 else f" {self.names[0]} is"
        return f"its secret{many} lost: a service forgets secrets when it ends"


@dataclass(frozen=True, slots=True)
class ServiceDrained(Reason):
    """People let what runs come to its end, and have nothing more started."""

    remedy: ClassVar[str] = "somebody has petitions started again: orcha undrain"

    why: str
    """What people said about it; may be empty."""
    until: float | None
    """When petitions are started again by themselves, on the clock on the wall; None for never."""

    def text(self) -> str:
        """Say it to people.

        >>> ServiceDrained("a new disk", 1_700_000_000.0).text(), ServiceDrained("", None).text()
        ('the service is drained until 2023-11-14 22:13:20 UTC: a new disk', 'the service is drained')
        """
        until = "" if self.until is None else _clock(self.until).replace(" at ", " until ")
        return f"the service is drained{until}{': ' * bool(self.why)}{self.why}"


@dataclass(frozen=True, slots=True)
class GroupFull(Reason):
    """All slots of the petition's group are in use."""

    remedy: ClassVar[str] = (
        "a petition of the group ends, or the group gets more slots: orcha group set {group} --slots N"
    )

    group: str
    slots: int

    def text(self) -> str:
        """Say it to people.

        >>> GroupFull("rig", 1).text(), GroupFull("rig", 0).text()
        ('1 of 1 slots of its group rig is in use', 'its group rig has no slots')
        """
        return _in_use(self.slots, f"its group {self.group}")


@dataclass(frozen=True, slots=True)
class UserFull(Reason):
    """The petition's owner runs as many petitions in the group as one owner may."""

    remedy: ClassVar[str] = (
        "a petition of the same owner in the group ends, or each may run more: orcha group set {group} --per-user N"
    )

    group: str
    owner: str
    most: int

    def text(self) -> str:
        """Say it to people.

        >>> UserFull("rig", "uid:7", 1).text()
        'its owner runs 1 petition of its group rig, as many as one owner may'
        """
        count = f"{self.most or 'no'} petition{'s' * (self.most != 1)}"
        return f"its owner runs {count} of its group {self.group}, as many as one owner may"


@dataclass(frozen=True, slots=True)
class QuotaInUse(Reason):
    """What the petition's owner, or a group of users with the owner in it, may have at once is in use."""

    remedy: ClassVar[str] = (
        "petitions of the same owner end, or who administers the service raises the quota: orcha who"
    )

    whose: str
    """A user's name, or that of a group of users, which begins with an @."""
    what: str
    """`running`, `slots`, or a resource."""
    used: int | float
    most: int | float
    amount: int | float
    """How much the petition needs."""

    def text(self) -> str:
        """Say it to people.

        >>> QuotaInUse("alice", "gpu", 2, 2, 1).text(), QuotaInUse("@lab", "running", 8, 8, 1).text()
        ("quota: 2 of alice's 2 gpu in use", "quota: 8 of @lab's 8 petitions run")
        >>> QuotaInUse("alice", "gpu", 1, 2, 2).text()
        "quota: 1 of alice's 2 gpu in use, and it needs 2"
        """
        if self.what == "running":
            return f"quota: {self.used} of {self.whose}'s {self.most} petitions run"
        needs = f", and it needs {in_units(self.amount)}" if self.used < self.most else ""
        return f"quota: {in_units(self.used)} of {self.whose}'s {in_units(self.most)} {self.what} in use{needs}"


@dataclass(frozen=True, slots=True)
class QuotaTooSmall(Reason):
    """The petition needs more than its owner's quota ever gives."""

    remedy: ClassVar[str] = "who administers the service raises the quota: orcha who"

    whose: str
    what: str
    amount: int | float
    most: int | float

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> QuotaTooSmall("alice", "gpu", 4, 2).text()
        'quota: it needs 4 gpu, and alice may have 2: need less, or ask who administers the service for more'
        """
        most = in_units(self.most) if self.most else "none"
        needs = f"it needs {in_units(self.amount)} {self.what}, and {self.whose} may have {most}"
        return f"quota: {needs}: need less, or ask who administers the service for more"


@dataclass(frozen=True, slots=True)
class QuotaSpent(Reason):
    """A quota of an owner is used up: petitions that wait, commands that run beside others, or output that is kept."""

    whose: str
    what: str
    """`queued`, `output` or `beside`."""
    used: int | float
    most: int | float
    more: int
    """How many petitions were asked for."""
    key: str
    """The setting, as the configuration names it."""
    origin: str
    """The file and the line where it stands."""

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> QuotaSpent("alice", "queued", 99, 100, 20, "quota.default.queued", "orcha.toml:3").text()[:100]
        "quota: 99 of alice's 100 petitions wait, and these are 20 more (quota.default.queued, orcha.toml:3):"
        >>> QuotaSpent("bob", "output", 2048, 1024, 1, "quota.user.bob.output", "a.toml:1").text()[:90]
        "quota: 2048 bytes of bob's output are kept, and 1024 may be (quota.user.bob.output, a.toml"
        >>> QuotaSpent("bob", "beside", 1, 1, 1, "quota.default.running", "a.toml:1").text()[:81]
        "quota: 1 of bob's 1 commands beside others run (quota.default.running, a.toml:1):"
        """
        who, ask = f" ({self.key}, {self.origin})", "or ask who administers the service for more"
        if self.what == "output":
            kept = f"{self.used} bytes of {self.whose}'s output are kept, and {self.most} may be"
            return f"quota: {kept}{who}: remove what you need no more (orcha rm), {ask}"
        if self.what == "beside":
            found = f"{self.used} of {self.whose}'s {self.most} commands beside others run"
            return f"quota: {found}{who}: wait until one has ended, cancel one, {ask}"
        more = f", and these are {self.more} more" if self.more > 1 else ""
        wait = f"{self.used} of {self.whose}'s {self.most} petitions wait{more}"
        return f"quota: {wait}{who}: wait until some have started, cancel some, {ask}"


@dataclass(frozen=True, slots=True)
class RateReached(Reason):
    """As many petitions of the group have started within a time as may."""

    remedy: ClassVar[str] = "that time comes, or the group gets another rate: orcha group set {group} --rate N"

    group: str
    count: int
    seconds: float
    due: float
    """Wall-clock time at which the next one may start."""

    def text(self) -> str:
        """Say it to people.

        >>> RateReached("rig", 10, 60.0, 1_700_000_000.0).text()
        '10 of its group rig started within 1m, as many as may: the next one may at 2023-11-14 22:13:20 UTC'
        """
        started = f"{self.count} of its group {self.group} started within {_seconds(self.seconds)}, as many as may"
        return f"{started}: the next one may{_clock(self.due) or ' later'}"


@dataclass(frozen=True, slots=True)
class GroupTextIsFalse(Reason):
    """The condition in text of the petition's group is not true."""

    remedy: ClassVar[str] = (
        "the condition holds, or the group gets another one: orcha group set {group} --when CONDITION"
    )

    group: str
    condition: str
    parts: tuple[str, ...]
    """What of it is false, with the values that were seen."""

    def text(self) -> str:
        """Say it to people.

        >>> GroupTextIsFalse("rig", "hour > 6 and load(1) < 4", ("hour > 6 is false: 3",)).text()
        'its group rig does not start anything now: hour > 6 is false: 3'
        """
        return f"its group {self.group} does not start anything now: {'; '.join(self.parts)}"


@dataclass(frozen=True, slots=True)
class LongerThanAllowed(Reason):
    """The petition asks for more time than its group gives to any."""

    group: str
    seconds: float
    longest: float

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> LongerThanAllowed("short", 172_800.0, 5_400.0).text()
        'it asks for 2d, and its group short gives 1h30m at most: give --timeout 1h30m or less, or another group'
        """
        longest = _seconds(self.longest)
        asks = f"it asks for {_seconds(self.seconds)}, and its group {self.group} gives {longest} at most"
        return f"{asks}: give --timeout {longest} or less, or another group"


@dataclass(frozen=True, slots=True)
class GroupUnknown(Reason):
    """The service has no such group."""

    group: str
    near: str | None
    """The name of a group that the petition may mean."""

    @classmethod
    def among(cls, group: str, known: Collection[str]) -> GroupUnknown:
        """Look for a name that may be meant among the groups there are."""
        return cls(group, next(iter(get_close_matches(group, known, 1)), None))

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> GroupUnknown.among("rgi", ["rig"]).text()
        'there is no group rgi: did you mean rig? Else serve with --slots rgi=N, or rgi=none for any number at once'
        >>> GroupUnknown.among("a", []).text()
        'there is no group a: serve with --slots a=N, or a=none for any number at once'
        """
        name = self.group
        cure = f"did you mean {self.near}? Else serve" if self.near is not None else "serve"
        return f"there is no group {name}: {cure} with --slots {name}=N, or {name}=none for any number at once"


@dataclass(frozen=True, slots=True)
class NeedsShort(Reason):
    """Less of a resource is free than the petition needs."""

    remedy: ClassVar[str] = "petitions that hold enough of the resource end"

    resource: str
    amount: int | float
    free: int | float
    capacity: int | float
    where: str = ""
    """What the devices must have; there are `capacity` such devices."""
    foreign: tuple[tuple[str, str], ...] = ()
    """Devices on which processes are seen that belong to no petition, and these processes."""

    def text(self) -> str:
        """Say it to people.

        >>> NeedsShort("gpu", 2, 1, 2).text(), NeedsShort("gpu", 1, 0, 4, "mem>=20G").text()
        ('it needs 2 gpu, 1 of 2 is free', 'it needs 1 gpu with mem>=20G, 0 of 4 are free')
        >>> NeedsShort("gpu", 1, 0, 1, foreign=(("gpu:0", "python (pid 7)"),)).text()
        'it needs 1 gpu, 0 of 1 are free; gpu:0 is used by python (pid 7), of no petition'
        """
        needs = _needs(self.resource, self.amount, self.free, self.capacity, self.where)
        seen = "".join(f"; {device} is used by {who}, of no petition" for device, who in self.foreign)
        return f"{needs}{seen}"


@dataclass(frozen=True, slots=True)
class ShareShort(Reason):
    """The petition needs a part of one device, and no device of the resource has that much free."""

    remedy: ClassVar[str] = "petitions that hold enough of one device end"

    resource: str
    amount: int | float
    free: int | float
    """The most that is free of any of them."""
    where: str = ""
    """What the device must have."""

    def text(self) -> str:
        """Say it to people.

        >>> ShareShort("gpu", 0.75, 0.5).text()
        'it needs 0.75 of one gpu, and at most 0.5 of any is free'
        """
        one = _with(self.resource, self.where)
        return f"it needs {self.amount} of one {one}, and at most {self.free} of any is free"


@dataclass(frozen=True, slots=True)
class BehindAnother(Reason):
    """Enough of a resource is free, and another petition that waits for the resource comes first."""

    remedy: ClassVar[str] = "the petitions before it in line get what they need, and enough is left"

    resource: str
    amount: int | float
    free: int | float
    capacity: int | float
    where: str = ""
    """What the devices must have; there are `capacity` such devices."""

    def text(self) -> str:
        """Say it to people.

        >>> BehindAnother("gpu", 1, 1, 2).text()
        'it needs 1 gpu, 1 of 2 is free, and another petition that waits for it is first'
        """
        needs = _needs(self.resource, self.amount, self.free, self.capacity, self.where)
        return f"{needs}, and another petition that waits for it is first"


@dataclass(frozen=True, slots=True)
class HeldFree(Reason):
    """Enough of a resource is free, and that is held free for an earlier petition, which this one would delay."""

    remedy: ClassVar[str] = "the petitions before it in line get what they need, or it would end before they start"

    resource: str
    amount: int | float
    free: int | float
    capacity: int | float
    where: str
    """What the devices must have; there are `capacity` such devices."""
    first: str
    """The id of the earlier petition."""
    due: float | None
    """Wall-clock time at which the earlier petition is foretold to start; None where something is overdue."""
    overdue: tuple[str, ...] = ()
    """The ids of petitions that run longer than was expected of them."""

    def text(self) -> str:
        """Say it to people.

        >>> HeldFree("gpu", 1, 1, 2, "", "big", 1_700_000_000.0).text()
        'it needs 1 gpu, 1 of 2 is free, held free for an earlier petition until about 2023-11-14 22:13:20 UTC'
        >>> HeldFree("gpu", 1, 1, 2, "", "big", None, ("long",)).text()
        'it needs 1 gpu, 1 of 2 is free, held free for an earlier petition, since others run longer than expected'
        """
        needs = _needs(self.resource, self.amount, self.free, self.capacity, self.where)
        until = ", since others run longer than expected"
        if self.due is not None:
            until = _clock(self.due).replace(" at ", " until about ", 1)
        return f"{needs}, held free for an earlier petition{until}"


@dataclass(frozen=True, slots=True)
class NeverEnough(Reason):
    """The service never has as much of a resource as the petition needs."""

    resource: str
    amount: int | float
    capacity: int | float
    where: str = ""
    """What the devices must have; there are `capacity` such devices."""

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> NeverEnough("gpu", 2, 1, "mem>=20G").text()
        'it needs 2 gpu with mem>=20G, and the service has 1 such: need less, or something else'
        >>> NeverEnough("gpu", 4, 2).text()
        'it needs 4 gpu, and the service has 2: need less of it, or serve with --resource gpu=4'
        >>> NeverEnough("memory", 9 << 30, 8 << 30).text()
        'it needs 9G memory, and the service has 8G: need less of it, or serve with --resource memory=9G'
        >>> NeverEnough("gpu", 1, 0).text()
        'it needs 1 gpu, and the service has no gpu: serve with --resource gpu=1'
        """
        name, amount = self.resource, in_units(self.amount)
        if self.where:
            such = f"the service has {self.capacity or 'no'} such"
            return f"it needs {amount} {name} with {self.where}, and {such}: need less, or something else"
        serve = f"serve with --resource {name}={amount if read_amount(amount) == self.amount else self.amount}"
        if not self.capacity:
            return f"it needs {amount} {name}, and the service has no {name}: {serve}"
        return f"it needs {amount} {name}, and the service has {in_units(self.capacity)}: need less of it, or {serve}"


@dataclass(frozen=True, slots=True)
class NoSuchShare(Reason):
    """The petition needs some whole devices and a part of one, which it can never get."""

    resource: str
    amount: int | float

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> NoSuchShare("gpu", 1.5).text()
        'it needs 1.5 gpu, which are devices: need a whole number of them, or less than one'
        """
        needs = f"it needs {self.amount} {self.resource}, which are devices"
        return f"{needs}: need a whole number of them, or less than one"


@dataclass(frozen=True, slots=True)
class Drained(Reason):
    """People drained devices, and what is left of the resource is too little for the petition."""

    remedy: ClassVar[str] = "an operator of the service lets things be placed there again: orcha resource undrain"

    resource: str
    amount: int | float
    left: int | float
    """How much a petition with this need could get of the others."""
    drained: tuple[tuple[str, str], ...]
    """What is drained, as people name it, and why."""

    def text(self) -> str:
        """Say it to people.

        >>> Drained("gpu", 2, 1, (("gpu:2", "fan"), ("gpu:3", ""))).text()
        'it needs 2 gpu, and beside what is drained there is 1: gpu:2 (fan), gpu:3'
        """
        named = ", ".join(f"{name} ({why})" if why else name for name, why in self.drained)
        needs = f"it needs {in_units(self.amount)} {self.resource}"
        return f"{needs}, and beside what is drained there is {in_units(self.left)}: {named}"


@dataclass(frozen=True, slots=True)
class NotAlone(Reason):
    """The petition needs the whole machine, and others run."""

    remedy: ClassVar[str] = "all that runs has ended: nothing that comes after this petition starts before it"

    others: int

    def text(self) -> str:
        """Say it to people.

        >>> NotAlone(1).text(), NotAlone(2).text()
        ('it needs the whole machine, and another one runs', 'it needs the whole machine, and 2 others run')
        """
        return (
            f"it needs the whole machine, and {'another one runs' if self.others == 1 else f'{self.others} others run'}"
        )


@dataclass(frozen=True, slots=True)
class MachineTaken(Reason):
    """Another petition has the whole machine."""

    remedy: ClassVar[str] = "the petition that has the whole machine ends"

    def text(self) -> str:
        """Say it to people."""
        return "another petition has the whole machine"


@dataclass(frozen=True, slots=True)
class BehindExclusive(Reason):
    """Another petition that waits for the whole machine comes first."""

    remedy: ClassVar[str] = "that petition has had the machine, and has ended"

    first: str
    """The id of that petition."""

    def text(self) -> str:
        """Say it to people."""
        return "another petition, which waits for the whole machine, is first"


@dataclass(frozen=True, slots=True)
class BehindPreempted(Reason):
    """A command that stands still, since a more urgent petition took its place, comes back before the petition."""

    remedy: ClassVar[str] = "that command has its place again, and enough is left"

    first: str
    """The id of that command."""

    def text(self) -> str:
        """Say it to people.

        >>> BehindPreempted("train").text()
        'train was paused for a more urgent petition, and has its place again first'
        """
        return f"{self.first} was paused for a more urgent petition, and has its place again first"


@dataclass(frozen=True, slots=True)
class PreemptedBy(Reason):
    """The command stands still, since a more urgent petition took its place."""

    remedy: ClassVar[str] = "what it lacks is free again: it goes on before all that is not more urgent"

    by: str
    """The id of the more urgent petition."""
    lacks: tuple[str, ...] = ()
    """What it held and others hold now, in words."""

    def text(self) -> str:
        """Say it to people.

        >>> PreemptedBy("urgent", ("a slot of its group rig", "2 gpu")).text(), PreemptedBy("urgent").text()
        ('preempted by urgent: it stands still, and lacks a slot of its group rig and 2 gpu', 'preempted by urgent')
        """
        told = f"preempted by {self.by}"
        *others, last = self.lacks or ("",)
        return f"{told}: it stands still, and lacks {', '.join(others)}{' and ' * bool(others)}{last}" if last else told


def with_names(reason: Reason, named: Callable[[str], str]) -> Reason:
    """Give a reason whose text names other petitions as `named` gives their ids, where it is such a reason.

    >>> with_names(PreemptedBy("urgent"), lambda _: "another petition").text()
    'preempted by another petition'
    """
    if isinstance(reason, PreemptedBy):
        return replace(reason, by=named(reason.by))
    return replace(reason, first=named(reason.first)) if isinstance(reason, BehindPreempted) else reason


@dataclass(frozen=True, slots=True)
class ReplacesAnother(Reason):
    """Something of the petition that this one replaces, which has the same key, is still there."""

    remedy: ClassVar[str] = "the petition that it replaces has gone"

    def text(self) -> str:
        """Say it to people."""
        return "the petition that it replaces has not gone yet"


@dataclass(frozen=True, slots=True)
class AfterOthers(Reason):
    """The petition waits until others have ended."""

    remedy: ClassVar[str] = "those petitions have ended"

    ids: tuple[str, ...]
    """The first of them."""
    more: int = 0
    """How many there are beside those."""
    must_succeed: bool = False
    """Whether all of them must succeed."""

    def text(self) -> str:
        """Say it to people.

        >>> AfterOthers(("build",)).text(), AfterOthers(("a", "b"), must_succeed=True).text()
        ('it waits for build to end', 'it waits for a and b to succeed')
        """
        *first, last = [*self.ids, f"{self.more} more"] if self.more else self.ids
        names = f"{', '.join(first)} and {last}" if first else last
        return f"it waits for {names} to {'succeed' if self.must_succeed else 'end'}"


@dataclass(frozen=True, slots=True)
class DependencyFailed(Reason):
    """The petition is paused, since another one did not succeed and the petition was to be held then."""

    failed: str
    """The id of the other petition."""

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> DependencyFailed("build").text()
        'it comes after build, which did not succeed: resume it to run it all the same, or cancel it'
        """
        return f"it comes after {self.failed}, which did not succeed: resume it to run it all the same, or cancel it"


@dataclass(frozen=True, slots=True)
class ConditionSaidNo(Reason):
    """The petition's own condition said no."""

    remedy: ClassVar[str] = "the condition says yes: it is asked when a petition starts or ends, and by time"

    said: str | None
    """What the condition gave as its reason."""

    def text(self) -> str:
        """Say it to people.

        >>> ConditionSaidNo("rig 3 is taken").text(), ConditionSaidNo(None).text()
        ('rig 3 is taken', 'its condition says no')
        """
        return self.said or "its condition says no"


SAYS_NO = ConditionSaidNo(None)
"""The reason of a condition that gives none."""


@dataclass(frozen=True, slots=True)
class TextIsFalse(Reason):
    """The petition's condition in text is not true."""

    remedy: ClassVar[str] = "the condition holds: what it names is looked at once a second, or when it changes"

    condition: str
    parts: tuple[str, ...]
    """What of it is false, with the values that were seen."""

    def text(self) -> str:
        """Say it to people.

        >>> TextIsFalse("hour > 6 and load(1) < 4", ("hour > 6 is false: 3", "load(1) < 4 is false: 5.2")).text()
        'hour > 6 is false: 3; load(1) < 4 is false: 5.2'
        """
        return "; ".join(self.parts)


@dataclass(frozen=True, slots=True)
class RestingUntil(Reason):
    """An attempt failed, and the next one begins at a time that is set."""

    remedy: ClassVar[str] = "that time comes"

    attempt: int
    """The attempt that failed."""
    code: int | None
    due: float
    """Wall-clock time of the next attempt."""

    def text(self) -> str:
        """Say it to people.

        >>> RestingUntil(1, 75, 1_700_000_000.0).text()
        'attempt 1 ended with 75: it is tried again at 2023-11-14 22:13:20 UTC'
        """
        ended = "failed" if self.code is None else f"ended with {self.code}"
        return f"attempt {self.attempt} {ended}: it is tried again{_clock(self.due)}"


@dataclass(frozen=True, slots=True)
class StartsLater(Reason):
    """The petition was asked for with a time before which it does not start."""

    remedy: ClassVar[str] = "that time comes"

    due: float
    """That time of the clock on the wall."""

    def text(self) -> str:
        """Say it to people.

        >>> StartsLater(1_700_000_000.0).text()
        'it starts at 2023-11-14 22:13:20 UTC at the earliest'
        """
        when = _clock(self.due)
        return f"it starts{when} at the earliest" if when else "it starts later"


@dataclass(frozen=True, slots=True)
class HeldAfterInterruption(Reason):
    """A crash interrupted the petition, and people have to decide what becomes of it."""

    def text(self) -> str:
        """Say it to people."""
        return f"it was interrupted, and waits for a decision: {DECIDE}"


@dataclass(frozen=True, slots=True)
class ManagerNotServed(Reason):
    """The service runs without the petition's plugin."""

    manager: str

    def text(self) -> str:
        """Say it to people, and what helps.

        >>> ManagerNotServed("rigs:Rigs").text()
        'it belongs to rigs:Rigs, which is not served now: serve its plugin too'
        """
        return f"it belongs to {self.manager}, which is not served now: serve its plugin too"


@dataclass(frozen=True, slots=True)
class ServiceStops(Reason):
    """The service starts nothing any more."""

    remedy: ClassVar[str] = "the service is started again"

    said: str
    """What clients are told of the stop."""

    def text(self) -> str:
        """Say it to people."""
        return self.said


@dataclass(frozen=True, slots=True)
class InOrder(Reason):
    """Nothing holds the petition back: others are asked before it."""

    remedy: ClassVar[str] = "the petitions before it start or end"

    before: int
    at_least: bool = False
    """Whether more than that may be before it."""

    def text(self) -> str:
        """Say it to people.

        >>> InOrder(1).text(), InOrder(2).text(), InOrder(10_000, at_least=True).text()
        ('1 waits before it', '2 wait before it', 'at least 10000 wait before it')
        """
        count = "1 waits" if self.before == 1 else f"{self.before} wait"
        return f"{'at least ' if self.at_least else ''}{count} before it"


@dataclass(frozen=True, slots=True)
class OwnerFirst(Reason):
    """Petitions of another owner, who has less in use, come first."""

    remedy: ClassVar[str] = "a petition of the same owner ends, or the other owner gets as much"

    share: float
    """What the owner of the petition has in use: 1 is all that there is of something. Where `group` is given, this is
    what all members of the group have in use."""
    other: float
    """What the other owner has in use. Where what was used before counts, that is part of both."""
    used: str | None = None
    """What the owner of the petition used before, for people; None where that does not count."""
    other_used: str | None = None
    """What the other owner used before."""
    weight: int = 1
    """The weight that people gave to the owner of the petition, or to the group."""
    other_weight: int = 1
    """The weight that people gave to the other owner, or to the other group."""
    group: str | None = None
    """The group of users that was compared in place of the owner of the petition; None where it was the owner."""
    other_is_group: bool = False
    """Whether all members of a group were compared in place of the other owner."""

    def text(self) -> str:
        """Say it to people.

        >>> OwnerFirst(0.5, 0.125).text()
        'petitions of another owner come first, who has less in use: 12 %, where the owner of this one has 50 %'
        >>> OwnerFirst(0.5, 0.125, "3.2 slot-hours", "0.1 gpu-hours").text().partition(": ")[2]
        '12 % with 0.1 gpu-hours, where the owner of this one has 50 % with 3.2 slot-hours'
        >>> OwnerFirst(0.4, 0.5, None, None, 1, 3, "@bio", True).text()[:85]
        'petitions of another group of users come first, which has less in use for its weight:'
        >>> OwnerFirst(0.4, 0.5, None, None, 1, 3, "@bio", True).text()[86:]
        '50 % with the weight 3, where @bio has 40 % with the weight 1'
        """
        has_weights, counts_past = (self.weight, self.other_weight) != (1, 1), self.used is not None
        less, more = (
            f"{share * 100:.0f} %" + f" with {' and '.join(what)}" * bool(what)
            for share, what in (
                (self.other, [f"the weight {self.other_weight}"] * has_weights + [self.other_used or ""] * counts_past),
                (self.share, [f"the weight {self.weight}"] * has_weights + [self.used or ""] * counts_past),
            )
        )
        who, whose = ("group of users", "its") if self.other_is_group else ("owner", "that owner's")
        which = "which" if self.other_is_group else "who"
        late = " and used less of late" if counts_past else ""
        first = f"petitions of another {who} come first, {which} has less in use{late}"
        by = f" for {whose} weight" if has_weights else ""
        return f"{first}{by}: {less}, where {self.group or 'the owner of this one'} has {more}"


@dataclass(frozen=True, slots=True)
class MachineFull(Reason):
    """As many commands run as may run at once."""

    remedy: ClassVar[str] = "a command ends, or the service is started with a higher ORCHA_COMMANDS"

    slots: int

    def text(self) -> str:
        """Say it to people.

        >>> MachineFull(4).text()
        '4 of 4 slots of the machine are in use'
        """
        return _in_use(self.slots, "the machine")


def _clock(seconds: float) -> str:
    """Give a wall-clock time as the end of a sentence; nothing where it is beyond the year 9999."""
    try:
        return f" at {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return ""


def _seconds(seconds: float) -> str:
    """Give a duration as options take it.

    >>> _seconds(90_061.5), _seconds(60), _seconds(0.5)
    ('1d1h1m1.5s', '1m', '0.5s')
    """
    left, found = seconds, ""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, left = divmod(left, length)
        found += f"{count:.0f}{unit}" if count else ""
    return found + (f"{left:g}s" if left or not found else "")


def _in_use(slots: int, whose: str) -> str:
    if not slots:
        return f"{whose} has no slots"
    return f"{slots} of {slots} slots of {whose} {'is' if slots == 1 else 'are'} in use"


def _with(resource: str, where: str) -> str:
    return f"{resource} with {where}" if where else resource


def _needs(resource: str, amount: float, free: float, capacity: float, where: str) -> str:
    are = "is" if free == 1 else "are"
    return f"it needs {in_units(amount)} {_with(resource, where)}, {in_units(free)} of {in_units(capacity)} {are} free"


__all__ = [
    "DECIDE",
    "SAYS_NO",
    "AfterOthers",
    "BehindAnother",
    "BehindExclusive",
    "BehindPreempted",
    "ConditionSaidNo",
    "DependencyFailed",
    "Drained",
    "EverythingPaused",
    "GroupFull",
    "GroupPaused",
    "GroupTextIsFalse",
    "GroupUnknown",
    "HeldAfterInterruption",
    "HeldFree",
    "InOrder",
    "LongerThanAllowed",
    "MachineFull",
    "MachineTaken",
    "ManagerNotServed",
    "NeedsShort",
    "NeverEnough",
    "NoSuchShare",
    "NotAlone",
    "OwnerFirst",
    "PetitionPaused",
    "PreemptedBy",
    "QuotaInUse",
    "QuotaSpent",
    "QuotaTooSmall",
    "RateReached",
    "Reason",
    "ReplacesAnother",
    "RestingUntil",
    "SecretsLost",
    "ServiceDrained",
    "ServiceStops",
    "ShareShort",
    "StartsLater",
    "TextIsFalse",
    "UserFull",
]
