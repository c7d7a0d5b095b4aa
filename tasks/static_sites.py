"""Static Web Apps: plan, deploy, verify, record.

Blast radius: what the users of an environment's frontends load; no data. Each frontend is deployed to once, side by
side with the others; everything reads first, does nothing where the goal is reached, and confirms at the site itself.
"""

import asyncio

from rollback.context import current
from rollback.errors import NotVerified, RollbackError
from rollback.frontends.deploying import Deployer
from rollback.frontends.goals import RECORD, VERIFY, FrontendsPlan
from rollback.frontends.planning import FrontendPlanner
from rollback.frontends.plans import DEPLOY, RedeployFrontendPlan
from rollback.frontends.verification import verify_frontend
from rollback.models import now
from rollback.releases import Build
from rollback.served import Served, Verdict
from rollback.side_by_side import side_by_side
from tasks import step

MOST_TOLD = 3
"""Problems in the headline; the others are notes of the step."""


@step("Plan", timeout_seconds=600)
async def plan_redeploy_frontend(release: str, frontends: tuple[str, ...], reason: str) -> RedeployFrontendPlan:
    """Decide what each frontend is to serve, from what each serves now; on resuming, the plan as it was made."""
    run = current()
    made = run.folder.plan(RedeployFrontendPlan)
    if made is None:
        header = run.header
        names = frontends or tuple(header.asked.get("frontends", "").split())
        wanted = run.settings.frontends(header.environment, names)
        made = await FrontendPlanner(run, wanted).plan(release or header.release or "", reason)
    run.note(f"{made.title}: {made.evidence}.")
    return made


@step(DEPLOY, timeout_seconds=9000)
async def deploy_frontends(plan: RedeployFrontendPlan) -> None:
    """Let every frontend of the plan serve its target: all of them looked at first, then side by side.

    One that fails does not stop the others; the first error is raised when they have ended, the others are notes.
    """
    run = current()
    known = run.settings.frontends(plan.environment, [each.name for each in plan.frontends])
    deployers = [Deployer(run, known[each.name], each) for each in plan.to_deploy]

    async def describe() -> str:
        return "; ".join(await asyncio.gather(*(each.describe() for each in deployers)))

    run.where_things_stand = describe
    await side_by_side(each.check() for each in deployers)
    ended = await asyncio.gather(*(each.deploy() for each in deployers), return_exceptions=True)
    failed = [each for each in ended if isinstance(each, BaseException)]
    for each in failed[1:]:
        run.note(str(each) if isinstance(each, RollbackError) else repr(each))
    if failed:
        raise failed[0]


@step(VERIFY, timeout_seconds=1200)
async def verify_frontends(plan: FrontendsPlan) -> None:
    """Show that users get the targets whole; raises `NotVerified` with what is missing."""
    run = current()
    known = run.settings.frontends(plan.environment, [each.name for each in plan.goals])
    browser = await run.browser()
    found = await asyncio.gather(*(verify_frontend(browser, known[each.name], each) for each in plan.goals))
    hosts = [host for each in found for host in each]
    run.evidence = [f"{each.host}: {evidence}" for each in hosts for evidence in each.evidence]
    problems = [f"{each.host}: {problem}" for each in hosts for problem in each.problems]
    for each in (*run.evidence, *problems):
        run.note(each)
    if problems:
        more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
        raise NotVerified(
            "; ".join(problems[:MOST_TOLD]) + more + ".",
            remedy="Look at it as users do, in a browser's private window.",
        )


@step(RECORD, timeout_seconds=60)
async def record_frontends(plan: FrontendsPlan) -> None:
    """Keep what each frontend serves and was seen good, and which one users were taken off, each by its version."""
    run = current()
    for each in plan.goals:
        record = run.store.served_frontend(plan.environment, each.name)
        if plan.goes_back and each.serving and not each.already_there:
            record.add(_served(each.app, each.serving, each.serving_index, Verdict.BAD))
        digest = each.contents.index_digest if each.contents else f"version {each.version}"
        record.add(_served(each.app, each.version, digest, Verdict.GOOD))


def _served(app: str, version: str, digest: str | None, verdict: Verdict) -> Served:
    header = current().header
    build = Build(image=app, digest=digest, release=version)
    return Served(at=now(), environment=header.environment, build=build, verdict=verdict, run=header.run)
