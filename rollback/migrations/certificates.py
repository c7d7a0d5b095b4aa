"""What a rehearsal found out, kept for as long as the revisions are the same."""

from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from rollback.migrations.locking import HeldLock
from rollback.models import Model

WAIVED = "rehearsal"
"""By this name people waive what a rehearsal found."""


class Certificate(Model):
    """A downgrade that was rehearsed on a restore of the same server: down, up, and down again."""

    current: str
    target: str
    scripts: str
    """SHA-256 of the revisions' files."""
    rehearsed_at: datetime
    run: str
    seconds: float
    """How long the first way down took."""
    locks: tuple[HeldLock, ...]
    """Longest first."""
    schema_before: str
    """SHA-256 over the definitions of all objects in production, when the plan was made."""
    schema_then: str
    """The same on the scratch server, after the way down."""
    problems: tuple[str, ...]
    """What speaks against it: schemas that differ, data that is lost and is not in the plan."""
    found_lost: tuple[str, ...]
    """Tables whose rows, and columns whose values, did not come back by going up again."""
    unread: tuple[str, ...] = ()
    """Tables that could not be looked at for that."""

    @property
    def words(self) -> str:
        """For people."""
        when = f"{self.rehearsed_at:%Y-%m-%d %H:%M} UTC by run {self.run}"
        held = f"longest lock {_words(self.locks[0])}" if self.locks else "no lock was held long enough to be seen"
        verdict = f"PROBLEMS: {'; '.join(self.problems)}" if self.problems else "down, up and down again went well"
        lost = f"really lost: {', '.join(self.found_lost) or 'nothing'}"
        unread = f", unknown for {', '.join(self.unread)}" if self.unread else ""
        return f"{verdict}; {self.seconds:.1f} s down; {held}; {lost}{unread}; {when}"


def _words(lock: HeldLock) -> str:
    return f"{lock.seconds:.1f} s on {lock.relation} ({lock.mode})"


class Certificates:
    """The certificates of one environment, in the state folder."""

    def __init__(self, folder: Path, environment: str) -> None:
        self._folder = folder / f"{environment}.certificates"

    def find(self, current: str, target: str, scripts: str, schema: str) -> Certificate | None:
        """The certificate of exactly these revisions on exactly this schema, if they were rehearsed."""
        file = self._file(current, target)
        if not file.exists():
            return None
        try:
            kept = Certificate.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError:
            return None  # damaged, or of another version of this program: rehearsing again makes it good
        return kept if (kept.scripts, kept.schema_before) == (scripts, schema) else None

    def keep(self, certificate: Certificate) -> None:
        """Keep it, instead of an earlier one of these revisions."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._file(certificate.current, certificate.target)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(certificate.model_dump_json(indent=1), encoding="utf-8")
        temporary.replace(file)

    def _file(self, current: str, target: str) -> Path:
        return self._folder / f"{current}-{target}.json"
