"""Azure's role-based access control: roles are given to principals on scopes, and hold for everything below.

An action is permitted if one of the caller's roles has it and does not take it away again; two roles add up, and what
one of them takes away the other may give. What the fault `deny` takes away is gone whatever the roles say.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from sandbox import directory
from sandbox.errors import SandboxError
from sandbox.state import Permissions, Principal, RoleAssignment, RoleDefinition, State

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
WEBSITE_CONTRIBUTOR = "de139f84-1756-47ae-9be6-808fbbe84772"
MONITORING_READER = "43d0d8ad-25c7-4714-9337-8ba259a9fe05"

_SECRETS = "Microsoft.KeyVault/vaults/secrets/"


def _built_in(role_id: str, name: str, description: str, **permissions: list[str]) -> RoleDefinition:
    made = Permissions.model_validate(permissions)
    return RoleDefinition(id=role_id, name=name, description=description, built_in=True, permissions=made)


BUILT_IN = [
    _built_in(OWNER, "Owner", "Grants full access to manage all resources.", actions=["*"]),
    _built_in(
        CONTRIBUTOR,
        "Contributor",
        "Grants full access to manage all resources, but does not allow you to assign roles.",
        actions=["*"],
        not_actions=[
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ],
    ),
    _built_in(READER, "Reader", "View all resources, but does not allow you to make any changes.", actions=["*/read"]),
    _built_in(
        WEBSITE_CONTRIBUTOR,
        "Website Contributor",
        "Lets you manage websites (not web plans), but not access to them.",
        actions=[
            "Microsoft.Authorization/*/read",
            "Microsoft.Insights/components/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Web/sites/*",
        ],
    ),
    _built_in(
        MONITORING_READER,
        "Monitoring Reader",
        "Can read all monitoring data.",
        actions=["*/read", "Microsoft.OperationalInsights/workspaces/search/action"],
    ),
    _built_in(
        SECRETS_USER,
        "Key Vault Secrets User",
        "Read secret contents.",
        data_actions=[f"{_SECRETS}getSecret/action", f"{_SECRETS}readMetadata/action"],
    ),
    _built_in(
        SECRETS_OFFICER,
        "Key Vault Secrets Officer",
        "Perform any action on the secrets of a key vault, except manage permissions.",
        actions=["Microsoft.Authorization/*/read", "Microsoft.KeyVault/vaults/read"],
        data_actions=[f"{_SECRETS}*"],
    ),
]


def find_principal(state: State, name: str) -> Principal:
    """The principal that the sandbox's own commands call `name`."""
    found = next((each for each in state.principals if each.name == name), None)
    if found is None:
        raise SandboxError(f"There is no {name!r} in the directory; there are {', '.join(names(state.principals))}.")
    return found


def names(principals: Iterable[Principal]) -> list[str]:
    """Those who can sign in."""
    return [each.name for each in principals if each.kind != "Group"]


def definitions(state: State) -> list[RoleDefinition]:
    """Every role, built-in and custom."""
    return [*BUILT_IN, *state.role_definitions]


def find_definition(state: State, role_id: str) -> RoleDefinition | None:
    """The role with this id."""
    return next((each for each in definitions(state) if each.id.lower() == role_id.lower()), None)


def covers(scope: str, resource: str) -> bool:
    """Whether what holds on `scope` holds on `resource`: it is the same or below."""
    above, below = scope.lower().rstrip("/"), resource.lower().rstrip("/")
    return above == below or below.startswith(above + "/")


def assignments_of(state: State, principal: Principal) -> list[RoleAssignment]:
    """Those that `principal` has, by itself or by a group."""
    ids = {principal.object_id, *principal.groups}
    return [each for each in state.role_assignments if each.principal_id in ids]


def permissions_of(state: State, principal: Principal, scope: str) -> list[Permissions]:
    """What the principal may do on `scope`, one entry for each of its roles there, less what a fault takes away."""
    assigned = [each.role_id for each in assignments_of(state, principal) if covers(each.scope, scope)]
    roles = [role for role_id in assigned if (role := find_definition(state, role_id)) is not None]
    return [
        role.permissions.model_copy(
            update={
                "not_actions": [*role.permissions.not_actions, *principal.denied],
                "not_data_actions": [*role.permissions.not_data_actions, *principal.denied],
            }
        )
        for role in roles
    ]


