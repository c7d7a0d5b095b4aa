"""A change is sent once where its effect shows, again where it does not, and never where it is there already."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from leaping import leaping

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.errors import (
    AzureUnreachable,
    LeaseLost,
    OperationInProgress,
    OutcomeUnknown,
    Permanent,
    RollbackError,
)
from rollback.journal import Event
from rollback.lease import HeldLease
from rollback.releases import Manifest
from rollback.runs import RunHeader, Store
from rollback.settings import Settings

WITHIN_SECONDS, SETTLE_SECONDS = 60.0, 5.0
NAME = "the change"


class World:
    """Something that can be changed, by requests whose answers may be lost."""

    def __init__(self, folder: Path) -> None:
        store = Store(folder)
        header = RunHeader(
            run="0a1b2c3d",
            procedure="restore-database",
            environment="production",
            started_at=datetime.now(UTC),
            reason="a test",
        )
        created = store.create(header)
        settings = Settings(file=folder / "fundrbolt.toml", environments={})
        self.run = Run(settings, store, created, created.journal(), Manifest())
        self.leases = store.leases
        self.run.lease = HeldLease(self.leases, self.leases.acquire("production", header.run, header.procedure))
        self.done = False
        self.sent: list[float] = []
        """When it was sent, on the loop's clock."""
        self.answers: list[RollbackError | None] = []
        """To the requests, in order: an error, or none; then none any more."""
        self.takes_effect = True
        self.shows_after_seconds = 0.0
        self.unreadable = 0
        """So many readings find no answer."""

    async def is_done(self) -> bool:
        if self.unreadable:
            self.unreadable -= 1
            raise AzureUnreachable("No answer.")
        shown = not self.sent or asyncio.get_running_loop().time() >= self.sent[0] + self.shows_after_seconds
        return self.done and shown

    async def send(self) -> None:
        self.sent.append(asyncio.get_running_loop().time())
        self.done = self.done or self.takes_effect
        if self.answers and (error := self.answers.pop(0)):
            raise error

    def converge(self, *, confirms: bool = True) -> bool:
        how = {"is_done": self.is_done, "send": self.send, "confirms": confirms}
        change = Change(name=NAME, doing="Changing it.", done="It is changed.", **how)
        return leaping(lambda: converge(self.run, change, WITHIN_SECONDS, SETTLE_SECONDS))

    @property
    def told(self) -> list[Event]:
        return [each.event for each in self.run.journal.entries if each.change == NAME]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


LOST = AzureUnreachable("No answer.")
BUSY = OperationInProgress("Azure is busy.")


def test_nothing_is_sent_where_the_goal_is_reached(world: World) -> None:
    world.done = True
    assert world.converge() is False
    assert (world.sent, world.told) == ([], [])


def test_a_change_is_told_before_it_is_sent_and_when_it_is_seen(world: World) -> None:
    assert world.converge() is True
    assert (len(world.sent), world.told) == (1, [Event.SENDING, Event.CONFIRMED])


def test_a_lost_answer_to_what_took_effect_late_is_waited_for_and_nothing_is_sent_again(world: World) -> None:
    world.answers, world.shows_after_seconds = [LOST], SETTLE_SECONDS - 1
    assert world.converge() is True
    assert (len(world.sent), world.told) == (1, [Event.SENDING, Event.CONFIRMED])


def test_what_had_no_effect_is_sent_again_not_before_the_settling_time_is_over(world: World) -> None:
    world.answers, world.takes_effect = [LOST, LOST], False
    with pytest.raises(OutcomeUnknown):
        world.converge()
    pauses = [later - earlier for earlier, later in zip(world.sent, world.sent[1:], strict=False)]
    assert pauses
    assert min(pauses) >= SETTLE_SECONDS


def test_a_busy_azure_is_asked_again_until_it_is_free(world: World) -> None:
    world.takes_effect, world.answers = False, [BUSY, BUSY]

    async def free_at_third(send: Callable[[], Awaitable[None]] = world.send) -> None:
        world.takes_effect = len(world.sent) == 2
        await send()

    world.send = free_at_third
    assert world.converge() is True
    assert len(world.sent) == 3
    assert world.told[-1] is Event.CONFIRMED


def test_what_azure_refuses_is_raised_and_told_to_have_had_no_effect(world: World) -> None:
    world.answers, world.takes_effect = [Permanent("Azure refuses it.")], False
    with pytest.raises(Permanent, match="Azure refuses it"):
        world.converge()
    assert (len(world.sent), world.told) == (1, [Event.SENDING, Event.NO_EFFECT])


def test_a_refusal_of_what_is_there_after_all_is_no_failure(world: World) -> None:
    world.answers = [Permanent("It exists already.")]
    assert world.converge() is True
    assert world.told == [Event.SENDING, Event.CONFIRMED]


def test_an_effect_that_never_shows_is_unknown_and_stays_open(world: World) -> None:
    world.shows_after_seconds = 10 * WITHIN_SECONDS
    with pytest.raises(OutcomeUnknown, match="could not be seen within 60 s"):
        world.converge()
    assert world.run.journal.open_changes() == [NAME]


def test_a_change_whose_goal_is_not_all_of_its_effect_stays_open_until_it_is_told_how_it_ended(world: World) -> None:
    assert world.converge(confirms=False) is True
    assert world.told == [Event.SENDING]
    assert world.run.journal.open_changes() == [NAME]
    assert world.converge(confirms=False) is False
    assert (len(world.sent), world.told) == (1, [Event.SENDING])
    world.run.journal.write(Event.CONFIRMED, change=NAME, text="It ended well.")
    assert world.run.journal.open_changes() == []


def test_a_refusal_of_such_a_change_closes_it(world: World) -> None:
    world.answers, world.takes_effect = [Permanent("Azure refuses it.")], False
    with pytest.raises(Permanent):
        world.converge(confirms=False)
    assert world.run.journal.open_changes() == []


def test_an_earlier_trys_request_is_looked_for_first_and_not_sent_again(world: World) -> None:
    world.run.journal.write(Event.SENDING, change=NAME)
    world.done, world.unreadable = True, 2
    assert world.converge() is False
    assert world.sent == []
    assert world.run.journal.confirmed_changes() == [NAME]


def test_a_reading_without_an_answer_is_not_taken_for_no_effect(world: World) -> None:
    world.answers, world.unreadable = [LOST], 0

    async def lose_sight(send: Callable[[], Awaitable[None]] = world.send) -> None:
        world.unreadable = 8
        await send()

    world.send = lose_sight
    assert world.converge() is True
    assert len(world.sent) == 1


def test_without_the_lease_nothing_is_sent(world: World) -> None:
    world.run.lease.release()
    with pytest.raises(LeaseLost):
        world.converge()
    assert (world.sent, world.told) == ([], [])
