"""A downgrade rehearsed on a scratch server: what the certificate says, and that nothing is left, whatever happens."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.postgresqlflexibleservers import models as sdk
from azure.mgmt.postgresqlflexibleservers.aio import PostgreSQLManagementClient
from azure_names import GROUP as PRODUCTION_GROUP
from azure_names import SUBSCRIPTION
from downgrading import OWN, add_revision
from dying import begin
from restoring import APPS, SOURCE, Databases, quick_restore_file
from support import World, run_flow

from flows.downgrade_database import downgrade_database
from rollback.journal import Entry, Event
from rollback.migrations.certificates import Certificate
from rollback.migrations.plans import DowngradePlan
from rollback.outcomes import EndState
from rollback.runs import Outcome, RunFolder, Store

HEAD, BELOW = "e2a8c40b7f15", "d95a3b1e7f08"
GROUP = "fundrbolt-rehearsal-rg"
SCRATCH = rf"{GROUP}/.*/flexibleServers/{SOURCE}-x[0-9a-f]+$"
NAMED = """op.execute("DO $$ BEGIN IF current_setting('application_name') NOT LIKE 'rollback-migration %' THEN"
           " RAISE EXCEPTION 'a session without our name'; END IF; END $$")"""
REHEARSE = "Rehearse"
HIDDEN = "op.execute(\"DO $$ BEGIN EXECUTE '{}'; END $$\")"
"""A downgrade of which nobody can tell by reading it what it does."""
WAIT_SECONDS = 240.0


class Rehearsals:
    """The rehearsals' resource group, looked at by another client than ours."""

    def __init__(self, world: World, state: Path) -> None:
        self.control = world.control
        self.databases = Databases(world)
        self.store = Store(state)
        self.began = datetime.now(UTC)

    async def with_azure(self, ask: Callable[[PostgreSQLManagementClient], Any]) -> Any:
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        async with (
            ClientSecretCredential(*(os.environ[name] for name in names)) as credential,
            PostgreSQLManagementClient(credential, SUBSCRIPTION) as client,
        ):
            return await ask(client)

    async def servers(self) -> dict[str, str]:
        """Those that are there, with their states."""

        async def ask(client: PostgreSQLManagementClient) -> dict[str, str]:
            return {each.name: each.properties.state async for each in client.servers.list_by_resource_group(GROUP)}

        return await self.with_azure(ask)

    async def leave_a_ruin(self, name: str, tags: dict[str, str]) -> None:
        """A server of somebody else's in the group, of which the restore failed: it needs no data."""

        async def ask(client: PostgreSQLManagementClient) -> None:
            source = await client.servers.get(PRODUCTION_GROUP, SOURCE)
            properties = sdk.ServerProperties(
                create_mode="PointInTimeRestore",
                source_server_resource_id=source.id,
                point_in_time_utc=datetime.now(UTC) - timedelta(minutes=5),
            )
            body = sdk.Server(location=source.location, tags=tags, properties=properties)
            await client.servers.begin_create_or_update(GROUP, name, body)

        self.control.break_("pg-restore-fails")
        await self.with_azure(ask)
        while (await self.servers())[name] != "Inaccessible":  # noqa: ASYNC110 - Azure tells by being asked only
            await asyncio.sleep(0.1)

    def sent(self, *, refused: bool = False) -> list[str]:
        """Restores to scratch servers and their deletions, in order: those that were accepted, or all of them."""
        return [
            entry.method
            for entry in self.control.audit(self.began)
            if entry.method in {"PUT", "DELETE"}
            and (refused or (entry.status or 599) < 300)
            and f"/{GROUP}/" in entry.path
            and entry.path.partition("?")[0].rpartition("/")[0].endswith("/flexibleServers")
        ]

    def latest(self) -> RunFolder:
        return self.store.latest(1)[0]

    def plan(self) -> DowngradePlan:
        plan = self.latest().plan(DowngradePlan)
        assert plan is not None
        return plan

    def kept(self) -> Certificate | None:
        plan = self.plan()
        return self.store.certificates("production").find(plan.current, plan.target, plan.scripts, plan.schema_now)


@pytest.fixture
def rehearsals(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rehearsals:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(quick_restore_file(tmp_path, answer_timeout_seconds=60)))
    return Rehearsals(world, tmp_path / "state")


async def downgrade(watch: Callable[[Entry], None] | None = None, **parameters: object) -> Outcome:
    return await run_flow(watch, flow=downgrade_database, **{"target": "previous", "rehearse": True, **parameters})


