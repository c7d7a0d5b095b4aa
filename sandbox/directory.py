"""Who and what is registered in the tenant: people, applications, groups, and the APIs that tokens are for."""

from dataclasses import dataclass

from sandbox.state import Principal

DIRECTORY = "Fundrbolt"
DOMAIN = "fundrbolt.com"
ROLLBACK, ROLLBACK_CLIENT = "rollback", "33333333-3333-4333-8333-333333333333"
APPROVERS, APPROVERS_ID = "approvers", "55555555-5555-4555-8555-555555555555"
APPROVALS_CLIENT = "77777777-7777-4777-8777-777777777777"
AZURE_CLI_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


@dataclass(frozen=True)
class Api:
    """One registered resource: tokens for it have one of its audiences."""

    name: str
    audiences: tuple[str, ...]
    """Every spelling that is registered; a version 1 token says the one that its client asked for."""
    version: int
    """Which tokens the API takes: 1 or 2 (`accessTokenAcceptedVersion`)."""
    scopes: str
    """What a signed-in user's token permits."""
    client_id: str = ""
    """What a version 2 token says, whichever spelling was asked for."""


def _spellings(*hosts: str) -> tuple[str, ...]:
    return tuple(f"https://{host}{slash}" for host in hosts for slash in ("/", ""))


ARM = Api(
    "Azure Resource Manager", _spellings("management.core.windows.net", "management.azure.com"), 1, "user_impersonation"
)
VAULT = Api("Azure Key Vault", _spellings("vault.azure.net"), 1, "user_impersonation")
DATABASE = Api("Azure OSSRDBMS Database", _spellings("ossrdbms-aad.database.windows.net"), 1, "user_impersonation")
GRAPH = Api("Microsoft Graph", _spellings("graph.microsoft.com"), 1, "Directory.Read.All User.Read")
APPROVALS = Api(
    "Fundrbolt Rollback",
    ("api://fundrbolt-rollback", APPROVALS_CLIENT),
    2,
    "user_impersonation",
    client_id=APPROVALS_CLIENT,
)
APIS = (ARM, VAULT, DATABASE, GRAPH, APPROVALS)

PUBLIC_CLIENTS = {
    AZURE_CLI_CLIENT: "Microsoft Azure CLI",
    "1950a258-227b-4e31-a9cf-717495945fc2": "Microsoft Azure PowerShell",
}
"""Applications without a secret, through which people sign in."""


def find_api(audience: str) -> Api | None:
    """The registered API that has this audience."""
    return next((api for api in APIS if audience in api.audiences), None)


def _person(name: str, number: str, groups: list[str]) -> Principal:
    return Principal(
        name=name,
        kind="User",
        object_id=f"66666666-6666-4666-8666-{number:0>12}",
        display_name=name.capitalize(),
        user_name=f"{name}@{DOMAIN}",
        groups=groups,
    )


def principals() -> list[Principal]:
    """Everybody in the directory, in the beginning."""
    return [
        Principal(
            name=ROLLBACK,
            kind="ServicePrincipal",
            object_id="44444444-4444-4444-8444-444444444444",
            display_name="fundrbolt-rollback",
            client_id=ROLLBACK_CLIENT,
        ),
        Principal(
            name="deployer",
            kind="ServicePrincipal",
            object_id="44444444-4444-4444-8444-444444444445",
            display_name="fundrbolt-deployer",
            client_id="33333333-3333-4333-8333-333333333334",
        ),
        Principal(name=APPROVERS, kind="Group", object_id=APPROVERS_ID, display_name="Rollback approvers"),
        _person("oncall", "1", []),
        _person("lead", "2", [APPROVERS_ID]),
        _person("second", "3", [APPROVERS_ID]),
        _person("intern", "4", []),
    ]
