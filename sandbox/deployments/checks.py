"""What is refused before anything is written: ARM's validation, and the preflight of what the template declares.

The preflight finds permissions that the caller lacks, what a policy denies and quotas, all of them at once. It does not
look at locks: Azure notices those when it writes. The words for a subscription's `Complete` are the sandbox's own.
"""

import re
from collections.abc import Iterator
from typing import Any

from sandbox import rbac
from sandbox.arm import ArmError, Call, missing
from sandbox.deployments.model import MOST_KEPT, ArmDeployment
from sandbox.deployments.reading import AnswerWantedError, NotYet
from sandbox.deployments.scopes import KIND, find_by_id, group_of, id_of, within
from sandbox.deployments.wish import Wish
from sandbox.faults import take, text
from sandbox.state import Fault
from sandbox.templates.expansion import Declared, Expansion, NotYetError, Scope, TemplateError, UnsupportedError, expand

POLICY, QUOTA = "arm-policy-denies", "arm-quota"
MOST_NAME = 64
NAME = re.compile(r"[-\w._()]+")


def expanded(call: Call, wish: Wish, scope: Scope) -> Expansion:
    """The template with its parameters, or Azure's 400; 501 by name for what is not done here."""
    try:
        return expand(wish.template, wish.properties.parameters or {}, scope)
    except TemplateError as error:
        raise ArmError(400, error.code, error.message) from error
    except UnsupportedError as error:
        raise missing(call.request, str(error)) from error


def scope_wanted(call: Call, wish: Wish) -> Scope:
    """Where the request wants its template deployed; refused where there is no such place."""
    state, group, name = call.world.state, group_of(call), call.names["deployment"]
    if len(name) > MOST_NAME or NAME.fullmatch(name) is None:
        message = f"The provided deployment name '{name}' has invalid characters, or is longer than {MOST_NAME}."
        raise ArmError(400, "InvalidDeploymentName", message)
    if group is not None and wish.location:
        message = "The 'location' property is not allowed for a deployment at resource group scope."
        raise ArmError(400, "InvalidDeploymentLocation", message)
    if group is None and not wish.location:
        message = "The 'location' property must be specified for a deployment at subscription scope."
        raise ArmError(400, "LocationRequired", message)
    if wish.properties.mode == "Complete":
        raise _complete(call, group)
    location = state.location if group is not None else (wish.location or "").replace(" ", "").lower()
    return Scope(state.tenant_id, state.subscription_id, group, location, name)


def _complete(call: Call, group: str | None) -> ArmError:
    if group is not None:
        return missing(call.request, "mode Complete, which deletes what is not in the template, is not honoured")
    message = "The deployment mode 'Complete' is not supported for deployments at subscription scope."
    return ArmError(400, "InvalidDeploymentMode", message)


def require_free(call: Call, deployment: ArmDeployment) -> None:
    """409 while one of that name runs, or where it was made in another region."""
    state, name = call.world.state, deployment.name
    old = find_by_id(state, id_of(state, deployment))
    if old is None:
        _require_room(call, deployment)
        return
    if old.active:
        raise ArmError(
            409,
            "DeploymentActive",
            f"Unable to edit or replace deployment '{name}': previous deployment from '{old.begun:%m/%d/%Y %H:%M:%S}' "
            "is still active. Please see https://aka.ms/arm-deployment-operations for usage details.",
        )
    if old.location != deployment.location:
        raise ArmError(
            409,
            "InvalidDeploymentLocation",
            f"Invalid deployment location '{deployment.location}'. The deployment '{name}' already exists in location "
            f"'{old.location}'.",
        )


def _require_room(call: Call, deployment: ArmDeployment) -> None:
    """A lock against deletions keeps Azure from pruning the history."""
    state = call.world.state
    scope = id_of(state, deployment).rpartition("/providers/")[0]
    locked = any(rbac.covers(each.scope, scope) for each in state.locks)
    if locked and len(within(state, deployment.group)) >= MOST_KEPT:
        raise ArmError(
            409,
            "DeploymentQuotaExceeded",
            f"Creating the deployment '{deployment.name}' would exceed the quota of '{MOST_KEPT}'. The current "
            f"deployment count is '{MOST_KEPT}'. Please delete some deployments before creating a new one, see "
            "https://aka.ms/ARMDeploymentQuotaExceeded for more information.",
        )


