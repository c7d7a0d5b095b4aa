"""What is known of a static site: its content, its deployments, and how they ended."""

from datetime import datetime
from hashlib import sha256
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from sandbox.clock import now

DOMAIN = ".azurestaticapps.net"
TOKEN_DIGITS = 74
"""A deployment token's length, as Azure makes them: hexadecimal digits, and a site's number in them."""

Sku = Literal["Free", "Standard"]
BuildStatus = Literal["WaitingForDeployment", "Uploading", "Deploying", "Ready", "Failed", "Deleting", "Detached"]
MOST_BYTES: dict[Sku, int] = {"Free": 262_144_000, "Standard": 524_288_000}
"""Unpacked; as Azure's refusals name them. Source: learn.microsoft.com/azure/static-web-apps/quotas."""
MOST_FILES = 15_000
"""Source: as above."""


class Deployment(BaseModel):
    """One deployment of a site's content. While it is in progress every other one is refused."""

    id: str = Field(default_factory=lambda: str(uuid4()))
    by: str
    """A principal's name, "token", or how a workflow is called."""
    url: str = ""
    """`appZipUrl`: where the content comes from; empty where it was uploaded."""
    title: str = ""
    provider: str = ""
    begun: datetime = Field(default_factory=now)
    status: Literal["in progress", "succeeded", "failed"] = "in progress"
    failure: str = ""
    """Why it failed, in words for people."""
    failure_status: int = 400
    late_seconds: float = 0.0
    """Wait so long before anything happens, because of a fault."""
    fails: bool = False
    never_ends: bool = False
    loses_asset: bool = False
    """What index.html refers to first will answer 404, because of a fault."""


class StaticSite(BaseModel):
    """A static web app with its production environment."""

    environment: str
    """`production` or `staging`."""
    frontend: str
    """Which of the platform's frontends it serves: `web` or `admin`."""
    group: str
    name: str
    sku: Sku
    custom_domains: list[str] = []
    created: datetime
    tags: dict[str, str] = {}
    token_number: int = 0
    """How often the deployment token was reset."""
    token_revoked: bool = False
    """Every deployment token is refused, because of a fault."""
    contents: str
    """The digest of the archive that is served."""
    version: str | None = None
    """What its version.json says, if there is one."""
    served_since: datetime
    build_status: BuildStatus = "Ready"
    last_updated: datetime
    lost_assets: list[str] = []
    """Paths that answer 404 although the content has them, because of a fault."""
    deployments: list[Deployment] = []

    @property
    def host(self) -> str:
        """`defaultHostname`."""
        return f"{self.name}{DOMAIN}"

    @property
    def hosts(self) -> list[str]:
        """Every name under which it is served."""
        return [self.host, *self.custom_domains]

    def deployment(self) -> Deployment | None:
        """The deployment in progress."""
        return next((each for each in self.deployments if each.status == "in progress"), None)

    def token(self, secret: str) -> str:
        """The deployment token; `secret` is the sandbox's own."""
        words = f"{self.name} {self.token_number} {secret}".encode()
        return (sha256(words).hexdigest() + sha256(words + b"-").hexdigest())[:TOKEN_DIGITS]


class FrontendDeployment(BaseModel):
    """One deployment that ended, as the sandbox's own log tells it."""

    time: datetime
    site: str
    by: str
    version: str | None
    """What the content says it is; None where that could not be read."""
    outcome: str
    """`succeeded`, or why it failed."""
