"""Probes: what users get, asked from outside. Nothing here changes anything."""

import asyncio

from rollback import probes
from rollback.backend_plans import DeployPlan, ImagePlan, SwapPlan
from rollback.cache.plans import VERIFY, ClearCachePlan
from rollback.context import current
from rollback.errors import NotVerified, SomebodyElseSwapped
from rollback.health import show_health
from rollback.probes import Prober, Tally
from rollback.releases import Build
from rollback.slots import PRODUCTION
from rollback.swap_planning import check_slot_answers
from rollback.verification import Verified, verify_host
from tasks import step

LOG_LINES = 200


@step("Probe the slot", timeout_seconds=700)
async def probe_slot(plan: SwapPlan) -> SwapPlan:
    """Make sure that the slot is warm and answers as it must, and see what production's users get now.

    Nothing is probed where the target left the slot, or may be leaving it: the swap's own reading judges that. The plan
    comes back with what was seen. Raises `SlotUnhealthy`.
    """
    run = current()
    settings = run.backend.probes
    app = await run.app_service()
    production, slot = await app.get_pair()
    if plan.already_there or run.journal.open_changes() or slot.build.digest != plan.target.digest:
        return plan
    async with probes.connect(settings) as client:
        here = Prober(client, f"https://{slot.host}", settings)
        there = Prober(client, run.backend.public_url or f"https://{production.host}", settings)
        found, before = await asyncio.gather(
            verify_host(here, settings, plan.target.release, settings.verify_within_seconds),
            there.ask_requests(settings.count),
        )
    check_slot_answers(plan.slot, found.problems)
    seen = (*(f"slot '{plan.slot}': {each}" for each in found.evidence), f"production before: {_told(before)}")
    for each in seen:
        run.note(each)
    return plan.model_copy(update={"observations": seen})


@step("Verify from outside", timeout_seconds=700)
async def verify(plan: SwapPlan | ImagePlan) -> None:
    """Show that users get the target: by digest, by what the app says, and by what real requests get.

    Raises `NotVerified` with what is missing, `SomebodyElseSwapped` where production runs something else again.
    """
    if problems := await _find_problems(plan.target):
        raise NotVerified("; ".join(problems) + ".", remedy="Look at it as a user would; the build itself is in place.")


@step("Probe the new image", timeout_seconds=2000)
async def probe_image(plan: ImagePlan) -> None:
    """Wait until the image answers where it was put, and make sure that it does so without errors.

    Where the app does not say its release, the container's log has to name the image: the one before may still answer.
    Raises `FoundBad`.
    """
    run = current()
    run.stop_if_found_bad()
    app = await run.app_service()
    place, production = await asyncio.gather(app.get_slot(plan.place), app.get_slot(PRODUCTION))
    if plan.slot and (production.build.digest == plan.target.digest or run.journal.open_changes()):
        return
    settings = run.backend.probes
    async with probes.connect(settings) as client:
        prober = Prober(client, f"https://{place.host}", settings)
        found = await verify_host(prober, settings, plan.target.release, run.backend.start_within_seconds)
    _keep_evidence([f"{plan.place} is set to image {place.build.digest}"], [found])
    problems = [*found.problems]
    if not (settings.version.header or settings.version.path):
        log = "\n".join(await app.get_log_tail(plan.place, LOG_LINES))
        problems += [] if str(plan.target.digest) in log else ["the container's log does not tell that it started"]
    if problems:
        raise run.find_bad(f"{plan.target.name} does not answer as it must on {plan.place}: {'; '.join(problems)}.")


@step("Verify from outside", timeout_seconds=700)
async def verify_deployed(plan: DeployPlan) -> None:
    """Show that users get the new release without errors; raises `FoundBad`, so that it is taken back."""
    run = current()
    run.stop_if_found_bad()
    if problems := await _find_problems(plan.target):
        raise run.find_bad(f"With {plan.target.name} production did not answer as it must: {'; '.join(problems)}.")


@step("Verify what came back", timeout_seconds=700)
async def verify_taken_back(plan: ImagePlan) -> str:
    """Look at what users get now that the build before is back; returns it in words."""
    if problems := await _find_problems(plan.serving):
        return f"The build before is back, and what users get is not right either: {'; '.join(problems[:3])}."
    return f"Users get {plan.serving.name} again, verified from outside."


@step(VERIFY, timeout_seconds=2000)
async def verify_health(plan: ClearCachePlan) -> None:
    """Show that the app is healthy, after its restart where there was one; raises `NotVerified`."""
    run = current()
    within = run.backend.probes.verify_within_seconds + (run.backend.start_within_seconds if plan.restart else 0)
    await show_health(run, within_seconds=within, remedy="Look at the app's log; its cache may still be filling.")


async def _find_problems(build: Build) -> list[str]:
    """What speaks against users getting a build, seen on every host that they use."""
    run = current()
    settings = run.backend.probes
    production = await (await run.app_service()).get_slot(PRODUCTION)
    if production.build.digest != build.digest:
        raise SomebodyElseSwapped(
            f"Production runs {production.build}, not {build}: somebody else changed it.",
            remedy="Nothing more is sent. Find out who it was, then plan again.",
        )
    hosts = [f"https://{production.host}", *([run.backend.public_url] if run.backend.public_url else [])]
    async with probes.connect(settings) as client:
        found = await asyncio.gather(
            *(
                verify_host(Prober(client, host, settings), settings, build.release, settings.verify_within_seconds)
                for host in hosts
            )
        )
    _keep_evidence([f"production runs image {production.build.digest}"], found)
    return [f"{each.host}: {problem}" for each in found for problem in each.problems]


def _keep_evidence(told: list[str], found: list[Verified]) -> None:
    run = current()
    run.evidence = told + [f"{each.host}: {evidence}" for each in found for evidence in each.evidence]
    for each in run.evidence:
        run.note(each)


def _told(tally: Tally) -> str:
    releases = f", by {', '.join(sorted(tally.versions))}" if tally.versions else ""
    return f"{tally.good} of {len(tally.answers)} real requests good{releases}"
