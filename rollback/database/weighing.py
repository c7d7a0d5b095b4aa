"""The restored server beside the old one: what it lacks of its settings and rights, and what is lost of the rows."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from rollback.context import Run
from rollback.database import signing_in
from rollback.database.bill import AnyBill, Bill, TableLoss
from rollback.database.models import Server
from rollback.database.moves import MovePlan, MoveType
from rollback.database.parity import Parity
from rollback.database.plans import RestorePlan
from rollback.database.rights import match_rights
from rollback.errors import PartsDiffer
from rollback.journal import Event
from rollback.postgres.comparison import Comparison, TableComparison, compare
from rollback.postgres.connection import Limits
from rollback.postgres.export import export_lost_rows
from rollback.postgres.salvage import CHANGED, LOST, RETURNED
from rollback.postgres.sequences import advance_sequences
from rollback.postgres.session import Session
from rollback.postgres.url import DatabaseUrl

EXPORT_FILE = "lost-rows.zip"
SEQUENCES = "sequences"
"""The change's name in the journal."""
MOST_TOLD = 12
"""Differences in one message."""


@dataclass(frozen=True)
class Weighed(Generic[MoveType]):
    """The plan with its true bill, and the comparison that it was made of; none once the cut-over has begun."""

    plan: MoveType
    comparison: Comparison | None


async def match(run: Run, plan: RestorePlan, restored: Server) -> None:
    """Make the restored server's settings and rights like its source's.

    Raises `PartsDiffer` with what differs still and is not waived by name.
    """
    parity = Parity(run, plan)
    await parity.set_rest()
    differences = await parity.differences() | await match_rights(run, plan, restored)
    open_ones = {name: words for name, words in differences.items() if name not in plan.waived}
    for name, words in differences.items():
        run.note(f"{'Differs' if name in open_ones else 'Differs, and is waived'}: {name}: {words}.")
    if open_ones:
        told = "; ".join(f"{name}: {words}" for name, words in list(open_ones.items())[:MOST_TOLD])
        raise PartsDiffer(
            f"The restored server differs in {len(open_ones)}: {told}.",
            remedy="Mend these, or begin again with "
            f"{' '.join(f'--waive {name!r}' for name in list(open_ones)[:MOST_TOLD])} where they do not matter.",
        )
    run.note(f"'{plan.new.name}' is like '{plan.source.name}' in settings and rights.")


async def weigh(run: Run, plan: RestorePlan, restored: Server) -> Weighed[RestorePlan]:
    """Compare both servers row by row; the plan comes back with the true bill.

    It asks again where that is worse than the tolerance allows.
    """
    async with both_servers(run, plan, restored) as (old, new):
        comparison = await compare_servers(run, old, new)
    bill = Bill(tables=tuple(_loss(each) for each in comparison.tables), how="compared row by row, at rest")
    worse = bill.worse_than(plan.estimated, plan.tolerance_rows, plan.tolerance_share)
    return Weighed(revised(run, plan, bill, worse), comparison)


@asynccontextmanager
async def both_servers(run: Run, plan: MovePlan, server: Server) -> AsyncGenerator[tuple[Session, Session]]:
    """Sessions on the server that is left and on the one that is gone to, for as long as a comparison may take."""
    seconds = run.database.compare_timeout_seconds
    limits = Limits(statement_seconds=seconds, idle_in_transaction_seconds=seconds)
    async with (
        signing_in.administrator(run, plan.source_host, plan.database, limits=limits) as old,
        signing_in.administrator(run, server.host, plan.database, limits=limits) as new,
    ):
        yield old, new


async def compare_servers(run: Run, old: Session, new: Session) -> Comparison:
    """What the new server's rows and sequences lack of the old one's."""
    comparison = await compare(old, new, timeout_seconds=run.database.compare_timeout_seconds)
    for each in comparison.sequences:
        run.note(f"Sequence {each.sequence}: {each.new or 'unused'} instead of {each.old or 'unused'}.")
    return comparison


def revised(run: Run, plan: MoveType, bill: AnyBill[Any], worse: list[str]) -> MoveType:
    """The plan with its true bill; it asks again where that is worse than approved."""
    for each in bill.tables:
        run.note(f"{each.table}: {each.words}.")
    for each in worse:
        run.note(f"Worse than approved: {each}.")
    warnings = plan.warnings
    if worse and not plan.asks_again:
        warnings = (f"More is lost than was approved: {'; '.join(worse)}.", *plan.warnings)
    return plan.model_copy(update={"measured": bill, "asks_again": bool(worse), "warnings": warnings})


def exported(run: Run) -> Path | None:
    """The file with the rows that were lost; none where none was written."""
    path = run.folder.folder / EXPORT_FILE
    return path if path.exists() else None


def _loss(table: TableComparison) -> TableLoss:
    changed = ", ".join(f"{each.name} in {each.rows}" for each in table.changed_columns)
    how = "; ".join(part for part in (table.method, f"changed: {changed}" if changed else "", table.note) if part)
    return TableLoss(
        table=table.table, inserts=table.only_old, updates=table.differing, deletes=table.only_new, how=how
    )


async def export(run: Run, weighed: Weighed[Any], server: Server) -> None:
    """Write the rows that the new server lacks into a file in the run's folder; twice is once."""
    plan, comparison = weighed.plan, weighed.comparison
    if comparison is None:
        return
    async with both_servers(run, plan, server) as (old, new):
        path = run.folder.folder / EXPORT_FILE
        made = await export_lost_rows(old, new, comparison, path, title=f"Run {run.header.run}: {plan.title}")
    counts = ", ".join(f"{made.rows(kind)} {kind}" for kind in (LOST, CHANGED, RETURNED))
    run.note(f"{counts} rows are in {made.path} ({made.bytes} bytes, SHA-256 {made.sha256}), with instructions.")


async def make_ready(run: Run, weighed: Weighed[Any], server: Server) -> None:
    """Make sure that the apps can sign in to the new server, and let its sequences go on after the old server's.

    Else new rows would take the numbers of lost ones, which could not be loaded any more.
    """
    comparison = weighed.comparison
    if comparison is None:
        return
    secret = await (await run.key_vault()).get_secret(weighed.plan.secret)
    url = DatabaseUrl.parse(secret.value.get_secret_value())
    behind = [each for each in comparison.sequences if each.behind]
    async with signing_in.as_the_apps_do(run, url, server.host, read_only=not behind) as session:
        if not behind:
            return
        run.check_lease()
        names = ", ".join(each.sequence for each in behind)
        run.journal.write(Event.SENDING, change=SEQUENCES, text=f"Letting {names} go on after the old server's.")
        await advance_sequences(session, behind)
        told = f"{names} go on after the old server's numbers: those of lost rows stay free."
        run.journal.write(Event.CONFIRMED, change=SEQUENCES, text=told)
