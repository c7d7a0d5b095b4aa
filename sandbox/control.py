"""The running sandbox as a Python object: what the commands do, and what tests use to break and to look."""

import http.client
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from sandbox.deployments.model import ArmWrite, ProvisioningState
from sandbox.errors import NotRunningError, SandboxError
from sandbox.folder import Folder
from sandbox.github.model import Conclusion, Review
from sandbox.github.model import Status as RunState
from sandbox.redis.deletions import Calls
from sandbox.redis.model import CacheFlush
from sandbox.state import Fault, Operation, RampUpRule, Swap, SwapStatus
from sandbox.static_sites.model import BuildStatus, FrontendDeployment

REQUEST_SECONDS = 60


class SlotStatus(BaseModel):
    """One slot: what it runs, and whether it does."""

    name: str
    host: str
    state: str
    release: str | None
    image: str
    pid: int | None
    listens: bool
    ramp_up_rules: list[RampUpRule]
    auto_swap_slot: str | None
    prepared_for: str | None
    last_modified: datetime
    swap_status: SwapStatus | None


class SiteStatus(BaseModel):
    """One app and what is in progress on it."""

    environment: str
    group: str
    name: str
    slots: dict[str, SlotStatus]
    operation: Operation | None


class StaticSiteStatus(BaseModel):
    """One static site: what it serves."""

    environment: str
    frontend: str
    group: str
    name: str
    hosts: list[str]
    version: str | None
    """What the version.json of its content says."""
    build_status: BuildStatus
    deploying: bool


class WorkflowRun(BaseModel):
    """One of GitHub's workflow runs, in its last attempt."""

    id: int
    workflow: str
    """File name."""
    ref: str
    event: str
    attempt: int
    status: RunState
    conclusion: Conclusion | None
    reviews: list[Review]
    """Who approved or rejected which attempt, with which comment."""


class ExecutedDeployment(BaseModel):
    """One deployment of a template: what it was told to do, and which changes it sent."""

    name: str
    group: str | None
    """None: the subscription's."""
    state: ProvisioningState
    by: str
    """How the sandbox's own commands call whoever asked for it."""
    parent: str | None
    """The id of the deployment that it is nested in."""
    begun: datetime
    writes: list[ArmWrite]


class Status(BaseModel):
    """Everything at one look."""

    pid: int
    pace: str
    scale: float
    proxy: str
    sites: dict[str, SiteStatus]
    """By environment: production, staging, dev; production-worker is production's background worker."""
    static_sites: dict[str, StaticSiteStatus]
    """By name."""
    frontend_deployments: list[FrontendDeployment]
    faults: list[Fault]
    swaps: list[Swap]


class AuditEntry(BaseModel):
    """One request that reached the sandbox."""

    time: datetime
    method: str
    host: str
    path: str
    principal: str | None = None
    """Who asked, as the sandbox's own commands call it; None where no token was verified."""
    status: int | None
    """None: the connection was dropped without an answer."""
    request_id: str


class Control:
    """Speaks to the sandbox that runs in `state_dir`; `NotRunningError` when there is none."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = Folder(state_dir)

    def status(self) -> Status:
        """What each slot runs, what is broken, which swaps were executed."""
        return Status.model_validate_json(self._ask("GET", "/status"))

    def swaps(self) -> list[Swap]:
        """Every executed swap since the last reset, oldest first."""
        return self.status().swaps

    def frontend_deployments(self) -> list[FrontendDeployment]:
        """Every deployment of a static site that ended since the last reset, oldest first, failed ones included."""
        return self.status().frontend_deployments

    def arm_deployments(self, group: str | None = None) -> list[ExecutedDeployment]:
        """The deployments in the history, of the subscription and of every group, or of `group` only."""
        found = TypeAdapter(list[ExecutedDeployment]).validate_json(self._ask("GET", "/arm-deployments"))
        return [each for each in found if group is None or each.group == group]

    def workflow_runs(self) -> list[WorkflowRun]:
        """GitHub's workflow runs, oldest first."""
        return TypeAdapter(list[WorkflowRun]).validate_json(self._ask("GET", "/workflow-runs"))

    def cache_keys(self, environment: str, pattern: str = "*") -> int:
        """How many keys of an environment's cache match."""
        return int(self._ask("POST", "/cache/count", {"environment": environment, "pattern": pattern}))

    def cache_flushes(self) -> list[CacheFlush]:
        """Every time that a whole cache was emptied since the last reset, oldest first."""
        return TypeAdapter(list[CacheFlush]).validate_json(self._ask("GET", "/cache/flushes"))

    def cache_deletions(self, environment: str) -> dict[str, Calls]:
        """Which commands that can take keys away clients sent to an environment's cache since the last reset."""
        answer = self._ask("POST", "/cache/deletions", {"environment": environment})
        return TypeAdapter(dict[str, Calls]).validate_json(answer)

    def fill_cache(self, environment: str, keys: int, prefix: str = "cache:filled:") -> None:
        """Put so many keys, numbered from 0, into an environment's cache."""
        self._ask("POST", "/cache/fill", {"environment": environment, "keys": keys, "prefix": prefix})

    def break_(self, fault: str, **options: str | float) -> None:
        """Set a fault; `UnknownFaultError` and the like as `SandboxError` with one line."""
        self._ask("POST", "/break", {"fault": fault, "options": options})

    def repair(self, fault: str | None = None) -> None:
        """Undo one fault, or all of them."""
        self._ask("POST", "/repair", {"fault": fault})

    def token(
        self,
        principal: str,
        scope: str,
        *,
        expired: bool = False,
        wrong_issuer: bool = False,
        wrong_key: bool = False,
        audience: str | None = None,
    ) -> str:
        """An access token as `principal` (`lead`, `deployer`, …) gets it for `scope`, or one with flaws."""
        wanted = {
            "principal": principal,
            "scope": scope,
            "expired": expired,
            "wrong_issuer": wrong_issuer,
            "wrong_key": wrong_key,
            "audience": audience,
        }
        return self._ask("POST", "/token", wanted).decode()

    def reset(self) -> None:
        """Back to the starting state: slots, data, faults, swaps. Ports, certificates and tokens stay."""
        self._ask("POST", "/reset")

    def audit(self, since: datetime | None = None) -> list[AuditEntry]:
        """The requests that were answered since an instant, in that order."""
        if not self._folder.audit.exists():
            return []
        lines = self._folder.audit.read_text(encoding="utf-8").splitlines()
        entries = (AuditEntry.model_validate_json(line) for line in lines)
        return [entry for entry in entries if since is None or entry.time >= since]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        running, secrets = self._folder.running(), self._folder.secrets()
        token = secrets.control_token if secrets is not None else ""
        connection = http.client.HTTPConnection("127.0.0.1", running.control_port, timeout=REQUEST_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            content = response.read()
        except OSError as error:
            raise NotRunningError(f"The sandbox in {self._folder.root} does not answer: {error}.") from error
        finally:
            connection.close()
        if response.status != 200:
            raise SandboxError(content.decode("utf-8", "replace"))
        return content
