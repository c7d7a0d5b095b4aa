"""Which Azure actions each procedure uses: what the custom roles grant, and what a plan checks first.

`deployments/role.json` is made of exactly these, and `deployments/role-rehearsal.json` of those for rehearsals, which
are granted in a resource group of their own; `deployments/role-infrastructure.json` is for who rolls infrastructure
back: it may write all that the template has. Source: learn.microsoft.com, "Azure permissions for Web and Mobile".
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from rollback.azure import AzureConnection, our_errors
from rollback.cache.settings import CacheKind
from rollback.errors import PermissionMissing
from rollback.frontends.settings import FrontendWay

if TYPE_CHECKING:
    from azure.mgmt.authorization.v2022_04_01.models import Permission

READ_PERMISSIONS = "Microsoft.Authorization/permissions/read"
READ_APP = (
    READ_PERMISSIONS,
    "Microsoft.Web/sites/read",
    "Microsoft.Web/sites/config/read",
    "Microsoft.Web/sites/slots/read",
    "Microsoft.Web/sites/slots/config/read",
)
READ_SETTINGS = (
    "Microsoft.Web/sites/config/list/action",
    "Microsoft.Web/sites/slots/config/list/action",
)
SWAP = (
    "Microsoft.Web/sites/slots/slotsswap/action",
    "Microsoft.Web/sites/slots/operationresults/read",
)
RECORD = (
    "Microsoft.Resources/tags/read",
    "Microsoft.Resources/tags/write",
)
MEASURE = ("Microsoft.Insights/metrics/read",)
PUT_IMAGE = ("Microsoft.Web/sites/config/write",)
PUT_IMAGE_ON_SLOT = ("Microsoft.Web/sites/slots/config/write",)
READ_LOGS = ("Microsoft.Web/sites/containerlogs/action",)
READ_SLOT_LOGS = ("Microsoft.Web/sites/slots/containerlogs/action",)

RESTART = "Microsoft.Web/sites/restart/action"

FOLLOW_SECRET = (
    "Microsoft.Web/sites/config/appsettings/read",
    "Microsoft.Web/sites/slots/config/appsettings/read",
    "Microsoft.Web/sites/config/appsettings/refresh/action",
    "Microsoft.Web/sites/slots/config/appsettings/refresh/action",
    "Microsoft.Web/sites/instances/read",
    "Microsoft.Web/sites/slots/instances/read",
    "Microsoft.Web/sites/stop/action",
    "Microsoft.Web/sites/slots/stop/action",
    "Microsoft.Web/sites/start/action",
    "Microsoft.Web/sites/slots/start/action",
)
ENTER_CONTAINERS = (
    "Microsoft.Web/sites/publish/action",
    "Microsoft.Web/sites/slots/publish/action",
)
"""By SSH, through Kudu's tunnel."""
MAINTAIN = (*READ_SETTINGS, *PUT_IMAGE, *PUT_IMAGE_ON_SLOT)
"""Where apps are put into maintenance mode instead of being stopped."""
READ_STATIC_SITE = (
    READ_PERMISSIONS,
    "Microsoft.Web/staticSites/read",
    "Microsoft.Web/staticSites/builds/read",
)
CHECK_NAME = "Microsoft.DBforPostgreSQL/checkNameAvailability/action"
READ_SERVER = "Microsoft.DBforPostgreSQL/flexibleServers/read"
SERVERS = (
    READ_SERVER,
    "Microsoft.DBforPostgreSQL/flexibleServers/write",
    "Microsoft.DBforPostgreSQL/flexibleServers/restart/action",
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations/read",
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations/write",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/read",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/write",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/delete",
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators/read",
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators/write",
    CHECK_NAME,
    "Microsoft.DBforPostgreSQL/locations/azureAsyncOperation/read",
    "Microsoft.DBforPostgreSQL/locations/operationResults/read",
)
"""Those on a server, and those that Azure asks for on the subscription or the group only."""

