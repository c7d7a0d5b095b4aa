"""What the platform file says of the platform's GitHub repository, and of the workflow that deploys from it."""

from pydantic import Field

from rollback.models import Model


class Workflow(Model):
    """The GitHub Actions workflow that deploys an environment's frontends."""

    file: str = Field(pattern=r"^[\w.-]+\.ya?ml$")
    """Its name below `.github/workflows`."""
    environment: str = ""
    """The GitHub environment that its deployment waits for; empty where it waits for none."""
    timeout_seconds: float = Field(default=900, gt=0, le=7200)
    """For all of its jobs, from the request to the end."""
    settle_seconds: float = Field(default=20, ge=0.1, le=600)
    """After a request whose answer is lost: time without any sign of it before it may be sent again."""


class GitHub(Model):
    """The platform's repository on GitHub, and where the token is."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Owner and name, for instance `fundrbolt/fundrbolt`."""
    vault: str
    """The Key Vault with the token."""
    secret: str
    """A token that may read contents, and read and write actions, deployments and environments."""

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.repository.partition("/")[0]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.repository.partition("/")[2]
