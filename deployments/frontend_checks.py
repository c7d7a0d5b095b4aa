"""Whether an environment's frontends could go back to an earlier release: a part of `rollback doctor`. Only reads."""

import asyncio
from datetime import timedelta
from pathlib import Path

from deployments.checks import GOOD, HINT, MISSING, Check, check, lack
from rollback.context import Run
from rollback.errors import RollbackError
from rollback.frontends.pages import Look
from rollback.frontends.planning import version_of
from rollback.frontends.settings import Frontend, FrontendWay
from rollback.github import releases as github_releases
from rollback.github import workflow_runs
from rollback.github.access import ACTIVE, Access, get_access, get_workflow_state, may_review
from rollback.github.connection import GitHubConnection
from rollback.github.releases import Published
from rollback.github.settings import Workflow
from rollback.github.workflow_runs import RERUN_DAYS
from rollback.models import now
from rollback.permissions import FRONTEND_ACTIONS
from rollback.programs.repository import find_commit

FEW_REQUESTS = 300
"""A redeployment asks for some dozens; a workflow that is watched to its end for a few hundred."""
SOON = timedelta(days=14)
OTHER_WAY = "redeploy-frontend needs no workflow run."


async def examine(run: Run) -> list[Check]:
    """The checks of a run that only looks."""
    frontends = run.settings.frontends(run.header.environment)
    seen = await asyncio.gather(*(_look(run, each) for each in frontends.values()))
    before, github = await _check_github(run, {look.version for look, _ in seen if look and look.version})
    checks: list[Check] = []
    for (name, frontend), (_, found) in zip(frontends.items(), seen, strict=True):
        told = [*found, await _check_source(run, frontend, before)]
        checks += [Check(each.mark, f"frontend '{name}': {each.text}", each.remedy) for each in told]
    return [*checks, *github]


async def _look(run: Run, frontend: Frontend) -> tuple[Look | None, list[Check]]:
    """What a frontend serves, and whether the credential may deploy to it."""
    sites, browser = await run.static_sites(), await run.browser()
    try:
        site = await sites.get(frontend)
    except RollbackError as error:
        return None, [lack(error)]
    look = await browser.look(f"https://{site.host}", frontend.version)
    checks = [
        _describe(look, f"{frontend.app} serves {look.version}"),
        await check(
            sites.check_permissions(frontend, FRONTEND_ACTIONS[frontend.way]),
            f"the credential may do everything that redeploy-frontend does by way '{frontend.way}'",
        ),
    ]
    if frontend.public_url:
        public = await browser.look(frontend.public_url, frontend.version)
        checks.append(_describe(public, f"{frontend.public_url} answers, with {public.version}"))
        if public.known and look.known and public.version != look.version:
            hint = "A cache in front of it, or a name that leads elsewhere: verification would wait for it in vain."
            checks[-1] = Check(MISSING, f"{frontend.public_url} serves {public.version}, not {look.version}", hint)
    return look, checks


def _describe(look: Look, good: str) -> Check:
    if look.known:
        return Check(GOOD, good)
    return Check(MISSING, str(look), "Check public_url and version in the platform file: a rollback verifies by them.")


async def _check_source(run: Run, frontend: Frontend, before: Published | None) -> Check:
    """Whether the release before is where the frontend's way takes it from."""
    if before is None:
        return Check(HINT, "which release could be deployed again is not known", "Name it with --release then.")
    if frontend.way is FrontendWay.ARTIFACT:
        try:
            asset = before.asset(frontend.artifact.replace("{release}", before.tag))
        except RollbackError as error:
            return lack(error)
        return Check(GOOD, f"release {before.tag} on GitHub has its archive {asset.name}")
    repository = run.settings.repository.path or Path()
    try:
        commit = await find_commit(repository, before.tag)
    except RollbackError as error:
        return lack(error)
    return Check(GOOD, f"its script can be run from {before.tag} (commit {commit[:12]}) of {repository}")


