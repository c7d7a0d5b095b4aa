"""The data-loss bill at plan time, as far as the running server can tell it."""

from datetime import datetime

from rollback.database.bill import Bill, TableLoss
from rollback.postgres.session import Session
from rollback.postgres.tables import list_tables


async def estimate(session: Session, since: datetime) -> Bill:
    """What was inserted, updated and deleted since an instant, by table; each counted or unknown."""
    tables = tuple(
        TableLoss(table=each.full_name, inserts=None, updates=None, deletes=None, how=f"not told since {since}")
        for each in await list_tables(session)
    )
    return Bill(tables=tables, how="counted while the apps write")
