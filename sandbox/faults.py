"""What can be broken on demand. Services register their own faults; here is how any fault is set, met and undone."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sandbox.errors import SandboxError, UnknownFaultError
from sandbox.state import Fault
from sandbox.world import World

IDENTITY = ("environment", "slot", "action", "principal", "tag", "metric", "server", "site", "cache")
"""Two lasting faults that agree in these are the same one: the later replaces the earlier."""


class DroppedError(Exception):
    """End the connection without an answer."""


@dataclass(frozen=True)
class Option:
    """One `key=value` of a fault."""

    help: str
    default: str | int | float | None
    """None: must be given (as text). The type of the default is the option's."""


Apply = Callable[[World, Fault], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """One fault of the catalogue."""

    name: str
    help: str
    options: Mapping[str, Option] = field(default_factory=dict[str, Option])
    apply: Apply | None = None
    """What it changes at once; None for a fault that waits for requests."""
    undo: Apply | None = None
    """How a lasting one is taken back; None: only `reset` does."""
    check: Apply | None = None
    """Refuses options that make no sense, before a waiting fault is set."""
    clean: Callable[[World], Awaitable[None]] | None = None
    """What `repair` does besides, for a fault that has already met its request."""

    @property
    def waits(self) -> bool:
        """Whether it applies to the next matching requests."""
        return self.apply is None

    def usage(self) -> str:
        """`name key=default …`."""
        words = [f"{key}={'…' if option.default is None else option.default}" for key, option in self.options.items()]
        return " ".join([self.name, *words])


TIMES = {
    "times": Option("how many requests it hits", 1),
    "skip": Option("how many matching requests are let through first", 0),
}


def text(fault: Fault, key: str) -> str:
    """A text option of a fault."""
    return str(fault.options[key])


def number(fault: Fault, key: str) -> float:
    """A number option of a fault."""
    return float(fault.options[key])


def take(world: World, *names: str, matches: Callable[[Fault], bool] = lambda _: True) -> Fault | None:
    """The waiting fault among `names` that this request meets, counted down."""
    for fault in world.state.faults:
        if fault.name not in names or fault.left is None or not matches(fault):
            continue
        if fault.skip:
            fault.skip -= 1
            world.save()
            continue
        fault.left -= 1
        if not fault.left:
            world.state.faults.remove(fault)
        world.save()
        return fault
    return None


class Faults:
    """Sets and undoes the faults of a catalogue."""

    def __init__(self, world: World, kinds: list[Kind]) -> None:
        self._world = world
        self._kinds = {kind.name: kind for kind in kinds}

    async def set(self, name: str, given: Mapping[str, object]) -> None:
        """Break it. One that changes the world has done so on return."""
        kind = self._kind(name)
        fault = Fault(name=name, options=_options(kind, given))
        if kind.check is not None:
            await kind.check(self._world, fault)
        if kind.apply is None:
            fault.left, fault.skip = int(number(fault, "times")), int(number(fault, "skip"))
        else:
            await self._replace(fault)
            await kind.apply(self._world, fault)
        if kind.waits or kind.undo is not None:
            self._world.state.faults.append(fault)
        self._world.save()

    async def repair(self, name: str | None) -> None:
        """Take back the fault called `name`, or every one."""
        names = [self._kind(name).name] if name is not None else list(self._kinds)
        if name is not None and not self._kinds[name].waits and self._kinds[name].undo is None:
            raise SandboxError(f"{name} cannot be taken back by itself: python -m sandbox reset")
        for fault in [each for each in reversed(self._world.state.faults) if each.name in names]:
            await self._undo(fault)
        for each in names:
            if (clean := self._kinds[each].clean) is not None:
                await clean(self._world)
        self._world.save()

    async def _replace(self, fault: Fault) -> None:
        def identity(each: Fault) -> list[object]:
            return [each.name, *(each.options.get(key) for key in IDENTITY)]

        for same in [each for each in self._world.state.faults if identity(each) == identity(fault)]:
            await self._undo(same)

    async def _undo(self, fault: Fault) -> None:
        self._world.state.faults.remove(fault)
        undo = self._kind(fault.name).undo
        if undo is not None:
            await undo(self._world, fault)

    def _kind(self, name: str) -> Kind:
        if name not in self._kinds:
            raise UnknownFaultError(f"There is no fault {name!r}. All faults: python -m sandbox break --list")
        return self._kinds[name]


def _options(kind: Kind, given: Mapping[str, object]) -> dict[str, str | float | int]:
    unknown = sorted(given.keys() - kind.options.keys())
    if unknown:
        takes = ", ".join(kind.options) or "no options"
        raise UnknownFaultError(f"{kind.name} has no option {unknown[0]!r}; it takes {takes}.")
    values: dict[str, str | float | int] = {}
    for key, option in kind.options.items():
        value = given.get(key, option.default)
        if value is None:
            raise UnknownFaultError(f"{kind.name} needs {key}=… ({option.help}).")
        values[key] = _typed(kind, key, value, option.default)
    return values


def _typed(kind: Kind, key: str, value: object, default: object) -> str | float | int:
    if not isinstance(default, int | float):
        return str(value)
    try:
        amount = float(str(value))
    except ValueError:
        amount = -1
    if amount < 0 or (isinstance(default, int) and amount != int(amount)):
        what = "a whole number" if isinstance(default, int) else "a number"
        raise SandboxError(f"{kind.name}: {key} must be {what} that is not negative, not {value!r}.")
    return int(amount) if isinstance(default, int) else amount


def expression(pattern: str) -> re.Pattern[str]:
    """A regular expression given as an option."""
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise SandboxError(f"{pattern!r} is not a regular expression: {error}.") from error
