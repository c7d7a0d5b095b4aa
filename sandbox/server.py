"""What `up` runs: one process with the proxy, the TLS server behind it, the control API, and every slot's process."""

import asyncio
import json
import logging
import os
import secrets as randomness
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from aiohttp import web

from sandbox import arm, directory, entra, inventory, public_host, rbac, request_faults, resources
from sandbox.authorization import graph
from sandbox.authorization import service as microsoft_authorization
from sandbox.certificates import authority, tls_context
from sandbox.clock import now
from sandbox.control_api import ControlApi
from sandbox.deployments import service as arm_deployments
from sandbox.faults import DroppedError, Faults, Kind
from sandbox.folder import Folder, Running, Secrets
from sandbox.fundrbolt import images, repository
from sandbox.github import service as github
from sandbox.github.start import new_token
from sandbox.insights import service as microsoft_insights
from sandbox.keyvault import service as microsoft_keyvault
from sandbox.keyvault import start as vaults
from sandbox.keyvault.data_plane import DOMAIN as VAULT_DOMAIN
from sandbox.keyvault.data_plane import KeyVault
from sandbox.pace import PaceName, pace
from sandbox.postgresql import service as microsoft_postgresql
from sandbox.postgresql.front import Front
from sandbox.providers import plain
from sandbox.proxy import ConnectProxy
from sandbox.recording import Recorder
from sandbox.redis import service as microsoft_cache
from sandbox.redis.front import Front as CacheFront
from sandbox.registry import service as registry
from sandbox.ssh import faults as ssh_faults
from sandbox.start import PUBLIC_HOST
from sandbox.state import RoleDefinition, new_id
from sandbox.static_sites import service as static_sites
from sandbox.static_sites.hosting import Hosting
from sandbox.static_sites.operations import Uploads
from sandbox.tokens import new_signing_key
from sandbox.web import service as microsoft_web
from sandbox.web.front_end import FrontEnd
from sandbox.web.logs import Kudu
from sandbox.world import World

log = logging.getLogger(__name__)

WEB_DOMAIN = ".azurewebsites.net"
NAMED = (arm.HOST, entra.HOST, graph.HOST, registry.HOST, PUBLIC_HOST, *github.HOSTS)
HOSTS = [*NAMED, f"*{WEB_DOMAIN}", f"*.scm{WEB_DOMAIN}", f"*{VAULT_DOMAIN}", *static_sites.HOSTS]
ROUTES = [
    *resources.ROUTES,
    *inventory.ROUTES,
    *microsoft_authorization.ROUTES,
    *microsoft_web.ROUTES,
    *microsoft_keyvault.ROUTES,
    *microsoft_postgresql.ROUTES,
    *microsoft_cache.ROUTES,
    *microsoft_insights.ROUTES,
    *static_sites.ROUTES,
    *plain.ROUTES,
    *arm_deployments.ROUTES,
]
FAULTS: list[Kind] = [
    *microsoft_web.FAULTS,
    *microsoft_keyvault.FAULTS,
    *microsoft_postgresql.FAULTS,
    *microsoft_cache.FAULTS,
    *microsoft_insights.FAULTS,
    *registry.FAULTS,
    *github.FAULTS,
    *static_sites.FAULTS,
    *ssh_faults.KINDS,
    *request_faults.KINDS,
    *public_host.KINDS,
    *arm_deployments.FAULTS,
]
MOST_BODY_BYTES = 32 * 1024 * 1024
SHUTDOWN_SECONDS = 1.0


def new_secrets() -> Secrets:
    """Everything that must not be guessed."""
    return Secrets(
        client_secret=randomness.token_urlsafe(30),
        control_token=randomness.token_urlsafe(32),
        signing_key=new_signing_key(),
        publishing_password=randomness.token_urlsafe(45),
        github_token=new_token(),
        passwords={name: randomness.token_urlsafe(20) for name in rbac.names(directory.principals())},
    )


