"""What a deployment does: each resource when those that it depends on are there, independent ones side by side.

What fails stops what depends on it, and nothing else; what was applied stays. Everything that is known of a deployment
lies in its state, so that it goes on where it was when the sandbox is started again.
"""

import asyncio
import logging
from typing import Any

from sandbox import locking
from sandbox.clock import now
from sandbox.deployments import sending
from sandbox.deployments.model import MOST_KEPT, ArmDeployment, DeploymentOperation
from sandbox.deployments.reading import Answers, RefusedError
from sandbox.deployments.scopes import KIND, find_by_id, id_of, scope_of, within
from sandbox.state import Principal, new_id
from sandbox.templates.expansion import Declared, Expansion, TemplateError, UnsupportedError, expand
from sandbox.world import World

log = logging.getLogger(__name__)

FAILED = (
    "At least one resource deployment operation failed. Please list deployment operations for details. Please see "
    "https://aka.ms/arm-deployment-operations for usage details."
)


def begin(world: World, deployment: ArmDeployment) -> None:
    """Put it into the history of its scope, and let it run."""
    _enter(world, deployment)
    world.save()
    world.start(_run(world, deployment))


def resume(world: World) -> None:
    """Go on with what was under way when the sandbox ended; a nested deployment goes on with its parent."""
    for deployment in world.state.arm_deployments:
        if deployment.active and deployment.parent is None:
            world.start(_run(world, deployment))


def _enter(world: World, deployment: ArmDeployment) -> None:
    """A deployment takes the place of one of its name, and the oldest ones make room."""
    state = world.state
    wanted = id_of(state, deployment).lower()
    kept = [each for each in state.arm_deployments if id_of(state, each).lower() != wanted]
    here = [each for each in within(state, deployment.group) if each in kept and not each.active]
    surplus = here[: max(0, len(here) + 1 - MOST_KEPT)]
    state.arm_deployments = [*(each for each in kept if each not in surplus), deployment]


async def _run(world: World, deployment: ArmDeployment) -> None:
    try:
        expansion = expand(deployment.template, deployment.parameters, scope_of(world.state, deployment))
    except (TemplateError, UnsupportedError) as error:
        _end(world, deployment, {"code": "InvalidTemplate", "message": str(error)})
        return
    await _deploy(world, deployment, expansion)


async def _deploy(world: World, deployment: ArmDeployment, expansion: Expansion) -> None:
    """Deploy what the template declares; the deployment has ended on return."""
    deployment.state = "Running"
    principal = principal_of(world, deployment)
    done = {each.id.lower(): asyncio.Event() for each in expansion.resources}
    failed: dict[str, dict[str, Any]] = {}

    async def one(resource: Declared) -> None:
        try:
            needs = [each.lower() for each in resource.depends_on]
            for each in needs:
                await done[each].wait()
            if deployment.state == "Canceled" or any(each in failed for each in needs):
                failed.setdefault(resource.id.lower(), {})
                return
            error = await _resource(world, deployment, principal, resource)
            if error is not None:
                failed[resource.id.lower()] = error
        finally:
            done[resource.id.lower()].set()

    await asyncio.gather(*(one(each) for each in expansion.resources))
    errors = [each for each in failed.values() if each]
    if errors:
        target = id_of(world.state, deployment)
        _end(world, deployment, {"code": "DeploymentFailed", "target": target, "message": FAILED, "details": errors})
    elif deployment.state == "Running":
        await _finish(world, deployment, principal, expansion)
    else:
        _end(world, deployment, None)


def principal_of(world: World, deployment: ArmDeployment) -> Principal:
    """In whose name it writes."""
    return next(each for each in world.state.principals if each.object_id == deployment.by)


async def _finish(world: World, deployment: ArmDeployment, principal: Principal, expansion: Expansion) -> None:
    answers = Answers(world, principal)
    try:
        deployment.outputs = await answers.evaluate(lambda: expansion.outputs(answers))
    except TemplateError as error:
        _end(world, deployment, {"code": error.code, "message": error.message})
    except RefusedError as error:
        _end(world, deployment, error.error)
    else:
        _end(world, deployment, None)


