"""Others deploy as well: Azure's history decides whether a rollback may begin, and what it replaces."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure_names import GROUP, SUBSCRIPTION
from infrastructure import (
    BASE,
    Infrastructure,
    infrastructure_file,
    main_template,
    make_infrastructure,
    roll_back,
    template,
)
from support import V2, V3, World

from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.journal import Entry, Event
from rollback.outcomes import EndState

HELD = "Microsoft.Storage/storageAccounts"
"""v1.2.3's template has one and v1.2.2's has not: a deployment that is held there hinders no other."""
CANCEL = f"az deployment sub cancel --name {BASE}."


class Pipeline:
    """The platform's own pipeline: it deploys v1.2.3, and all that it will change is still to come."""

    def __init__(self, infrastructure: Infrastructure) -> None:
        self._infrastructure = infrastructure

    def begin(self) -> None:
        self._infrastructure.control.break_("arm-deployment-never-ends", type=HELD)
        main = main_template(V3)
        for each in main["resources"][0]["properties"]["template"]["resources"]:
            if each["type"] != HELD:
                each["dependsOn"] = [f"[resourceId('{HELD}', 'fundrboltexports')]"]
        with self._client() as client:
            body: Any = {"location": "eastus", "properties": {"mode": "Incremental", "template": main}}
            client.deployments.begin_create_or_update_at_subscription_scope(BASE, body, polling=False)

    def cancel(self) -> None:
        with self._client() as client:
            client.deployments.cancel_at_subscription_scope(BASE)

    def begin_when(self, event: Event, step: str) -> Callable[[Entry], None]:
        begun: list[Entry] = []

        def watch(entry: Entry) -> None:
            if not begun and (entry.event, entry.step) == (event, step):
                begun.append(entry)
                self.begin()

        return watch

    @staticmethod
    @contextmanager
    def _client() -> Iterator[DeploymentsMgmtClient]:
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        with (
            ClientSecretCredential(*(os.environ[name] for name in names)) as credential,
            DeploymentsMgmtClient(credential, SUBSCRIPTION) as client,
        ):
            yield client


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


@pytest.fixture
def pipeline(infrastructure: Infrastructure) -> Pipeline:
    return Pipeline(infrastructure)


async def test_while_the_pipeline_deploys_nothing_is_begun(infrastructure: Infrastructure, pipeline: Pipeline) -> None:
    await asyncio.to_thread(pipeline.begin)
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"Deployment '{BASE}' to the subscription is running" in outcome.headline
    assert CANCEL in outcome.next_steps[0]
    assert infrastructure.sent() == 0
    await asyncio.to_thread(pipeline.cancel)
    assert (await roll_back()).end_state is EndState.ROLLED_BACK


async def test_a_pipeline_that_begins_after_the_approval_is_not_deployed_beside(
    infrastructure: Infrastructure, pipeline: Pipeline
) -> None:
    outcome = await roll_back(pipeline.begin_when(Event.STEP_FINISHED, "Approval"))
    pipeline.cancel()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"Deployment '{BASE}' to the subscription is running" in outcome.headline
    assert infrastructure.sent() == 0


async def test_a_pipeline_that_begins_while_we_deploy_is_told_and_nothing_is_called_verified(
    infrastructure: Infrastructure, pipeline: Pipeline
) -> None:
    outcome = await roll_back(pipeline.begin_when(Event.STEP_FINISHED, "Deploy the template"))
    pipeline.cancel()
    assert outcome.end_state is EndState.NOT_VERIFIED, outcome
    assert f"Deployment '{BASE}' to the subscription is running. It may overwrite what is there" in outcome.headline
    assert CANCEL in outcome.next_steps[0]
    assert infrastructure.executed() == ["Succeeded"]


async def plan(infrastructure: Infrastructure, **parameters: object) -> RollBackInfrastructurePlan:
    outcome = await roll_back(dry_run=True, **parameters)
    made = infrastructure.store.get(outcome.run).plan(RollBackInfrastructurePlan)
    assert made is not None, outcome
    return made


