"""What the platform file says of an environment's migrations."""

from enum import StrEnum

from pydantic import Field

from rollback.models import Model


class MigrationWay(StrEnum):
    """Where alembic is run."""

    SSH = "ssh"
    """In a slot whose image has the current revision's file, through App Service's tunnel."""
    WORKTREE = "worktree"
    """On the machine of the run, in a clean git worktree of the release that has it."""


class Migrations(Model):
    """How the schema of an environment's database is taken down: by alembic, as the platform's releases have it."""

    way: MigrationWay = MigrationWay.SSH
    folder: str = "/app"
    """Where alembic.ini is in the image."""
    path: str = ""
    """Where alembic.ini is in the repository; empty for its root."""
    command: tuple[str, ...] = Field(default=("python", "-m", "alembic"), min_length=1)
    """Runs alembic: a program, and what stands before alembic's own arguments."""
    url_variable: str = Field(default="DATABASE_URL", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that alembic's env.py reads the database's URL from."""
    lock_timeout_seconds: float = Field(default=5.0, gt=0, le=600)
    """A statement that waits longer for a lock gives up: behind a waiting DDL statement everybody waits."""
    within_seconds: float = Field(default=300, gt=0, le=7200)
    """How long a downgrade that did not get its locks is tried again."""
    rehearsal_resource_group: str = ""
    """Where scratch servers are made, and deleted again; the credential may delete servers there and nowhere else."""
