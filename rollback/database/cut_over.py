"""What a restore keeps of its cut-over: what an undo has to know and nobody could find out later."""

from rollback.context import Run
from rollback.database import following, signing_in
from rollback.database.models import Server
from rollback.database.plans import RestorePlan
from rollback.models import Model
from rollback.postgres.proof import WriteMark, mark_writes
from rollback.runs import RunFolder

FILE = "cut-over.json"


class CutOver(Model):
    """The cut-over of one restore."""

    mark: WriteMark
    """The restored server right before it: what was written there later is the users'."""
    secret_version: str | None = None
    """The secret's version that names the restored server; none until it was seen."""


def find_cut_over(folder: RunFolder) -> CutOver | None:
    """What a run kept; none where it did not come that far."""
    file = folder.folder / FILE
    return CutOver.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None


async def keep_mark(run: Run, plan: RestorePlan, restored: Server) -> None:
    """Mark what was written to the restored server so far; to be called right before the cut-over is sent."""
    if following.is_begun(run):
        return
    async with signing_in.administrator(run, restored.host, plan.database) as session:
        _keep(run, CutOver(mark=await mark_writes(session)))


def keep_version(run: Run, version: str) -> None:
    """Keep which version of the secret this run made."""
    if kept := find_cut_over(run.folder):
        _keep(run, kept.model_copy(update={"secret_version": version}))


def _keep(run: Run, cut_over: CutOver) -> None:
    """Whole or not at all."""
    file = run.folder.folder / FILE
    temporary = file.with_suffix(".tmp")
    temporary.write_text(cut_over.model_dump_json(), encoding="utf-8")
    temporary.replace(file)
