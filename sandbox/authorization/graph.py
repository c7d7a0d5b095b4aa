"""graph.microsoft.com: who is behind an object id or a name, as the Azure CLI asks. Anybody who signed in may ask."""

import re
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from sandbox.arm import missing
from sandbox.authorization.people import everybody
from sandbox.directory import GRAPH
from sandbox.entra import Entra, TokenRefusedError
from sandbox.state import Principal
from sandbox.world import World

HOST = "graph.microsoft.com"
COLLECTIONS = {"users": "User", "servicePrincipals": "ServicePrincipal", "groups": "Group"}
BY_NAME = re.compile(
    r"(?:userPrincipalName|appId|displayName|id) eq '([^']*)'|servicePrincipalNames/any\(c:\s?c eq '([^']*)'\)"
)


class Wanted(BaseModel):
    """Which objects."""

    ids: list[str]


class GraphError(Exception):
    """An answer that is an error, in Microsoft Graph's shape."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Graph:
    """Answers for the directory."""

    def __init__(self, world: World, entra: Entra) -> None:
        self._world = world
        self._entra = entra

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        try:
            caller = self._entra.verify(request.headers.get("Authorization"), GRAPH)
            request["principal"] = caller.name
            return web.json_response(await self._answer(request, caller))
        except TokenRefusedError as error:
            return _error(GraphError(401, "InvalidAuthenticationToken", str(error)))
        except GraphError as error:
            return _error(error)

    async def _answer(self, request: web.Request, caller: Principal) -> dict[str, Any]:
        match request.method, request.path.strip("/").split("/")[1:]:
            case "GET", ["me"]:
                return _object_json(caller)
            case "POST", ["directoryObjects", "getByIds"]:
                ids = _wanted(await request.read())
                return {"value": [_object_json(each) for each in everybody(self._world.state) if each.object_id in ids]}
            case "GET", ["groups", group, "members"]:
                members = [each for each in self._world.state.principals if group in each.groups]
                return {"value": [_object_json(each) for each in members]}
            case "GET", [kind, name] if kind in COLLECTIONS:
                return _object_json(self._one(kind, name))
            case "GET", [kind] if kind in COLLECTIONS:
                return {"value": [_object_json(each) for each in self._several(request, kind)]}
            case _:
                raise missing(request, "Microsoft Graph is there for names only")

    def _of_kind(self, kind: str) -> list[Principal]:
        return [each for each in everybody(self._world.state) if each.kind == COLLECTIONS[kind]]

    def _one(self, kind: str, name: str) -> Principal:
        found = next((each for each in self._of_kind(kind) if name.lower() in _names(each)), None)
        if found is None:
            message = (
                f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
            )
            raise GraphError(404, "Request_ResourceNotFound", message)
        return found

    def _several(self, request: web.Request, kind: str) -> list[Principal]:
        text = request.query.get("$filter")
        if text is None:
            return self._of_kind(kind)
        match = BY_NAME.fullmatch(text)
        if match is None:
            raise GraphError(400, "Request_UnsupportedQuery", f"Unsupported or invalid query filter clause: {text}")
        return [each for each in self._of_kind(kind) if (match[1] or match[2]).lower() in _names(each)]


def _wanted(body: bytes) -> list[str]:
    try:
        return Wanted.model_validate_json(body).ids
    except ValidationError as error:
        raise GraphError(400, "BadRequest", "Unable to read JSON request payload.") from error


def _names(principal: Principal) -> list[str]:
    every = (principal.object_id, principal.client_id, principal.user_name, principal.display_name.lower())
    return [name for name in every if name is not None]


def _object_json(principal: Principal) -> dict[str, Any]:
    common = {"id": principal.object_id, "displayName": principal.display_name}
    if principal.kind == "User":
        return {**common, "@odata.type": "#microsoft.graph.user", "userPrincipalName": principal.user_name}
    if principal.kind == "Group":
        return {**common, "@odata.type": "#microsoft.graph.group", "securityEnabled": True}
    return {
        **common,
        "@odata.type": "#microsoft.graph.servicePrincipal",
        "appId": principal.client_id,
        "servicePrincipalNames": [principal.client_id],
    }


def _error(error: GraphError) -> web.Response:
    return web.json_response({"error": {"code": error.code, "message": str(error)}}, status=error.status)
