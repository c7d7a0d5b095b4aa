"""What the tests of a downgrade share: the platform file, revisions of a test's own, and the database as it is."""

import asyncio
import os
import re
import subprocess
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg
import pytest
from restoring import Databases, quick_restore_file
from support import V3, run_flow

from flows.downgrade_database import downgrade_database
from rollback.journal import Entry, Event
from rollback.migrations.plans import DowngradePlan
from rollback.runs import Outcome, Store
from sandbox.fundrbolt.images import files_of
from sandbox.fundrbolt.releases import RELEASES

HEAD, BELOW, LOWER = "e2a8c40b7f15", "d95a3b1e7f08", "b7d04e9f6c21"
CORPUS = Path(__file__).parent / "migrations_corpus"
OWN = "a1b2c3d4e5f6"
"""A revision of a test's own, above the head."""
SCRIPT = '''"""Of a test's own."""

from alembic import op

revision = "{revision}"
down_revision = "{below}"


def upgrade() -> None:
    pass


def downgrade() -> None:
{body}
'''
AUDIT = (
    "CREATE TABLE ran (id int GENERATED ALWAYS AS IDENTITY, revision text)",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO ran (revision) VALUES (OLD.version_num); RETURN NULL; END $$",
    "CREATE TRIGGER note AFTER DELETE OR UPDATE ON alembic_version FOR EACH ROW EXECUTE FUNCTION note()",
)


def platform_file(state: Path, /, **migrations: object) -> Path:
    """The platform's own file with quick times and these settings for migrations."""
    file = quick_restore_file(state, settle_seconds=2.5)
    content = file.read_text(encoding="utf-8")
    wanted = {"lock_timeout_seconds": 0.5, "within_seconds": 60, **migrations}
    table = "[environments.production.migrations]\n"
    before, after = content.split(table)
    for name in wanted:
        after = re.sub(rf"^{name} = .*\n", "", after, count=1, flags=re.M)
    lines = "".join(f"{name} = {_toml(value)}\n" for name, value in wanted.items())
    file.write_text(before + table + lines + after, encoding="utf-8")
    return file


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def use_repository(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
    schemas: tuple[str, ...],
    **migrations: object,
) -> None:
    """Let alembic run in a worktree of a repository with these files, of the release that serves."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    repository = folder / "platform"
    for name, content in files.items():
        file = repository / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    who = ("-c", "user.name=A Developer", "-c", "user.email=developer@example.org")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "-m", "All"), ("tag", V3)):
        subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True)
    monkeypatch.setenv("ROLLBACK_REPOSITORY", str(repository))
    file = platform_file(folder, way="worktree", **migrations)
    manifest = folder / "releases.toml"
    manifest.write_text(
        f'[releases."{V3}"]\nimage_digest = "{RELEASES[V3]}"\nalembic_head = "{schemas[-1]}"\n'
        f'oldest_schema = "{schemas[0]}"\nnewest_schema = "{schemas[-1]}"\nschemas = {list(schemas)}\n',
        encoding="utf-8",
    )
    content = re.sub(r'^manifest = ".*"', f'manifest = "{manifest}"', file.read_text(encoding="utf-8"), flags=re.M)
    file.write_text(content, encoding="utf-8")


async def add_revision(
    databases: Databases,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    downgrade: str,
    *upgrade: str,
    **migrations: object,
) -> None:
    """Bring the database up to a revision of the test's own; its downgrade is this code, in a worktree."""
    body = "".join(f"    {line}\n" for line in downgrade.splitlines())
    files = {f"backend/{name}": content for name, content in files_of(V3).items()}
    files["backend/migrations/versions/own.py"] = SCRIPT.format(revision=OWN, below=HEAD, body=body).encode()
    use_repository(folder, monkeypatch, files, (LOWER, BELOW, HEAD, OWN), path="backend", **migrations)
    await databases.write(*upgrade, "UPDATE alembic_version SET version_num = 'a1b2c3d4e5f6'")


async def downgrade(
    target: str = "previous", watch: Callable[[Entry], None] | None = None, **parameters: object
) -> Outcome:
    """The flow as the command line runs it without a Prefect server."""
    return await run_flow(watch, flow=downgrade_database, target=target, **{"rehearse": False, **parameters})


def begin_to_forget(url: str) -> psycopg.Connection:
    """A session of the app's role, in whose transaction the server never loses its patience."""
    options = "-c idle_in_transaction_session_timeout=0"
    certificates = os.environ["SSL_CERT_FILE"]
    return psycopg.connect(url, sslrootcert=certificates, application_name="nightly-report", options=options)


def at(event: Event, step: str, act: Callable[[], object]) -> Callable[[Entry], None]:
    """Do something once, when the journal tells that."""
    left = [act]

    def watch(entry: Entry) -> None:
        if (entry.event, entry.step) == (event, step) and left:
            left.pop()()

    return watch


def meanwhile(work: Coroutine[Any, Any, Any]) -> None:
    """Do the work now, while the run waits."""
    thread = threading.Thread(target=asyncio.run, args=(work,))
    thread.start()
    thread.join()


async def revision(databases: Databases) -> str:
    found = await databases.ask(await databases.host(), "SELECT version_num FROM alembic_version")
    return found[0][0] if found else "base"


async def ran(databases: Databases) -> list[str]:
    """Which revisions were taken down, in order; needs AUDIT."""
    return [row[0] for row in await databases.ask(await databases.host(), "SELECT revision FROM ran ORDER BY id")]


async def has_tips(databases: Databases) -> bool:
    statement = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'tip_cents'"
    return bool((await databases.ask(await databases.host(), statement))[0][0])


def latest(folder: Path) -> str:
    return Store(folder / "state").latest(1)[0].header.run


def plan_of(folder: Path, outcome: Outcome) -> DowngradePlan:
    plan = Store(folder / "state").get(outcome.run).plan(DowngradePlan)
    assert plan is not None
    return plan


def told(folder: Path, outcome: Outcome, event: Event) -> list[str]:
    """The texts of the journal's entries of this kind."""
    journal = Store(folder / "state").get(outcome.run).journal()
    return [entry.text for entry in journal.entries if entry.event is event]
