"""Extensions, roles and rights within a restored database, made like its source's where SQL can."""

from collections.abc import Sequence

from rollback.context import Run
from rollback.database import signing_in
from rollback.database.fencing import BARRED
from rollback.database.models import Server
from rollback.database.plans import RestorePlan
from rollback.errors import RestoreFailed
from rollback.journal import Event
from rollback.postgres.inventory import read_inventory
from rollback.postgres.parity import Difference, compare_inventories, reapply, same_origin
from rollback.postgres.session import Session

CHANGE = "rights"
LONGEST_WORDS = 160


async def match_rights(run: Run, plan: RestorePlan, restored: Server) -> dict[str, str]:
    """Set again what was granted, set or made since the restore point; returns what still differs, by name."""
    async with (
        signing_in.administrator(run, plan.source_host, plan.database) as source,
        signing_in.administrator(run, restored.host, plan.database, read_only=False) as new,
    ):
        mine = await read_inventory(source)
        if same_origin(mine, await read_inventory(new)) is False:
            raise RestoreFailed(
                f"'{restored.id.name}' is not a copy of '{plan.source.name}': their system identifiers differ.",
                remedy="Nothing was pointed at it. Find out what was restored there.",
            )
        differences = _without_bar(run, plan, compare_inventories(mine, await read_inventory(new)))
        refused = await _reapply(run, new, restored, differences)
        left = _without_bar(run, plan, compare_inventories(mine, await read_inventory(new)))
    return {each.name: _words(each, refused.get(each.name, "")) for each in left}


def _without_bar(run: Run, plan: RestorePlan, differences: Sequence[Difference]) -> list[Difference]:
    """Without what the fence did: that the old server keeps the apps' role from signing in is our own doing."""
    ours = f"role {plan.user}" if BARRED in run.journal.confirmed_changes() else ""
    return [each for each in differences if each.name != ours]


async def _reapply(run: Run, new: Session, restored: Server, differences: Sequence[Difference]) -> dict[str, str]:
    chosen = [each for each in differences if each.statements]
    if not chosen:
        return {}
    run.check_lease()
    names = ", ".join(each.name for each in chosen)
    run.journal.write(Event.SENDING, change=CHANGE, text=f"Setting on '{restored.id.name}': {names}.")
    done = await reapply(new, chosen)
    count = sum(not each.refused for each in done)
    run.journal.write(
        Event.CONFIRMED, change=CHANGE, text=f"{count} of {len(chosen)} rights set on '{restored.id.name}'."
    )
    return {each.difference.name: each.refused for each in done if each.refused}


def _words(each: Difference, refused: str) -> str:
    told = f"{each.restored or 'missing'} instead of {each.source or 'nothing'}"
    if len(told) > LONGEST_WORDS:
        told = f"{told[:LONGEST_WORDS]}…"
    return f"{told} ({refused or each.person or 'cannot be set'})"
