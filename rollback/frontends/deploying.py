"""One frontend, made to serve the plan's version: deployed once, whatever happens to the request.

Whether it is done is seen at the site itself; Azure tells what goes on there meanwhile. What others deploy is reported,
not fought.
"""

import asyncio
from contextlib import suppress

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.errors import DeploymentFailed, OperationInProgress, PlanIsStale, SomebodyElseChanged, Transient
from rollback.frontends.pages import Look
from rollback.frontends.plans import FrontendTarget
from rollback.frontends.script import end_left_behind, run_script
from rollback.frontends.settings import Frontend, FrontendWay
from rollback.frontends.static_sites import StaticSite
from rollback.github import releases as github_releases
from rollback.journal import Event

POLL_SECONDS = 1.0
MOST_FAILURES = 3
"""Deployments that Azure ended as failed, before we give up."""


class Deployer:
    """Deploys one frontend of a plan."""

    def __init__(self, run: Run, frontend: Frontend, target: FrontendTarget) -> None:
        self._run = run
        self._frontend = frontend
        self._target = target
        self._succeeded = False
        """Azure, or the script, said so: what users get is judged afterwards."""
        self._updated_at = target.updated_at
        """When something was deployed last before what is sent now."""
        self._failures = 0

    @property
    def change(self) -> str:
        """The change's name in the journal."""
        return f"{self._target.name} {self._target.version}"

    async def check(self) -> None:
        """Make sure that it is as planned, before any frontend is touched; raises `PlanIsStale`."""
        if self._was_sent:
            return
        site, look = await self._read()
        if not self._serves(look):
            self._require_untouched(site, look)

    async def deploy(self) -> None:
        """Bring it about; on return the site serves the target, or Azure said that it does."""
        target = self._target
        change = Change(
            name=self.change,
            doing=f"Deploying {target.version} to {target.app}.",
            done=f"{target.app} serves {target.version}.",
            is_done=self._is_done,
            send=self._send_script if self._frontend.way is FrontendWay.SCRIPT else self._send_archive,
        )
        await asyncio.to_thread(end_left_behind, self._run, target)
        seconds = self._frontend.deploy_timeout_seconds
        if self._frontend.script is not None and self._frontend.way is FrontendWay.SCRIPT:
            seconds += self._frontend.script.timeout_seconds
        if not await converge(self._run, change, seconds, self._frontend.settle_seconds):
            self._run.note(f"{target.app} serves {target.version} already.")

    async def describe(self) -> str:
        """What it serves now, for people."""
        return str((await self._read())[1])

    @property
    def _was_sent(self) -> bool:
        entries = self._run.journal.entries
        return any(each.event is Event.SENDING and each.change == self.change for each in entries)

    async def _read(self) -> tuple[StaticSite, Look]:
        """Azure's word first: what it calls finished then, the site must show when it is asked afterwards."""
        sites, browser = await self._run.static_sites(), await self._run.browser()
        site = await sites.get(self._frontend)
        return site, await browser.look(f"https://{self._target.host}", self._frontend.version)

    def _serves(self, look: Look) -> bool:
        return look.known and self._target.serves(look.version, look.index_digest)

    async def _is_done(self) -> bool:
        if self._succeeded:
            return True
        site, look = await self._read()
        if self._serves(look):
            return True
        if self.change not in self._run.journal.open_changes():
            self._require_untouched(site, look)
            return False
        if site.failed and site.updated_at != self._updated_at:
            self._count_failure(site)
        else:
            self._require_ours(site, look)
        return False

    def _count_failure(self, site: StaticSite) -> None:
        """Azure ended what we sent as failed, and it may be sent again; raises `DeploymentFailed` in the end."""
        self._updated_at = site.updated_at
        self._failures += 1
        told = f"Azure ended the deployment to '{self._target.app}' as failed."
        if self._failures == MOST_FAILURES:
            self._run.journal.write(Event.NO_EFFECT, change=self.change, text=told)
            raise DeploymentFailed(
                f"{told} That was {MOST_FAILURES} times; users get what they got.",
                remedy="Look at the app in the portal, or use way 'script' in the platform file.",
            )
        self._run.note(told)

    def _require_untouched(self, site: StaticSite, look: Look) -> None:
        """Before anything of ours was sent."""
        target = self._target
        if site.moving:
            raise OperationInProgress(
                f"A deployment to '{target.app}' is in progress ({site.status}).",
                remedy="Wait for it to end, or cancel it where it was started.",
            )
        moved, was_known = site.updated_at != target.updated_at, target.serving is not None
        # What an earlier try of ours did not bring about leaves its time there: then only the site itself can tell.
        if was_known and not look.known and moved and self._was_sent:
            raise Transient(f"What users get cannot be read: {look}.")
        other = was_known and look.known and (look.version, look.index_digest) != (target.serving, target.serving_index)
        if other or (moved and not self._was_sent):
            raise PlanIsStale(
                f"'{target.app}' was deployed to since the plan was made: {look}.",
                remedy=f"This run changed nothing at '{target.app}'. Plan again.",
            )
        self._updated_at = site.updated_at

    def _require_ours(self, site: StaticSite, look: Look) -> None:
        """While what we sent is open: waits by raising `Transient` where it may still come."""
        target = self._target
        if site.moving:
            raise Transient(f"Azure deploys to '{target.app}' ({site.status}).")
        if not look.known:
            raise Transient(f"What users get cannot be read: {look}.")
        if site.updated_at == self._updated_at:
            return
        # Where it is not known what served before, an old version that is seen late is nobody's deployment.
        if target.serving is not None and look.version not in {target.serving, target.version}:
            raise SomebodyElseChanged(
                f"Somebody else deployed to '{target.app}' while we did: {look}.",
                remedy="Nothing more is sent. Find out who it was, then plan again.",
            )
        raise Transient(f"Azure says that something was deployed to '{target.app}', and {look}.")

    async def _send_archive(self) -> None:
        """Let Azure fetch the archive and wait for its word, or for the site to serve it, whichever comes first."""
        asset = self._target.asset
        if asset is None:
            raise AssertionError("an archive is deployed that was never looked through")
        sites = await self._run.static_sites()
        url = await github_releases.get_signed_url(await self._run.github(), asset)
        operation = await sites.deploy(self._frontend, url, f"rollback {self._run.header.run}")
        waiting = asyncio.ensure_future(sites.wait_for(self._frontend, url, operation))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=self._frontend.settle_seconds)
                if not waiting.done() and self._serves((await self._read())[1]):
                    return
            await waiting
            self._succeeded = True
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})

    async def _send_script(self) -> None:
        """Run the platform's own script; one that failed may have deployed all the same."""
        sites = await self._run.static_sites()
        token = await sites.get_deployment_token(self._frontend)
        try:
            await run_script(self._run, self._frontend, self._target, token)
        except DeploymentFailed:
            if await self._comes_to_be_served():
                return
            raise
        self._succeeded = True

    async def _comes_to_be_served(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._frontend.settle_seconds):
                while not self._serves((await self._read())[1]):  # noqa: ASYNC110 - a site tells by being asked only
                    await asyncio.sleep(min(POLL_SECONDS, self._frontend.settle_seconds / 4))
                return True
        return False
