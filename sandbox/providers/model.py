"""Resources of which the sandbox keeps what it was told, as JSON: nothing runs behind them."""

from datetime import datetime
from uuid import uuid4

from pydantic import BaseModel, Field, JsonValue

from sandbox.clock import now


class PlainResource(BaseModel):
    """One such resource."""

    id: str
    type: str
    location: str = ""
    tags: dict[str, str] = {}
    parts: dict[str, JsonValue] = {}
    """`sku`, `kind`, `identity` and the like."""
    properties: dict[str, JsonValue] = {}
    created: datetime = Field(default_factory=now)
    etag: str = Field(default_factory=lambda: str(uuid4()))

    @property
    def name(self) -> str:
        """The last part of its id."""
        return self.id.rpartition("/")[2]
