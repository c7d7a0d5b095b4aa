"""The control API: how the commands reach the running sandbox. Loopback, with a token from the state folder."""

import hmac
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from sandbox.control import ExecutedDeployment, SiteStatus, SlotStatus, StaticSiteStatus, Status, WorkflowRun
from sandbox.deployments.model import ArmDeployment
from sandbox.deployments.scopes import id_of
from sandbox.entra import Entra, EntraError
from sandbox.errors import SandboxError
from sandbox.faults import Faults
from sandbox.github.model import Run
from sandbox.rbac import find_principal
from sandbox.redis import looking
from sandbox.start import release_of
from sandbox.state import Site, Slot, State
from sandbox.static_sites.model import StaticSite
from sandbox.tokens import Flaws
from sandbox.world import World


class Break(BaseModel):
    """Which fault, how."""

    fault: str
    options: dict[str, str | float] = {}


class Repair(BaseModel):
    """Which fault; None: all."""

    fault: str | None = None


class TokenWish(BaseModel):
    """A token for a test."""

    principal: str
    scope: str
    expired: bool = False
    wrong_issuer: bool = False
    wrong_key: bool = False
    audience: str | None = None


class ControlApi:
    """Serves `Control`."""

    def __init__(self, world: World, entra: Entra, faults: Faults, describe: dict[str, Any]) -> None:
        self._world = world
        self._entra = entra
        self._faults = faults
        self._describe = describe
        """What the server knows of itself: pid, pace, scale, proxy."""

    def application(self) -> web.Application:
        """The routes, each behind the token."""
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.get("/status", self._status),
                web.get("/workflow-runs", self._workflow_runs),
                web.get("/arm-deployments", self._arm_deployments),
                web.post("/break", self._break),
                web.post("/repair", self._repair),
                web.post("/reset", self._reset),
                web.post("/token", self._token),
                *looking.routes(self._world),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        expected = f"Bearer {self._world.secrets.control_token}"
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode()):
            return web.Response(status=401, text="The control API needs the token of the state folder.")
        try:
            return await handler(request)
        except (SandboxError, ValidationError) as error:
            return web.Response(status=400, text=str(error))

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(text=self.status().model_dump_json())

    async def _workflow_runs(self, _request: web.Request) -> web.Response:
        runs = [_workflow_run(each).model_dump(mode="json") for each in self._world.state.github.runs]
        return web.json_response(runs)

    async def _arm_deployments(self, _request: web.Request) -> web.Response:
        state = self._world.state
        told = [_executed(state, each).model_dump(mode="json") for each in state.arm_deployments]
        return web.json_response(told)

    async def _break(self, request: web.Request) -> web.Response:
        body = Break.model_validate_json(await request.read())
        await self._faults.set(body.fault, body.options)
        return web.Response()

    async def _repair(self, request: web.Request) -> web.Response:
        await self._faults.repair(Repair.model_validate_json(await request.read()).fault)
        return web.Response()

    async def _token(self, request: web.Request) -> web.Response:
        wish = TokenWish.model_validate_json(await request.read())
        principal = find_principal(self._world.state, wish.principal)
        flaws = Flaws(wish.expired, wish.wrong_issuer, wish.wrong_key, wish.audience)
        try:
            return web.Response(text=self._entra.make(principal, wish.scope, flaws))
        except EntraError as error:
            raise SandboxError(str(error)) from error

    async def _reset(self, _request: web.Request) -> web.Response:
        await self._world.reset()
        return web.Response()

    def status(self) -> Status:
        """Everything at one look."""
        state = self._world.state
        sites = {site.environment: self._site(site) for site in state.sites}
        return Status(
            **self._describe,
            sites=sites,
            static_sites={site.name: _static_site(site) for site in state.static_sites},
            frontend_deployments=state.frontend_deployments,
            faults=state.faults,
            swaps=state.swaps,
        )

    def _site(self, site: Site) -> SiteStatus:
        slots = {name: self._slot(site, slot) for name, slot in site.slots.items()}
        return SiteStatus(
            environment=site.environment, group=site.group, name=site.name, slots=slots, operation=site.operation()
        )

    def _slot(self, site: Site, slot: Slot) -> SlotStatus:
        worker = self._world.workers.at((site.name, slot.name))
        return SlotStatus(
            name=slot.name,
            host=slot.host,
            state=slot.state,
            release=release_of(slot.content.linux_fx_version),
            image=slot.content.linux_fx_version,
            pid=worker.pid if worker is not None else None,
            listens=worker is not None and worker.port is not None and worker.pid is not None,
            ramp_up_rules=slot.ramp_up_rules,
            auto_swap_slot=slot.auto_swap_slot,
            prepared_for=slot.prepared_for,
            last_modified=slot.last_modified,
            swap_status=slot.swap_status,
        )


def _executed(state: State, deployment: ArmDeployment) -> ExecutedDeployment:
    own = id_of(state, deployment)
    return ExecutedDeployment(
        name=deployment.name,
        group=deployment.group,
        state=deployment.state,
        by=next(each.name for each in state.principals if each.object_id == deployment.by),
        parent=deployment.parent,
        begun=deployment.begun,
        writes=[each for each in state.arm_writes if each.deployment == own and each.time >= deployment.begun],
    )


def _workflow_run(run: Run) -> WorkflowRun:
    return WorkflowRun(
        id=run.id,
        workflow=run.workflow,
        ref=run.ref,
        event=run.event,
        attempt=run.last.number,
        status=run.last.status,
        conclusion=run.last.conclusion,
        reviews=run.reviews,
    )


def _static_site(site: StaticSite) -> StaticSiteStatus:
    return StaticSiteStatus(
        environment=site.environment,
        frontend=site.frontend,
        group=site.group,
        name=site.name,
        hosts=site.hosts,
        version=site.version,
        build_status=site.build_status,
        deploying=site.deployment() is not None,
    )
