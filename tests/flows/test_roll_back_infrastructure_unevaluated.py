"""What Azure's what-if did not evaluate is of high risk, does not lead the app away, and nothing is claimed of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from azure_names import GROUP, SUBSCRIPTION
from infrastructure import (
    PLAN,
    SITE,
    Infrastructure,
    main_template,
    make_infrastructure,
    roll_back,
    template,
)
from support import V2, V3, World

from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.journal import Entry, Event
from rollback.outcomes import EndState
from rollback.runs import Outcome

VAULT = "fundrbolt-production-kv"
OLD = "postgresql://app:hunter22@fundrbolt-old-pg.postgres.database.azure.com:5432/fundrbolt"
THE_SITE = f"resourceId('{SUBSCRIPTION}', '{GROUP}', 'Microsoft.Web/sites', '{SITE}')"
DEFAULT_HOST = f"[reference({THE_SITE}, '2023-12-01').defaultHostName]"
CONFIG = "Microsoft.Web/sites/config"


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


def secret(name: str, value: str) -> dict[str, Any]:
    return {
        "type": "Microsoft.KeyVault/vaults/secrets",
        "apiVersion": "2023-07-01",
        "name": f"{VAULT}/{name}",
        "tags": {"for": "[parameters('host')]"},
        "properties": {"value": value},
    }


def settings(**values: str) -> dict[str, Any]:
    name = f"{SITE}/appsettings"
    return {"type": CONFIG, "apiVersion": "2023-12-01", "name": name, "properties": values}


def with_skipped(*inner: dict[str, Any], release: str = V2) -> dict[str, Any]:
    """A release's template, and a deployment within it that what-if leaves out: its parameter is known only later."""
    main = main_template(release)
    main["resources"].append(
        {
            "type": "Microsoft.Resources/deployments",
            "apiVersion": "2022-09-01",
            "name": "fundrbolt-secrets",
            "resourceGroup": GROUP,
            "properties": {
                "mode": "Incremental",
                "expressionEvaluationOptions": {"scope": "inner"},
                "parameters": {"host": {"value": DEFAULT_HOST}},
                "template": template("deploymentTemplate", list(inner), parameters={"host": {"type": "string"}}),
            },
        }
    )
    return main


def plan_of(infrastructure: Infrastructure, outcome: Outcome) -> RollBackInfrastructurePlan:
    made = infrastructure.store.get(outcome.run).plan(RollBackInfrastructurePlan)
    assert made is not None, outcome
    return made


async def test_a_secret_that_a_skipped_deployment_would_point_back_is_refused(infrastructure: Infrastructure) -> None:
    infrastructure.repository.commit(V2, with_skipped(secret("database-url", OLD)))
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "host 'fundrbolt-old-pg.postgres.database.azure.com'" in outcome.headline
    assert "nested deployment 'fundrbolt-secrets', which Azure did not evaluate" in outcome.headline
    assert "hunter22" not in outcome.model_dump_json()
    assert infrastructure.sent() == 0


async def test_a_secret_that_cannot_be_told_in_a_skipped_deployment_is_refused(infrastructure: Infrastructure) -> None:
    url = "[format('postgresql://app:hunter22@{0}:5432/fundrbolt', parameters('host'))]"
    infrastructure.repository.commit(V2, with_skipped(secret("database-url", url)))
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "nested deployment 'fundrbolt-secrets', which Azure did not evaluate" in outcome.headline
    assert "secret_parameters" in outcome.next_steps[0]
    assert infrastructure.sent() == 0


