"""What a server has besides: firewall rules, backups, databases. And whether a name for a new server is free."""

import asyncio
import ipaddress
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandbox.arm import ArmError, Call, Route, collection
from sandbox.clock import now
from sandbox.faults import number, take
from sandbox.postgresql.model import Backup, FirewallRule, FlexibleServer, ServerOperation
from sandbox.postgresql.operations import LOCATION, PROVIDER, SERVER, TYPE, begin, register, require_ready, server_of
from sandbox.postgresql.servers import find, operation, server_id
from sandbox.resources import SUBSCRIPTION
from sandbox.world import World

RULE_FAILS, BACKUPS_THROTTLED = "pg-firewall-fails", "pg-backups-throttled"
RULES, BACKUPS, DATABASES = (f"{SERVER}/{kind}" for kind in ("firewallRules", "backups", "databases"))
LIST_DATABASES = b"""\
SELECT datname, pg_encoding_to_char(encoding), datcollate FROM pg_database
WHERE NOT datistemplate ORDER BY datname"""


class Range(BaseModel):
    """The properties of a firewall rule."""

    model_config = ConfigDict(populate_by_name=True)

    start: ipaddress.IPv4Address = Field(alias="startIpAddress")
    end: ipaddress.IPv4Address = Field(alias="endIpAddress")


class RuleBody(BaseModel):
    """Azure's FirewallRule."""

    properties: Range


class NameBody(BaseModel):
    """Azure's CheckNameAvailabilityRequest."""

    name: str
    type: str = TYPE


def child_json(
    world: World, server: FlexibleServer, kind: str, name: str, properties: dict[str, Any]
) -> dict[str, Any]:
    """One of a server's children."""
    return {
        "id": f"{server_id(world.state, server)}/{kind}/{name}",
        "name": name,
        "type": f"{TYPE}/{kind}",
        "properties": properties,
    }


def _no_child(kind: str, name: str) -> ArmError:
    message = f"The requested resource of type '{TYPE}/{kind}' with name '{name}' was not found."
    return ArmError(404, "ResourceNotFound", message)


def _rule_json(world: World, server: FlexibleServer, rule: FirewallRule) -> dict[str, Any]:
    properties = {"startIpAddress": rule.start, "endIpAddress": rule.end}
    return child_json(world, server, "firewallRules", rule.name, properties)


def _with_public_access(call: Call) -> FlexibleServer:
    server = find(call)
    if server.network.private:
        message = "Firewall rule operations cannot be requested for a private access enabled server."
        raise ArmError(400, "FirewallRulesNotAllowed", message)
    return server


async def _list_rules(call: Call) -> web.Response:
    server = find(call)
    return collection([_rule_json(call.world, server, rule) for rule in server.firewall_rules])


async def _get_rule(call: Call) -> web.Response:
    server = find(call)
    rule = server.find_rule(call.names["rule"])
    if rule is None:
        message = (
            f"The requested resource of type '{TYPE}/firewallRules' with name '{call.names['rule']}' was not found."
        )
        raise ArmError(404, "ResourceNotFound", message)
    return web.json_response(_rule_json(call.world, server, rule))


async def _put_rule(call: Call) -> web.Response:
    server, wish = _with_public_access(call), call.parse(RuleBody).properties
    require_ready(call.world, server)
    if wish.end < wish.start:
        raise ArmError(400, "InvalidParameterValue", "The end IP address is smaller than the start IP address.")
    rule = FirewallRule(name=call.names["rule"], start=str(wish.start), end=str(wish.end))
    made = operation(server, "put firewall rule", change=rule.model_dump(mode="json"))
    made.fails = take(call.world, RULE_FAILS) is not None
    return begin(call, server, made, "Updating")


async def _delete_rule(call: Call) -> web.Response:
    server = _with_public_access(call)
    rule = server.find_rule(call.names["rule"])
    if rule is None:
        return web.Response(status=204)
    require_ready(call.world, server)
    made = operation(server, "delete firewall rule", change=rule.model_dump(mode="json"))
    made.fails = take(call.world, RULE_FAILS) is not None
    return begin(call, server, made, "Updating")


