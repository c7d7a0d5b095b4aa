"""The platform's static sites in the beginning: all serve v1.2.3, the bad release."""

from datetime import datetime
from pathlib import Path

from sandbox.fundrbolt.cors import PUBLIC_FRONTEND
from sandbox.fundrbolt.frontends import archive_of
from sandbox.state import State
from sandbox.static_sites import archives
from sandbox.static_sites.model import Sku, StaticSite

FOLDER = "static_sites"
RELEASE = "v1.2.3"
SITES: tuple[tuple[str, str, Sku], ...] = (
    ("production", "web", "Standard"),
    ("production", "admin", "Standard"),
    ("staging", "web", "Free"),
)


def folder_of(root: Path) -> Path:
    """Where contents are kept, below the state folder `root`."""
    return root / FOLDER


def furnish(state: State, root: Path) -> None:
    """Give the platform its static sites, deployed when the apps were. Their contents are in the folder on return."""
    deployed = max(slot.last_modified for site in state.sites for slot in site.slots.values())
    folder = folder_of(root)
    state.static_sites = [_site(folder, *each, deployed) for each in SITES]
    archives.forget(folder, {site.contents for site in state.static_sites})


def _site(folder: Path, environment: str, frontend: str, sku: Sku, deployed: datetime) -> StaticSite:
    public = (environment, frontend) == ("production", "web")
    return StaticSite(
        environment=environment,
        frontend=frontend,
        group=f"fundrbolt-{environment}-rg",
        name=f"fundrbolt-{environment}-{frontend}",
        sku=sku,
        custom_domains=[PUBLIC_FRONTEND] if public else [],
        created=deployed,
        tags={"environment": environment},
        contents=archives.keep(folder, archive_of(frontend, RELEASE)),
        version=RELEASE,
        served_since=deployed,
        last_updated=deployed,
    )
