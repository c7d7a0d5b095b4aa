"""What App Service tells about an app's slots, as values."""

from datetime import datetime

from pydantic import Field

from rollback.models import Model
from rollback.releases import Build

PRODUCTION = "production"


class RampUpRule(Model):
    """A share of production's users that App Service sends to another slot."""

    name: str
    host: str
    percent: float


class LastSwap(Model):
    """The last swap that succeeded, as Azure tells it on each slot that took part."""

    at: datetime
    source: str
    destination: str


class Slot(Model):
    """What one slot is and does at one moment; `production` is the app itself."""

    name: str
    host: str
    state: str
    """`Running` or `Stopped`."""
    build: Build
    operation_in_progress: str | None = None
    unfinished_swap_with: str | None = None
    """The slot of a swap with preview that was begun and neither completed nor cancelled."""
    last_swap: LastSwap | None = None
    last_modified: datetime | None = None
    ramp_up: tuple[RampUpRule, ...] = ()
    auto_swap_to: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    """Of the site; Azure keeps them with the place, not with the build."""
