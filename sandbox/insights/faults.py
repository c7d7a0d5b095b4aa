"""What can be wrong with measurements, and how a past is made for them."""

import random

from sandbox.clock import now
from sandbox.errors import SandboxError
from sandbox.faults import Kind, Option, number, text
from sandbox.insights.book import MINUTE, Tally, platform, telemetry
from sandbox.insights.catalogue import COMPONENT_METRICS, SITE_METRICS
from sandbox.insights.metrics import LAG, MISSING
from sandbox.state import Fault
from sandbox.web.faults import SLOT, slot_of
from sandbox.world import World

SPREAD = 0.25
"""Response times lie so far (a share) around what was asked for."""


async def _nothing(_world: World, _fault: Fault) -> None:
    """Whoever reads the book looks for the fault by itself."""


async def _check_metric(_world: World, fault: Fault) -> None:
    known = [metric.name for metric in (*SITE_METRICS, *COMPONENT_METRICS)]
    if text(fault, "metric").lower() not in ["", *(name.lower() for name in known)]:
        raise SandboxError(f"There is no metric {text(fault, 'metric')!r}; there are {', '.join(known)}.")


async def _write_history(world: World, fault: Fault) -> None:
    site, slot = slot_of(world, fault)
    share, requests, minutes = number(fault, "errors"), int(number(fault, "requests")), int(number(fault, "minutes"))
    if share > 1:
        raise SandboxError("metrics-history: errors is from 0 to 1.")
    seconds = number(fault, "response_ms") / 1000
    this_minute = int(now().timestamp()) // MINUTE * MINUTE
    newest = this_minute - int(number(fault, "ago")) * MINUTE
    for index in range(1, minutes + 1):
        tally = _minute(requests, share, seconds)
        for series in (platform(site.name, slot.name), telemetry(site.name, slot.name)):
            world.book.write_minute(series, newest - index * MINUTE, tally.model_copy())
    world.book.save()


def _minute(requests: int, share: float, seconds: float) -> Tally:
    failed = round(requests * share)
    average = seconds * random.uniform(1 - SPREAD, 1 + SPREAD)
    return Tally(
        requests=requests,
        http2xx=requests - failed,
        http5xx=failed,
        seconds=average * requests,
        longest=average * 4,
        shortest=average / 4,
    )


KINDS = [
    Kind(
        MISSING,
        "Metrics have no data at all.",
        {"metric": Option("its name; empty: every metric", "")},
        _nothing,
        _nothing,
        check=_check_metric,
    ),
    Kind(
        LAG,
        "Measurements are published so much later.",
        {"seconds": Option("how much, at most 600", 300)},
        _nothing,
        _nothing,
    ),
    Kind(
        "metrics-history",
        "Past minutes are written into the book of requests, as if they had been counted. Taken back by `reset` only.",
        {
            "errors": Option("share (0 to 1) that was answered 500", 0.0),
            "requests": Option("how many in each minute", 120),
            "minutes": Option("how many minutes", 30),
            "ago": Option("how many whole minutes lie between them and the current one", 0),
            "response_ms": Option("average response time in milliseconds", 40.0),
            **SLOT,
            "slot": Option("the slot's name", "production"),
        },
        _write_history,
    ),
]
