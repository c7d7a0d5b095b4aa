"""The few calls to Prefect's API that starting and following a run takes.

Not Prefect's own client: importing it takes a second or more, and a run starts the sooner without it.

Source: Prefect 3.8's REST API. `PREFECT_API_URL`, `PREFECT_API_KEY` and `PREFECT_API_AUTH_STRING` mean what they mean
to Prefect.
"""

import asyncio
import base64
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel, TypeAdapter, ValidationError

from rollback.errors import Permanent

if TYPE_CHECKING:
    import aiohttp

REACH_SECONDS = 2.0
"""To find out whether a server answers at all."""
REQUEST_SECONDS = 10.0
TRIES = 5
"""For a server that is overloaded; SQLite answers 503 then."""
PAUSE_SECONDS = 0.5
Parsed = TypeVar("Parsed")
CSRF_HEADER = "Prefect-Csrf-Token"
FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class PrefectAway(Permanent):
    """No Prefect server or worker can be had for the run: the plain way is left; says why."""


class ServerBusy(PrefectAway):
    """The server asks to be left alone for a moment."""


class State(BaseModel):
    """A state of a flow run or task run."""

    type: str
    name: str
    message: str | None = None
    timestamp: datetime

    @property
    def is_final(self) -> bool:
        """Whether nothing comes after it."""
        return self.type in FINAL


class FlowRun(BaseModel):
    """A run of a flow."""

    id: UUID
    name: str
    state: State
    run_count: int = 0
    """How often it was begun; a run that is cancelled before has a start time all the same."""


class TaskRun(BaseModel):
    """A run of a task inside it."""

    id: UUID
    name: str
    state: State | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None


class WorkPool(BaseModel):
    """Where runs are taken from by workers."""

    status: str | None = None
    """`READY` where a worker has told of itself lately."""


class Deployment(BaseModel):
    """What can be started."""

    id: UUID


class PrefectApi:
    """One server, over one session."""

    def __init__(self, url: str, session: "aiohttp.ClientSession") -> None:
        self.url = url
        self._session = session
        self._own: dict[str, str] = {}

    @property
    def ui_url(self) -> str:
        """Where people look at it."""
        return os.environ.get("PREFECT_UI_URL") or self.url.removesuffix("/api")

    async def work_pool(self, name: str) -> WorkPool | None:
        """The work pool of that name; none where there is none."""
        found = await self._ask("GET", f"/work_pools/{name}")
        return None if found is None else _parse(WorkPool, found)

    async def deployment(self, name: str) -> Deployment | None:
        """The deployment `flow/deployment`; none where there is none."""
        found = await self._ask("GET", f"/deployments/name/{name}")
        return None if found is None else _parse(Deployment, found)

    async def start(self, deployment: Deployment, parameters: dict[str, Any], key: str) -> FlowRun:
        """Start a run of a deployment; sent again with the same key it is still one run."""
        body = {
            "parameters": parameters,
            "idempotency_key": key,
            "state": {"type": "SCHEDULED", "name": "Scheduled"},
        }
        return _parse(FlowRun, await self._ask("POST", f"/deployments/{deployment.id}/create_flow_run", body))

    async def flow_run(self, run: UUID) -> FlowRun:
        """The flow run as it is now."""
        return _parse(FlowRun, await self._ask("GET", f"/flow_runs/{run}"))

    async def task_runs(self, run: UUID) -> list[TaskRun]:
        """The task runs of a flow run, in the order in which they started."""
        body = {"flow_runs": {"id": {"any_": [str(run)]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return _parse(list[TaskRun], await self._ask("POST", "/task_runs/filter", body))

    async def cancel(self, run: UUID) -> None:
        """Ask for a run to be cancelled: its worker lets it end, a run that has not begun ends at once."""
        await self._ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's JSON, none for 404; tries again what may pass by itself. Raises `PrefectAway`."""
        for attempt in range(1, TRIES):
            try:
                return await self._ask_once(method, path, body)
            except ServerBusy:
                await asyncio.sleep(PAUSE_SECONDS * attempt)
        return await self._ask_once(method, path, body)

    async def _ask_with_csrf_token(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """A server that is protected against forged requests wants a token of its own with each change."""
        client = uuid4().hex
        async with self._session.get(f"{self.url}/csrf-token", params={"client": client}) as answer:
            token = (await answer.json()).get("token", "") if answer.status == 200 else ""
        self._own = {CSRF_HEADER: token, "Prefect-Csrf-Client": client}
        return await self._ask_once(method, path, body)

    async def _ask_once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        import aiohttp

        try:
            async with self._session.request(method, f"{self.url}{path}", json=body, headers=self._own) as answer:
                if answer.status == 404:
                    return None
                if answer.status < 400:
                    return await answer.json()
                if answer.status == 403 and not self._own:
                    return await self._ask_with_csrf_token(method, path, body)
                told = " ".join((await answer.text()).split())[:300]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PrefectAway(f"the Prefect server at {self.url} does not answer ({type(error).__name__})") from error
        kind = ServerBusy if answer.status in {429, 503} else PrefectAway
        raise kind(f"the Prefect server at {self.url} answers {answer.status}: {told}")


@asynccontextmanager
async def connect() -> AsyncGenerator[PrefectApi]:
    """The server of `PREFECT_API_URL`, which has just answered; raises `PrefectAway`."""
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not url:
        raise PrefectAway("PREFECT_API_URL is not set")
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers=_authorization(), trust_env=True) as session:
        try:
            async with asyncio.timeout(REACH_SECONDS), session.get(f"{url}/health") as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PrefectAway(f"the Prefect server at {url} does not answer ({type(error).__name__})") from error
        yield PrefectApi(url, session)


def _authorization() -> dict[str, str]:
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}


def _parse(kind: type[Parsed], answer: object) -> Parsed:
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        raise PrefectAway(f"the Prefect server answers something unexpected ({error.title})") from error
