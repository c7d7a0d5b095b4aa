"""The operations on deployments of the subscription and of groups."""

import asyncio
import re
from typing import Any

from aiohttp import web

from sandbox.arm import HOST, ArmError, Call, Handler, Route, collection, missing
from sandbox.deployments import checks, running
from sandbox.deployments.model import ArmDeployment, WhatIfResult
from sandbox.deployments.scopes import KIND, PATH, SCOPES, find, group_of, id_of, scope_id, within
from sandbox.deployments.shown import deployment_json, operation_json
from sandbox.deployments.what_if import predict
from sandbox.deployments.wish import Wish, read
from sandbox.resources import SUBSCRIPTION
from sandbox.state import new_id
from sandbox.templates.expansion import Expansion
from sandbox.web.operations import retry_after

DEPLOYMENT = PATH + "/{deployment}"
FILTER = re.compile(r"provisioningState eq '(\w+)'", re.IGNORECASE)
MOST_RESULTS = 100
"""What-ifs whose results are kept."""


def _made(call: Call, wish: Wish, expansion: Expansion, location: str) -> ArmDeployment:
    debug = wish.properties.debug
    return ArmDeployment(
        name=call.names["deployment"],
        group=group_of(call),
        location=location,
        mode=wish.properties.mode,
        template=wish.template,
        parameters=wish.properties.parameters or {},
        shown_parameters=expansion.shown_parameters,
        by=call.principal.object_id,
        tags=wish.tags,
        debug=debug.level if debug is not None else None,
        correlation_id=call.request.headers.get("x-ms-correlation-request-id", call.request_id),
    )


async def _put(call: Call) -> web.Response:
    wish = read(call)
    scope = checks.scope_wanted(call, wish)
    expansion = checks.expanded(call, wish, scope)
    deployment = _made(call, wish, expansion, scope.location)
    checks.require_free(call, deployment)
    checks.preflight(call, expansion)
    running.begin(call.world, deployment)
    base = f"https://{HOST}{id_of(call.world.state, deployment)}/operationStatuses/{deployment.tracking_id}"
    headers = {
        "Azure-AsyncOperation": f"{base}?api-version={call.request.query['api-version']}",
        **retry_after(call.world.pace.retry_after, first=True),
    }
    return web.json_response(deployment_json(call.world.state, deployment), status=201, headers=headers)


async def _validate(call: Call) -> web.Response:
    wish = read(call)
    scope = checks.scope_wanted(call, wish)
    expansion = checks.expanded(call, wish, scope)
    deployment = _made(call, wish, expansion, scope.location)
    checks.require_free(call, deployment)
    checks.preflight(call, expansion)
    deployment.state = "Succeeded"
    shown = deployment_json(call.world.state, deployment)
    resources = [{"id": each.id} for each in checks.every(expansion, scope.location)]
    shown["properties"] |= {"validatedResources": resources}
    shown["properties"].pop("outputs")
    return web.json_response(shown)


async def _what_if(call: Call) -> web.Response:
    """Told from the state at this moment; the client comes back for it."""
    wish = read(call)
    scope = checks.scope_wanted(call, wish)
    expansion = checks.expanded(call, wish, scope)
    checks.preflight(call, expansion)
    body = await predict(call, wish, expansion)
    results, token = call.world.what_ifs, new_id()
    results[token] = WhatIfResult(asyncio.get_running_loop().time() + call.world.pace.what_if, body)
    for old in list(results)[:-MOST_RESULTS]:
        del results[old]
    return _come_back(call, token, first=True)


def _come_back(call: Call, token: str, *, first: bool) -> web.Response:
    path = f"/subscriptions/{call.world.state.subscription_id}/operationresults/{token}"
    location = f"https://{HOST}{path}?api-version={call.request.query['api-version']}"
    return web.Response(
        status=202, headers={"Location": location, **retry_after(call.world.pace.retry_after, first=first)}
    )


async def _what_if_result(call: Call) -> web.Response:
    token = call.names["result"]
    result = call.world.what_ifs.get(token)
    if result is None:
        raise ArmError(404, "OperationResultNotFound", f"The operation result '{token}' could not be found.")
    if asyncio.get_running_loop().time() < result.ready_at:
        return _come_back(call, token, first=False)
    return web.json_response(result.body)


async def _get(call: Call) -> web.Response:
    return web.json_response(deployment_json(call.world.state, find(call)))


async def _head(call: Call) -> web.Response:
    try:
        find(call)
    except ArmError:
        return web.Response(status=404)
    return web.Response(status=204)


