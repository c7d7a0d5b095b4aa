"""The least-privilege role: it is enough, and a plan names each action that is missing from it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure_names import GROUP, SITE
from frontends import frontends_file
from restoring import SOURCE, Databases, plan_of, quick_restore_file, run_restore
from reverting import CONFIG, Things, quick_file, revert
from support import ROOT, V1, V2, V3, Sandbox, World, quick_platform_file, run_flow, sandbox_environment

from flows.deploy_backend import deploy_backend
from flows.downgrade_database import downgrade_database
from flows.redeploy_backend import redeploy_backend
from flows.redeploy_frontend import redeploy_frontend
from rollback.azure import connect
from rollback.database.models import ServerId
from rollback.database.servers import FlexibleServers
from rollback.errors import PermissionMissing
from rollback.frontends.settings import FrontendWay
from rollback.outcomes import EndState
from rollback.permissions import (
    ACTIONS,
    ARCHIVE,
    CACHE_ACTIONS,
    CHECK_NAME,
    DATA_ACTIONS,
    FRONTEND_ACTIONS,
    INFRASTRUCTURE,
    LISTED_BY_TEMPLATE,
    READ_PERMISSIONS,
    READ_VAULT,
    REHEARSE,
    REHEARSE_SOURCE,
    REVERT,
    SERVER_ACTIONS,
    TEMPLATE_TYPES,
    check_granted_in_group,
    type_actions,
)
from rollback.settings import load_settings
from sandbox.control import Control

ROLE_FILE = ROOT / "deployments" / "role.json"
REHEARSAL_ROLE_FILE = ROOT / "deployments" / "role-rehearsal.json"
INFRASTRUCTURE_ROLE_FILE = ROOT / "deployments" / "role-infrastructure.json"
REVERTING_ROLE_FILES = tuple(ROOT / "deployments" / each for each in ("role-archive.json", "role-revert.json"))
REHEARSAL_GROUP = "fundrbolt-rehearsal-rg"
ROLL_BACK = "roll-back-backend"


def test_the_role_grants_exactly_what_the_procedures_use() -> None:
    role = json.loads(ROLE_FILE.read_text(encoding="utf-8"))
    kinds = [ACTIONS, SERVER_ACTIONS, FRONTEND_ACTIONS, CACHE_ACTIONS]
    used = [*(actions for each in kinds for actions in each.values()), REHEARSE_SOURCE]
    assert set(role["Actions"]) == {READ_VAULT, *(action for actions in used for action in actions)}
    assert set(role["DataActions"]) == set(DATA_ACTIONS)
    assert role["NotActions"] == []
    assert not [each for each in role["Actions"] if each.startswith("Microsoft.DBforPostgreSQL/flexibleServers/delete")]


def test_the_role_for_infrastructure_grants_what_deployments_and_the_platforms_template_need() -> None:
    role = json.loads(INFRASTRUCTURE_ROLE_FILE.read_text(encoding="utf-8"))
    assert set(role["Actions"]) == {*INFRASTRUCTURE, *LISTED_BY_TEMPLATE, *type_actions(TEMPLATE_TYPES)}
    assert role["DataActions"] == role["NotActions"] == role["NotDataActions"] == []
    assert not [each for each in role["Actions"] if each.endswith("/delete") or "*" in each]


def test_the_role_for_rehearsals_grants_exactly_what_they_use_and_in_their_group_only() -> None:
    role = json.loads(REHEARSAL_ROLE_FILE.read_text(encoding="utf-8"))
    assert set(role["Actions"]) == set(REHEARSE)
    assert role["DataActions"] == role["NotActions"] == role["NotDataActions"] == []
    assert [each.rpartition("/")[2] for each in role["AssignableScopes"]] == [REHEARSAL_GROUP]


@pytest.mark.parametrize(("file", "actions"), [("role-archive.json", ARCHIVE), ("role-revert.json", REVERT)])
def test_the_roles_for_archiving_and_reverting_grant_exactly_what_these_use(
    file: str, actions: tuple[str, ...]
) -> None:
    role = json.loads((ROOT / "deployments" / file).read_text(encoding="utf-8"))
    assert set(role["Actions"]) == set(actions)
    assert role["DataActions"] == role["NotActions"] == role["NotDataActions"] == []
    assert not [each for each in role["Actions"] if each.lower().startswith("microsoft.keyvault")], "lets itself in"


@pytest.mark.parametrize("action", ACTIONS[ROLL_BACK])
async def test_a_plan_names_the_action_that_is_missing(world: World, action: str) -> None:
    world.control.break_("deny", action=action)
    outcome = await run_flow(dry_run=True)
    assert outcome.end_state is EndState.REFUSED
    assert action.lower() in outcome.headline.lower()
    assert "Assign a role that has" in outcome.next_steps[0]
    assert world.swaps == []


MORE = sorted(set(ACTIONS["deploy-backend"]) - set(ACTIONS[ROLL_BACK]))


@pytest.mark.parametrize("action", MORE)
async def test_a_deployments_plan_names_the_action_that_is_missing(world: World, action: str) -> None:
    world.control.break_("deny", action=action)
    outcome = await run_flow(flow=deploy_backend, release=V1, dry_run=True)
    assert outcome.end_state is EndState.REFUSED
    assert action.lower() in outcome.headline.lower()
    assert world.swaps == []


RESTORE = "restore-database"
RESTORES = [*sorted({*ACTIONS[RESTORE], *SERVER_ACTIONS[RESTORE]} - set(ACTIONS[ROLL_BACK])), READ_VAULT, *DATA_ACTIONS]


@pytest.mark.parametrize("action", RESTORES)
async def test_a_restores_plan_names_the_action_that_is_missing(world: World, action: str) -> None:
    world.control.break_("deny", action=action)
    begun = datetime.now(UTC)
    outcome = await run_restore(restore_point=begun - timedelta(seconds=1), dry_run=True)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert action.lower() in f"{outcome.headline} {outcome.next_steps}".lower()
    asked = [f"{entry.method} {entry.path.partition('?')[0]}" for entry in world.control.audit(begun)]
    assert [each for each in asked if each.startswith(("PUT", "PATCH", "DELETE")) or each.endswith("/stop")] == []


DOWNGRADES = sorted(
    {*ACTIONS["downgrade-database"], *REHEARSE_SOURCE} - {*ACTIONS[ROLL_BACK], *SERVER_ACTIONS[RESTORE]}
)


@pytest.mark.parametrize("action", [*DOWNGRADES, "Microsoft.DBforPostgreSQL/flexibleServers/delete"])
async def test_a_downgrades_plan_names_the_action_that_is_missing(world: World, action: str) -> None:
    world.control.break_("deny", action=action)
    begun = datetime.now(UTC)
    outcome = await run_flow(flow=downgrade_database, target="previous", dry_run=True)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert action in outcome.headline
    assert "Assign a role that has" in outcome.next_steps[0]
    asked = [entry.method for entry in world.control.audit(begun) if REHEARSAL_GROUP in entry.path]
    assert not {*asked} & {"PUT", "PATCH", "DELETE"}


async def test_every_action_of_a_rehearsal_that_is_missing_in_its_group_is_named(world: World) -> None:
    async with connect(load_settings().azure) as connection:
        await check_granted_in_group(connection, REHEARSAL_GROUP, REHEARSE)
        # Who may not look at permissions is refused as anywhere else.
        for action in set(REHEARSE) - {READ_PERMISSIONS}:
            world.control.break_("deny", action=action)
            with pytest.raises(PermissionMissing, match=f"{action} on resource group '{REHEARSAL_GROUP}'"):
                await check_granted_in_group(connection, REHEARSAL_GROUP, REHEARSE)
            world.control.repair("deny")


@pytest.mark.parametrize("way", FrontendWay)
async def test_a_frontends_plan_names_each_action_that_is_missing(
    world: World, tmp_path: Path, way: FrontendWay
) -> None:
    script = '{ command = ["true"] }' if way is FrontendWay.SCRIPT else ""
    frontends_file(tmp_path, script)
    # Who may not look at permissions is refused as anywhere else.
    for action in set(FRONTEND_ACTIONS[way]) - {READ_PERMISSIONS}:
        world.control.break_("deny", action=action)
        outcome = await run_flow(flow=redeploy_frontend, frontends=("web",), release=V2, dry_run=True)
        assert outcome.end_state is EndState.REFUSED, outcome
        assert action in outcome.headline
        assert "Assign a role that has" in outcome.next_steps[0]
        world.control.repair("deny")


@contextmanager
def world_with(roles: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Azure, where the credential has these roles on the resource groups and nothing else."""
    folder = tmp_path / "sandbox"
    command, state = [sys.executable, "-m", "sandbox"], ["--state", str(folder)]
    named = [word for each in roles for word in ("--role", str(each))]
    subprocess.run([*command, "up", *state, "--detach", *named], check=True, cwd=ROOT, capture_output=True)
    try:
        sandbox = Sandbox(Control(folder), sandbox_environment(folder), folder)
        sandbox.point_at(monkeypatch)
        monkeypatch.setenv("ROLLBACK_STATE", str(tmp_path / "state"))
        file = quick_platform_file(tmp_path, schemas_known=False, start_within_seconds=8)
        monkeypatch.setenv("ROLLBACK_CONFIG", str(file))
        yield World(sandbox.control)
    finally:
        subprocess.run([*command, "down", *state], check=True, cwd=ROOT, capture_output=True)


