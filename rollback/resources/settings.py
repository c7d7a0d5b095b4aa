"""What the platform file says of an environment's archives."""

from pydantic import Field

from rollback.models import Model


class Archive(Model):
    """Where the environment's resources are, and how many archives of their configuration are kept."""

    resource_groups: tuple[str, ...] = ()
    """Besides those that the environment's other tables name."""
    keep: int = Field(default=90, ge=2)
    """Archives; the oldest beyond are removed."""
    settle_seconds: float = Field(default=20, ge=0.1, le=600)
    """For a PATCH that was sent without an answer to show, before it is sent again."""
