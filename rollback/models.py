"""The base of our models: frozen, closed to unknown fields."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A value: equal by content, never changed in place."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def now() -> datetime:
    """This instant, aware, in UTC."""
    return datetime.now(UTC)
