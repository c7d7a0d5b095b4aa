"""What a run that goes on elsewhere has told since the last look."""

from uuid import UUID

from pydantic import ValidationError

from deployments.prefect_api import PrefectApi, PrefectAway, TaskRun
from rollback.journal import Entry, Event
from rollback.models import now
from rollback.runs import Outcome, Store

TASK_ENDS = {
    "COMPLETED": Event.STEP_FINISHED,
    "FAILED": Event.STEP_FAILED,
    "CRASHED": Event.STEP_FAILED,
    "CANCELLED": Event.STEP_CANCELLED,
}


class JournalTail:
    """The journal of a run as it grows, where the run is kept on this machine."""

    def __init__(self, store: Store, run: str) -> None:
        self.run = run
        self.started_at = now()
        self._store = store
        self._offset = 0
        self._changes = False
        self.found = self.ended = False
        """Whether anything, and whether the end, was told since the tail was made."""
        self.new_entries()
        self.found = self.ended = False

    def new_entries(self) -> list[Entry]:
        """What was told since the last look."""
        folder = self._store.find(self.run)
        file = folder.folder / "journal.jsonl" if folder else None
        if file is None or not file.exists():
            return []
        with file.open("rb") as journal:
            journal.seek(self._offset)
            content = journal.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        entries = [entry for line in whole.splitlines() if (entry := _parse(line))]
        self.found |= bool(entries)
        self.ended |= any(entry.event is Event.ENDED for entry in entries)
        self._changes |= any(entry.event is Event.SENDING for entry in entries)
        return entries

    def may_have_changed(self) -> bool:
        """Whether anything was ever sent to Azure, in this try or an earlier one."""
        return self._changes

    def outcome(self) -> Outcome | None:
        """How the run says that it ended, once it has."""
        folder = self._store.find(self.run)
        return folder.outcome() if folder and self.found else None


class TaskRunTail:
    """The steps of a run as Prefect tells them: what there is where the journal is on another machine."""

    def __init__(self, api: PrefectApi, flow_run: UUID) -> None:
        self._api = api
        self._flow_run = flow_run
        self._told: set[tuple[UUID, Event]] = set()

    async def new_entries(self) -> list[Entry]:
        """Steps that began or ended since the last look."""
        try:
            tasks = await self._api.task_runs(self._flow_run)
        except PrefectAway:
            return []
        return [entry for task in tasks for entry in self._entries(task)]

    def _entries(self, task: TaskRun) -> list[Entry]:
        entries: list[Entry] = []
        if task.start_time and self._is_news(task, Event.STEP_STARTED):
            entries.append(Entry(at=task.start_time, event=Event.STEP_STARTED, step=_title(task)))
        end = TASK_ENDS.get(task.state.type) if task.state else None
        if task.start_time and end and task.state and self._is_news(task, end):
            text = "" if end is Event.STEP_FINISHED else (task.state.message or "")
            entries.append(Entry(at=task.state.timestamp, event=end, step=_title(task), text=text))
        return entries

    def _is_news(self, task: TaskRun, event: Event) -> bool:
        known = (task.id, event) in self._told
        self._told.add((task.id, event))
        return not known


def _title(task: TaskRun) -> str:
    """Prefect calls a task run by its task's title and a suffix: `Swap slots-1f6`."""
    return task.name.rpartition("-")[0] or task.name


def _parse(line: bytes) -> Entry | None:
    try:
        return Entry.model_validate_json(line)
    except ValidationError:
        return None
