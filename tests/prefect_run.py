"""The flow in a process of its own, under the Prefect server of PREFECT_API_URL: a new run, or again the run named."""

import asyncio
import sys
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow_async

from flows.roll_back_backend import roll_back_backend

PARAMETERS = {"environment": "production", "reason": "a test"}


async def main(flow_run: str | None) -> None:
    if flow_run is None:
        await roll_back_backend(**PARAMETERS, return_state=True)
        return
    async with get_client() as client:
        again = await client.read_flow_run(UUID(flow_run))
    await run_flow_async(roll_back_backend, flow_run=again, parameters=PARAMETERS, return_type="state")


asyncio.run(main(*sys.argv[1:2] or [None]))
