"""The plan of a restore as the tests of its parts need it, without any Azure."""

from datetime import UTC, datetime

import pytest

from rollback.database.bill import Bill, TableLoss
from rollback.database.consumers import Consumer
from rollback.database.models import READ_ONLY, FirewallRule, Parameter, ServerId, ServerSettings
from rollback.database.plans import RestorePlan
from rollback.database.settings import StopWrites

GROUP = "fundrbolt-production-rg"


def bill(inserts: int | None = 0, updates: int | None = 0, deletes: int | None = 0) -> Bill:
    """Of one table."""
    lost = TableLoss(table="public.donations", inserts=inserts, updates=updates, deletes=deletes, how="counted")
    return Bill(tables=(lost,), how="a test")


@pytest.fixture
def plan() -> RestorePlan:
    return RestorePlan(
        procedure="restore-database",
        environment="production",
        reason="rows were damaged",
        source=ServerId(resource_group=GROUP, name="fundrbolt-production-pg"),
        source_host="10.0.0.4",
        source_system="7400000000000000000",
        private=False,
        new=ServerId(resource_group=GROUP, name="fundrbolt-production-pg-r2603011002"),
        point=datetime(2026, 3, 1, 10, 2, 13, tzinfo=UTC),
        stop_writes=StopWrites.NOW,
        vault="fundrbolt-production-kv",
        secret="database-url",  # noqa: S106 - the secret's name
        secret_version="0123456789abcdef0123456789abcdef",  # noqa: S106 - a version's name
        database="fundrbolt",
        user="fundrbolt_app",
        consumers=(
            Consumer(
                resource_group=GROUP,
                app="fundrbolt-production-api",
                settings=("DATABASE_URL",),
                was_running=True,
                addresses=("20.1.1.1", "20.1.1.2"),
                how="named in the platform file",
            ),
        ),
        settings=ServerSettings(
            firewall_rules=(
                FirewallRule(name="azure", start="0.0.0.0", end="0.0.0.0"),  # noqa: S104 - Azure's own notation
                FirewallRule(name="apps", start="20.1.1.0", end="20.1.1.255"),
                FirewallRule(name="operators", start="198.51.100.7", end="198.51.100.7"),
            )
        ),
        read_only=Parameter(name=READ_ONLY, value="off", is_default=True),
        waived=(),
        tolerance_rows=100,
        tolerance_share=0.1,
        estimated=bill(inserts=40),
    )
