"""What the platform file says of an environment's infrastructure."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from rollback.models import Model


class DeploymentScope(StrEnum):
    """What an ARM deployment is a deployment to."""

    SUBSCRIPTION = "subscription"
    GROUP = "group"


VaultSecret = Annotated[str, Field(pattern=r"^[\w-]+/[\w-]+$")]
"""A secret as `vault/secret`."""


class Infrastructure(Model):
    """The template of an environment, as the platform's git repository has it in each release."""

    scope: DeploymentScope = DeploymentScope.SUBSCRIPTION
    resource_group: str = ""
    """Where scope is `group`."""
    deployment: str = Field(pattern=r"^[\w.()-]{1,46}$")
    """The ARM deployment's name, as the platform deploys it; a rollback's own begins with it."""
    location: str = ""
    """Where Azure keeps a subscription's deployment."""
    template: str = "infrastructure/main.json"
    """The compiled template, by its path in the repository."""
    source: str = "infrastructure/main.bicep"
    """Compiled on the machine of the run, where a release has no compiled template."""
    parameters: str = ""
    """The parameters' file, by its path in the repository; empty for none."""
    values: dict[str, str | int | bool] = Field(default_factory=dict[str, str | int | bool])
    """Parameters that win over a release's own file, for instance the name of a server that was restored since."""
    secret_parameters: dict[str, VaultSecret] = Field(default_factory=dict[str, VaultSecret])
    """Parameters that are read from Key Vault for each run, as `vault/secret`, and are nowhere else."""
    noise: tuple[str, ...] = ()
    """Property paths of what-if that mean nothing here: `tags.deployed`, or of one type only
    `Microsoft.Web/sites: properties.siteConfig.*`; `*` stands for anything."""
    compile_timeout_seconds: float = Field(default=60, gt=0, le=600)
    what_if_timeout_seconds: float = Field(default=600, gt=0, le=3600)
    """For Azure to say what a deployment would change."""
    deploy_timeout_seconds: float = Field(default=3600, gt=0, le=21_600)
    """For Azure to deploy: minutes, for a cache or a server up to an hour."""
    settle_seconds: float = Field(default=30, ge=0.1, le=600)
    """After a deployment whose answer is open: time without any sign of it before it may be sent again."""

    @model_validator(mode="after")
    def _scope_is_described(self) -> Self:
        if self.scope is DeploymentScope.GROUP and not self.resource_group:
            raise ValueError("scope 'group' needs resource_group")
        if self.scope is DeploymentScope.SUBSCRIPTION and not self.location:
            raise ValueError("scope 'subscription' needs location")
        return self
