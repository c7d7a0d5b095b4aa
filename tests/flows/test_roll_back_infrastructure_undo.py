"""Where a rollback of infrastructure went wrong, it says how it is undone and what stays: that is when it is needed."""

from pathlib import Path

import pytest
from infrastructure import PLAN, STORAGE, Infrastructure, make_infrastructure, roll_back
from support import World

from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Outcome


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


def tells_undo(outcome: Outcome) -> bool:
    undo = f"To undo this: roll-back-infrastructure with archived {outcome.run}, this run's name."
    stays = any(f"az resource delete --ids {STORAGE}".lower() in each.lower() for each in outcome.next_steps)
    return stays and undo in outcome.next_steps


async def test_what_is_deployed_and_not_verified_says_how_it_is_undone(infrastructure: Infrastructure) -> None:
    def meddle(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_FINISHED, "Deploy the template"):
            infrastructure.control.break_("arm-drift", id=PLAN, tag="release", value="by-hand")

    outcome = await roll_back(meddle)
    assert outcome.end_state is EndState.NOT_VERIFIED, outcome
    assert tells_undo(outcome), outcome.next_steps


async def test_what_failed_part_way_says_how_it_is_undone_after_how_it_is_finished(
    infrastructure: Infrastructure,
) -> None:
    infrastructure.control.break_("arm-deployment-fails", type="Microsoft.Web/serverfarms")
    outcome = await roll_back()
    assert outcome.end_state is EndState.PART_WAY, outcome
    assert f"--resume {outcome.run}" in outcome.next_steps[1]
    assert tells_undo(outcome), outcome.next_steps


async def test_what_was_refused_says_nothing_of_it(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-policy-denies")
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert not any("undo" in each for each in outcome.next_steps)
