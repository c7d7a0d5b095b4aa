"""That an environment's app is healthy, as its users see it."""

from rollback.context import Run
from rollback.errors import NotVerified
from rollback.probes import Prober, connect
from rollback.slots import PRODUCTION
from rollback.verification import verify_host


async def show_health(run: Run, *, within_seconds: float | None = None, remedy: str) -> None:
    """Keep the evidence; raises `NotVerified`, with what to do, where users do not get what they should."""
    settings = run.backend.probes
    host = run.backend.public_url or f"https://{(await (await run.app_service()).get_slot(PRODUCTION)).host}"
    async with connect(settings) as client:
        prober = Prober(client, host, settings)
        found = await verify_host(prober, settings, None, within_seconds or settings.verify_within_seconds)
    if found.problems:
        raise NotVerified(f"{found.host}: {'; '.join(found.problems)}.", remedy=remedy)
    told = [f"{found.host}: {each}" for each in found.evidence]
    run.evidence += told
    for each in told:
        run.note(each)
