"""What was deployed before the sandbox began: v1.2.3's template, and what people changed by hand since then.

The platform's parts furnish themselves; here they get what the template says besides. Two things are not as the
template has them: somebody tagged the plan, and somebody switched HTTP/2 off.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sandbox.clock import now
from sandbox.deployments.model import ArmDeployment, DeploymentOperation
from sandbox.fundrbolt.infrastructure.sources import NEWEST, PARAMETERS, TEMPLATE, sources_of
from sandbox.providers import kinds
from sandbox.providers.model import PlainResource
from sandbox.state import PRODUCTION, ManagementLock, Site, State, new_id
from sandbox.templates.expansion import Declared, Expansion, NotYetError, Scope, expand

NAME = "fundrbolt-infrastructure"
AGE, LENGTH = timedelta(minutes=26), timedelta(minutes=4, seconds=12)
SECRETS = ("administratorPassword", "appPassword")
"""Parameters whose values are not kept."""
BY_HAND = {"hotfix": "2026-11"}
PLAN = "Microsoft.Web/serverfarms"
NESTED = "microsoft.resources/deployments"


class Then:
    """What run-time functions see of the platform in the beginning, as far as the template's outputs need it."""

    def __init__(self, state: State, inner: dict[str, Any] | None = None) -> None:
        self._state, self._inner = state, inner

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        """A site, a database server, or the nested deployment."""
        name = resource_id.rpartition("/")[2]
        if self._inner is not None and "/deployments/" in resource_id:
            return {"outputs": self._inner}
        server = self._state.find_database_server(name)
        if server is not None:
            return {"fullyQualifiedDomainName": server.address}
        site = next((each for each in self._state.sites if each.name == name), None)
        if site is None:
            raise NotYetError(resource_id)
        return {"defaultHostName": site.slots[PRODUCTION].host}

    def listing(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        """Nothing needs a key then."""
        raise NotYetError(resource_id)

    def group_location(self, name: str) -> str:
        """Every group is in the platform's region."""
        return self._state.location


def furnish(state: State) -> None:
    """Add the deployment and what it made; call it when the rest of the platform is there."""
    files = sources_of(NEWEST)
    template, given = json.loads(files[TEMPLATE]), json.loads(files[PARAMETERS])["parameters"]
    scope = Scope(state.tenant_id, state.subscription_id, None, state.location, NAME)
    outer = expand(template, given | {name: {"value": ""} for name in SECRETS}, scope)
    resource = next(each for each in outer.resources if each.type.lower() == NESTED)
    inner = resource.nested(Then(state))
    for each in inner.resources:
        _apply(state, each)
    begun = now() - AGE
    made = inner.outputs(Then(state))
    child = _deployment(state, inner, resource.name, begun, made)
    child.parent, child.group = (
        f"{scope.id}/providers/Microsoft.Resources/deployments/{NAME}",
        resource.id.split("/")[4],
    )
    parent = _deployment(state, outer, NAME, begun, outer.outputs(Then(state, made)))
    child.correlation_id = parent.correlation_id
    state.arm_deployments = [child, parent]
    for plan in state.plain_resources:
        if plan.type == PLAN and f"{PRODUCTION}-plan" in plan.id:
            plan.tags = plan.tags | BY_HAND


def _deployment(
    state: State, expansion: Expansion, name: str, begun: datetime, outputs: dict[str, Any]
) -> ArmDeployment:
    who = next(each for each in state.principals if each.name == "deployer")
    ended = begun + LENGTH
    return ArmDeployment(
        name=name,
        group=None,
        location=state.location,
        template=expansion.template,
        shown_parameters=expansion.shown_parameters,
        by=who.object_id,
        state="Succeeded",
        begun=begun,
        ended=ended,
        operations=[
            DeploymentOperation(
                id=new_id().replace("-", "")[:16].upper(),
                resource_id=each.id,
                state="Succeeded",
                status_code="OK",
                begun=begun,
                ended=ended,
            )
            for each in expansion.resources
        ],
        outputs=outputs,
    )


def _apply(state: State, resource: Declared) -> None:
    """Let the state have what the template says of a resource, where its service has not furnished that itself."""
    kind = kinds.find(resource.type)
    if kind is not None:
        _keep(state, resource, kind.type)
    elif resource.type in APPLIED:
        APPLIED[resource.type](state, resource, resource.body(Then(state)))


def _keep(state: State, resource: Declared, kind: str) -> None:
    body = resource.body(Then(state))
    parts = {name: body[name] for name in ("sku", "kind", "identity") if name in body}
    made = PlainResource(
        id=resource.id,
        type=kind,
        location=body["location"],
        tags=body.get("tags", {}),
        parts=parts,
        properties=body.get("properties", {}),
        created=now() - AGE,
    )
    kept = [each for each in state.plain_resources if each.id.lower() != resource.id.lower()]
    state.plain_resources = [*kept, made]


def _lock(state: State, resource: Declared, body: dict[str, Any]) -> None:
    scope = resource.id.rpartition("/providers/")[0]
    level, notes = body["properties"]["level"], body["properties"].get("notes")
    state.locks.append(ManagementLock(name=resource.name, scope=scope, level=level, notes=notes))


def _configure(state: State, resource: Declared, body: dict[str, Any]) -> None:
    name, part = resource.name.split("/")
    if part == "appsettings":
        site = _site(state, name)
        site.slots[PRODUCTION].content.settings |= body["properties"]


def _site(state: State, name: str) -> Site:
    return next(each for each in state.sites if each.name == name)


def _tag_vault(state: State, resource: Declared, body: dict[str, Any]) -> None:
    vault = state.find_vault(resource.name)
    if vault is not None:
        vault.tags = body["tags"]


def _tag_static_site(state: State, resource: Declared, body: dict[str, Any]) -> None:
    site = state.find_static_site(resource.name)
    if site is not None:
        site.tags = body["tags"]


APPLIED: dict[str, Callable[[State, Declared, dict[str, Any]], None]] = {
    "Microsoft.Authorization/locks": _lock,
    "Microsoft.Web/sites/config": _configure,
    "Microsoft.KeyVault/vaults": _tag_vault,
    "Microsoft.Web/staticSites": _tag_static_site,
}