FENCE_SERVERS = tuple(
    each
    for each in SERVERS
    if each.endswith(("/read", "configurations/write", "firewallRules/write", "firewallRules/delete"))
)
"""Those without which no server is fenced or opened; nothing is made."""

REHEARSE_SOURCE = tuple(
    each for each in SERVERS if each.endswith(("flexibleServers/read", "firewallRules/read", "administrators/read"))
)
"""Those on the server that a scratch server is restored from."""
REHEARSE = (
    READ_PERMISSIONS,
    READ_SERVER,
    "Microsoft.DBforPostgreSQL/flexibleServers/write",
    "Microsoft.DBforPostgreSQL/flexibleServers/delete",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/read",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules/write",
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators/read",
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators/write",
    "Microsoft.DBforPostgreSQL/locations/azureAsyncOperation/read",
    "Microsoft.DBforPostgreSQL/locations/operationResults/read",
)
"""Those in the resource group for rehearsals, and nowhere else: here servers are deleted."""
DEPLOY_TEMPLATES = (
    READ_PERMISSIONS,
    "Microsoft.Resources/deployments/read",
    "Microsoft.Resources/deployments/write",
    "Microsoft.Resources/deployments/validate/action",
    "Microsoft.Resources/deployments/whatIf/action",
    "Microsoft.Resources/deployments/exportTemplate/action",
    "Microsoft.Resources/deployments/operations/read",
    "Microsoft.Resources/deployments/operationstatuses/read",
    "Microsoft.Authorization/locks/read",
)
"""Those on deployments themselves. On what a template deploys Azure asks for each type's own: see `type_actions`."""
INFRASTRUCTURE = (*DEPLOY_TEMPLATES, *READ_SETTINGS)
"""With what what-if does not read by itself."""
TEMPLATE_TYPES = (
    "Microsoft.Authorization/locks",
    "Microsoft.Cache/redis",
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules",
    "Microsoft.Insights/components",
    "Microsoft.KeyVault/vaults",
    "Microsoft.KeyVault/vaults/secrets",
    "Microsoft.Resources/subscriptions/resourceGroups",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.Web/serverfarms",
    "Microsoft.Web/sites",
    "Microsoft.Web/sites/config",
    "Microsoft.Web/sites/slots",
    "Microsoft.Web/staticSites",
)
"""Those of the platform's own template, for `deployments/role-infrastructure.json`."""
LISTED_BY_TEMPLATE = ("Microsoft.Cache/redis/listKeys/action",)
"""What its list functions ask for."""

GET_SECRET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"  # noqa: S105 - an action's name
SET_SECRET = "Microsoft.KeyVault/vaults/secrets/setSecret/action"  # noqa: S105 - an action's name
DATA_ACTIONS = (GET_SECRET, SET_SECRET)
"""In a vault that decides by roles; in one with access policies: get and set."""

READ_VAULT = "Microsoft.KeyVault/vaults/read"
"""On the vault: how it decides, by roles or by access policies."""

READ_EVERYTHING = "*/read"
"""On resource groups: what the credential may not read is not even listed; an archive would lack it unnoticed."""
ARCHIVE = (READ_EVERYTHING, *READ_SETTINGS)
"""`deployments/role-archive.json`: a role of its own, for the credential that archives."""
REVERT_READ = (
    READ_PERMISSIONS,
    "Microsoft.Authorization/locks/read",
    "Microsoft.Resources/subscriptions/providers/read",
)
REVERTIBLE = (
    "Microsoft.Web/sites",
    "Microsoft.Web/sites/config",
    "Microsoft.Web/sites/slots",
    "Microsoft.Web/sites/slots/config",
    "Microsoft.Web/serverfarms",
    "Microsoft.Web/staticSites",
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations",
    "Microsoft.Cache/redis",
    "Microsoft.Cache/redisEnterprise",
    "Microsoft.Cache/redisEnterprise/databases",
    "Microsoft.Insights/components",
    "Microsoft.Insights/metricAlerts",
)
"""Types that `deployments/role-revert.json` lets be reverted. Vaults are not among them: who may write a vault can let
himself in."""
REVERT = (*REVERT_READ, *(f"{each}/{right}" for each in REVERTIBLE for right in ("read", "write")))

