"""How a deployment writes one resource: by its provider's own PUT, to the end of the operation that this begins."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from sandbox.asking import Answer, Question
from sandbox.deployments.model import ArmWrite
from sandbox.deployments.reading import RefusedError
from sandbox.faults import number, take, text
from sandbox.state import Fault, Principal
from sandbox.templates.expansion import Declared
from sandbox.world import World

FAILS, SLOW, NEVER_ENDS = "arm-deployment-fails", "arm-deployment-slow", "arm-deployment-never-ends"
LOOK_SECONDS = 0.05
MOST_TRIES = 200
BUSY = ("AnotherOperationInProgress", "ServerIsBusy", "RetryableError", "Conflict")
"""409 for now: somebody else's operation is in progress, and a deployment tries again."""
INTERNAL = {
    "code": "InternalServerError",
    "message": "There was an unexpected InternalServerError. Please try again later.",
}


def concerns(fault: Fault, resource: Declared) -> bool:
    """Whether a fault is about this resource: its options name a type, a name, or nothing."""
    wanted = (text(fault, "type").lower(), text(fault, "name").lower())
    return all(each in ("", found.lower()) for each, found in zip(wanted, (resource.type, resource.name), strict=True))


async def write(world: World, principal: Principal, deployment: str, resource: Declared, body: dict[str, Any]) -> None:
    """The resource is as the template has it on return, or `RefusedError` with its provider's words."""
    await asyncio.sleep(world.pace.resource_write + _slowness(world, resource))
    if take(world, FAILS, matches=lambda fault: concerns(fault, resource)) is not None:
        raise RefusedError(500, dict(INTERNAL))
    answer = await _put(world, principal, resource, body)
    world.state.arm_writes.append(ArmWrite(deployment=deployment, resource_id=resource.id, status=answer.status))
    world.save()
    if answer.status >= 400:
        raise RefusedError(answer.status, answer.error)
    await _finish(world, principal, resource, answer)


def _slowness(world: World, resource: Declared) -> float:
    found = [number(each, "seconds") for each in world.state.faults if each.name == SLOW and concerns(each, resource)]
    return max(found, default=0.0)


async def _put(world: World, principal: Principal, resource: Declared, body: dict[str, Any]) -> Answer:
    question = Question("PUT", resource.id, resource.api_version, principal, body)
    answer = await world.arm.ask(question)
    tries = 0
    while answer.status == 409 and answer.error["code"] in BUSY and tries < MOST_TRIES:
        tries += 1
        await asyncio.sleep(world.pace.resource_write + LOOK_SECONDS)
        answer = await world.arm.ask(question)
    return answer


async def _finish(world: World, principal: Principal, resource: Declared, answer: Answer) -> None:
    """Wait for the operation that an accepted request began."""
    address = answer.headers.get("Azure-AsyncOperation")
    while address is not None:
        await asyncio.sleep(LOOK_SECONDS)
        path = urlsplit(address).path
        told = await world.arm.ask(Question("GET", path, resource.api_version, principal, trusted=True))
        status = told.status_word
        if told.status >= 400 or status in ("Failed", "Canceled"):
            raise RefusedError(409, _terminal(resource, told, status))
        if status == "Succeeded":
            return


def _terminal(resource: Declared, told: Answer, status: str) -> dict[str, Any]:
    return {
        "code": "ResourceDeploymentFailure",
        "target": resource.id,
        "message": "The resource write operation failed to complete successfully, because it reached terminal "
        f"provisioning state '{status}'.",
        "details": [told.error],
    }
