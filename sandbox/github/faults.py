"""What can go wrong with GitHub."""

import asyncio
from datetime import timedelta
from time import time

from aiohttp import web

from sandbox.errors import SandboxError
from sandbox.faults import TIMES, DroppedError, Kind, Option, expression, number, take, text
from sandbox.github import assets, running
from sandbox.github.frame import GitHubError
from sandbox.github.model import Attempt, Run
from sandbox.github.start import ASSETS
from sandbox.github.workflows import BUILD, DEPLOY, DEPLOY_FRONTEND
from sandbox.state import Fault
from sandbox.world import World

DOWN, REVOKED, LIMITED, SECONDARY = (
    "github-down",
    "github-token-revoked",
    "github-rate-limited",
    "github-secondary-limit",
)
FAILS, HANGS = "github-rerun-fails", "github-rerun-hangs"
LOST_BEFORE, LOST_AFTER = "github-rerun-answer-lost-before", "github-rerun-answer-lost-after"
REVIEW_LOST = "github-approval-answer-lost-after"
TOO_OLD, EXHAUSTED = timedelta(days=40), 51
UNICORN = (
    "<!DOCTYPE html><html><head><title>Unicorn! &middot; GitHub</title></head><body><p><strong>No server is currently "
    "available to service your request.</strong></p><p>Sorry about that. Please try refreshing and contact us if the "
    "problem persists.</p></body></html>"
)
ABOUT_LIMITS = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"


def is_down(world: World) -> bool:
    """Whether GitHub answers nothing."""
    return any(each.name == DOWN for each in world.state.faults)


def is_revoked(world: World) -> bool:
    """Whether the token is worth nothing any more."""
    return any(each.name == REVOKED for each in world.state.faults)


def unicorn() -> web.Response:
    """503, as GitHub's front answers when nothing is behind it."""
    return web.Response(status=503, text=UNICORN, content_type="text/html")


def rate_limited(status: int) -> GitHubError:
    """The primary rate limit is used up."""
    return GitHubError(status, "API rate limit exceeded for user ID 120301447.", ABOUT_LIMITS)


def limit(world: World) -> tuple[int, int] | None:
    """Until when (seconds since 1970) the rate limit is used up, and the status that says so."""
    limited = next((each for each in world.state.faults if each.name == LIMITED), None)
    if limited is None or time() >= (until := float(str(limited.before["until"]))):
        return None
    return int(until) + 1, int(number(limited, "status"))


def before(world: World, request: web.Request) -> None:
    """What faults do to a request of the API before anybody looks at it."""

    def matches(fault: Fault) -> bool:
        wanted = text(fault, "method").upper() in ("", request.method)
        return wanted and expression(text(fault, "path")).search(request.path) is not None

    if (fault := take(world, SECONDARY, matches=matches)) is not None:
        told = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        where = f"{ABOUT_LIMITS}#about-secondary-rate-limits"
        raise GitHubError(403, told, where, headers={"Retry-After": f"{number(fault, 'retry_after'):g}"})


def before_rerun(world: World) -> None:
    """A request for a re-run may be lost on its way."""
    if take(world, LOST_BEFORE) is not None:
        raise DroppedError


def after_rerun(world: World) -> None:
    """The answer to a request for a re-run may be lost."""
    if take(world, LOST_AFTER) is not None:
        raise DroppedError


def after_review(world: World) -> None:
    """The answer to a review may be lost."""
    if take(world, REVIEW_LOST) is not None:
        raise DroppedError


def shape(world: World, attempt: Attempt) -> None:
    """What faults make of a new attempt."""
    attempt.fails = take(world, FAILS) is not None
    if (fault := take(world, HANGS)) is not None:
        attempt.hangs_in = text(fault, "job")


async def _go_on(world: World) -> None:
    """Let what hung go on."""
    for run in world.state.github.runs:
        if run.last.hangs_in and run.last.status != "completed":
            at_work = any(each.status == "in_progress" and each.name == run.last.hangs_in for each in run.last.jobs)
            run.last.hangs_in = ""
            if at_work:
                running.begin(world, run)


async def _nothing(_world: World, _fault: Fault) -> None:
    """Whoever it concerns looks for the fault by itself."""


async def _limit(_world: World, fault: Fault) -> None:
    fault.before = {"until": time() + number(fault, "seconds")}


async def _check_limit(_world: World, fault: Fault) -> None:
    if number(fault, "status") not in (403, 429):
        raise SandboxError("GitHub tells of a rate limit with 403 or 429.")


async def _check_asset(world: World, fault: Fault) -> None:
    tags = [each.tag for each in world.state.github.releases]
    if text(fault, "name") not in ASSETS or text(fault, "tag") not in ("", *tags):
        raise SandboxError(f"Assets are {', '.join(ASSETS)}, of {', '.join(tags)} or of every release (no tag).")


