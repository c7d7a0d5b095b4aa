"""Finding what a revision's downgrade would do: its SQL by alembic's offline mode, the rest from its source."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alembic import util
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import CompileError

from rollback.migrations.models import Down, Lost, Verdict
from rollback.migrations.sources import Source
from rollback.migrations.statements import ADD_VALUE, Effects
from rollback.redaction import BLACK, blacken

LONGEST_TEXT = 300
"""Characters of an error of a revision script that are shown."""

_OFFLINE_ONLY = re.compile(r"--sql mode|literal value")
"""Words of alembic's and SQLAlchemy's errors that no run with a connection would have raised."""
_PASSWORD = re.compile(r"(?i)(\bpassword\s+)'(?:[^']|'')*'")


class Guest:
    """A block of other people's code: keeps what it raises, `sys.exit` included, instead of letting it through."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> bool:
        self.error = error
        return isinstance(error, Exception | SystemExit)


def tell(error: BaseException) -> str:
    """An error in one line, without secrets and without where it happened."""
    lines = str(error).strip().splitlines()
    return blacken(f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__)[:LONGEST_TEXT]


class Offline:
    """A function of a revision, run in alembic's offline mode for PostgreSQL: its SQL, and the error that ended it."""

    def __init__(self, script: Script, function: str, config: Config, scripts: ScriptDirectory) -> None:
        written = _Statements()
        self.exists = callable(getattr(script.module, function, None))
        with (
            Guest() as guest,
            EnvironmentContext(config, scripts, as_sql=True) as environment,
        ):
            # Other styles of parameters would double every percent sign.
            style = {"paramstyle": "named"}
            environment.configure(
                dialect_name="postgresql", dialect_opts=style, literal_binds=True, output_buffer=written
            )
            with Operations.context(environment.get_context()):
                run: Callable[[], Any] = getattr(script.module, function)
                run()
        self.error = guest.error
        self.statements = tuple(written.statements)
        self.line = _last_line(guest.error, Path(script.path))
        """Of the script, where the error came from; 0 without one."""


class _Statements(io.StringIO):
    """What alembic writes in offline mode: one statement at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: list[str] = []

    def write(self, text: str, /) -> int:
        statement = text.strip().removesuffix(";").strip()
        if statement:
            self.statements.append(statement)
        return len(text)


def _last_line(error: BaseException | None, file: Path) -> int:
    line, trace = 0, error.__traceback__ if error else None
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


class Judgement:
    """The findings on one revision's downgrade."""

    def __init__(self, script: Script, config: Config, scripts: ScriptDirectory) -> None:
        text = Path(script.path).read_text(encoding="utf-8")
        self._source = Source(text, "downgrade")
        self._run = Offline(script, "downgrade", config, scripts)
        upgrade = Offline(script, "upgrade", config, scripts)
        self._upgrade_does = upgrade.exists and bool(
            upgrade.statements or (upgrade.error and not Source(text, "upgrade").trivial)
        )
        self._effects = Effects(self._run.statements, Effects(upgrade.statements).altered)
        self.told = self._run.error is None and not self._source.reads_environment
        """Whether the statements are those that will run."""
        self.complete = self.told and not self._effects.opaque
        found = {
            Verdict.RAISING: self._raising(),
            Verdict.LOSSY: "; ".join(self._effects.losses.values()),
            Verdict.ENVIRONMENT_DEPENDENT: self._environment_dependent(),
            Verdict.DATA_MOVING: self._data_moving(),
            Verdict.NON_TRANSACTIONAL: self._non_transactional(),
        }
        if not any(found.values()):
            found = self._nothing_found()
        self.reasons = {verdict: found[verdict] for verdict in Verdict if found.get(verdict)}
        """Worst first."""

    @property
    def losses(self) -> tuple[Lost, ...]:
        """What is known to be lost."""
        return tuple(self._effects.losses)

    @property
    def statements(self) -> tuple[str, ...]:
        """The SQL, without passwords."""
        return tuple(blacken(_PASSWORD.sub(rf"\1'{BLACK}'", each)) for each in self._run.statements)

    @property
    def _needs_connection(self) -> bool:
        """Whether the run may have failed only for want of a connection."""
        error = self._run.error
        if isinstance(error, CommandError | CompileError) and _OFFLINE_ONLY.search(str(error)):
            return True
        return error is not None and self._source.uses_connection

    def _raising(self) -> str:
        error, line, source = self._run.error, self._run.line, self._source
        if error is None:
            return ""
        if not self._run.exists:
            return "it has no downgrade()"
        depends = self._needs_connection or bool(source.reads_environment)
        if source.always_raises(line) or (source.is_raise(line) and not depends):
            return f"it raises {tell(error)} (line {line})"
        return "" if depends else f"it fails with {tell(error)} (line {line})"

    def _environment_dependent(self) -> str:
        if read := self._source.reads_environment:
            return f"what it does depends on {', '.join(read)}"
        if self._source.reads_dialect:
            return "it asks for the kind of database; what is told here is for PostgreSQL"
        return ""

    def _data_moving(self) -> str:
        reasons = [*self._effects.moving, *self._effects.opaque]
        if self._needs_connection and not self._raising():
            reasons.append("needs the database, so that its SQL cannot be told")
        return f"it {'; '.join(dict.fromkeys(reasons))}" if reasons else ""

    def _non_transactional(self) -> str:
        outside = ", ".join(dict.fromkeys(self._effects.outside))
        if self._source.leaves_transaction or self._effects.committed:
            return f"it commits before {outside or 'its end'}: when it fails, a part of it stays"
        if outside == ADD_VALUE:
            return "it adds a value to an enum, which cannot be used before the commit"
        return f"it does {outside}, which PostgreSQL refuses in alembic's transaction" if outside else ""

    def _nothing_found(self) -> dict[Verdict, str]:
        if self._run.statements:
            count = len(self._run.statements)
            return {Verdict.GOOD: f"it loses nothing, in {count} statement{'' if count == 1 else 's'}"}
        if self._upgrade_does:
            return {Verdict.EMPTY: "it changes nothing, although its upgrade does"}
        return {Verdict.GOOD: "it changes nothing, as its upgrade"}


def judge(script: Script, config: Config, scripts: ScriptDirectory, folder: Path) -> Down:
    """What the downgrade of a revision would do; its file is named relative to the folder."""
    judgement = Judgement(script, config, scripts)
    below = util.to_tuple(script.down_revision, default=()) or ()
    return Down(
        revision=script.revision,
        down_revision=below[0] if below else None,
        merged=below[1:],
        depends_on=util.to_tuple(script.dependencies, default=()) or (),
        labels=tuple(sorted(script.branch_labels)),
        title=blacken(script.doc)[:LONGEST_TEXT],
        file=relative(Path(script.path), folder),
        verdicts=tuple(judgement.reasons),
        reasons=tuple(judgement.reasons.values()),
        losses=judgement.losses,
        statements=judgement.statements if judgement.told else (),
        complete=judgement.complete,
    )


def relative(file: Path, folder: Path) -> str:
    """A file's name for people: as it is called from the folder."""
    return os.path.relpath(file, folder)