async def test_settings_that_what_if_does_not_support_are_read_in_the_template(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("whatif-unsupported", type=CONFIG)
    infrastructure.repository.commit(V2, main_template(V2, settings(DATABASE_URL=OLD)))
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"setting 'DATABASE_URL' of '{SITE}'" in outcome.headline
    assert infrastructure.sent() == 0


async def test_a_skipped_deployment_is_of_high_risk_and_told_with_azures_reason(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-drift", id=PLAN, tag="release", value="by-hand")
    infrastructure.repository.commit(V3, with_skipped(secret("greeting", "hello"), release=V3))
    made = plan_of(infrastructure, await roll_back(release=V3, dry_run=True))
    (row,) = [each for each in made.differences() if "fundrbolt-secrets" in each.resource]
    assert (row.high, row.noise) == ("Azure did not look into it", "")
    assert "NestedDeploymentShortCircuited" in row.after
    assert made.risk == "high"
    assert "fundrbolt-secrets" in dict(made.facts())["Not evaluated by Azure"]
    assert "read in the template itself" in dict(made.facts())["Database"]


async def test_what_is_skipped_only_after_the_approval_touches_nothing(infrastructure: Infrastructure) -> None:
    def skip(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_FINISHED, "Approval"):
            infrastructure.control.break_("whatif-unsupported", type="Microsoft.Storage/storageAccounts")

    infrastructure.control.break_("arm-drift", id=PLAN, tag="release", value="by-hand")
    outcome = await roll_back(skip, release=V3)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "What-if says something else than when the plan was made: fundrboltexports is new" in outcome.headline
    assert infrastructure.executed() == []


async def test_a_template_without_the_apps_setting_is_refused(infrastructure: Infrastructure) -> None:
    infrastructure.repository.commit(V2, main_template(V2, settings(REGION="eastus")))
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"takes setting 'DATABASE_URL' from '{SITE}'" in outcome.headline
    assert infrastructure.sent() == 0


async def test_a_skipped_deployment_without_the_apps_setting_is_refused(infrastructure: Infrastructure) -> None:
    infrastructure.repository.commit(V2, with_skipped(settings(REGION="eastus")))
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"takes setting 'DATABASE_URL' from '{SITE}' in nested deployment 'fundrbolt-secrets'" in outcome.headline
    assert infrastructure.sent() == 0


async def test_a_connection_string_of_the_old_server_is_refused(infrastructure: Infrastructure) -> None:
    value = "Host=fundrbolt-old-pg.postgres.database.azure.com;Database=fundrbolt;Username=app;Password=hunter22"
    strings = {**settings(), "name": f"{SITE}/connectionstrings"}
    strings["properties"] = {"Default": {"type": "PostgreSQL", "value": value}}
    infrastructure.repository.commit(V2, main_template(V2, strings))
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "it writes host 'fundrbolt-old-pg.postgres.database.azure.com'" in outcome.headline
    assert f"connection string 'Default' of '{SITE}'" in outcome.headline
    assert "hunter22" not in outcome.model_dump_json()
    assert infrastructure.sent() == 0


async def test_what_if_that_looks_into_nothing_does_not_mean_that_all_is_there(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("whatif-limit")
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert infrastructure.sent() == 1
    (told,) = [each for each in outcome.evidence if "could not compare" in each]
    assert "Microsoft.Resources/deployments fundrbolt-production" in told
    infrastructure.control.repair("whatif-limit")
    assert plan_of(infrastructure, await roll_back(dry_run=True)).already_there


async def test_nothing_is_advised_to_be_deleted_while_a_deployment_was_not_looked_into(
    infrastructure: Infrastructure,
) -> None:
    main = main_template(V2)
    (first,) = main["resources"]
    inner = first["properties"]["template"]["resources"]
    second = json.loads(json.dumps({**first, "name": "fundrbolt-plan"}))
    for own, is_plan in ((first, False), (second, True)):
        own["properties"]["template"]["resources"] = [
            each for each in inner if (each["type"] == "Microsoft.Web/serverfarms") is is_plan
        ]
    main["resources"].append(second)
    infrastructure.control.break_("whatif-limit", nested=1)
    infrastructure.repository.commit(V2, main)
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert any("serverfarms fundrbolt-production-plan deployed" in each for each in outcome.done)
    assert not [each for each in outcome.next_steps if "az resource delete" in each]
    assert any("not known: Azure did not look into 'fundrbolt-plan'" in each for each in outcome.next_steps)
    made = plan_of(infrastructure, outcome)
    assert not made.left
    (row,) = [each for each in made.differences() if "fundrbolt-plan" in each.resource]
    assert "it is not in the template" not in row.noise


async def test_a_difference_that_only_deploying_evaluates_is_deployed_and_not_called_verified(
    infrastructure: Infrastructure,
) -> None:
    def serving(mode: str) -> dict[str, Any]:
        main = main_template(V2)
        (nested,) = main["resources"]
        nested["properties"]["template"]["resources"][0]["properties"]["appCommandLine"] = (
            f"[format('serve --host {{0}} --mode {mode}', {DEFAULT_HOST[1:-1]})]"
        )
        return main

    infrastructure.repository.commit(V2, serving("good"))
    await infrastructure.deploy(serving("bad"))
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert infrastructure.sent() == 1
    made = plan_of(infrastructure, outcome)
    (row,) = [each for each in made.differences() if each.path == "properties.appCommandLine"]
    assert (row.change, row.high, row.noise) == ("Modify: evaluated only when it is deployed", "settings of a site", "")
    assert "properties.appCommandLine" in dict(made.facts())["Not evaluated by Azure"]
    (told,) = [each for each in outcome.evidence if "could not compare" in each]
    assert f"{CONFIG} {SITE}/web properties.appCommandLine" in told
