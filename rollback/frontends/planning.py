"""Which release frontends go back to, and what is deployed for it: decided once, only by reading."""

import asyncio
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from rollback.context import Run
from rollback.errors import ArtifactUnfit, OperationInProgress, TargetUnknown
from rollback.frontends import archive
from rollback.frontends.archive import Contents
from rollback.frontends.goals import FrontendGoal
from rollback.frontends.pages import Look, hosts_of
from rollback.frontends.plans import FrontendTarget, RedeployFrontendPlan
from rollback.frontends.settings import Frontend, FrontendWay
from rollback.frontends.static_sites import StaticSite
from rollback.github import releases as github_releases
from rollback.github import workflow_runs
from rollback.github.releases import Asset, Published
from rollback.permissions import FRONTEND_ACTIONS
from rollback.programs.repository import find_commit
from rollback.served import Served, Verdict
from rollback.side_by_side import side_by_side

IN_MEMORY_BYTES = 16 * 1024**2
MOST_CANDIDATES = 10
"""Releases that are looked at, newest first, before a person has to name one."""

Seen = tuple[StaticSite, Look]


class FrontendPlanner:
    """Makes the plan of redeploying an environment's frontends."""

    def __init__(self, run: Run, frontends: Mapping[str, Frontend]) -> None:
        self._run = run
        self._frontends = frontends
        self._environment = run.header.environment
        self._releases: tuple[Published, ...] | None = None

    async def plan(self, release: str, reason: str) -> RedeployFrontendPlan:
        """The plan for a named release; for an empty name, for the newest known-good one older than what is served.

        Raises `TargetUnknown`, `ArtifactUnfit` and what else refuses: nothing is touched.
        """
        # Opened once, before they are used side by side.
        await self._run.static_sites()
        await self._run.browser()
        seen = dict(zip(self._frontends, await side_by_side(map(self._look, self._frontends.values())), strict=True))
        if release:
            evidence = "a person named it"
        else:
            release, evidence = await self._choose([look for _, look in seen.values()])
        if any(each.way is FrontendWay.ARTIFACT for each in self._frontends.values()):
            await self._list()
        targets = await side_by_side(self._target(name, *seen[name], release) for name in self._frontends)
        return RedeployFrontendPlan(
            procedure=self._run.header.procedure,
            environment=self._environment,
            reason=reason,
            release=release,
            evidence=evidence,
            frontends=tuple(targets),
            already_there=all(each.already_there for each in targets),
            goes_back=goes_back(self._releases or (), release, {look.version for _, look in seen.values()}, self._run),
            warnings=tuple(self._warnings(release, [look for _, look in seen.values()])),
        )

    async def _look(self, frontend: Frontend) -> Seen:
        sites, browser = await self._run.static_sites(), await self._run.browser()
        await sites.check_permissions(frontend, FRONTEND_ACTIONS[frontend.way])
        site = await sites.get(frontend)
        if site.moving:
            raise OperationInProgress(
                f"A deployment to '{frontend.app}' is in progress ({site.status}).",
                remedy="Wait for it to end, or cancel it where it was started.",
            )
        return site, await browser.look(f"https://{site.host}", frontend.version)

    async def _list(self) -> tuple[Published, ...]:
        if self._releases is None:
            self._releases = await github_releases.list_releases(await self._run.github())
        return self._releases

    async def _choose(self, looks: list[Look]) -> tuple[str, str]:
        """The newest known-good release older than the newest that is served, and how it is known to be good."""
        if unseen := [str(each) for each in looks if not each.known]:
            raise TargetUnknown(
                f"What is served now could not be read: {'; '.join(unseen)}.", remedy="Name the release to go back to."
            )
        serving = {each.version or "" for each in looks}
        releases = await self._list()
        served = [each for each in releases if self._version(each.tag) in serving]
        if unknown := serving - {self._version(each.tag) for each in served}:
            raise TargetUnknown(
                f"Which release is served is not known: GitHub has none of version {', '.join(sorted(unknown))}.",
                remedy="Name the release to go back to.",
            )
        older = [each for each in releases if each.published_at < served[0].published_at and not each.preliminary]
        for each in older[:MOST_CANDIDATES]:
            if evidence := await self._known_good(each.tag):
                return each.tag, evidence
        raise TargetUnknown(
            f"No release before {served[0].tag} is known to have been good.",
            remedy="Name the release to go back to: 'rollback versions' lists them.",
        )

    async def _known_good(self, tag: str) -> str:
        """How a release is known to be good, in words; empty where it is not, or is known to be bad."""
        known = [entry for entry in (self._known(name, tag) for name in self._frontends) if entry]
        if any(entry.verdict is Verdict.BAD for entry in known):
            return ""
        if known:
            return f"it was seen good in {self._environment} on {max(entry.at for entry in known):%Y-%m-%d}"
        workflow = self._run.settings.environments[self._environment].workflow
        if workflow is None:
            return ""
        github = await self._run.github()
        runs = await workflow_runs.list_runs(github, workflow.file, await workflow_runs.get_commit(github, tag))
        good = next((each for each in runs if each.succeeded), None)
        return f"it was deployed by workflow run {good.id} on {good.first_started_at:%Y-%m-%d}" if good else ""

    def _known(self, name: str, release: str) -> Served | None:
        """What is recorded of a frontend's release: under its version, in older records under its tag as well."""
        record = self._run.store.served_frontend(self._environment, name)
        return record.latest_of_release(self._version(release), release)

    def _version(self, release: str) -> str:
        return version_of(release, self._run)

    async def _target(self, name: str, site: StaticSite, look: Look, release: str) -> FrontendTarget:
        frontend = self._frontends[name]
        goal = goal_of(name, frontend, site, look, self._version(release))
        target = FrontendTarget.model_validate(dict(goal) | {"way": frontend.way})
        if frontend.way is FrontendWay.SCRIPT and frontend.script is not None:
            commit = await find_commit(self._run.settings.repository.path or Path(), release)
            return target.model_copy(update={"commit": commit, "command": shlex.join(frontend.script.command)})
        asset, contents = await self._archive(frontend, release)
        if contents.version != target.version:
            raise ArtifactUnfit(
                f"File '{asset.name}' of release {release} says that it is version {contents.version}, "
                f"not {target.version}.",
                remedy="Upload the right one, or say frontend_version in the release manifest.",
            )
        return target.model_copy(update={"asset": asset, "contents": contents})

    def _warnings(self, release: str, looks: list[Look]) -> Iterator[str]:
        for look in looks:
            if not look.known:
                yield f"What is served now could not be read: {look}."
        for name in self._frontends:
            known = self._known(name, release)
            if known and known.verdict is Verdict.BAD:
                yield f"Users were taken off {release} of {name} on {known.at:%Y-%m-%d}, by run {known.run}."

    async def _archive(self, frontend: Frontend, release: str) -> tuple[Asset, Contents]:
        found = github_releases.find(await self._list(), release)
        asset = found.asset(frontend.artifact.replace("{release}", release))
        url = await github_releases.get_signed_url(await self._run.github(), asset)
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            digest = await github_releases.download(url, asset, file, archive.MOST_BYTES)
            return asset, await asyncio.to_thread(archive.look_through, file, asset.name, digest, frontend.version)


def goal_of(name: str, frontend: Frontend, site: StaticSite, look: Look, version: str) -> FrontendGoal:
    """A frontend as it was seen, and the version that it is to serve."""
    return FrontendGoal(
        name=name,
        resource_group=frontend.resource_group,
        app=frontend.app,
        host=site.host,
        hosts=hosts_of(frontend, site.host),
        serving=look.version,
        serving_index=look.index_digest,
        updated_at=site.updated_at,
        version=version,
    )


def version_of(release: str, run: Run) -> str:
    """What a release's frontends call themselves."""
    known = run.manifest.releases.get(release)
    return (known.frontend_version if known else None) or release


def goes_back(releases: tuple[Published, ...], release: str, served: set[str | None], run: Run) -> bool:
    """Whether a release is not newer than everything that is served, as far as their dates are known."""
    dates = {version_of(each.tag, run): each.published_at for each in releases}
    target, others = dates.get(version_of(release, run)), [dates[each] for each in served if each in dates]
    return target is None or not others or target <= max(others)
