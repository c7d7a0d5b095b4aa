"""ARM deployments at one scope, and locks: read, asked what-if, and sent once, through the genuine SDKs.

Source: Microsoft.Resources deployments, API version 2025-04-01 (`azure-mgmt-resource-deployments` 2);
Microsoft.Authorization locks, API version 2020-05-01 (`azure-mgmt-resource-locks` 1). Nothing here asks Azure to
roll back on error: that would be a deployment in complete mode, which deletes what is not in the template.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, cast

from rollback.azure import ONE_TRY, AzureConnection
from rollback.errors import AzureUnreachable, OperationInProgress, Permanent, ResourceMissing, TemplateUnfit
from rollback.infrastructure.refusals import our_deployment_errors, told
from rollback.infrastructure.settings import DeploymentScope, Infrastructure
from rollback.infrastructure.what_if import RawChange, gather
from rollback.models import Model

if TYPE_CHECKING:
    from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient
    from azure.mgmt.resource.deployments.aio.operations import DeploymentsOperations
    from azure.mgmt.resource.deployments.models import DeploymentExtended
    from azure.mgmt.resource.locks.aio import ManagementLockClient

NESTED = "microsoft.resources/deployments"
RUN_TAG = "fundrbolt-rollback-run"
"""On a deployment of ours: whose it is."""
OURS = r"-rollback-[0-9a-f]{8}(-\d+)?"
"""What a rollback's own deployment has after the platform's name: its run, and which try of it."""
ENDED = frozenset({"Succeeded", "Failed", "Canceled"})
MOST_DEPTH = 5
"""Deployments within deployments that are looked into; Azure allows no more."""


class ArmDeployment(Model):
    """One deployment in Azure's history."""

    name: str
    state: str
    """`Running`, `Succeeded`, `Failed`, `Canceled`, …"""
    at: datetime | None = None
    template_hash: str | None = None
    """Azure's own."""
    resources: tuple[str, ...] = ()
    """Ids of what it deployed, as far as Azure tells."""
    failure: str = ""
    """Azure's words, all of them."""

    @property
    def ended(self) -> bool:
        """Whether nothing of it happens any more."""
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether all of it was deployed."""
        return self.state == "Succeeded"


class Operation(Model):
    """What a deployment did with one resource."""

    resource: str
    type: str
    state: str
    failure: str = ""
    """Azure's code and message; empty where it did not fail."""


class Lock(Model):
    """A lock, and what it is on."""

    name: str
    level: str
    """`ReadOnly` or `CanNotDelete`."""
    scope: str
    """Id of the subscription, resource group or resource that it is on."""
    notes: str = ""