def allows(state: State, principal: Principal, action: str, scope: str) -> bool:
    """Whether `principal` may do `action` on the resource `scope` (an ARM id, or a path below one)."""
    return any(permits(each.actions, each.not_actions, action) for each in permissions_of(state, principal, scope))


def allows_data(state: State, principal: Principal, action: str, scope: str) -> bool:
    """As `allows`, for an action on a data plane, such as reading a secret."""
    every = permissions_of(state, principal, scope)
    return any(permits(each.data_actions, each.not_data_actions, action) for each in every)


def permits(granted: list[str], taken: list[str], action: str) -> bool:
    """Whether one role permits `action`. `*` stands for any characters, names have no case, what is taken wins."""
    return any(_matches(each, action) for each in granted) and not any(_matches(each, action) for each in taken)


def _matches(pattern: str, action: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, action, re.IGNORECASE) is not None


class RoleFile(BaseModel):
    """A custom role as `az role definition create --role-definition @FILE` takes it."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(validation_alias=AliasChoices("Name", "name"), min_length=1)
    description: str = Field(default="", validation_alias=AliasChoices("Description", "description"))
    actions: list[str] = Field(default=[], validation_alias=AliasChoices("Actions", "actions"))
    not_actions: list[str] = Field(default=[], validation_alias=AliasChoices("NotActions", "notActions"))
    data_actions: list[str] = Field(default=[], validation_alias=AliasChoices("DataActions", "dataActions"))
    not_data_actions: list[str] = Field(default=[], validation_alias=AliasChoices("NotDataActions", "notDataActions"))
    assignable_scopes: list[str] = Field(
        validation_alias=AliasChoices("AssignableScopes", "assignableScopes"), min_length=1
    )


def read_role(file: Path) -> RoleDefinition:
    """The custom role in `file`, or `SandboxError` with what is wrong with it."""
    try:
        read = RoleFile.model_validate_json(file.read_bytes())
    except OSError as error:
        raise SandboxError(f"The role file {file} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SandboxError(f"The role file {file} is not a custom role: {where}: {first['msg']}.") from error
    fields: dict[str, Any] = read.model_dump(include=set(Permissions.model_fields))
    return RoleDefinition(
        name=read.name,
        description=read.description,
        permissions=Permissions.model_validate(fields),
        assignable_scopes=read.assignable_scopes,
    )


def _places(role: RoleDefinition, groups: list[str]) -> list[str]:
    """Where a role is assigned: on the groups that it says it is for, or else on those of the platform's apps."""
    return [each for each in role.assignable_scopes if "/resourcegroups/" in each.lower()] or groups


def assign_starting_roles(state: State) -> None:
    """Give everybody what they have in the beginning; the rollback principal its own roles if there are any."""
    subscription = f"/subscriptions/{state.subscription_id}"
    groups = [f"{subscription}/resourceGroups/{name}" for name in dict.fromkeys(each.group for each in state.sites)]
    roles = state.rollback_roles
    state.role_definitions = list(roles)
    ids = {each.name: each.object_id for each in state.principals}

    def assignment(name: str, role_id: str, scope: str) -> RoleAssignment:
        return RoleAssignment(scope=scope, principal_id=ids[name], role_id=role_id)

    state.role_assignments = [
        *(
            # An owner may do everything with a vault and nothing with what is in it.
            [assignment(directory.ROLLBACK, role_id, subscription) for role_id in (OWNER, SECRETS_OFFICER)]
            if not roles
            else [assignment(directory.ROLLBACK, role.id, scope) for role in roles for scope in _places(role, groups)]
        ),
        assignment("deployer", CONTRIBUTOR, groups[0]),
        assignment("oncall", READER, subscription),
        assignment(directory.APPROVERS, READER, subscription),
    ]
