"""Others deploy as well: Azure's history decides whether a rollback may begin, and what it replaces."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ClientSecretCredential
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure_names import SUBSCRIPTION
from infrastructure import BASE, Infrastructure, main_template, make_infrastructure, roll_back
from support import V3, World

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
        template = main_template(V3)
        for each in template["resources"][0]["properties"]["template"]["resources"]:
            if each["type"] != HELD:
                each["dependsOn"] = [f"[resourceId('{HELD}', 'fundrboltexports')]"]
        with self._client() as client:
            body: Any = {"location": "eastus", "properties": {"mode": "Incremental", "template": template}}
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
