"""What the tests of clearing a cache share: the flow with quick times, and the caches as another client sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import World, quick_platform_file, run_flow

from flows.clear_cache import clear_cache
from rollback.cache.plans import ClearCachePlan
from rollback.journal import Entry
from rollback.runs import Outcome, Store
from sandbox.control import Control

SESSIONS, PAGES, LIMITS, REVOKED, QUEUES, REPORTS = 300, 100, 80, 25, 3, 31
DEFAULTS = SESSIONS + PAGES + LIMITS
ALL = DEFAULTS + REVOKED + QUEUES + REPORTS


def quick_cache_file(folder: Path, approval: str = 'needs = "none"', **cache: Any) -> Path:
    """The platform's own file with quick times, this rule for approvals, and no real requests: v1.2.3 fails some."""
    file = quick_platform_file(folder, start_within_seconds=20)
    content = file.read_text(encoding="utf-8")
    quick = "".join(f"{name} = {value}\n" for name, value in {"away_seconds": 8, **cache}.items())
    for kind in ('kind = "redis"', 'kind = "managed"'):
        content = content.replace(kind, f"{quick}{kind}")
    content = content.replace('requests = ["/api/v1/donations?limit=5"]', "requests = []")
    content = content.replace("[[approval.rules]]\n", f"[[approval.rules]]\n{approval}\n\n[[approval.rules]]\n", 1)
    file.write_text(content, encoding="utf-8")
    return file


@dataclass
class Books:
    """What became of the caches, by the sandbox's own books."""

    world: World
    state: Path
    before: int = 0

    def __post_init__(self) -> None:
        self.before = len(self.world.changes_asked_for())

    @property
    def control(self) -> Control:
        return self.world.control

    def keys(self, pattern: str = "*", environment: str = "production") -> int:
        return self.control.cache_keys(environment, pattern)

    def restarts(self) -> int:
        return self.requests().count("restart")

    def requests(self) -> list[str]:
        """What changes something at Azure, since the test began: its last words."""
        asked = self.world.changes_asked_for()[self.before :]
        last = [each.partition("?")[0].rpartition("/")[2] for each in asked]
        return [each for each in last if each != "containerlogs"]

    def plan(self, outcome: Outcome) -> ClearCachePlan:
        plan = Store(self.state).get(outcome.run).plan(ClearCachePlan)
        assert plan is not None
        return plan

    def told(self, outcome: Outcome) -> str:
        return outcome.report.read_text(encoding="utf-8") if outcome.report else ""


async def clear(watch: Callable[[Entry], None] | None = None, **parameters: Any) -> Outcome:
    return await run_flow(watch, flow=clear_cache, **parameters)


def results(outcome: Outcome) -> dict[str, str]:
    return dict(outcome.results)
