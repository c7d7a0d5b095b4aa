"""Where a deployment is: in the subscription or in a group."""

from sandbox.arm import ArmError, Call
from sandbox.deployments.model import ArmDeployment
from sandbox.resources import GROUP, SUBSCRIPTION
from sandbox.state import State
from sandbox.templates.expansion import Scope

KIND = "Microsoft.Resources/deployments"
PATH = f"/providers/{KIND}"
SCOPES = (SUBSCRIPTION, GROUP)


def scope_id(state: State, group: str | None) -> str:
    """The subscription's or the group's resource id."""
    subscription = f"/subscriptions/{state.subscription_id}"
    return subscription if group is None else f"{subscription}/resourceGroups/{group}"


def deployment_id(state: State, group: str | None, name: str) -> str:
    """A deployment's resource id."""
    return f"{scope_id(state, group)}{PATH}/{name}"


def id_of(state: State, deployment: ArmDeployment) -> str:
    """The deployment's resource id."""
    return deployment_id(state, deployment.group, deployment.name)


def scope_of(state: State, deployment: ArmDeployment) -> Scope:
    """What its template's expressions see of where it is."""
    return Scope(state.tenant_id, state.subscription_id, deployment.group, deployment.location, deployment.name)


def group_of(call: Call) -> str | None:
    """The group that a call is about, as it was made; None: the subscription."""
    wanted = call.names.get("group")
    if wanted is None:
        return None
    return next(each for each in call.world.state.groups if each.lower() == wanted.lower())


def within(state: State, group: str | None) -> list[ArmDeployment]:
    """The history of a scope, oldest first."""
    return [each for each in state.arm_deployments if each.group == group]


def find_by_id(state: State, wanted: str) -> ArmDeployment | None:
    """The deployment with this id."""
    return next((each for each in state.arm_deployments if id_of(state, each).lower() == wanted.lower()), None)


def find(call: Call) -> ArmDeployment:
    """The deployment that a call is about, or Azure's 404."""
    name = call.names["deployment"]
    found = find_by_id(call.world.state, deployment_id(call.world.state, group_of(call), name))
    if found is None:
        raise ArmError(404, "DeploymentNotFound", f"Deployment '{name}' could not be found.")
    return found