async def _check_github(run: Run, serving: set[str]) -> tuple[Published | None, list[Check]]:
    """GitHub's checks, and the release before those that are served."""
    try:
        github = await run.github()
        access = await get_access(github)
        before = _before(run, await github_releases.list_releases(github), serving)
    except RollbackError as error:
        return None, [lack(error)]
    checks = [_check_token(run, access), _check_rate(access)]
    workflow = run.settings.environments[run.header.environment].workflow
    if workflow is not None:
        checks += await _check_workflow(github, workflow, access.user, before)
    return before, checks


def _check_token(run: Run, access: Access) -> Check:
    repository = run.settings.repository_on_github()
    told = f"GitHub accepts secret '{repository.secret}' as {access.user}, and shows {repository.repository}"
    if access.expires_at is None:
        return Check(GOOD, told)
    told += f"; valid until {access.expires_at:%Y-%m-%d}"
    if access.expires_at - now() < SOON:
        return Check(HINT, told, f"Put a new one into the secret of vault '{repository.vault}' before.")
    return Check(GOOD, told)


def _check_rate(access: Access) -> Check:
    told = f"GitHub's rate limit: {access.left} of {access.limit} requests left until {access.resets_at:%H:%M} UTC"
    if access.left < FEW_REQUESTS:
        return Check(HINT, told, "Somebody else uses this token: give the rollback one of its own.")
    return Check(GOOD, told)


def _before(run: Run, releases: tuple[Published, ...], serving: set[str]) -> Published | None:
    """The newest release older than those that are served, whatever is known of it."""
    served = [each for each in releases if version_of(each.tag, run) in serving]
    older = [each for each in releases if served and each.published_at < served[0].published_at]
    return next((each for each in older if not each.preliminary), None)


async def _check_workflow(
    github: GitHubConnection, workflow: Workflow, user: str, before: Published | None
) -> list[Check]:
    try:
        state = await get_workflow_state(github, workflow.file)
    except RollbackError as error:
        return [lack(error)]
    if state != ACTIVE:
        hint = f"Enable it for rerun-frontend-workflow. {OTHER_WAY}"
        return [Check(HINT, f"workflow '{workflow.file}' is not active on GitHub: {state}", hint)]
    checks = [Check(GOOD, f"workflow '{workflow.file}' is there and active")]
    if workflow.environment:
        checks.append(await _check_reviewer(github, workflow.environment, user))
    if before is not None:
        checks.append(await _check_last_good(github, workflow, before.tag))
    return checks


async def _check_reviewer(github: GitHubConnection, environment: str, user: str) -> Check:
    try:
        may = await may_review(github, environment, user)
    except RollbackError as error:
        return lack(error)
    told = f"deployments to environment '{environment}' on GitHub"
    if may is None:
        hint = "A team reviews them: make sure that it is one of its members."
        return Check(HINT, f"whether {user} may approve {told} is not known", hint)
    if not may:
        return Check(HINT, f"{user} may not approve {told}", "A person has to, or make it a reviewer there.")
    return Check(GOOD, f"{user} may approve {told}")


async def _check_last_good(github: GitHubConnection, workflow: Workflow, release: str) -> Check:
    """Whether the release's last good run could be run again."""
    try:
        runs = await workflow_runs.list_runs(github, workflow.file, await workflow_runs.get_commit(github, release))
    except RollbackError as error:
        return lack(error)
    good = next((each for each in runs if each.succeeded), None)
    if good is None:
        return Check(HINT, f"no run of '{workflow.file}' for {release} has succeeded", OTHER_WAY)
    told = f"the last good run of '{workflow.file}' for {release}, {good.id},"
    if good.why_not_again:
        return Check(HINT, f"{told} {good.why_not_again}", OTHER_WAY)
    return Check(GOOD, f"{told} can be run again until {good.first_started_at + RERUN_DAYS:%Y-%m-%d}")
