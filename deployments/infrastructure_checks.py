"""Whether an environment's infrastructure could be rolled back: a part of `rollback doctor`. Only reads."""

import shutil
from pathlib import Path

from deployments.checks import GOOD, HINT, Check, check, lack
from rollback.context import Run
from rollback.errors import RollbackError
from rollback.infrastructure.planning import InfrastructurePlanner, list_deployed
from rollback.infrastructure.settings import Infrastructure
from rollback.infrastructure.templates import BICEP
from rollback.programs.repository import find_commit


async def examine(run: Run) -> list[Check]:
    """The checks of a run that only looks."""
    settings = run.settings.infrastructure(run.header.environment)
    checks = [await _check_repository(run), *_check_compiler(settings)]
    try:
        client = await run.deployments()
        history = await client.list_named(settings.deployment)
        locks = await client.list_locks()
    except RollbackError as error:
        return [*checks, lack(error)]
    newest = next((each for each in history if each.succeeded), None)
    if newest is None:
        hint = "A rollback could not archive what it replaces: undoing it needs a tag."
        checks.append(Check(HINT, f"Azure's history has no deployment '{settings.deployment}' to {client.where}", hint))
    else:
        when = f" of {newest.at:%Y-%m-%d %H:%M:%S} UTC" if newest.at else ""
        checks.append(Check(GOOD, f"deployed last as '{newest.name}'{when} to {client.where}"))
        told = "the credential may deploy what the last deployment did, and its locks allow it"
        deployed = await list_deployed(client, newest)
        checks.append(await check(InfrastructurePlanner(run).check_deployable(deployed, locks), told))
    return checks


async def _check_repository(run: Run) -> Check:
    repository = run.settings.repository.path or Path()
    try:
        await find_commit(repository, "HEAD")
    except RollbackError as error:
        return lack(error)
    return Check(GOOD, f"releases' templates come from '{repository}'")


def _check_compiler(settings: Infrastructure) -> list[Check]:
    if shutil.which(BICEP):
        return []
    hint = f"A release without '{settings.template}' is refused; nothing downloads a compiler during a rollback."
    return [Check(HINT, f"no '{BICEP}' on PATH: only compiled templates can be deployed", hint)]
