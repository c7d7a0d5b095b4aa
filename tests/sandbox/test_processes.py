"""One process of the app, from its start to its end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sandbox.processes import Launch, Worker

ENVIRONMENT = (("PATH", "/usr/bin:/bin"),)


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    made = Worker(Launch("v1.2.2", ENVIRONMENT), [].append)
    await made.start()
    yield made
    await made.stop(0)


async def test_a_process_ends_only_when_the_requests_under_way_are_answered(worker):
    with worker.answering():
        stopping = asyncio.create_task(worker.stop(drain_seconds=20))
        done, _ = await asyncio.wait([stopping], timeout=0.2)
        assert (done, worker.pid is not None) == (set(), True)
    await stopping
    assert worker.pid is None


async def test_a_request_that_hangs_does_not_keep_a_process(worker):
    with worker.answering():
        await worker.stop(drain_seconds=0.1)
    assert worker.pid is None


@pytest.mark.parametrize("launch", [Launch(None, ENVIRONMENT), Launch("v1.2.2", (("FAILURE_SHARE", "much"),))])
async def test_a_process_that_cannot_start_is_settled_without_a_port(launch):
    made = Worker(launch, [].append)
    await made.start()
    await made.ended()
    assert (made.settled.is_set(), made.port, made.pid) == (True, None, None)
