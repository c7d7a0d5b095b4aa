"""Whether an environment's resources are archived: a part of `rollback doctor`. Only reads."""

from datetime import timedelta

from deployments.checks import GOOD, HINT, Check, lack
from rollback.context import Run
from rollback.errors import PermissionMissing, RollbackError
from rollback.models import now
from rollback.permissions import REVERT, check_granted_in_group, check_sees_everything
from rollback.resources.archives import Archives

TOO_OLD = timedelta(days=1, hours=2)
"""A day, and how long an archive may take or wait for its worker."""
DAILY = "Let it be made daily: switch the environment's schedule of the deployment 'archive' on in Prefect."
ROLE = "Without it an archive lacks what cannot be seen: assign the role of deployments/role-archive.json."

REVERT_ROLE = "revert-resource needs the role of deployments/role-revert.json there, beside deployments/role.json."


async def examine(run: Run, archives: Archives) -> list[Check]:
    """The checks of a run that only looks. Archives are not needed, but for revert-resource: a lack is a hint."""
    return [_check_newest(run.header.environment, archives), *await _check_sight(run), *await _check_reverting(run)]


def _check_newest(environment: str, archives: Archives) -> Check:
    try:
        newest = archives.newest()
    except RollbackError as error:
        return lack(error)
    if newest is None:
        return Check(HINT, "there is no archive of its resources", f"rollback run archive -e {environment}. {DAILY}")
    told = f"{len(newest.entries)} resources are archived, last at {newest.at:%Y-%m-%d %H:%M} UTC"
    if now() - newest.at > TOO_OLD:
        return Check(HINT, f"{told}: older than a day", DAILY)
    if newest.unread:
        return Check(HINT, f"{told}, but {len(newest.unread)} could not be read", ROLE)
    return Check(GOOD, told)


async def _check_sight(run: Run) -> list[Check]:
    unseen: list[Check] = []
    for group in run.settings.environments[run.header.environment].resource_groups:
        try:
            await check_sees_everything(await run.connection(), group)
        except PermissionMissing as error:
            unseen.append(Check(HINT, error.message, ROLE))
        except RollbackError as error:
            unseen.append(lack(error))
    return unseen


async def _check_reverting(run: Run) -> list[Check]:
    checks: list[Check] = []
    for group in run.settings.environments[run.header.environment].resource_groups:
        try:
            await check_granted_in_group(await run.connection(), group, REVERT)
        except PermissionMissing as error:
            checks.append(Check(HINT, error.message, REVERT_ROLE))
        except RollbackError as error:
            checks.append(lack(error))
        else:
            checks.append(Check(GOOD, f"the credential may revert resources of '{group}'"))
    return checks
