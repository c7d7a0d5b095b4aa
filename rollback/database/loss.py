"""The data-loss bill at plan time, as far as the running server can tell it."""

from datetime import datetime

from rollback.database.bill import Bill, TableLoss
from rollback.postgres import loss
from rollback.postgres.session import Session


async def estimate(session: Session, since: datetime) -> Bill:
    """What was inserted, updated and deleted since an instant, by table; each counted or unknown, and how."""
    tables = tuple(_to_table_loss(each) for each in await loss.estimate_loss(session, since))
    return Bill(tables=tables, how="estimated while the apps write; counted row by row before the cut-over")


def _to_table_loss(found: loss.TableLoss) -> TableLoss:
    kinds = {"inserts": found.inserts, "updates": found.updates, "deletes": found.deletes}
    return TableLoss(
        table=found.table,
        inserts=found.inserts.count,
        updates=found.updates.count,
        deletes=found.deletes.count,
        how="; ".join(f"{kind}: {each.how}" for kind, each in kinds.items()),
    )