class Deployments:
    """The deployments to the scope of an environment's infrastructure; an async context."""

    def __init__(self, connection: AzureConnection, settings: Infrastructure) -> None:
        self._connection = connection
        self._settings = settings
        self._stack = AsyncExitStack()
        self._client: DeploymentsMgmtClient
        self._once: DeploymentsMgmtClient
        self._locks: ManagementLockClient
        subscription = f"subscriptions/{connection.settings.subscription_id}"
        self._in_group = settings.scope is DeploymentScope.GROUP
        self.scope = f"{subscription}/resourceGroups/{settings.resource_group}" if self._in_group else subscription

    async def __aenter__(self) -> Self:
        from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient
        from azure.mgmt.resource.locks.aio import ManagementLockClient

        enter = self._stack.enter_async_context
        self._client = await enter(self._connection.client(DeploymentsMgmtClient))
        self._once = await enter(self._connection.client(DeploymentsMgmtClient, once=True))
        self._locks = await enter(self._connection.client(ManagementLockClient))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def where(self) -> str:
        """The scope, for people."""
        return f"resource group '{self._settings.resource_group}'" if self._in_group else "the subscription"

    @property
    def _deployments(self) -> "DeploymentsOperations":
        return self._client.deployments

    async def find(self, name: str) -> ArmDeployment | None:
        """A deployment by its name; none where there is none of that name."""
        try:
            with our_deployment_errors(f"deployment '{name}' to {self.where}"):
                return _to_deployment(await self._deployments.get_at_scope(self.scope, name))
        except ResourceMissing:
            return None

    async def list_named(self, name: str) -> list[ArmDeployment]:
        """The deployment of this name, of which Azure keeps the last one only, and its rollbacks; the newest first."""
        named = re.compile(re.escape(name) + f"({OURS})?")
        with our_deployment_errors(f"deployments to {self.where}"):
            found = [_to_deployment(each) async for each in self._deployments.list_at_scope(self.scope)]
        ours = [each for each in found if named.fullmatch(each.name)]
        return sorted(ours, key=lambda each: each.at.timestamp() if each.at else 0.0, reverse=True)

    def require_idle(self, history: Iterable[ArmDeployment]) -> None:
        """Raise `OperationInProgress` where one of these is at work: it would overwrite what we deploy."""
        at_work = next((each for each in history if not each.ended), None)
        if at_work is None:
            return
        group = f"group cancel --resource-group {self._settings.resource_group}" if self._in_group else "sub cancel"
        raise OperationInProgress(
            f"Deployment '{at_work.name}' to {self.where} is {at_work.state.lower()}.",
            remedy=f"Wait for it to end, or cancel it: az deployment {group} --name {at_work.name}. Then plan again.",
        )

    async def export(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The template of a deployment, and its parameters as Azure keeps them: without secrets."""
        what = f"template of deployment '{name}' to {self.where}"
        with our_deployment_errors(what):
            exported, there = await asyncio.gather(
                self._deployments.export_template_at_scope(self.scope, name),
                self._deployments.get_at_scope(self.scope, name),
            )
        template = cast("dict[str, Any] | None", exported.template)
        if not template or there.properties is None:
            raise Permanent(f"Azure gives no {what}.")
        kept = cast("dict[str, dict[str, Any]]", there.properties.parameters or {})
        parameters = {
            name: {part: each[part] for part in ("value", "reference") if part in each} for name, each in kept.items()
        }
        return template, {name: each for name, each in parameters.items() if each}

    async def what_if(self, template: dict[str, Any], parameters: dict[str, Any]) -> list[RawChange]:
        """What deploying it would change; raises `TemplateUnfit` with Azure's words where it would not take it.

        Raises `AzureUnreachable` where it does not say so in time.
        """
        within = self._settings.what_if_timeout_seconds
        try:
            async with asyncio.timeout(within):
                result = await self._ask_what_if(template, parameters)
        except TimeoutError as error:
            raise AzureUnreachable(
                f"Azure did not say within {within:g} s what the deployment to {self.where} would change.",
                remedy="Nothing more was sent. Try again; where the template needs longer, raise "
                "what_if_timeout_seconds in the platform file.",
            ) from error
        if result.get("error"):
            raise TemplateUnfit(
                f"Azure cannot say what the deployment would change: {told(result['error'])}",
                remedy="Nothing was touched. Mend what it names, or name another release.",
            )
        return gather(result.get("properties") or {})

    async def validate(self, name: str, template: dict[str, Any], parameters: dict[str, Any]) -> None:
        """Let Azure look at it as it does before it deploys: its language, policies, quota, and our rights.

        Raises `TemplateUnfit`, `PolicyDenied`, `QuotaExceeded`, `PermissionMissing` in Azure's words.
        """
        body = cast("Any", self._body(template, parameters))
        with our_deployment_errors(f"deployment '{name}' to {self.where}"):
            asked = await self._deployments.begin_validate_at_scope(self.scope, name, body)
            await asked.result()

    async def send(self, name: str, template: dict[str, Any], parameters: dict[str, Any], run: str) -> None:
        """Begin to deploy, incrementally; sent once. It goes on when this returns."""
        body = self._body(template, parameters) | {"tags": {RUN_TAG: run}}
        with our_deployment_errors(f"deployment '{name}' to {self.where}"):
            await self._once.deployments.begin_create_or_update_at_scope(
                self.scope, name, cast("Any", body), polling=False, **ONE_TRY
            )

    async def _ask_what_if(self, template: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        name, wanted = self._settings.deployment, self._body(template, parameters)
        wanted["properties"]["whatIfSettings"] = {"resultFormat": "FullResourcePayloads"}
        with our_deployment_errors(f"what-if of '{name}' for {self.where}"):
            if self._in_group:
                asked = await self._deployments.begin_what_if(self._settings.resource_group, name, cast("Any", wanted))
            else:
                asked = await self._deployments.begin_what_if_at_subscription_scope(name, cast("Any", wanted))
            return (await asked.result()).as_dict()

    def _body(self, template: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        properties = {"mode": "Incremental", "template": template, "parameters": parameters}
        return {"properties": properties} | ({} if self._in_group else {"location": self._settings.location})

    async def list_operations(self, name: str) -> list[Operation]:
        """What a deployment did with each resource so far, those within it looked into."""
        return [each async for each in self._operations(self.scope, name, MOST_DEPTH)]

    async def _operations(self, scope: str, name: str, depth: int) -> AsyncIterator[Operation]:
        with our_deployment_errors(f"operations of deployment '{name}'"):
            pages = self._client.deployment_operations.list_at_scope(scope, name)
            found = [each.properties async for each in pages if each.properties is not None]
        for each in found:
            target = each.target_resource
            if target is None or not target.id:
                continue
            message = each.status_message
            failure = told(message.error.as_dict()) if message is not None and message.error is not None else ""
            kind = target.resource_type or ""
            if kind.lower() == NESTED and depth:
                inner, _, inner_name = target.id.strip("/").rpartition("/providers/Microsoft.Resources/deployments/")
                try:
                    async for own in self._operations(inner, inner_name, depth - 1):
                        yield own
                except ResourceMissing:
                    pass  # it was not begun: what kept it from that is its own operation's failure
                if not failure:
                    continue
            yield Operation(resource=target.id, type=kind, state=each.provisioning_state or "", failure=failure)

    async def list_locks(self) -> tuple[Lock, ...]:
        """Every lock of the subscription, on whatever it is."""
        with our_deployment_errors("locks of the subscription"):
            found = [each async for each in self._locks.management_locks.list_at_subscription_level()]
        return tuple(
            Lock(
                name=each.name or "",
                level=str(each.level),
                scope=(each.id or "").lower().rpartition("/providers/microsoft.authorization/locks/")[0],
                notes=each.notes or "",
            )
            for each in found
        )


def _to_deployment(found: "DeploymentExtended") -> ArmDeployment:
    properties = found.properties
    if properties is None:
        raise Permanent(f"Azure tells nothing about deployment '{found.name}'.")
    return ArmDeployment(
        name=found.name or "",
        state=str(getattr(properties.provisioning_state, "value", properties.provisioning_state)),
        at=properties.timestamp,
        template_hash=properties.template_hash,
        resources=tuple(each.id for each in properties.output_resources or [] if each.id),
        failure=told(properties.error.as_dict()) if properties.error is not None else "",
    )
