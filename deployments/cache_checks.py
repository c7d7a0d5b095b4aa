"""What `rollback doctor` looks at for caches. Only reads: no key's value, and no name of a key."""

from deployments.checks import GOOD, HINT, MISSING, Check, check, lack
from deployments.procedures import CLEAR_CACHE
from rollback.cache.choosing import Asked, choose
from rollback.context import Run
from rollback.errors import RollbackError
from rollback.permissions import ACTIONS


async def examine(run: Run) -> list[Check]:
    """Whether an environment's cache could be cleared."""
    settings = run.settings.cache(run.header.environment)
    name = f"cache '{settings.name}'"
    checks: list[Check] = []
    try:
        cache = await run.cache()
        app = await run.app_service()
        checks.append(await check(cache.check_permissions(), f"the credential may use {name} and its keys"))
        granted = f"the credential has every action that {CLEAR_CACHE} uses"
        checks.append(await check(app.check_permissions(ACTIONS[CLEAR_CACHE]), granted))
        account, topology = await cache.account(), await cache.find()
    except RollbackError as error:
        return [*checks, lack(error)]
    many = f"{len(topology.primaries)} primaries" if topology.clustered else "one primary"
    checks.append(
        Check(GOOD, f"{name} ({account.description}) answers: {topology.version}, {many}, {topology.keys:,} keys")
    )
    if account.state.lower() not in {"succeeded", "running"}:
        checks.append(Check(MISSING, f"Azure is changing {name}: {account.state}", "Wait until it has ended."))
    return [*checks, *_check_declared(run), *_check_patterns(run)]


def _check_declared(run: Run) -> list[Check]:
    """Whether the platform file says what is never deleted, or that there is nothing of the kind."""
    settings = run.settings.cache(run.header.environment)
    where = f"environments.{run.header.environment}.cache"
    told = {
        "protected": "no queue is kept",
        "revocations": f"{', '.join(settings.revocations)} is taken for the lists of revoked tokens",
    }
    return [
        Check(HINT, f"{name} is not said: {what}", f"Say it in {where}; where there is none: {name} = [].")
        for name, what in told.items()
        if name not in settings.model_fields_set
    ]


def _check_patterns(run: Run) -> list[Check]:
    """Whether the platform file's patterns can be used as they are."""
    settings = run.settings.cache(run.header.environment)
    if not settings.patterns:
        hint = f"Set patterns in environments.{run.header.environment}.cache: until then each run has to name its own."
        return [Check(HINT, "no pattern is deleted by default", hint)]
    try:
        choose(settings, Asked())
    except RollbackError as error:
        return [lack(error)]
    without = [each for each in settings.patterns if each not in settings.effects]
    told = f"deleted by default: {', '.join(settings.patterns)}; never: {', '.join(settings.protected) or 'nothing'}"
    if without:
        return [Check(HINT, told, f"Say in [cache.effects] what people notice of {', '.join(without)}.")]
    return [Check(GOOD, told)]
