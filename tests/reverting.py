"""What the tests of archives and of reverting share: a platform file with quick times, and what Azure shows."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from azure_names import SITE
from support import World, quick_platform_file, run_flow

from flows.archive import archive as archive_flow
from flows.revert_resource import revert_resource
from rollback.journal import Entry
from rollback.outcomes import EndState
from rollback.resources.revert_plans import RevertResourcePlan
from rollback.runs import Outcome, Store

CONFIG = f"{SITE}/config/web"
VERSION, PG_VERSION = "2025-05-01", "2022-12-01"
SECONDS = 30


def quick_file(folder: Path, approval: str = 'needs = "none"') -> Path:
    """The platform's own file with quick times, this rule for approvals, and no real requests: v1.2.3 fails some."""
    file = quick_platform_file(folder)
    content = file.read_text(encoding="utf-8")
    content = content.replace('requests = ["/api/v1/donations?limit=5"]', "requests = []")
    content = content.replace("keep = 90 ", "settle_seconds = 1\nkeep = 90 ")
    content = content.replace("[[approval.rules]]\n", f"[[approval.rules]]\n{approval}\n\n[[approval.rules]]\n", 1)
    file.write_text(content, encoding="utf-8")
    return file


class Things:
    """The environment's resources, seen and changed by another client than ours."""

    def __init__(self, world: World, state: Path) -> None:
        self.control = world.control
        self.state = state
        self.store = Store(state)
        self.began = datetime.now(UTC)

    @property
    def folder(self) -> Path:
        return self.state / "archive" / "production"

    def index(self, name: str = "") -> dict[str, Any]:
        """Of the archive of that name, or the newest."""
        name = name or self.store.archives("production").names()[0]
        return json.loads((self.folder / name / "index.json").read_text(encoding="utf-8"))

    @property
    def files(self) -> dict[str, str]:
        """All that archives have, by file."""
        return {each.name: each.read_text(encoding="utf-8") for each in self.folder.rglob("*.json")}

    def plan(self, outcome: Outcome) -> RevertResourcePlan:
        found = self.store.get(outcome.run).plan(RevertResourcePlan)
        assert found is not None
        return found

    def ask(self, method: str, path: str, body: object = None, version: str = VERSION) -> Any:
        token = self.control.token("rollback", "https://management.azure.com/.default")
        with httpx.Client(timeout=60) as client:
            answer = client.request(
                method,
                f"https://management.azure.com{path}?api-version={version}",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
            )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def config(self) -> dict[str, Any]:
        """The app's configuration."""
        return self.ask("GET", CONFIG)["properties"]

    def change(self, **properties: object) -> None:
        """As somebody does in the portal."""
        self.ask("PATCH", CONFIG, {"properties": properties})

    async def set_parameter(self, parameter: str, value: str) -> None:
        """Of a server, as somebody does in the portal; on return it is set."""
        self.ask("PATCH", parameter, {"properties": {"value": value, "source": "user-override"}}, PG_VERSION)
        async with asyncio.timeout(SECONDS):
            while self.parameter(parameter) != value:  # noqa: ASYNC110 - Azure tells by being asked only
                await asyncio.sleep(0.05)

    def parameter(self, parameter: str) -> str:
        return self.ask("GET", parameter, version=PG_VERSION)["properties"]["value"]

    def executed(self, path: str = "") -> int:
        """How many requests that end so changed something, whoever sent them; since `begin` or the test's begin."""
        return sum(
            each.method in {"PUT", "PATCH", "DELETE"}
            and each.path.partition("?")[0].endswith(path)
            and (each.status or 200) < 300
            for each in self.control.audit(self.began)
        )

    def begin(self) -> None:
        """Count from here."""
        self.began = datetime.now(UTC)

    async def archived_and_changed(self, **properties: object) -> None:
        """An archive, and afterwards somebody's change of the app's configuration; counted from there."""
        outcome = await archive()
        assert outcome.end_state is EndState.ARCHIVED, outcome
        self.change(**properties)
        self.begin()


async def archive(watch: Callable[[Entry], None] | None = None, **parameters: object) -> Outcome:
    """The flow as the command line runs it without a Prefect server."""
    return await run_flow(watch, flow=archive_flow, **parameters)


async def revert(watch: Callable[[Entry], None] | None = None, **parameters: object) -> Outcome:
    """The same, of reverting; without a resource, the app's configuration."""
    return await run_flow(watch, flow=revert_resource, **{"resource": CONFIG, **parameters})
