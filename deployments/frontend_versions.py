"""What an environment's frontends serve: a part of `rollback versions`. Only reads."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from rollback.azure import AzureConnection
from rollback.errors import RollbackError
from rollback.frontends.pages import Browser, open_browser
from rollback.frontends.settings import Frontend
from rollback.frontends.static_sites import StaticSites
from rollback.runs import Store
from rollback.served import Served

HEADINGS = ("frontend", "static web app", "serves", "deployed", "known to have served")


@dataclass
class FrontendVersion:
    """One frontend, and what its own host gives past every cache."""

    frontend: str
    app: str
    serves: str | None = None
    """None: it could not be read."""
    deployed: str = ""
    """When Azure was last given something to serve, for people."""
    problem: str = ""
    served: str = ""
    """What runs of ours found when it was served last."""

    def row(self) -> tuple[str, ...]:
        """Its line in the table."""
        return self.frontend, self.app, self.serves or "unknown", self.deployed, self.served


async def look_at_frontends(
    connection: AzureConnection, frontends: Mapping[str, Frontend], store: Store, environment: str
) -> list[FrontendVersion]:
    """All of them, side by side; what cannot be read is told with the frontend."""
    if not frontends:
        return []
    async with StaticSites(connection) as sites, open_browser() as browser:
        found = await asyncio.gather(*(_look(sites, browser, name, each) for name, each in frontends.items()))
    for each in found:
        record = store.served_frontend(environment, each.frontend)
        each.served = _served(record.latest_of_release(each.serves) if each.serves else None)
    return found


async def _look(sites: StaticSites, browser: Browser, name: str, frontend: Frontend) -> FrontendVersion:
    found = FrontendVersion(name, frontend.app)
    try:
        site = await sites.get(frontend)
    except RollbackError as error:
        found.problem = error.message
        return found
    look = await browser.look(f"https://{site.host}", frontend.version)
    found.serves, found.problem = look.version, "" if look.known else str(look)
    found.deployed = f"{site.updated_at:%Y-%m-%d %H:%M} UTC" if site.updated_at else ""
    return found


def _served(known: Served | None) -> str:
    return f"{known.verdict.value}, {known.at:%Y-%m-%d %H:%M} UTC (run {known.run})" if known else ""
