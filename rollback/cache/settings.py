"""What the platform file says of an environment's cache."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from rollback.cache.patterns import covers_all, overlap
from rollback.models import Model


class CacheKind(StrEnum):
    """Which of Azure's two services the cache is."""

    REDIS = "redis"
    """Azure Cache for Redis."""
    MANAGED = "managed"
    """Azure Managed Redis."""


def _says_something(pattern: str) -> str:
    if not pattern:
        raise ValueError("an empty pattern matches no key")
    return pattern


Pattern = Annotated[str, AfterValidator(_says_something)]


class Cache(Model):
    """A cache, and whose keys are in it. Patterns are Redis's own globs."""

    resource_group: str
    name: str
    kind: CacheKind = CacheKind.REDIS
    database: str = "default"
    """The database of an Azure Managed Redis."""
    redis_database: int = Field(default=0, ge=0)
    """The number of the one that has the keys (Redis's SELECT); an Azure Managed Redis has only 0."""
    patterns: tuple[Pattern, ...] = ()
    """What is deleted where nothing else is asked for."""
    protected: tuple[Pattern, ...] = ()
    """Queues and the like: never deleted, whatever is asked for."""
    revocations: tuple[Pattern, ...] = ("jwt_blacklist:*",)
    """Lists of revoked tokens, which become valid again: only when named, high risk. None where that is said."""
    others: tuple[Pattern, ...] = ()
    """Keys of other applications: only when named."""
    effects: dict[str, str] = Field(default_factory=dict[str, str])
    """By pattern, what people notice when its keys are gone, for instance `"session:*" = "users are logged out"`."""
    sample_above_keys: int = Field(default=200_000, ge=1000)
    """A cache with more keys is not counted in full for the plan, but from a sample, where that is sound."""
    keys_a_second: float = Field(default=200_000, gt=0)
    """Deleted by one primary, for the plan's time. Measured: benchmarks/cache_clearing.py."""
    answer_timeout_seconds: float = Field(default=20, gt=0, le=40)
    """For one batch; shorter than the lease, so that none outlives it."""
    away_seconds: float = Field(default=60, gt=0, le=600)
    """How long a cache that does not answer, or fails over, is waited for."""

    @model_validator(mode="after")
    def _has_this_database(self) -> Self:
        if self.redis_database and self.kind is CacheKind.MANAGED:
            raise ValueError("redis_database: an Azure Managed Redis has only 0")
        return self

    @model_validator(mode="after")
    def _defaults_spare_what_is_declared(self) -> Self:
        for pattern in self.patterns:
            if covers_all(pattern):
                raise ValueError(f"patterns: '{pattern}' is every key, or nearly: it has to be asked for, each time")
            for name, declared in self.guards:
                if overlap(pattern, declared):
                    raise ValueError(f"patterns: '{pattern}' reaches '{declared}' of {name}, which is never a default")
        return self

    @property
    def guards(self) -> tuple[tuple[str, str], ...]:
        """Every pattern whose keys no other pattern may delete, with the field that declares it."""
        fields = (("protected", self.protected), ("revocations", self.revocations), ("others", self.others))
        return tuple((name, pattern) for name, declared in fields for pattern in declared)