async def _list(call: Call) -> web.Response:
    """Newest first."""
    text, top = call.request.query.get("$filter", "").strip(), call.request.query.get("$top")
    wanted = FILTER.fullmatch(text)
    if text and wanted is None:
        raise missing(call.request, f"the filter {text!r} is not honoured")
    state = call.world.state
    found = sorted(within(state, group_of(call)), key=lambda each: each.ended or each.begun, reverse=True)
    shown = [each for each in found if wanted is None or each.state.lower() == wanted[1].lower()]
    most = int(top) if top is not None and top.isdecimal() else len(shown)
    return collection([deployment_json(state, each) for each in shown[:most]])


async def _list_operations(call: Call) -> web.Response:
    deployment, top = find(call), call.request.query.get("$top")
    shown = [operation_json(call.world.state, deployment, each) for each in deployment.operations]
    return collection(shown[: int(top) if top is not None and top.isdecimal() else len(shown)])


async def _get_operation(call: Call) -> web.Response:
    deployment, wanted = find(call), call.names["operation"]
    found = next((each for each in deployment.operations if each.id.lower() == wanted.lower()), None)
    if found is None:
        message = f"The deployment operation '{wanted}' could not be found."
        raise ArmError(404, "DeploymentOperationNotFound", message)
    return web.json_response(operation_json(call.world.state, deployment, found))


async def _status(call: Call) -> web.Response:
    deployment = find(call)
    if deployment.tracking_id != call.names["status"].lower():
        message = f"The operation status '{call.names['status']}' could not be found."
        raise ArmError(404, "OperationStatusNotFound", message)
    told: dict[str, Any] = {"status": deployment.state}
    if deployment.error is not None:
        told["error"] = deployment.error
    waits = retry_after(call.world.pace.retry_after, first=False) if deployment.active else {}
    return web.json_response(told, headers=waits)


async def _export(call: Call) -> web.Response:
    return web.json_response({"template": find(call).template})


async def _cancel(call: Call) -> web.Response:
    deployment = find(call)
    if not deployment.active:
        message = (
            f"The deployment '{deployment.name}' cannot be cancelled because it is in the terminal provisioning state "
            f"'{deployment.state}'."
        )
        raise ArmError(409, "DeploymentCannotBeCancelled", message)
    running.cancel(call.world, deployment)
    return web.Response(status=204)


async def _delete(call: Call) -> web.Response:
    """Out of the history; what it deployed stays."""
    try:
        deployment = find(call)
    except ArmError:
        return web.Response(status=204)
    if deployment.active:
        message = f"Unable to delete deployment '{deployment.name}': it is still active."
        raise ArmError(409, "DeploymentActive", message)
    call.world.state.arm_deployments.remove(deployment)
    call.world.save()
    location = f"https://{HOST}{scope_id(call.world.state, None)}/operationresults/{_gone(call)}"
    headers = {"Location": f"{location}?api-version={call.request.query['api-version']}"}
    return web.Response(status=202, headers={**headers, **retry_after(call.world.pace.retry_after, first=True)})


def _gone(call: Call) -> str:
    """A result without a body: the deletion is done."""
    token = new_id()
    call.world.what_ifs[token] = WhatIfResult(asyncio.get_running_loop().time(), {})
    return token


def _at(scope: str) -> list[Route]:
    def route(
        method: str, path: str, action: str, handler: Handler, query: str = "", *, lenient: bool = False
    ) -> Route:
        return Route(method, scope + path, f"{KIND}/{action}", handler, frozenset(query.split()), lenient)

    return [
        route("GET", PATH, "read", _list, "$filter $top"),
        route("GET", DEPLOYMENT, "read", _get),
        route("HEAD", DEPLOYMENT, "read", _head),
        route("PUT", DEPLOYMENT, "write", _put, lenient=True),
        route("DELETE", DEPLOYMENT, "delete", _delete),
        route("POST", DEPLOYMENT + "/validate", "validate/action", _validate, lenient=True),
        route("POST", DEPLOYMENT + "/whatIf", "whatIf/action", _what_if, lenient=True),
        route("POST", DEPLOYMENT + "/cancel", "cancel/action", _cancel),
        route("POST", DEPLOYMENT + "/exportTemplate", "exportTemplate/action", _export),
        *(
            route("GET", base + path, "operations/read", handler, "$top")
            # Both are Azure's: the SDKs ask a group's without the provider.
            for base in (DEPLOYMENT, "/deployments/{deployment}")
            for path, handler in (("/operations", _list_operations), ("/operations/{operation}", _get_operation))
        ),
        route("GET", DEPLOYMENT + "/operationStatuses/{status}", "operationStatuses/read", _status),
    ]


ROUTES = [
    *(route for scope in SCOPES for route in _at(scope)),
    # Whoever has its name may have the result.
    Route("GET", SUBSCRIPTION + "/operationresults/{result}", "", _what_if_result),
]
