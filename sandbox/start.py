"""How the platform stands in the beginning: v1.2.3 reached production twenty minutes ago, and it is bad."""

from datetime import datetime, timedelta
from pathlib import Path

from sandbox.clock import now
from sandbox.directory import ROLLBACK_CLIENT, principals
from sandbox.fundrbolt.releases import IMAGE, RELEASES
from sandbox.rbac import assign_starting_roles
from sandbox.registry.images import digest_of
from sandbox.state import PRODUCTION, Content, Deployment, RoleDefinition, Site, Slot, State, SwapStatus

TENANT = "22222222-2222-4222-8222-222222222222"
SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
CLIENT = ROLLBACK_CLIENT
LOCATION = "eastus"
REHEARSAL_GROUP = "fundrbolt-rehearsal-rg"
"""Empty: for servers that are made to be deleted again."""
PUBLIC_HOST = "api.fundrbolt.com"
PUBLIC_SITE = "fundrbolt-production-api"
WORKER = "production-worker"
"""How the sandbox calls the background worker's app, where it calls others by their environment."""
BACKGROUND_SECONDS = "300"
"""Between the worker's writes: seldom enough that most tests find the data as it was in the beginning."""


NEWEST_SETTINGS = {"PAYMENT_TIMEOUT_SECONDS": "1"}
"""What v1.2.3's template gave the app besides; with so little time most payments fail."""


def pinned(release: str) -> str:
    """`linuxFxVersion` of a release, by digest."""
    return f"DOCKER|{IMAGE}@{RELEASES[release]}"


def release_of(linux_fx_version: str) -> str | None:
    """The release that an image reference names, by digest or by tag; None for an image that was never built."""
    digest = digest_of(linux_fx_version)
    return next((release for release, known in RELEASES.items() if known == digest), None)


def deployment(release: str, ended: datetime) -> Deployment:
    """A deployment of `release` that took half a minute."""
    return Deployment(
        image=pinned(release), message=f"Deploy {release}", started=ended - timedelta(seconds=30), ended=ended
    )


def slot(name: str, host: str, release: str, deployed: datetime, settings: dict[str, str]) -> Slot:
    """A running slot with one deployment in its history."""
    content = Content(
        linux_fx_version=pinned(release), settings=dict(settings), deployments=[deployment(release, deployed)]
    )
    return Slot(name=name, host=host, content=content, last_modified=deployed)


def site(environment: str, databases: Path, slots: dict[str, tuple[str, datetime]]) -> Site:
    """The environment's app; `slots` tells each slot's release and when that was deployed."""
    name = f"fundrbolt-{environment}-api"
    settings = {
        # Where a database server is, the vaults' furnishing puts a reference to its URL here.
        "DATABASE_URL": f"sqlite:///{databases / f'{environment}.sqlite'}",
        "FUNDRBOLT_ENVIRONMENT": environment,
        "WEBSITES_PORT": "8000",
    }
    made = {
        each: slot(each, f"{name}{'' if each == PRODUCTION else f'-{each}'}.azurewebsites.net", *content, settings)
        for each, content in slots.items()
    }
    for each in made.values():
        each.tags = {"environment": environment}
    group = f"fundrbolt-{environment}-rg"
    return Site(environment=environment, group=group, name=name, plan=f"fundrbolt-{environment}-plan", slots=made)


def worker(deployed: datetime) -> Site:
    """Production's background worker: the same image on the same plan, without slots, and nobody asks it anything."""
    name = f"fundrbolt-{WORKER}"
    settings = {
        "BACKGROUND_SECONDS": BACKGROUND_SECONDS,
        "FUNDRBOLT_ENVIRONMENT": PRODUCTION,
        "WEBSITES_PORT": "8000",
    }
    made = slot(PRODUCTION, f"{name}.azurewebsites.net", "v1.2.2", deployed, settings)
    made.tags = {"environment": PRODUCTION}
    return Site(
        environment=WORKER,
        group=f"fundrbolt-{PRODUCTION}-rg",
        name=name,
        plan=f"fundrbolt-{PRODUCTION}-plan",
        slots={PRODUCTION: made},
    )


def starting_state(databases: Path, *rollback_roles: RoleDefinition) -> State:
    """Production serves v1.2.3; its slot `staging` holds v1.2.2, which served production until the last swap.

    The rollback principal has `rollback_roles` on the groups that they are for, or else every permission.
    """
    swapped = now() - timedelta(minutes=20)
    production = site(
        "production",
        databases,
        {
            PRODUCTION: ("v1.2.3", swapped - timedelta(minutes=6)),
            "staging": ("v1.2.2", swapped - timedelta(days=6)),
        },
    )
    production.slots[PRODUCTION].content.settings |= NEWEST_SETTINGS
    for each in production.slots.values():
        each.swap_status = SwapStatus(timestamp=swapped, source="staging", destination=PRODUCTION)
        each.last_modified = swapped
    others = [site(name, databases, {PRODUCTION: ("v1.2.3", swapped)}) for name in ("staging", "dev")]
    sites = [production, *others, worker(swapped - timedelta(days=6))]
    state = State(
        tenant_id=TENANT,
        subscription_id=SUBSCRIPTION,
        location=LOCATION,
        groups=[*dict.fromkeys(each.group for each in sites), REHEARSAL_GROUP],
        principals=principals(),
        rollback_roles=list(rollback_roles),
        sites=sites,
    )
    assign_starting_roles(state)
    return state