async def downgrade_cancelled_at(event: Event, text: str = "", **parameters: object) -> None:
    def cancel(entry: Entry) -> None:
        if (entry.event, entry.step) == (event, REHEARSE) and text in entry.text:
            task.cancel()

    task = asyncio.create_task(downgrade(cancel, **parameters))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_rehearsal_is_held_once_although_answers_are_lost_and_its_certificate_serves_the_next_plan(
    rehearsals: Rehearsals,
) -> None:
    for method in ("PUT", "DELETE"):
        rehearsals.control.break_("drop-after", method=method, path=SCRATCH)
    secrets = len(await rehearsals.databases.secrets())
    await downgrade_cancelled_at(Event.STEP_FINISHED)
    certificate = rehearsals.kept()
    assert certificate is not None
    assert (certificate.problems, certificate.unread) == ((), ())
    assert certificate.found_lost == ("public.donations.tip_cents",)
    assert "down, up and down again went well" in certificate.words
    assert await rehearsals.servers() == {}
    assert len(await rehearsals.databases.secrets()) == secrets
    assert rehearsals.databases.running() == dict.fromkeys(APPS, True)

    sent = rehearsals.sent(refused=True)
    assert {*sent} == {"PUT", "DELETE"}
    outcome = await downgrade(rehearse=None)
    assert outcome.end_state is EndState.DOWNGRADED, outcome
    assert "the schema is the one that the rehearsal came to" in outcome.evidence
    assert rehearsals.plan().certificate == certificate
    assert REHEARSE not in [each.title for each in rehearsals.plan().steps()]
    assert rehearsals.sent(refused=True) == sent
    assert await rehearsals.servers() == {}


async def test_what_a_rehearsal_finds_refuses_the_downgrade_until_it_is_waived(rehearsals: Rehearsals) -> None:
    await rehearsals.databases.write("CREATE INDEX by_hand ON donations (tip_cents)")
    outcome = await downgrade()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "another schema than production (first): index public.by_hand: only in the first" in outcome.headline
    assert await rehearsals.servers() == {}
    again = await downgrade(rehearse=None)
    assert again.end_state is EndState.REFUSED, again
    assert "It was rehearsed: PROBLEMS: " in again.headline
    waived = await downgrade(rehearse=None, waive=("rehearsal",), dry_run=True)
    assert waived.end_state is EndState.PLANNED, waived
    assert rehearsals.sent() == ["PUT", "DELETE"]