def _end(world: World, deployment: ArmDeployment, error: dict[str, Any] | None) -> None:
    if deployment.state != "Canceled":
        deployment.state = "Failed" if error is not None else "Succeeded"
    deployment.error, deployment.ended = error, now()
    deployment.parameters = {}
    if error is not None:
        log.warning("deployment %s failed: %s", deployment.name, error["code"])
    world.save()


async def _resource(
    world: World, deployment: ArmDeployment, principal: Principal, resource: Declared
) -> dict[str, Any] | None:
    """Deploy one resource; the error with which that failed."""
    operation = _operation(deployment, resource)
    if operation.state == "Succeeded":
        return None
    operation.state = "Running"
    world.save()
    error: dict[str, Any] | None = None
    status = "OK"
    try:
        await _hold(world, deployment, resource)
        await _apply(world, deployment, principal, resource)
    except RefusedError as refused:
        error, status = refused.error, WORDS.get(refused.status, "InternalServerError")
    except TemplateError as invalid:
        error, status = {"code": invalid.code, "message": invalid.message}, "BadRequest"
    except UnsupportedError as unsupported:
        error, status = {"code": "NotImplementedInSandbox", "message": str(unsupported)}, "NotImplemented"
    operation.state = "Succeeded" if error is None else "Failed"
    operation.status_code, operation.error, operation.ended = status, error, now()
    world.save()
    return {**error, "target": error.get("target", resource.id)} if error is not None else None


WORDS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    429: "TooManyRequests",
    501: "NotImplemented",
}


def _operation(deployment: ArmDeployment, resource: Declared) -> DeploymentOperation:
    wanted = resource.id.lower()
    found = next((each for each in deployment.operations if each.resource_id.lower() == wanted), None)
    if found is None:
        found = DeploymentOperation(id=new_id().replace("-", "")[:16].upper(), resource_id=resource.id)
        deployment.operations.append(found)
    return found


async def _hold(world: World, deployment: ArmDeployment, resource: Declared) -> None:
    """A fault keeps the resource from ending, until it is repaired or the deployment cancelled."""
    while deployment.state == "Running" and any(  # noqa: ASYNC110 -- kept in the state, where no event can be
        each.name == sending.NEVER_ENDS and sending.concerns(each, resource) for each in world.state.faults
    ):
        await asyncio.sleep(sending.LOOK_SECONDS)
    if deployment.state == "Canceled":
        message = f"The operation on '{resource.id}' was canceled."
        raise RefusedError(409, {"code": "OperationPreempted", "message": message})


async def _apply(world: World, deployment: ArmDeployment, principal: Principal, resource: Declared) -> None:
    answers = Answers(world, principal)
    if resource.type.lower() == KIND.lower():
        await _nest(world, deployment, principal, resource)
        return
    body = await answers.evaluate(lambda: resource.body(answers))
    await sending.write(world, principal, id_of(world.state, deployment), resource, body)


async def _nest(world: World, deployment: ArmDeployment, principal: Principal, resource: Declared) -> None:
    """A nested deployment, in the history of its own scope."""
    answers = Answers(world, principal)
    refusal = locking.refusal(world.state, "PUT", resource.id, f"{KIND}/write")
    if refusal is not None:
        raise RefusedError(409, {"code": "ScopeLocked", "message": refusal})
    expansion = await answers.evaluate(lambda: resource.nested(answers))
    child = find_by_id(world.state, resource.id)
    parent = id_of(world.state, deployment)
    if child is None or not child.active or child.parent != parent:
        child = _child(world, deployment, resource, expansion)
        _enter(world, child)
    await _deploy(world, child, expansion)
    if child.error is not None:
        raise RefusedError(409, child.error)


def _child(world: World, deployment: ArmDeployment, resource: Declared, expansion: Expansion) -> ArmDeployment:
    parts = resource.id.split("/")
    return ArmDeployment(
        name=resource.name,
        group=parts[4] if parts[3].lower() == "resourcegroups" else None,
        location=world.state.location,
        template=expansion.template,
        shown_parameters=expansion.shown_parameters,
        parent=id_of(world.state, deployment),
        by=deployment.by,
        correlation_id=deployment.correlation_id,
    )


def cancel(world: World, deployment: ArmDeployment) -> None:
    """What has not begun does not begin; what is under way is written to its end."""
    deployment.state = "Canceled"
    own = id_of(world.state, deployment)
    for child in world.state.arm_deployments:
        if child.active and child.parent == own:
            cancel(world, child)
    world.save()