async def _check_archive(world: World, fault: Fault) -> None:
    await _check_asset(world, fault)
    if not text(fault, "name").endswith(".zip"):
        raise SandboxError(f"{text(fault, 'name')} is not an archive.")


async def _prepare_huge(world: World, fault: Fault) -> None:
    # Its checksum takes a moment, in which others are answered.
    for release in world.state.github.releases:
        if text(fault, "tag") in ("", release.tag):
            await asyncio.to_thread(assets.content, release.tag, text(fault, "name"), huge=True)


def _good_runs(world: World) -> list[Run]:
    runs = world.state.github.runs
    return [each for each in runs if each.workflow == DEPLOY_FRONTEND.file and each.last.conclusion == "success"]


async def _age(world: World, fault: Fault) -> None:
    fault.before = {str(run.id): run.created.isoformat() for run in _good_runs(world)}
    _move(world, fault, -TOO_OLD)


async def _rejuvenate(world: World, fault: Fault) -> None:
    _move(world, fault, TOO_OLD)


def _move(world: World, fault: Fault, by: timedelta) -> None:
    for run in world.state.github.runs:
        if str(run.id) not in fault.before:
            continue
        run.created += by
        for attempt in run.attempts:
            attempt.started, attempt.updated = attempt.started + by, attempt.updated + by
            for job in attempt.jobs:
                job.created, job.started = job.created + by, job.started + by
                job.completed = job.completed + by if job.completed else None


async def _exhaust(world: World, fault: Fault) -> None:
    fault.before = {str(run.id): run.last.number for run in _good_runs(world)}
    for run in _good_runs(world):
        run.last.number = EXHAUSTED


async def _renew(world: World, fault: Fault) -> None:
    for run in world.state.github.runs:
        if str(run.id) in fault.before and run.last.number == EXHAUSTED:
            run.last.number = int(str(fault.before[str(run.id)]))


async def _check_job(_world: World, fault: Fault) -> None:
    if text(fault, "job") not in (BUILD, DEPLOY):
        raise SandboxError(f"The jobs are {BUILD} and {DEPLOY}.")


async def _check_path(_world: World, fault: Fault) -> None:
    expression(text(fault, "path"))


ASSET = {
    "name": Option("which asset", "frontend-web.zip"),
    "tag": Option("of which release; empty: of every one", ""),
}
KINDS = [
    Kind(DOWN, "GitHub answers 503 with its page for people.", {}, _nothing, _nothing),
    Kind(REVOKED, "The token is refused with 401.", {}, _nothing, _nothing),
    Kind(
        LIMITED,
        "The hourly rate limit is used up: requests are refused until it is reset.",
        {"seconds": Option("until the reset", 60.0), "status": Option("403 or 429", 403)},
        _limit,
        _nothing,
        check=_check_limit,
    ),
    Kind(
        SECONDARY,
        "Requests are refused with 403 and Retry-After, as by the secondary rate limit.",
        {
            "retry_after": Option("seconds that the client is asked to wait", 1.0),
            "method": Option("HTTP method; empty: any", ""),
            "path": Option("regular expression, searched in the path", ""),
            **TIMES,
        },
        check=_check_path,
    ),
    Kind(assets.MISSING, "An asset of a release is gone.", ASSET, _nothing, _nothing, check=_check_asset),
    Kind(
        assets.CORRUPT,
        "Half of an asset is downloaded; its digest and size are told as before.",
        ASSET,
        _nothing,
        _nothing,
        check=_check_asset,
    ),
    Kind(
        assets.CLIMBS,
        "An archive has files outside of its folder; its digest is right.",
        ASSET,
        _nothing,
        _nothing,
        check=_check_archive,
    ),
    Kind(
        assets.HUGE,
        "An archive of a megabyte has more than a gigabyte in it; its digest is right.",
        ASSET,
        _prepare_huge,
        _nothing,
        check=_check_archive,
    ),
    Kind(FAILS, "The deployment of a re-run or started run fails; its log says why.", TIMES),
    Kind(
        HANGS,
        "A re-run or started run stays in progress until `repair`.",
        {"job": Option("in which job: build or deploy", DEPLOY), **TIMES},
        check=_check_job,
        clean=_go_on,
    ),
    Kind("github-run-too-old", "The good runs are forty days older: too old for a re-run.", {}, _age, _rejuvenate),
    Kind("github-rerun-exhausted", "The good runs have been re-run fifty times.", {}, _exhaust, _renew),
    Kind(LOST_AFTER, "The re-run is accepted, then the connection is dropped.", TIMES),
    Kind(LOST_BEFORE, "The connection is dropped, and nothing is re-run.", TIMES),
    Kind(REVIEW_LOST, "The review is entered, then the connection is dropped.", TIMES),
]
