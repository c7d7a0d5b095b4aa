"""How a site gets other content: checked as a whole, kept, and then served at once to everybody.

A deployment that fails leaves what was served before. While one is in progress on a site there is no other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sandbox.clock import now
from sandbox.faults import take, text
from sandbox.fundrbolt.frontends import archive_of
from sandbox.state import Fault
from sandbox.static_sites import archives
from sandbox.static_sites.archives import BadArchiveError
from sandbox.static_sites.fetching import fetch
from sandbox.static_sites.model import BuildStatus, Deployment, FrontendDeployment, StaticSite
from sandbox.static_sites.start import folder_of
from sandbox.world import World

__all__ = ["BadArchiveError", "BusyError", "begin", "end", "publish", "put", "resume"]

log = logging.getLogger(__name__)

MOST_KEPT = 50
LOOK_SECONDS = 0.05
"""Between two looks whether a deployment that never ends was given up."""
FAILS, NEVER_ENDS, RIVAL, MISSING_ASSET = "swa-fails", "swa-never-ends", "swa-rival", "swa-missing-asset"
AZURES_OWN = (FAILS, NEVER_ENDS, RIVAL, MISSING_ASSET)
"""Faults of deployments, whichever way they come: over Azure Resource Manager, with a token, or from a workflow."""
LOST = "Failure during content distribution."
"""Azure's words for what went wrong on its own side."""
CUT_OFF = "The deployment was cut off before its content was complete."


class BusyError(BadArchiveError):
    """Another deployment is in progress on the site."""


async def publish(world: World, site: StaticSite, archive: bytes, *, by: str) -> None:
    """Deploy `archive`, a zip, to the site; it is served on return. `BadArchiveError` says why it is not.

    `by` is who deployed, for the sandbox's log of deployments. Takes as long as the pace says.
    """
    deployment = Deployment(by=by)
    await begin(world, site, deployment, archive).wait()
    if deployment.status != "succeeded":
        raise BadArchiveError(deployment.failure or CUT_OFF)


def begin(world: World, site: StaticSite, deployment: Deployment, archive: bytes | None = None) -> asyncio.Event:
    """Enter the deployment on the site and do it beside the requests; the event is set when it has ended.

    Without an archive it is fetched from the deployment's URL. `BusyError` if another one is in progress.
    """
    other = site.deployment()
    if other is not None:
        raise BusyError(f"Deployment {other.id} of {site.name} is in progress.")
    _meet_faults(world, site, deployment)
    site.deployments = [*site.deployments[-MOST_KEPT:], deployment]
    _show(site, "Uploading")
    world.save()

    async def uploaded() -> bytes:
        if archive is None:
            return await fetch(world, deployment.url, site.sku)
        return archive

    return _run(world, site, deployment, uploaded)


def _meet_faults(world: World, site: StaticSite, deployment: Deployment) -> None:
    def taken(*names: str) -> Fault | None:
        return take(world, *names, matches=lambda fault: text(fault, "site") in ("", site.name))

    deployment.loses_asset = taken(MISSING_ASSET) is not None
    fault = taken(FAILS, NEVER_ENDS, RIVAL)
    if fault is None:
        return
    deployment.fails, deployment.never_ends = fault.name == FAILS, fault.name == NEVER_ENDS
    if fault.name == RIVAL:
        put(world, site, archive_of(site.frontend, text(fault, "release")), by="rival")


def resume(world: World) -> None:
    """Go on with the deployments that were in progress when the sandbox ended; an upload is lost."""

    async def lost() -> bytes:
        raise BadArchiveError(CUT_OFF)

    for site in world.state.static_sites:
        if (deployment := site.deployment()) is None:
            continue
        if deployment.url:
            begun = deployment
            _run(world, site, deployment, lambda begun=begun, site=site: fetch(world, begun.url, site.sku))
        else:
            _run(world, site, deployment, lost)


def _run(
    world: World, site: StaticSite, deployment: Deployment, archive: Callable[[], Awaitable[bytes]]
) -> asyncio.Event:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            while deployment.never_ends and deployment.status == "in progress":  # noqa: ASYNC110 -- until `repair`
                await asyncio.sleep(LOOK_SECONDS)
            if deployment.status == "in progress":
                await _deploy(world, site, deployment, archive)
        finally:
            ended.set()

    world.start(work())
    return ended


async def _deploy(
    world: World, site: StaticSite, deployment: Deployment, archive: Callable[[], Awaitable[bytes]]
) -> None:
    try:
        await asyncio.sleep(deployment.late_seconds)
        content = await archive()
        await asyncio.to_thread(archives.check, content, site.sku)
        _show(site, "Deploying")
        world.save()
        await asyncio.sleep(world.pace.site_deployment)
        if deployment.fails:
            deployment.failure_status = 500
            raise BadArchiveError(LOST)  # noqa: TRY301 -- ends as any other failure
        put(world, site, content, by=deployment.by, loses_asset=deployment.loses_asset)
    except BadArchiveError as error:
        end(world, site, deployment, str(error))
    else:
        deployment.status = "succeeded"
        _show(site, "Ready")
        world.save()


def put(world: World, site: StaticSite, archive: bytes, *, by: str, loses_asset: bool = False) -> None:
    """Serve a checked archive from now on, and note that. The edge forgets what it has."""
    folder = folder_of(world.folder.root)
    site.contents = archives.keep(folder, archive)
    content = archives.kept(folder, site.contents)
    asset = content.first_asset() if loses_asset else None
    site.lost_assets = [asset] if asset is not None else []
    site.version, site.served_since = content.version, now()
    _note(world, site, by, site.version, "succeeded")
    archives.forget(folder, {each.contents for each in world.state.static_sites} | frozen(world))


def end(world: World, site: StaticSite, deployment: Deployment, failure: str) -> None:
    """The deployment is over and has failed; what was served before still is."""
    log.warning("deployment of %s failed: %s", site.name, failure)
    deployment.status, deployment.failure = "failed", failure
    _show(site, "Failed")
    _note(world, site, deployment.by, None, failure)
    world.save()


def frozen(world: World) -> set[str]:
    """The contents that a stale edge goes on serving, because of a fault."""
    return {str(fault.before["contents"]) for fault in world.state.faults if "contents" in fault.before}


def _show(site: StaticSite, status: BuildStatus) -> None:
    site.build_status, site.last_updated = status, now()


def _note(world: World, site: StaticSite, by: str, version: str | None, outcome: str) -> None:
    entry = FrontendDeployment(time=now(), site=site.name, by=by, version=version, outcome=outcome)
    world.state.frontend_deployments.append(entry)