VAULT_API_VERSION = "2023-07-01"

ACTIONS: dict[str, tuple[str, ...]] = {
    "roll-back-backend": (
        *READ_APP,
        *READ_SETTINGS,
        "Microsoft.Web/sites/slots/deployments/read",
        *SWAP,
        "Microsoft.Web/sites/config/write",
        *RECORD,
        *MEASURE,
    ),
    "redeploy-backend": (
        *READ_APP,
        *READ_SETTINGS,
        *SWAP,
        *RECORD,
        *MEASURE,
        *PUT_IMAGE,
        *PUT_IMAGE_ON_SLOT,
        *READ_LOGS,
        *READ_SLOT_LOGS,
    ),
    "deploy-backend": (
        *READ_APP,
        *READ_SETTINGS,
        *SWAP,
        *RECORD,
        *MEASURE,
        *PUT_IMAGE,
        *PUT_IMAGE_ON_SLOT,
        *READ_LOGS,
        *READ_SLOT_LOGS,
    ),
    "restore-database": (*READ_APP, *MEASURE, *FOLLOW_SECRET),
    "undo-restore-database": (*READ_APP, *MEASURE, *FOLLOW_SECRET),
    "downgrade-database": (*READ_APP, *MEASURE, *ENTER_CONTAINERS),
    "clear-cache": (*READ_APP, *MEASURE, *READ_LOGS, "Microsoft.Web/sites/config/list/action", RESTART),
}
"""By procedure, in the order in which they are asked for, on the environment's app."""

FRONTEND_ACTIONS: dict[FrontendWay, tuple[str, ...]] = {
    FrontendWay.ARTIFACT: (*READ_STATIC_SITE, "Microsoft.Web/staticSites/zipdeploy/action"),
    FrontendWay.SCRIPT: (*READ_STATIC_SITE, "Microsoft.Web/staticSites/listSecrets/action"),
}
"""By way of deploying, on each Static Web App."""

CACHE_ACTIONS: dict[CacheKind, tuple[str, ...]] = {
    CacheKind.REDIS: (READ_PERMISSIONS, "Microsoft.Cache/redis/read", "Microsoft.Cache/redis/listKeys/action"),
    CacheKind.MANAGED: (
        READ_PERMISSIONS,
        "Microsoft.Cache/redisEnterprise/read",
        "Microsoft.Cache/redisEnterprise/databases/read",
        "Microsoft.Cache/redisEnterprise/databases/listKeys/action",
    ),
}
"""By kind, on the environment's cache."""

SERVER_ACTIONS: dict[str, tuple[str, ...]] = {"restore-database": SERVERS, "undo-restore-database": FENCE_SERVERS}
"""The same on its database server."""


def type_actions(types: Iterable[str]) -> tuple[str, ...]:
    """What Azure asks for to deploy resources of these types, and to say before what that would change."""
    return tuple(sorted(f"{each}/{verb}" for each in {*types} for verb in ("read", "write")))


async def check_granted(
    connection: AzureConnection,
    what: str,
    group: str,
    kind: tuple[str, str],
    name: str,
    actions: tuple[str, ...],
    data_actions: tuple[str, ...] = (),
) -> None:
    """Make sure that the credential may do the actions on a resource of a provider's kind, which `what` describes.

    Raises `PermissionMissing` with the actions, and those on data, that it may not do.
    """
    from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient

    provider, resources = kind
    async with connection.client(AuthorizationManagementClient) as client:
        with our_errors(f"permissions on {what}"):
            pages = client.permissions.list_for_resource(group, provider, "", resources, name)
            granted = [each async for each in pages]
    missing = _missing(actions, granted)
    data_rules = [(each.data_actions or [], each.not_data_actions or []) for each in granted]
    missing += [action for action in data_actions if not any(_allows(action, *rule) for rule in data_rules)]
    _require_none(missing, what)


