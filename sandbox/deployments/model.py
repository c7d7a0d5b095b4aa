"""Deployments as they are kept."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from sandbox.clock import now

MOST_KEPT = 800
"""Deployments in a scope's history. Source: learn.microsoft.com, "Automatic deletions from deployment history"."""
ProvisioningState = Literal["Accepted", "Running", "Succeeded", "Failed", "Canceled"]


class DeploymentOperation(BaseModel):
    """What a deployment does with one resource."""

    id: str
    resource_id: str
    kind: str = "Create"
    """`provisioningOperation`."""
    state: ProvisioningState = "Running"
    status_code: str = "Accepted"
    error: dict[str, Any] | None = None
    """Why it failed, in the words of the resource's provider."""
    begun: datetime = Field(default_factory=now)
    ended: datetime | None = None
    request_id: str = Field(default_factory=lambda: str(uuid4()))


class ArmDeployment(BaseModel):
    """One deployment of a template."""

    name: str
    group: str | None
    """None: it is the subscription's."""
    location: str
    mode: Literal["Incremental", "Complete"] = "Incremental"
    template: dict[str, Any]
    parameters: dict[str, Any] = Field(default={}, repr=False)
    """As given, secure ones included; emptied when it has ended."""
    shown_parameters: dict[str, Any] = {}
    parent: str | None = None
    """The id of the deployment that this one is nested in."""
    by: str
    """The object id of whoever asked for it."""
    tags: dict[str, str] | None = None
    debug: str | None = None
    state: ProvisioningState = "Accepted"
    correlation_id: str = Field(default_factory=lambda: str(uuid4()))
    tracking_id: str = Field(default_factory=lambda: str(uuid4()))
    """Names the operation that clients poll."""
    begun: datetime = Field(default_factory=now)
    ended: datetime | None = None
    operations: list[DeploymentOperation] = []
    outputs: dict[str, Any] = {}
    error: dict[str, Any] | None = None

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("Accepted", "Running")


@dataclass(frozen=True)
class WhatIfResult:
    """What a what-if found, kept until its client comes back."""

    ready_at: float
    """Seconds of the event loop's clock."""
    body: dict[str, Any]


class ArmWrite(BaseModel):
    """One request with which a deployment changed a resource, as the sandbox's own log tells it."""

    time: datetime = Field(default_factory=now)
    deployment: str
    """Its id."""
    resource_id: str
    method: str = "PUT"
    status: int
    """What the resource's provider answered."""