class Server:
    """The sandbox itself, in one state folder."""

    def __init__(
        self,
        folder: Folder,
        pace_name: PaceName,
        scale: float,
        rollback_roles: Sequence[RoleDefinition] = (),
        record: Path | None = None,
        postgresql_template: Path | None = None,
    ) -> None:
        secrets = folder.secrets()
        if secrets is None:
            secrets = new_secrets()
            folder.write_secrets(secrets)
        elif not secrets.github_token:
            secrets.github_token = new_token()
            folder.write_secrets(secrets)
        self._folder = folder
        self._scale = scale
        self._world = World(folder, secrets, pace(pace_name, scale), postgresql_template)
        if rollback_roles:
            self._world.state.rollback_roles = list(rollback_roles)
            rbac.assign_starting_roles(self._world.state)
            vaults.assign_roles(self._world.state)
        self._faults = Faults(self._world, FAULTS)
        self._entra = entra.Entra(self._world)
        self._by_host = {
            entra.HOST: self._entra.handle,
            graph.HOST: graph.Graph(self._world, self._entra).handle,
            registry.HOST: registry.Registry(self._world).handle,
            **github.GitHubHosts(self._world).by_host,
            static_sites.CONTENT_HOST: Uploads(self._world).handle,
        }
        self._arm = arm.Arm(self._world, self._entra, ROUTES)
        self._world.arm = self._arm
        self._key_vault = KeyVault(self._world, self._entra)
        self._front_end = FrontEnd(self._world)
        self._public = public_host.PublicHost(self._world, self._front_end)
        self._hosting = Hosting(self._world)
        self._databases = Front(self._world, self._entra, HOSTS)
        self._caches = CacheFront(self._world, HOSTS)
        self._recorder = Recorder(record)
        self._kudu = Kudu(self._world, self._entra)
        self._runners: list[web.AppRunner] = []

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        told_to_end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
        proxy: ConnectProxy | None = None
        try:
            # From here on every process that was started is ended again, whatever happens.
            authority(self._folder, HOSTS)
            await asyncio.to_thread(self._build)
            await self._databases.start()
            await self._caches.start()
            await self._world.run_slots()
            await self._front_end.start()
            tls_port = await self._listen(self._application(), tls=True)
            proxy = ConnectProxy(self._serves, tls_port)
            last = self._folder.last_running()
            proxy_port = await proxy.start(last.proxy_port if last is not None else 0)
            await self._announce(proxy_port, last.control_port if last is not None else 0)
            microsoft_web.resume(self._world)
            microsoft_postgresql.resume(self._world)
            microsoft_cache.resume(self._world)
            github.resume(self._world)
            static_sites.resume(self._world)
            arm_deployments.resume(self._world)
            await told_to_end.wait()
        finally:
            await self._stop(proxy)

    def _build(self) -> None:
        """Make what the platform's developers have made: images, and the repository that they come from."""
        images.build(self._folder.images)
        repository.build(self._folder.repository)

    async def _announce(self, proxy_port: int, preferred_control_port: int) -> None:
        world = self._world
        about = {
            "pid": os.getpid(),
            "pace": world.pace.name,
            "scale": self._scale,
            "proxy": f"http://127.0.0.1:{proxy_port}",
        }
        control = ControlApi(world, self._entra, self._faults, about).application()
        control_port = await self._listen(control, port=preferred_control_port)
        world.save()
        self._folder.write_running(
            Running(
                pid=os.getpid(),
                proxy_port=proxy_port,
                control_port=control_port,
                pace=world.pace.name,
                scale=self._scale,
            )
        )
        log.info("ready: proxy on port %d", proxy_port)

    async def _stop(self, proxy: ConnectProxy | None) -> None:
        if proxy is not None:
            await proxy.stop()
        await self._world.cancel_background()
        for runner in self._runners:
            await runner.cleanup()
        await self._front_end.stop()
        await self._world.workers.stop()
        await self._databases.stop()
        await self._caches.stop()
        await self._world.clusters.stop()
        await self._world.caches.stop()
        self._world.book.save()
        log.info("ended")

    async def _listen(self, application: web.Application, *, port: int = 0, tls: bool = False) -> int:
        """Serve on loopback, on `port` if it is free; returns the port."""
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        context = tls_context(self._folder, HOSTS) if tls else None
        with suppress(OSError):
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        if not runner.addresses:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return int(runner.addresses[0][1])

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MOST_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._dispatch)
        return application

    def _serves(self, host: str) -> bool:
        named = host in NAMED or host.endswith(WEB_DOMAIN)
        return named or self._key_vault.serves(host) or static_sites.serves(host)

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        """One request under one of Azure's names: to whom that name belongs, and into the audit file."""
        host, request_id = request.host.partition(":")[0].lower(), new_id()
        with self._audited(request, host, request_id) as seen:
            try:
                await request_faults.before(self._world, request, host)
                response = await self._answer(request, host, request_id)
                request_faults.after(self._world, request, host)
            except DroppedError:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            except arm.ArmError as error:
                response = github.refused(error) if host in github.HOSTS else error.response()
            seen.append(response.status)
            if host == arm.HOST or host.endswith(VAULT_DOMAIN):
                await self._recorder.note(request, host, response)
            if not response.prepared and host in (arm.HOST, entra.HOST):
                response.headers["x-ms-request-id"] = request_id
                response.headers["x-ms-correlation-request-id"] = request.headers.get(
                    "x-ms-correlation-request-id", request_id
                )
            return response

    async def _answer(self, request: web.Request, host: str, request_id: str) -> web.StreamResponse:
        if host == arm.HOST:
            return await self._arm.handle(request, request_id)
        if host in self._by_host:
            return await self._by_host[host](request)
        if host == PUBLIC_HOST or static_sites.serves(host):
            return await (self._public if host == PUBLIC_HOST else self._hosting).handle(request, host)
        if host.endswith(VAULT_DOMAIN):
            return await self._key_vault.handle(request, host, request_id)
        if host.endswith(f".scm{WEB_DOMAIN}"):
            return await self._kudu.handle(request, host)
        if host.endswith(WEB_DOMAIN):
            return await self._front_end.handle(request, host)
        raise arm.ArmError(421, "MisdirectedRequest", f"Nothing is served under the name {host}.")

    @contextmanager
    def _audited(self, request: web.Request, host: str, request_id: str) -> Generator[list[int]]:
        """Note the request when it is over; never headers, query or body."""
        seen: list[int] = []
        try:
            yield seen
        finally:
            entry = {
                "time": now().isoformat(),
                "method": request.method,
                "host": host,
                "path": request.path,
                "principal": request.get("principal"),
                "status": seen[0] if seen else None,
                "request_id": request_id,
            }
            with self._folder.audit.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
