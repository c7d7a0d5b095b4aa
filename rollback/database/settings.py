"""What the platform file says of an environment's database."""

from enum import StrEnum

from pydantic import Field

from rollback.addresses import UrlPath
from rollback.models import Model


class StopWrites(StrEnum):
    """When writes stop while a database is restored."""

    NOW = "now"
    """Before the restore begins: what is corrupted does not get worse."""
    AT_CUT_OVER = "at cut-over"
    """When the restored server is ready: users wait less, and more rows are lost."""


class WriteProbe(Model):
    """A request through the app that writes a harmless row, to show in which database it arrives."""

    path: UrlPath
    body: dict[str, str | int | bool] = Field(default_factory=dict[str, str | int | bool])
    """Sent as JSON by POST."""
    table: str
    """Where the row arrives, for instance `public.sessions`."""


class Maintenance(Model):
    """The app setting that lets the environment's own app ask its users to come back, instead of being stopped."""

    setting: str
    """Its name, for instance `MAINTENANCE_MODE`."""
    value: str = "on"
    """With it every page but the health page answers 503, and no database is used."""


class HostEvidence(Model):
    """Where the app tells its database's host, as further evidence; the servers' sessions stay the proof."""

    path: UrlPath
    """A page that tells it in JSON."""
    json_field: str
    """Dotted path to it in that JSON, for instance `checks.database_host`."""


class Database(Model):
    """The database of an environment, known by the secret that every app reads its address from."""

    vault: str
    """The Key Vault's name."""
    secret: str
    """The secret that holds the database's URL."""
    workers: tuple[str, ...] = ()
    """Other apps that use it and must stop; others that are found to are stopped too."""
    administrator: str = "fundrbolt-rollback"
    """The Entra administrator's role in the database, under which we sign in with our own credential."""
    stop_writes: StopWrites = StopWrites.NOW
    maintenance: Maintenance | None = None
    """Without it the environment's own app is stopped like every other that uses the database."""
    says_host: HostEvidence | None = None
    """Without it only the servers' sessions tell which database the app uses."""
    write_probe: WriteProbe | None = None
    """Without it a write of the users' own is waited for."""
    tolerance_rows: int = Field(default=100, ge=0)
    """A table and kind of change may lose so many rows more than the plan said, without asking again."""
    tolerance_share: float = Field(default=0.1, ge=0, le=1)
    """Or this share (0 to 1) of what the plan said, where that is more."""
    restore_timeout_seconds: float = Field(default=10_800, gt=0, le=21_600)
    """For Azure to restore: minutes to hours."""
    answer_timeout_seconds: float = Field(default=600, gt=0, le=3600)
    """For a restored server that is Ready to answer, and for apps to be seen in the database."""
    change_timeout_seconds: float = Field(default=900, gt=0, le=3600)
    """For one change of a server, an app or a secret."""
    settle_seconds: float = Field(default=20, ge=0.1, le=600)
    """For what was sent without an answer to show, and for a fenced server to be seen at rest."""
    compare_timeout_seconds: float = Field(default=3600, gt=0, le=14_400)
    """For comparing both servers and writing the rows that would be lost."""