@pytest.mark.parametrize("other", ["staging", "rollback-of-staging", "rollback-0123abcd-plan"])
async def test_a_deployment_whose_name_only_begins_so_is_not_what_is_replaced(
    infrastructure: Infrastructure, other: str
) -> None:
    await infrastructure.deploy(template("subscriptionDeploymentTemplate", []), name=f"{BASE}-{other}")
    there = await roll_back()
    back = await roll_back(release="", archived=there.run)
    assert back.end_state is EndState.ROLLED_BACK, back
    assert (await plan(infrastructure, release=V3)).already_there


async def test_a_rollback_is_what_the_next_one_replaces(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-deployment-fails", type="Microsoft.Web/serverfarms")
    first = await roll_back()
    await roll_back(resume=first.run)
    assert (await plan(infrastructure, release=V3)).replaced == f"{BASE}-rollback-{first.run}-2"


async def test_where_the_pipeline_failed_since_the_last_rollback_it_says_what_is_not_known(
    infrastructure: Infrastructure,
) -> None:
    first = await roll_back()
    infrastructure.control.break_("arm-deployment-fails", type=HELD)
    with pytest.raises(HttpResponseError):
        await infrastructure.deploy(main_template(V3))
    made = await plan(infrastructure)
    assert made.replaced == f"{BASE}-rollback-{first.run}"
    assert "an earlier deployment of that name is not known any more" in " ".join(made.warnings)


def in_group(release: str) -> dict[str, Any]:
    """The same resources in a template of the group, whose plan is in a deployment within it."""
    nested = main_template(release)["resources"][0]
    resources = nested["properties"]["template"]["resources"]
    inner = [each for each in resources if each["type"] == "Microsoft.Web/serverfarms"]
    properties = nested["properties"] | {"template": template("deploymentTemplate", inner)}
    module = {key: each for key, each in nested.items() if key != "resourceGroup"}
    module |= {"name": f"{BASE}-plan", "properties": properties}
    return template("deploymentTemplate", [module, *(each for each in resources if each not in inner)])


@pytest.fixture
def group(infrastructure: Infrastructure, tmp_path: Path) -> Infrastructure:
    """The platform deploys to the group."""
    file = infrastructure_file(tmp_path)
    scope = f'scope = "group"\nresource_group = "{GROUP}"'
    file.write_text(file.read_text(encoding="utf-8").replace('scope = "subscription"', scope), encoding="utf-8")
    infrastructure.repository.commit(V2, in_group(V2))
    return infrastructure


async def deploy_to_group(infrastructure: Infrastructure, *, wait: bool) -> None:
    async with infrastructure.client() as client:
        body: Any = {"properties": {"mode": "Incremental", "template": in_group(V3)}}
        begun = await client.deployments.begin_create_or_update(GROUP, BASE, body, polling=wait)
        await begun.result()


async def test_a_module_of_a_failed_deployment_is_not_what_is_replaced(group: Infrastructure) -> None:
    group.control.break_("arm-deployment-fails", type="Microsoft.Web/sites/config")
    with pytest.raises(HttpResponseError):
        await deploy_to_group(group, wait=True)
    made = await plan(group)
    assert made.replaced == ""
    assert "it cannot be archived" in made.warnings[0]


async def test_a_groups_deployment_that_is_at_work_is_told_with_how_to_cancel_it(group: Infrastructure) -> None:
    group.control.break_("arm-deployment-never-ends", type=HELD)
    await deploy_to_group(group, wait=False)
    outcome = await roll_back()
    group.control.repair("arm-deployment-never-ends")
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"az deployment group cancel --resource-group {GROUP} --name {BASE}." in outcome.next_steps[0]


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ({"environment": "staging"}, "is roll-back-infrastructure on 'staging', not"),
        ({"procedure": "revert-resource"}, "is revert-resource on 'production', not"),
    ],
)
async def test_what_another_environment_or_procedure_archived_is_not_deployed(
    infrastructure: Infrastructure, of: dict[str, str], words: str
) -> None:
    there = await roll_back()
    file = infrastructure.store.get(there.run).folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | of), encoding="utf-8")
    outcome = await roll_back(release="", archived=there.run)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"Run {there.run} {words}" in outcome.headline
    assert "rollback status" in outcome.next_steps[0]
    assert infrastructure.sent() == 1
