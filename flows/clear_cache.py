"""Keys are taken out of the cache: by patterns, or all of them.

Trigger:
    Users get stale or broken data although the database is right; sessions must end; a release left keys that another
    one cannot read.

Preconditions:
    The cache answers, and access keys are enabled. What must not go is declared in the platform file: queues, lists of
    revoked tokens, other applications' keys.

Steps:
    1. Plan: which keys, how many of each pattern (from a sample or a full scan), who notices, how long. Only reads.
    2. Clear: one pass over every primary, whose keys are looked at here and unlinked on the way; all keys: flushed,
       asynchronously.
    3. Verify that no key is left that was there; new ones, of users who come back, are counted.
    4. Restart production once, so that nothing lives on in its memory: also where 3 proved nothing.
    5. Verify from outside: health pages and real requests.

Undo:
    None: the app fills its cache again. Who was logged out signs in again.

Targets:
    rto_target 2 min; rpo_target: what is only in the cache is lost, as the plan says.

Approver:
    By the platform file's rules; risk medium. With a list of revoked tokens, which become valid again: high, and a
    person whatever the rules say.

Triage notes:
    `refused`: nothing was touched; the text says which pattern reaches too far, and what to name. `failed part-way`: it
    says how many keys are gone; resume the run, or begin again: both are safe. `cleared, not verified`: the keys are
    gone, and the app does not answer as it must, or old keys are there again after a failover: run it again.
"""

from prefect import flow
from prefect.client.schemas.objects import State

from rollback.cache.choosing import Asked
from rollback.cache.plans import ClearCachePlan
from rollback.errors import NotVerified
from rollback.runs import Outcome
from rollback.settings import EnvironmentName
from tasks import app_service, approvals, cache, probes, runs

RTO_TARGET_SECONDS = 120


@flow(
    name="clear-cache",
    flow_run_name="clear-cache/{environment}",
    description="Keys are taken out of the cache, by patterns or all of them; then the app restarts.",
    persist_result=False,
    timeout_seconds=18_000,
)
async def clear_cache(
    environment: EnvironmentName,
    reason: str,
    patterns: tuple[str, ...] = (),
    everything: bool = False,
    explicitly: tuple[str, ...] = (),
    restart: bool = True,
    dry_run: bool = False,
    resume: str = "",
) -> Outcome | State[Outcome]:
    """Take keys out of an environment's cache.

    Args:
        environment: Whose cache; fundrbolt.toml says which it is, and what in it is protected.
        reason: Why, in a sentence: it goes into the record and the report.
        patterns: Which keys, by Redis's globs, for instance cache:*. Empty: the default ones of fundrbolt.toml.
        everything: All keys, by FLUSHALL ASYNC, instead of patterns. Refused while there are protected ones.
        explicitly: What is refused unless it is named here, exactly as it is written: a list of revoked tokens,
            another application's pattern, or a pattern that reaches too far.
        restart: Restart production afterwards, once.
        dry_run: Only plan: show what would be deleted, touch nothing.
        resume: An unfinished run to go on with, by its name in 'rollback status'. Empty: a new run.
    """
    asked = Asked(patterns=tuple(patterns), everything=everything, explicitly=tuple(explicitly), restart=restart)
    async with runs.conduct(
        "clear-cache",
        environment=environment,
        reason=reason,
        dry_run=dry_run,
        resume=resume,
        asked={"cache": asked.model_dump_json()},
    ) as run:
        await run.claim()  # one rollback per environment
        plan = await cache.plan_clear_cache(asked, reason)  # 1. counted, and who notices
        await run.show(plan, ClearCachePlan)
        if not dry_run:
            cleared = None
            if not plan.already_there:
                await approvals.require(plan)  # as the platform file asks; revoked tokens: always
                cleared = await cache.clear(plan)  # 2. safe to repeat
            try:
                await cache.verify_keys(plan, cleared)  # 3. nothing old is left
            except NotVerified:
                if plan.restarts:
                    await app_service.restart_app(plan)  # 4. keys are gone: another run may find none
                raise
            if plan.restarts:
                await app_service.restart_app(plan)  # 4. nothing lives on in its memory
            await probes.verify_health(plan)  # 5. what users get
    return run.result()
