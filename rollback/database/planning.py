"""Which server is restored, to when, under which name, and who follows: the plan of a restore.

Only reads. Whatever speaks against it is refused here, with what is known and what to do, before anything is touched.
"""

import re
from datetime import UTC, datetime, timedelta

from rollback.context import Run
from rollback.database import signing_in
from rollback.database.loss import estimate
from rollback.database.models import READ_ONLY, Server, ServerId
from rollback.database.plans import RestorePlan
from rollback.database.settings import StopWrites
from rollback.database.surveying import Survey
from rollback.errors import PermissionMissing, Refused, RestorePointInvalid
from rollback.models import now
from rollback.permissions import ACTIONS, CHECK_NAME, SERVER_ACTIONS
from rollback.postgres.url import DatabaseUrl
from rollback.slots import PRODUCTION

PROCEDURE = "restore-database"
NEWEST_LAG = timedelta(minutes=5)
"""Azure archives what was written at the latest after this time; a later point may be refused."""
LONGEST_NAME = 63
MOST_NAMES = 9


def parse_restore_point(text: str) -> datetime:
    """The instant that is meant, in UTC; raises `RestorePointInvalid` for one without a time zone."""
    example = "Write it as 2026-03-01T10:02:13Z or 2026-03-01T05:02:13-05:00."
    try:
        point = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise RestorePointInvalid(f"'{text}' is not a restore point.", remedy=example) from error
    if point.tzinfo is None:
        raise RestorePointInvalid(f"Restore point '{text}' has no time zone.", remedy=example)
    return point.astimezone(UTC)


class RestorePlanner:
    """Plans the restore of one environment's database."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = run.database
        self._survey = Survey(run)

    async def plan(self, point: datetime, stop_writes: StopWrites, waived: tuple[str, ...]) -> RestorePlan:
        """The plan; raises a `Refused` that says why not."""
        run, database = self._run, self._settings
        await (await run.app_service()).check_permissions(ACTIONS[PROCEDURE])
        secret = await (await run.key_vault()).get_secret(database.secret)
        url = DatabaseUrl.parse(secret.value.get_secret_value())
        source = await self._survey.find_source(url)
        await (await run.servers()).check_permissions(source.id, SERVER_ACTIONS[PROCEDURE])
        self._check_point(source, point)
        await self._survey.check_may_cut_over()
        consumers = await self._survey.find_consumers(secret, source)
        servers = await run.servers()
        settings = await servers.get_settings(source)
        async with signing_in.administrator(run, source.host, url.database) as session:
            system = await signing_in.read_system(session)
            bill = await estimate(session, point)
        await signing_in.check_password(run, url, source.host)
        return RestorePlan(
            procedure=PROCEDURE,
            environment=run.header.environment,
            reason=run.header.reason,
            run=run.header.run,
            source=source.id,
            source_host=source.host,
            source_system=system,
            private=source.is_private,
            new=await self._free_name(source, point),
            point=point,
            stop_writes=stop_writes,
            vault=database.vault,
            secret=database.secret,
            secret_version=secret.version,
            database=url.database,
            user=url.user,
            consumers=consumers,
            settings=settings,
            read_only=await servers.get_parameter(source.id, READ_ONLY),
            waived=waived,
            tolerance_rows=database.tolerance_rows,
            tolerance_share=database.tolerance_share,
            estimated=bill,
            observations=self._observations(source),
            warnings=(*self._survey.warnings, *await self._build_warning()),
        )

    def _check_point(self, source: Server, point: datetime) -> None:
        earliest, newest = source.earliest_restore_point, now()
        window = f"{_words(earliest)} to {_words(newest)}" if earliest else "nothing yet: there is no backup"
        if earliest is None or not earliest <= point <= newest:
            raise RestorePointInvalid(
                f"Restore point {_words(point)} is not within what '{source.id.name}' can be restored to: {window}.",
                remedy="Choose an instant in this window, as shortly before the damage as is known.",
            )
        if newest - point < NEWEST_LAG:
            self._survey.warnings.append(
                f"The restore point is less than {NEWEST_LAG.seconds // 60} minutes old: Azure may not have archived "
                "it yet and refuse it; then begin again a little later."
            )

    def _observations(self, source: Server) -> tuple[str, ...]:
        earliest = source.earliest_restore_point
        return (f"'{source.id.name}' can be restored from {_words(earliest)} on",) if earliest else ()

    async def _free_name(self, source: Server, point: datetime) -> ServerId:
        stem = re.sub(r"-r\d{10}(-\d)?$", "", source.id.name)
        name = f"{stem[: LONGEST_NAME - 14]}-r{point:%y%m%d%H%M}"
        servers = await self._run.servers()
        why = ""
        for candidate in (name, *(f"{name}-{number}" for number in range(2, MOST_NAMES + 1))):
            new = ServerId(resource_group=source.id.resource_group, name=candidate)
            if await servers.find(new) is None and (why := await self._why_not_free(candidate)) is None:
                return new
        raise Refused(
            f"No name for the new server is free, from '{name}' on. {why}",
            remedy="Delete servers of earlier tries that nobody needs.",
        )

    async def _why_not_free(self, name: str) -> str | None:
        """As Azure tells it, where it does: a role on resource groups does not reach to what it asks for here."""
        try:
            return await (await self._run.servers()).why_not_free(name)
        except PermissionMissing:
            self._survey.warnings.append(
                f"Whether nobody else's server is called '{name}' could not be asked: it takes {CHECK_NAME} on the "
                "subscription. If one is, the restore stops there, and everything is put back."
            )
            return None

    async def _build_warning(self) -> tuple[str, ...]:
        serving = (await (await self._run.app_service()).get_slot(PRODUCTION)).build
        return (f"{serving.name} goes on serving, on the restored data: if it did the damage, roll it back first.",)


def _words(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "nothing"