async def test_what_was_not_told_is_found_though_the_restore_is_from_before_the_last_migration(
    rehearsals: Rehearsals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = "ALTER TABLE donations DROP COLUMN IF EXISTS donor"
    await add_revision(rehearsals.databases, tmp_path, monkeypatch, HIDDEN.format(forget))
    outcome = await downgrade(waive=(OWN,))
    assert outcome.end_state is EndState.REFUSED, outcome
    for problem in (
        "up again, the schema is not what it was (first): column public.donations.donor: only in the first",
        "lost, and not in the plan: public.donations.donor",
        f"a fresh database at {HEAD} (first) has another schema: column public.donations.donor: only in the first",
    ):
        assert problem in outcome.headline
    assert rehearsals.sent() == ["PUT", "DELETE"]
    assert await rehearsals.servers() == {}


async def test_a_rehearsals_sessions_have_our_name_though_the_url_has_one(
    rehearsals: Rehearsals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_revision(rehearsals.databases, tmp_path, monkeypatch, NAMED)
    url = await rehearsals.databases.url()
    await rehearsals.databases.set_url(f"{url}{'&' if '?' in url else '?'}application_name=api")
    await downgrade_cancelled_at(Event.STEP_FINISHED, waive=(OWN,))
    certificate = rehearsals.kept()
    assert certificate is not None
    assert certificate.problems == ()
    assert await rehearsals.servers() == {}


async def test_a_restore_that_fails_is_told_and_deleted_and_others_servers_stay(rehearsals: Rehearsals) -> None:
    earlier = await downgrade(dry_run=True)
    await rehearsals.leave_a_ruin("of-an-earlier-run", {"rollback-scratch": SOURCE, "rollback-run": earlier.run})
    theirs = {"of-no-run": {}, "of-an-unknown-run": {"rollback-scratch": SOURCE, "rollback-run": "0123abcd"}}
    for name, tags in theirs.items():
        await rehearsals.leave_a_ruin(name, tags)
    rehearsals.control.break_("pg-restore-fails")
    outcome = await downgrade()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "An unexpected error occured" in outcome.headline
    assert "'of-an-unknown-run' of run 0123abcd is there: it holds a copy of the data." in " ".join(
        rehearsals.plan().warnings
    )
    assert (await rehearsals.servers()).keys() == theirs.keys()
    assert rehearsals.kept() is None


async def test_a_scratch_server_that_cannot_be_deleted_is_named(rehearsals: Rehearsals, tmp_path: Path) -> None:
    quick_restore_file(tmp_path, restore_timeout_seconds=3, change_timeout_seconds=3)
    rehearsals.control.break_("pg-restore-never-ends")
    outcome = await downgrade()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "is not ready after 3 s" in outcome.headline
    (left,) = await rehearsals.servers()
    assert f"Scratch server '{left}' is left in resource group '{GROUP}'" in outcome.headline
    assert "Delete that server." in " ".join(outcome.next_steps)


async def test_a_rehearsal_in_which_alembic_fails_leaves_nothing(rehearsals: Rehearsals) -> None:
    def take_alembic_away(entry: Entry) -> None:
        if entry.text.startswith("Reading all rows"):
            rehearsals.control.break_("ssh-no-alembic", slot="production")

    outcome = await downgrade(take_alembic_away)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert f"alembic downgrade {BELOW} on the scratch server ended with status 1" in outcome.headline
    assert await rehearsals.servers() == {}
    assert rehearsals.kept() is None


async def test_a_cancelled_rehearsal_leaves_nothing_and_says_so(rehearsals: Rehearsals) -> None:
    await downgrade_cancelled_at(Event.NOTE, "Reading all rows")
    outcome = rehearsals.latest().outcome()
    assert outcome is not None
    assert outcome.end_state is EndState.CANCELLED
    assert "production was not touched, and no scratch server is left" in outcome.headline
    assert await rehearsals.servers() == {}


async def test_what_a_killed_rehearsal_left_is_deleted_before_the_next_one(rehearsals: Rehearsals) -> None:
    process = begin(None, downgrade_database, target="previous", rehearse=True)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            # Halfway down, values are lost: a rehearsal that went on there would find nothing to be lost.
            while not any(f"alembic downgrade {BELOW} went well" in text for text in notes(rehearsals)):
                assert process.is_alive()
                await asyncio.sleep(0.1)
    finally:
        process.kill()
        process.join(WAIT_SECONDS)
    killed = rehearsals.latest()
    assert len(await rehearsals.servers()) == 1
    await downgrade_cancelled_at(Event.STEP_FINISHED, resume=killed.header.run)
    certificate = rehearsals.kept()
    assert certificate is not None
    assert certificate.found_lost == ("public.donations.tip_cents",)
    assert rehearsals.sent() == ["PUT", "DELETE", "PUT", "DELETE"]
    assert await rehearsals.servers() == {}


async def test_a_killed_rehearsal_goes_on_with_the_server_that_azure_still_restores(rehearsals: Rehearsals) -> None:
    rehearsals.control.break_("pg-restore-never-ends")
    process = begin(None, downgrade_database, target="previous", rehearse=True)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not rehearsals.sent():
                assert process.is_alive()
                await asyncio.sleep(0.1)
    finally:
        process.kill()
        process.join(WAIT_SECONDS)
    repairing = asyncio.create_task(repair_when_looked_at(rehearsals))
    await downgrade_cancelled_at(Event.STEP_FINISHED, resume=rehearsals.latest().header.run)
    await repairing
    certificate = rehearsals.kept()
    assert certificate is not None
    assert certificate.problems == ()
    assert rehearsals.sent() == ["PUT", "DELETE"]
    assert await rehearsals.servers() == {}


async def repair_when_looked_at(rehearsals: Rehearsals) -> None:
    """The restore ends after the next one who asks about the scratch server itself."""
    (scratch,) = await rehearsals.servers()
    resumed = datetime.now(UTC)
    async with asyncio.timeout(WAIT_SECONDS):
        asked = f"/flexibleServers/{scratch}"
        while not any(each.path.endswith(asked) for each in rehearsals.control.audit(resumed)):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.1)
    rehearsals.control.repair("pg-restore-never-ends")


def notes(rehearsals: Rehearsals) -> list[str]:
    """Those of the latest run, once there is one."""
    runs = rehearsals.store.latest(1)
    return [each.text for each in runs[0].journal().entries] if runs else []