@pytest.fixture
def world_with_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Azure, where the credential has the least-privilege roles and nothing else."""
    with world_with((ROLE_FILE, REHEARSAL_ROLE_FILE), tmp_path, monkeypatch) as world:
        yield world


@pytest.fixture
def world_that_reverts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The same, with those for archiving and reverting."""
    with world_with((ROLE_FILE, *REVERTING_ROLE_FILES), tmp_path, monkeypatch) as world:
        monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_file(tmp_path)))
        yield world


async def test_the_role_is_enough_for_a_rollback_with_every_step(world_with_role: World) -> None:
    world_with_role.control.break_("ramp-up", percent=20)
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    assert (world_with_role.serving, world_with_role.runs_in("staging")) == (V2, V3)
    refused = [entry.path for entry in world_with_role.control.audit() if entry.status == 403]
    assert refused == []


async def test_the_role_is_enough_for_a_redeployment_that_is_taken_back(world_with_role: World) -> None:
    world_with_role.control.break_("app-error", share=1, slot="staging", follows="slot")
    outcome = await run_flow(flow=redeploy_backend, release=V1)
    assert outcome.end_state is EndState.TAKEN_BACK
    refused = [entry.path for entry in world_with_role.control.audit() if entry.status == 403]
    assert refused == []


