"""What a slot swap does: a toggle with Azure's order of steps, in which no request is lost.

1. The target's sticky settings go to the source slot, whose process restarts if they differ.
2. The source slot is warmed up: requests to its root, five tries, any status will do unless a setting says which.
3. The routing is switched: content and processes change places, sticky settings, rules, names and states stay.
4. The old production gets the source slot's sticky settings and restarts there.

Until 3 a failure puts everything back. Source: learn.microsoft.com/azure/app-service/deploy-staging-slots.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from sandbox.clock import now
from sandbox.state import PRODUCTION, Content, Failure, Operation, Site, Slot, Swap, SwapStatus
from sandbox.web.resources import touch
from sandbox.world import World, effective_settings, merge_sticky

log = logging.getLogger(__name__)

WARM_UP_TRIES = 5
WARM_UP_SECONDS = 90
MOST_OPERATIONS_KEPT = 50


class SwapFailedError(Exception):
    """The swap ends without having switched anything."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def begin(world: World, site: Site, operation: Operation) -> asyncio.Event:
    """Enter `operation` on the site and run it beside the requests; the event is set when it has ended."""
    site.operations = [*site.operations[-MOST_OPERATIONS_KEPT:], operation]
    world.save()
    return resume(world, site, operation)


def resume(world: World, site: Site, operation: Operation) -> asyncio.Event:
    """Run an operation that is already entered: at once after `begin`, and again after a restart of the sandbox."""
    ended = asyncio.Event()
    world.start(_run(world, site, operation, ended.set))
    return ended


async def _run(world: World, site: Site, operation: Operation, tell: Callable[[], object]) -> None:
    if operation.never_ends:
        return
    try:
        await asyncio.sleep(operation.late_seconds)
        if not operation.switched:
            await _prepare_and_switch(world, site, operation)
        await _finish(world, site, operation)
    except SwapFailedError as error:
        log.warning("swap of %s failed: %s", site.name, error)
        end(operation, error.failure)
        site.slots[operation.source].prepared_for = None
        world.save()
        world.start(world.workers.refresh((site.name, operation.source)))
    finally:
        tell()


def end(operation: Operation, failure: Failure | None = None) -> None:
    """The operation is over."""
    operation.status = "succeeded" if failure is None else "failed"
    operation.failure = failure


async def _prepare_and_switch(world: World, site: Site, operation: Operation) -> None:
    source, target = site.slots[operation.source], site.slots[operation.target]
    source.prepared_for = target.name
    world.save()
    await asyncio.sleep(world.pace.swap_prepare)
    await world.workers.refresh((site.name, source.name))
    if operation.fails:
        raise _not_warm(site, source)
    await _warm_up(world, site, source)
    await asyncio.sleep(world.pace.swap_warm_up)
    await asyncio.sleep(world.pace.swap_switch)
    await world.workers.switch(
        (site.name, source.name), (site.name, target.name), lambda: _switch(world, site, operation)
    )


def _switch(world: World, site: Site, operation: Operation) -> None:
    source, target = site.slots[operation.source], site.slots[operation.target]
    before = source.content.linux_fx_version, target.content.linux_fx_version
    source.prepared_for = None
    to_target = _moved(site, source.content, target.content)
    source.content, target.content = _moved(site, target.content, source.content), to_target
    # Processes go on with what their references were resolved to.
    source.references, target.references = target.references, source.references
    operation.switched = True
    for slot in (source, target):
        touch(slot)
    world.state.swaps.append(
        Swap(
            time=now(),
            site=site.name,
            source=source.name,
            target=target.name,
            source_image_before=before[0],
            target_image_before=before[1],
            source_image_after=source.content.linux_fx_version,
            target_image_after=target.content.linux_fx_version,
            operation_id=operation.id,
            request_id=operation.request_id,
            by=operation.by,
        )
    )
    world.save()


def _moved(site: Site, content: Content, stays: Content) -> Content:
    """`content` in its new place: sticky entries are those that were there before."""
    return content.model_copy(
        update={
            "settings": merge_sticky(content.settings, stays.settings, site.sticky_settings),
            "connection_strings": merge_sticky(
                content.connection_strings, stays.connection_strings, site.sticky_connection_strings
            ),
        }
    )


async def _finish(world: World, site: Site, operation: Operation) -> None:
    await asyncio.sleep(world.pace.swap_finish)
    status = SwapStatus(timestamp=now(), source=operation.source, destination=operation.target)
    for name in (operation.source, operation.target):
        site.slots[name].swap_status = status
    end(operation)
    world.save()
    world.start(world.workers.refresh((site.name, operation.source), restart=True))


async def _warm_up(world: World, site: Site, slot: Slot) -> None:
    settings = effective_settings(site, slot)
    path = settings.get("WEBSITE_SWAP_WARMUP_PING_PATH", "/")
    wanted = {int(word) for word in settings.get("WEBSITE_SWAP_WARMUP_PING_STATUSES", "").split(",") if word.strip()}
    timeout = aiohttp.ClientTimeout(total=WARM_UP_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        for attempt in range(WARM_UP_TRIES):
            ports = [worker.port for worker in world.workers.all_at((site.name, slot.name))]
            if ports and None not in ports:
                with suppress(aiohttp.ClientError, TimeoutError):
                    # Every instance has to be warm.
                    pings = [await _ping(world, slot, client, f"http://127.0.0.1:{port}{path}") for port in ports]
                    if not wanted or set(pings) <= wanted:
                        return
            if attempt < WARM_UP_TRIES - 1:
                await asyncio.sleep(world.pace.warm_up_retry)
    raise _not_warm(site, slot)


async def _ping(world: World, slot: Slot, client: aiohttp.ClientSession, url: str) -> int:
    if slot.cold_answers:
        slot.cold_answers -= 1
        world.save()
        await asyncio.sleep(slot.cold_seconds)
        return 503
    async with client.get(url, allow_redirects=False) as response:
        return response.status


def _not_warm(site: Site, slot: Slot) -> SwapFailedError:
    return SwapFailedError(
        Failure(
            status=400,
            code="BadRequest",
            message=f"Cannot swap slots for site '{site.name}' because the application initialization in "
            f"'{slot.name}' slot either took too long or failed. Please check AppInit module configuration or try "
            "using swap with preview if application initialization time is very long.",
        )
    )


async def after_deployment(world: World, site: Site, slot: Slot) -> None:
    """A slot with auto swap swaps by itself once it holds something new."""
    if slot.auto_swap_slot is None or slot.name == PRODUCTION or site.operation() is not None:
        return
    begin(world, site, Operation(kind="swap", source=slot.name, target=slot.auto_swap_slot, by="auto-swap"))
