"""Caches as they are kept: what Azure Resource Manager shows and changes. The keys in them lie in `caches`."""

from datetime import datetime
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from sandbox.clock import now

CacheKind = Literal["redis", "managed"]
KeyType = Literal["Primary", "Secondary"]
PORTS: dict[CacheKind, tuple[int, ...]] = {"redis": (6380,), "managed": (10000, 8500, 8501)}
"""Where clients connect to, one port for each node; the first is the one that Azure names."""


class Cache(BaseModel):
    """One cache: Azure Cache for Redis, or a cluster of Azure Managed Redis with its one database."""

    name: str
    group: str
    location: str
    kind: CacheKind
    address: str
    """`hostName`: a loopback address of its own."""
    created: datetime
    state: Literal["Succeeded", "Updating"] = "Succeeded"
    key_numbers: dict[KeyType, int] = {"Primary": 1, "Secondary": 1}
    """How often each access key was made."""
    tags: dict[str, str] = {}
    configuration: dict[str, str] = {"maxmemory-policy": "volatile-lru", "maxmemory-reserved": "125"}
    """`redisConfiguration`, as far as it differs from cache to cache."""
    minimum_tls: str = "1.2"


OperationKind = Literal["update", "flush"]


class CacheOperation(BaseModel):
    """A long-running operation on a cache. While it is in progress nothing else may change the cache."""

    id: str = Field(default_factory=lambda: str(uuid4()))
    kind: OperationKind
    cache: str
    created: datetime = Field(default_factory=now)
    ended: datetime | None = None
    status: Literal["InProgress", "Succeeded", "Failed"] = "InProgress"
    message: str = ""
    """Why it failed, in Azure's words."""
    tags: dict[str, str] | None = None
    configuration: dict[str, str] | None = None
    minimum_tls: str | None = None
    """What an update changes; None: it stays."""
    fails: bool = False
    never_ends: bool = False


class CacheFlush(BaseModel):
    """Everything in a cache was deleted."""

    time: datetime
    cache: str
    how: Literal["FLUSHALL", "FLUSHDB", "azure"]
    """The command that a client sent, or Azure's own operation."""
