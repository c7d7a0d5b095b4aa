"""The infrastructure is as an earlier release's template says: planned from what-if, deployed once, undone again."""

import json
from pathlib import Path

import pytest
from infrastructure import (
    BASE,
    PLAN,
    STORAGE,
    WEB,
    Infrastructure,
    infrastructure_file,
    main_template,
    make_infrastructure,
    roll_back,
)
from support import V2, V3, World

from rollback.infrastructure import archive
from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.outcomes import EndState


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


async def plan(infrastructure: Infrastructure, **parameters: object) -> RollBackInfrastructurePlan:
    outcome = await roll_back(dry_run=True, **parameters)
    made = infrastructure.store.get(outcome.run).plan(RollBackInfrastructurePlan)
    assert outcome.end_state is EndState.PLANNED, outcome
    assert made is not None
    return made


async def test_a_plan_tells_what_if_property_by_property_and_touches_nothing(infrastructure: Infrastructure) -> None:
    made = await plan(infrastructure)
    told = {(each.path, each.before, each.after) for each in made.differences() if not each.noise}
    assert told == {
        ("properties.alwaysOn", "false", "true"),
        ("properties.http20Enabled", "true", "false"),
        ("tags.release", V3, V2),
    }
    assert infrastructure.sent() == 0


async def test_high_risk_comes_first_and_decides_who_approves(infrastructure: Infrastructure) -> None:
    made = await plan(infrastructure)
    assert made.risk == "high"
    assert made.differences()[0].high == "settings of a site"
    assert made.changes[0].id.lower() == WEB.lower()


async def test_known_noise_is_marked_and_last_and_not_hidden(infrastructure: Infrastructure) -> None:
    made = await plan(infrastructure)
    noise = [each for each in made.differences() if each.noise and each.path]
    assert "properties.netFrameworkVersion" in {each.path for each in noise}
    assert {each.path for each in made.differences()[-len(noise) :]} <= {each.path for each in noise} | {""}


async def test_a_resource_that_incremental_mode_leaves_is_listed_with_what_to_do(
    infrastructure: Infrastructure,
) -> None:
    made = await plan(infrastructure)
    assert [(each.id.lower(), each.seen) for each in made.left] == [(STORAGE.lower(), True)]
    assert any(f"az resource delete --ids {made.left[0].id}" in line for line in made.afterwards())


async def test_the_earlier_template_is_deployed_once_and_verified(infrastructure: Infrastructure) -> None:
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert await infrastructure.deployments() == {f"{BASE}-rollback-{outcome.run}": "Succeeded"}
    assert infrastructure.sent() == 1
    assert "what-if finds nothing left to change" in outcome.evidence[0]
    assert any("real requests" in each for each in outcome.evidence)
    assert any("config fundrbolt-production-api/web deployed" in each for each in outcome.done)


async def test_a_second_time_nothing_is_deployed(infrastructure: Infrastructure) -> None:
    await roll_back()
    outcome = await roll_back()
    assert outcome.end_state is EndState.ALREADY_THERE, outcome
    assert infrastructure.sent() == 1


async def test_it_is_undone_by_what_it_archived(infrastructure: Infrastructure) -> None:
    there = await roll_back()
    back = await roll_back(release="", archived=there.run)
    assert back.end_state is EndState.ROLLED_BACK, back
    assert (await plan(infrastructure, release=V3)).already_there


async def test_the_archive_holds_the_replaced_template(infrastructure: Infrastructure) -> None:
    outcome = await roll_back()
    file = infrastructure.store.get(outcome.run).folder / archive.FILE
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["deployment"] == BASE
    assert kept["template"] == main_template(V3)
    assert file.stat().st_mode & 0o077 == 0


async def test_a_run_that_archived_nothing_cannot_be_undone(infrastructure: Infrastructure) -> None:
    planned = await roll_back(dry_run=True)
    outcome = await roll_back(release="", archived=planned.run)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "archived no template" in outcome.headline


async def test_it_is_deployed_incrementally_and_never_rolled_back_on_error(
    infrastructure: Infrastructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.mgmt.resource.deployments.aio.operations import DeploymentsOperations

    bodies: list[dict[str, object]] = []
    genuine = DeploymentsOperations.begin_create_or_update_at_scope

    async def recording(self: object, scope: str, name: str, body: dict[str, object], **options: object) -> object:
        bodies.append(body)
        return await genuine(self, scope, name, body, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(DeploymentsOperations, "begin_create_or_update_at_scope", recording)
    await roll_back()
    (body,) = bodies
    assert body["properties"]["mode"] == "Incremental"  # type: ignore[index]
    assert "onErrorDeployment" not in json.dumps(body)


async def test_a_commit_is_as_good_as_a_tag(infrastructure: Infrastructure) -> None:
    commit = infrastructure.repository.commit("v1.2.0", main_template(V2))
    assert (await plan(infrastructure, release=commit[:10])).commit == commit


async def test_without_any_deployment_in_the_history_it_says_that_nothing_can_be_archived(
    infrastructure: Infrastructure, tmp_path: Path
) -> None:
    file = infrastructure_file(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace(f'"{BASE}"', '"another"'), encoding="utf-8")
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    made = infrastructure.store.get(outcome.run).plan(RollBackInfrastructurePlan)
    assert made is not None
    assert "cannot be archived" in made.warnings[0]


async def test_what_the_platform_file_calls_noise_is_not_deployed_for(
    infrastructure: Infrastructure, tmp_path: Path
) -> None:
    noise = ["properties.alwaysOn", "properties.http20Enabled", "Microsoft.Web/serverfarms: tags.*"]
    infrastructure_file(tmp_path, noise=noise)
    outcome = await roll_back()
    assert outcome.end_state is EndState.ALREADY_THERE, outcome
    assert infrastructure.sent() == 0


async def test_a_change_by_hand_is_taken_back(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-drift", id=PLAN, tag="release", value="by-hand")
    made = await plan(infrastructure, release=V3)
    assert [(each.path, each.before, each.after) for each in made.differences() if not each.noise] == [
        ("tags.release", "by-hand", V3)
    ]
    assert made.risk == "medium"


async def test_the_report_shows_the_what_if(infrastructure: Infrastructure) -> None:
    outcome = await roll_back()
    assert outcome.report is not None
    page = outcome.report.read_text(encoding="utf-8")
    assert "properties.alwaysOn" in page
    assert 'class="noise"' in page
    assert "high: settings of a site" in page
