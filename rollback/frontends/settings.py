"""What the platform file says of frontends."""

from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from rollback.addresses import HttpsUrl, UrlPath
from rollback.models import Model


def _https_call(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must be an https address")
    return url


CallUrl = Annotated[str, AfterValidator(_https_call)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class FrontendWay(StrEnum):
    """How a release of a frontend is deployed again."""

    ARTIFACT = "artifact"
    """Azure fetches the archive that is a file of the GitHub release: nothing is built."""
    SCRIPT = "script"
    """The platform's own deploy script runs in a clean git worktree of the release's tag."""


class Script(Model):
    """The platform's own deploy script."""

    command: tuple[str, ...] = Field(min_length=1)
    """A program and its arguments, run at the root of the worktree."""
    token_variable: Variable = "SWA_CLI_DEPLOYMENT_TOKEN"  # noqa: S105 - a variable's name
    """The environment variable in which it finds the deployment token; it is nowhere else."""
    app_variable: Variable = "SWA_CLI_APP_NAME"
    """The one in which it finds the Static Web App's name."""
    timeout_seconds: float = Field(default=600, gt=0, le=3600)


class VersionPage(Model):
    """The page on which a frontend tells its version."""

    path: UrlPath = "/version.json"
    json_field: str = "version"
    """Dotted path to the version in that JSON."""


class Frontend(Model):
    """A Static Web App; its name is the table's name."""

    resource_group: str
    app: str
    public_url: HttpsUrl | None = None
    """The host that users see, when it is not the app's own."""
    way: FrontendWay = FrontendWay.ARTIFACT
    artifact: str = ""
    """The file of the GitHub release, for instance `frontend-{release}.zip`; `{release}` becomes the release's name."""
    script: Script | None = None
    version: VersionPage = VersionPage()
    calls: tuple[CallUrl, ...] = ()
    """What the frontend asks of the backend when it is opened: addresses that only read."""
    shows: str = ""
    """Text that its page has once these calls have worked, as a browser shows it."""
    verify_within_seconds: float = Field(default=60, gt=0, le=600)
    deploy_timeout_seconds: float = Field(default=600, gt=0, le=3600)
    """For Azure to deploy an archive: under a minute, as a rule."""
    settle_seconds: float = Field(default=30, ge=0.1, le=600)
    """After a deployment whose answer is open: time without any sign of it before it may be sent again."""

    @model_validator(mode="after")
    def _way_is_described(self) -> Self:
        if self.way is FrontendWay.ARTIFACT and not self.artifact:
            raise ValueError("way 'artifact' needs artifact, the name of the release's file")
        if self.way is FrontendWay.SCRIPT and self.script is None:
            raise ValueError("way 'script' needs script.command")
        return self