async def check_granted_in_group(connection: AzureConnection, group: str, actions: tuple[str, ...]) -> None:
    """Make sure that the credential may do the actions on whatever is in a resource group; raises as the above."""
    from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient

    what = f"resource group '{group}'"
    async with connection.client(AuthorizationManagementClient) as client:
        with our_errors(f"permissions on {what}"):
            granted = [each async for each in client.permissions.list_for_resource_group(group)]
    _require_none(_missing(actions, granted), what)


async def check_sees_everything(connection: AzureConnection, group: str) -> None:
    """Make sure that nothing in a resource group is hidden from the credential; raises `PermissionMissing`."""
    from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient

    what = f"resource group '{group}'"
    async with connection.client(AuthorizationManagementClient) as client:
        with our_errors(f"permissions on {what}"):
            granted = [each async for each in client.permissions.list_for_resource_group(group)]
    rules = [(each.actions or [], each.not_actions or []) for each in granted]
    if any(_allows(READ_EVERYTHING, *rule) and not any(map(_hides, rule[1])) for rule in rules):
        return
    hidden = ", ".join(sorted({each for rule in rules for each in rule[1] if _hides(each)}))
    _require_none([f"{READ_EVERYTHING}{f' (it lacks {hidden})' if hidden else ''}"], what)


def _hides(not_action: str) -> bool:
    """Whether what a role takes away again may be readings."""
    return not_action.lower().endswith(("/read", "*"))


def _missing(actions: tuple[str, ...], granted: "list[Permission]") -> list[str]:
    rules = [(each.actions or [], each.not_actions or []) for each in granted]
    return [action for action in actions if not any(_allows(action, *rule) for rule in rules)]


def _require_none(missing: list[str], what: str) -> None:
    if missing:
        raise PermissionMissing(
            f"The credential may not do {', '.join(missing)} on {what}.",
            remedy=f"Assign a role that has these actions on {what}, or above it; nothing was touched.",
        )


async def check_may_set(connection: AzureConnection, vault: str, secret: str) -> str:
    """Make sure that the credential may give a secret a new version, without giving it one.

    Returns what cannot be known, in words: a vault with access policies may let a group of ours in. Raises
    `PermissionMissing` with the action that is missing. Source: Key Vault Management, API version 2023-07-01.
    """
    from azure.mgmt.resource.resources.aio import ResourceManagementClient

    what = f"secret '{secret}' of vault '{vault}'"
    async with connection.client(ResourceManagementClient) as client:
        with our_errors(f"vault '{vault}'"):
            pages = client.resources.list(filter="resourceType eq 'Microsoft.KeyVault/vaults'")
            found = [each.id or "" async for each in pages if (each.name or "").lower() == vault.lower()]
            if not found:
                raise PermissionMissing(
                    f"The credential may not do {READ_VAULT} on vault '{vault}', or it is in another subscription.",
                    remedy="Assign a role that has this action; nothing was touched.",
                )
            there = await client.resources.get_by_id(found[0], api_version=VAULT_API_VERSION)
    properties = cast("dict[str, Any]", there.properties or {})
    if properties.get("enableRbacAuthorization"):
        kind = ("Microsoft.KeyVault", f"vaults/{vault}/secrets")
        await check_granted(connection, what, found[0].split("/")[4], kind, secret, (), (SET_SECRET,))
        return ""
    own = await connection.own_object_id()
    policies: list[dict[str, Any]] = properties.get("accessPolicies") or []
    if any(each["objectId"] == own and _policy_sets(each["permissions"]) for each in policies):
        return ""
    return f"No access policy of vault '{vault}' names the credential itself with 'set': it must come by a group."


def _policy_sets(permissions: dict[str, list[str]]) -> bool:
    return bool({each.lower() for each in permissions.get("secrets", [])} & {"set", "all"})


def _allows(action: str, actions: list[str], not_actions: list[str]) -> bool:
    return any(_matches(action, each) for each in actions) and not any(_matches(action, each) for each in not_actions)


def _matches(action: str, pattern: str) -> bool:
    return fnmatchcase(action.lower(), pattern.lower())