async def test_the_role_is_enough_for_frontends_by_archive_and_by_script(
    world_with_role: World, tmp_path: Path
) -> None:
    frontends_file(tmp_path, '{ command = ["sh", "frontend/deploy.sh", "web"] }')
    outcome = await run_flow(flow=redeploy_frontend)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert [entry.path for entry in world_with_role.control.audit() if entry.status == 403] == []


WORK_MEM = "/providers/Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg/configurations/work_mem"
WHOLE_SUBSCRIPTION = {"Microsoft.Web/sites", "Microsoft.DBforPostgreSQL/checkNameAvailability"}
"""Asked of the subscription, where a role on the resource groups does not reach; the plan says so and goes on."""


async def test_the_role_is_enough_for_a_restore_with_every_step(world_with_role: World, tmp_path: Path) -> None:
    quick_restore_file(tmp_path)
    outcome = await run_restore(restore_point=await Databases(world_with_role).instant())
    assert outcome.end_state is EndState.RESTORED, outcome
    warnings = " ".join(plan_of(tmp_path / "state", outcome).warnings)
    assert f"it takes {CHECK_NAME} on the subscription" in warnings
    assert "Only apps of fundrbolt-production-rg" in warnings
    refused = [entry.path.partition("?")[0] for entry in world_with_role.control.audit() if entry.status == 403]
    assert {path.partition("/providers/")[2] for path in refused} == WHOLE_SUBSCRIPTION
    assert not any("/resourceGroups/" in path for path in refused)


async def test_the_roles_are_enough_for_a_rehearsed_downgrade_and_delete_no_server_elsewhere(
    world_with_role: World, tmp_path: Path
) -> None:
    quick_restore_file(tmp_path, answer_timeout_seconds=60)
    outcome = await run_flow(flow=downgrade_database, target="previous", rehearse=True)
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert [entry.path for entry in world_with_role.control.audit() if entry.status == 403] == []
    async with connect(load_settings().azure) as connection, FlexibleServers(connection) as servers:
        with pytest.raises(PermissionMissing, match="flexibleServers/delete"):
            await servers.delete(ServerId(resource_group=GROUP, name=SOURCE))
        assert (await servers.get(ServerId(resource_group=GROUP, name=SOURCE))).state == "Ready"


async def test_the_roles_on_resource_groups_are_enough_for_archiving_and_reverting(
    world_that_reverts: World, tmp_path: Path
) -> None:
    control, things = world_that_reverts.control, Things(world_that_reverts, tmp_path / "state")
    parameter = f"{SITE.partition('/providers/')[0]}{WORK_MEM}"
    slot = f"{SITE}/slots/staging/config/web"
    await things.set_parameter(parameter, "8192")
    await things.archived_and_changed(alwaysOn=False)
    things.ask("PATCH", slot, {"properties": {"http20Enabled": True}})
    await things.set_parameter(parameter, "16384")
    for resource in (CONFIG, slot, parameter):
        outcome = await revert(resource=resource)
        assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert things.config()["alwaysOn"] is True
    assert things.parameter(parameter) == "8192"
    assert [entry.path for entry in control.audit() if entry.status == 403] == []
