"""How the platform's database servers stand in the beginning."""

from datetime import timedelta

from sandbox.clock import now
from sandbox.directory import ROLLBACK
from sandbox.postgresql.clusters import Clusters, password_of
from sandbox.postgresql.model import Administrator, Backup, FirewallRule, FlexibleServer, Network
from sandbox.postgresql.sources import OPERATOR, WITHIN_AZURE
from sandbox.postgresql.template import APP, DATABASE
from sandbox.state import State

PRODUCTION_SERVER, STAGING_SERVER = "fundrbolt-production-pg", "fundrbolt-staging-pg"
AGE = timedelta(days=40)
OPERATORS_RULE = "operators"
AZURE_RULE = "AllowAllAzureServicesAndResourcesWithinAzureIps"


def furnish(state: State, clusters: Clusters) -> None:
    """Add the servers. They take their addresses now; their processes start when somebody needs them."""
    created = now() - AGE
    state.database_servers = [
        FlexibleServer(
            name=PRODUCTION_SERVER,
            group="fundrbolt-production-rg",
            address=clusters.address_of(PRODUCTION_SERVER),
            geo_backup=True,
            tags={"environment": "production", "cost-center": "fundrbolt"},
            firewall_rules=[
                FirewallRule(name=AZURE_RULE, start=WITHIN_AZURE, end=WITHIN_AZURE),
                FirewallRule(name=OPERATORS_RULE, start=OPERATOR, end=OPERATOR),
            ],
            administrators=[_administrator(state, ROLLBACK), _administrator(state, "lead")],
            parameters={"idle_in_transaction_session_timeout": "60000", "work_mem": "8192", "max_connections": "120"},
            backups=_daily_backups(7),
            location=state.location,
            created=created,
            earliest=created,
        ),
        FlexibleServer(
            name=STAGING_SERVER,
            group="fundrbolt-staging-rg",
            address=clusters.address_of(STAGING_SERVER),
            tags={"environment": "staging"},
            network=_network(state),
            administrators=[_administrator(state, ROLLBACK)],
            parameters={"work_mem": "8192"},
            backups=_daily_backups(7),
            location=state.location,
            created=created,
            earliest=created,
        ),
    ]


def database_url(server: FlexibleServer, seed: str) -> str:
    """What an app connects with, in the sandbox with this seed. It holds the app role's password."""
    return f"postgresql://{APP}:{password_of(seed, APP)}@{server.address}:5432/{DATABASE}?sslmode=require"


def _administrator(state: State, name: str) -> Administrator:
    who = next(each for each in state.principals if each.name == name)
    return Administrator(
        object_id=who.object_id, name=who.user_name or who.display_name, kind=who.kind, tenant=state.tenant_id
    )


def _network(state: State) -> Network:
    base = f"/subscriptions/{state.subscription_id}/resourceGroups/fundrbolt-staging-rg/providers/Microsoft.Network"
    return Network(
        subnet=f"{base}/virtualNetworks/fundrbolt-staging-vnet/subnets/database",
        dns_zone=f"{base}/privateDnsZones/fundrbolt-staging.private.postgres.database.azure.com",
    )


def _daily_backups(days: int) -> list[Backup]:
    ends = [now() - timedelta(days=ago, hours=3) for ago in reversed(range(days))]
    return [Backup(name=f"daily_{end:%Y%m%dT%H%M%S}", source="Automatic", completed=end) for end in ends]
