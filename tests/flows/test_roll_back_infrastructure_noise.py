"""What somebody has set by hand and the template leaves out is told as what it is, and is part of the approval."""

from pathlib import Path

import pytest
from infrastructure import STORAGE, Infrastructure, make_infrastructure, roll_back
from support import V3, World

from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.outcomes import EndState


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


async def test_a_firewall_that_the_template_would_open_is_told_and_part_of_the_approval(
    infrastructure: Infrastructure,
) -> None:
    infrastructure.control.break_("arm-drift", id=STORAGE, property="networkAcls.defaultAction", value="Deny")
    outcome = await roll_back(release=V3)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    made = infrastructure.store.get(outcome.run).plan(RollBackInfrastructurePlan)
    assert made is not None
    (row,) = [each for each in made.differences() if each.path == "properties.networkAcls"]
    assert '"defaultAction": "Deny"' in row.before
    assert not row.noise
    (bound,) = [each for each in made.binding()["changes"] if each["id"].lower() == STORAGE.lower()]
    assert [each["path"] for each in bound["properties"]] == ["properties.networkAcls"]


async def test_what_has_its_default_is_nothing_to_deploy_for(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("whatif-noise", type="Microsoft.Storage/storageAccounts", property="networkAcls")
    infrastructure.control.break_("whatif-noise", type="Microsoft.Web/serverfarms", property="perSiteScaling")
    outcome = await roll_back(release=V3)
    assert outcome.end_state is EndState.ALREADY_THERE, outcome
    assert infrastructure.sent() == 0