def every(expansion: Expansion, location: str) -> Iterator[Declared]:
    """The template's resources and those of nested templates, as far as they can be told beforehand."""
    reader = NotYet(location)
    for resource in expansion.resources:
        yield resource
        if resource.type.lower() == KIND.lower():
            try:
                inner = resource.nested(reader)
            except (NotYetError, AnswerWantedError):
                continue
            yield from every(inner, location)


def preflight(call: Call, expansion: Expansion) -> None:
    """Refuse with everything that speaks against it."""
    try:
        resources = list(every(expansion, call.world.state.location))
    except TemplateError as error:
        raise ArmError(400, error.code, error.message) from error
    except UnsupportedError as error:
        raise missing(call.request, str(error)) from error
    for resource in resources:
        if call.world.arm.action_of("PUT", resource.id) is None:
            raise missing(call.request, f"resources of type {resource.type} ({resource.id}) are not deployed here")
    forbidden = [each for resource in resources if (each := _forbidden(call, resource)) is not None]
    if forbidden:
        message = f"Deployment failed with multiple errors: '{':'.join(each['message'] for each in forbidden)}'"
        raise ArmError(403, "InvalidTemplateDeployment", message, details=forbidden)
    denied = [each for resource in resources if (each := _denied(call, resource)) is not None]
    if denied:
        message = "The template deployment failed because of policy violation. Please see details for more information."
        raise ArmError(400, "InvalidTemplateDeployment", message, details=denied)
    if (fault := take(call.world, QUOTA)) is not None:
        raise _over_quota(call, fault)


def _forbidden(call: Call, resource: Declared) -> dict[str, Any] | None:
    action = call.world.arm.action_of("PUT", resource.id) or ""
    if call.may(action, resource.id):
        return None
    who = call.principal
    return {
        "code": "AuthorizationFailed",
        "target": resource.id,
        "message": f"Authorization failed for template resource '{resource.name}' of type '{resource.type}'. The "
        f"client '{who.user_name or who.client_id}' with object id '{who.object_id}' does not have permission to "
        f"perform action '{action}' at scope '{resource.id}'.",
    }


def _denied(call: Call, resource: Declared) -> dict[str, Any] | None:
    fault = next((each for each in call.world.state.faults if each.name == POLICY and _is_about(each, resource)), None)
    if fault is None:
        return None
    base = f"/subscriptions/{call.world.state.subscription_id}/providers/Microsoft.Authorization"
    policy = text(fault, "policy")
    return {
        "code": "RequestDisallowedByPolicy",
        "target": resource.name,
        "message": f"Resource '{resource.name}' was disallowed by policy. Policy identifiers: "
        f'\'[{{"policyAssignment":{{"name":"{policy}","id":"{base}/policyAssignments/{policy}"}},'
        f'"policyDefinition":{{"name":"{policy}","id":"{base}/policyDefinitions/{policy}"}}}}]\'.',
        "additionalInfo": [
            {
                "type": "PolicyViolation",
                "info": {
                    "policyAssignmentName": policy,
                    "policyAssignmentId": f"{base}/policyAssignments/{policy}",
                    "policyDefinitionName": policy,
                    "policyDefinitionId": f"{base}/policyDefinitions/{policy}",
                    "policyDefinitionEffect": "deny",
                },
            }
        ],
    }


def _is_about(fault: Fault, resource: Declared) -> bool:
    wanted = text(fault, "type").lower()
    return wanted in ("", resource.type.lower())


def _over_quota(call: Call, fault: Fault) -> ArmError:
    what = text(fault, "quota")
    inner = {
        "code": "QuotaExceeded",
        "message": f"Operation could not be completed as it results in exceeding approved {what} quota. Additional "
        f"details - Deployment Model: Resource Manager, Location: {call.world.state.location}, Current Limit: 4, "
        "Current Usage: 4, Additional Required: 1.",
    }
    message = (
        f"The template deployment '{call.names['deployment']}' is not valid according to the validation procedure. The "
        f"tracking id is '{call.request_id}'. See inner errors for details."
    )
    return ArmError(400, "InvalidTemplateDeployment", message, details=[inner])
