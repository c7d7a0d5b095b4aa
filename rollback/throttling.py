"""Azure Resource Manager's limits, respected: how long a run waited for them, and a reserve that it leaves.

ARM counts reads and writes of a principal in buckets that fill up by the second (reads 250 + 25/s, writes
200 + 10/s), and tells with each answer how much is left. Reads slow down before their bucket is empty, so that the
readings around a change are not the ones to be refused. Changes are never held back here.

Source: learn.microsoft.com, "Understand how Azure Resource Manager throttles requests".
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

READS_LEFT = "x-ms-ratelimit-remaining-subscription-reads"
RESERVE = 25
"""Reads that are left for the readings around a change."""
REFILL_PER_SECOND = 25.0
READ_METHODS = frozenset({"GET", "HEAD"})

if TYPE_CHECKING:
    from azure.core.pipeline.policies import AsyncHTTPPolicy


@dataclass
class Throttle:
    """What one run knows of ARM's limits."""

    waited_seconds: float = 0.0
    """Because ARM said so, or to leave the reserve."""
    reads_left: int | None = None

    def pause_seconds(self) -> float:
        """How long a read should wait before it is sent."""
        if self.reads_left is None or self.reads_left >= RESERVE:
            return 0.0
        return (RESERVE - self.reads_left) / REFILL_PER_SECOND

    def learn(self, status: int, headers: "dict[str, str]") -> None:
        """Take in what an answer tells."""
        left = headers.get(READS_LEFT, "")
        self.reads_left = int(left) if left.isdigit() else None
        if status == 429:
            self.waited_seconds += retry_after(headers.get("Retry-After", ""))


def retry_after(told: str, otherwise: float = 0.0) -> float:
    """Seconds that a `Retry-After` asks to wait; decimals occur."""
    try:
        return max(0.0, float(told))
    except ValueError:
        return otherwise


def policy(throttle: Throttle) -> "AsyncHTTPPolicy[Any, Any]":
    """A step of the SDK's pipeline, passed once for every try of a request."""
    from azure.core.pipeline.policies import AsyncHTTPPolicy

    class ThrottlePolicy(AsyncHTTPPolicy[Any, Any]):
        async def send(self, request: Any) -> Any:
            if request.http_request.method in READ_METHODS and (pause := throttle.pause_seconds()):
                throttle.waited_seconds += pause
                throttle.reads_left = None
                await asyncio.sleep(pause)
            response = await self.next.send(request)
            throttle.learn(response.http_response.status_code, response.http_response.headers)
            return response

    return ThrottlePolicy()