async def _change_rule(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server, rule = server_of(world, operation), FirewallRule.model_validate(operation.change)
    server.firewall_rules = [each for each in server.firewall_rules if each.name.lower() != rule.name.lower()]
    if operation.kind == "put firewall rule":
        server.firewall_rules.append(rule)
    server.state = "Ready"


def _show_rule(world: World, operation: ServerOperation) -> dict[str, Any] | None:
    return _rule_json(world, server_of(world, operation), FirewallRule.model_validate(operation.change))


def _backup_json(world: World, server: FlexibleServer, backup: Backup) -> dict[str, Any]:
    full = backup.source == "Automatic"
    properties = {
        "backupType": "Full" if full else "Customer On-Demand",
        "source": backup.source,
        "completedTime": backup.completed.isoformat(),
    }
    return child_json(world, server, "backups", backup.name, properties)


async def _list_backups(call: Call) -> web.Response:
    server = find(call)
    if (fault := take(call.world, BACKUPS_THROTTLED)) is not None:
        seconds = f"{number(fault, 'retry_after'):g}"
        message = f"The request is being throttled. Please try again after '{seconds}' seconds."
        raise ArmError(429, "TooManyRequests", message, {"Retry-After": seconds})
    return collection([_backup_json(call.world, server, backup) for backup in server.backups])


def _find_backup(call: Call, server: FlexibleServer) -> Backup | None:
    wanted = call.names["backup"].lower()
    return next((each for each in server.backups if each.name.lower() == wanted), None)


async def _get_backup(call: Call) -> web.Response:
    server = find(call)
    backup = _find_backup(call, server)
    if backup is None:
        raise _no_child("backups", call.names["backup"])
    return web.json_response(_backup_json(call.world, server, backup))


async def _put_backup(call: Call) -> web.Response:
    server = find(call)
    require_ready(call.world, server)
    if _find_backup(call, server) is not None:
        raise ArmError(409, "BackupAlreadyExists", f"The backup '{call.names['backup']}' already exists.")
    change = {"name": call.names["backup"]}
    return begin(call, server, operation(server, "back up", change=change), "Updating")


async def _back_up(world: World, operation: ServerOperation) -> None:
    await asyncio.sleep(world.pace.database_change)
    server = server_of(world, operation)
    await (await world.clusters.running(server)).run(b"CHECKPOINT")
    made = Backup(name=str(operation.change["name"]), source="Customer Initiated", completed=now())
    server.backups.append(made)
    server.state = "Ready"


def _show_backup(world: World, operation: ServerOperation) -> dict[str, Any] | None:
    server = server_of(world, operation)
    made = next(each for each in server.backups if each.name == operation.change["name"])
    return _backup_json(world, server, made)


async def _databases(call: Call, server: FlexibleServer) -> list[dict[str, Any]]:
    require_ready(call.world, server)
    rows = await (await call.world.clusters.running(server)).run(LIST_DATABASES)
    return [
        child_json(call.world, server, "databases", str(name), {"charset": str(charset), "collation": str(collation)})
        for name, charset, collation in rows
    ]


async def _list_databases(call: Call) -> web.Response:
    return collection(await _databases(call, find(call)))


async def _get_database(call: Call) -> web.Response:
    wanted = call.names["database"]
    for each in await _databases(call, find(call)):
        if each["name"] == wanted:
            return web.json_response(each)
    raise _no_child("databases", wanted)


async def _check_name(call: Call) -> web.Response:
    wish = call.parse(NameBody)
    taken = call.world.state.find_database_server(wish.name) is not None
    answer = {"name": wish.name, "type": wish.type, "nameAvailable": not taken, "message": ""}
    if taken:
        answer |= {"reason": "AlreadyExists", "message": "Specified server name is already used by another server."}
    return web.json_response(answer)


def _nothing(_world: World, _operation: ServerOperation) -> None:
    return None


register("put firewall rule", _change_rule, _show_rule)
register("delete firewall rule", _change_rule, _nothing)
register("back up", _back_up, _show_backup)

CHECK = "checkNameAvailability"
ROUTES = [
    Route("GET", RULES, f"{TYPE}/firewallRules/read", _list_rules),
    Route("GET", RULES + "/{rule}", f"{TYPE}/firewallRules/read", _get_rule),
    Route("PUT", RULES + "/{rule}", f"{TYPE}/firewallRules/write", _put_rule),
    Route("DELETE", RULES + "/{rule}", f"{TYPE}/firewallRules/delete", _delete_rule),
    Route("GET", BACKUPS, f"{TYPE}/backups/read", _list_backups),
    Route("GET", BACKUPS + "/{backup}", f"{TYPE}/backups/read", _get_backup),
    Route("PUT", BACKUPS + "/{backup}", f"{TYPE}/backups/write", _put_backup),
    Route("GET", DATABASES, f"{TYPE}/databases/read", _list_databases),
    Route("GET", DATABASES + "/{database}", f"{TYPE}/databases/read", _get_database),
    Route("POST", f"{SUBSCRIPTION}{PROVIDER}/{CHECK}", f"Microsoft.DBforPostgreSQL/{CHECK}/action", _check_name),
    Route("POST", f"{LOCATION}/{CHECK}", f"Microsoft.DBforPostgreSQL/locations/{CHECK}/action", _check_name),
]
