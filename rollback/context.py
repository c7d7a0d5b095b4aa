"""The run that is going on: its settings, journal and lease, and the connections that its steps share.

Tasks find it through `current()`: it never travels as a task's parameter, where Prefect would look into it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from datetime import timedelta

from rollback import azure, metrics
from rollback.app_service import AppService
from rollback.azure import AzureConnection
from rollback.cache.client import RedisCache
from rollback.database.consumers import Apps
from rollback.database.servers import FlexibleServers
from rollback.database.settings import Database
from rollback.errors import FoundBad, LeaseLost, RollbackError
from rollback.frontends import pages
from rollback.frontends.pages import Browser
from rollback.frontends.static_sites import StaticSites
from rollback.github import connection as github
from rollback.github.connection import GitHubConnection
from rollback.infrastructure.deployments import Deployments
from rollback.journal import Event, Journal
from rollback.key_vault import KeyVault
from rollback.lease import HeldLease
from rollback.measurements import Mark, Measurements
from rollback.releases import Manifest
from rollback.resources.by_id import Resources
from rollback.runs import RunFolder, RunHeader, Store
from rollback.settings import Backend, Settings

MEASURE_BEFORE = timedelta(minutes=15)
MEASURE_SECONDS = 5.0
"""For the report's figures: users are served by then, but somebody waits for the word."""

_current: ContextVar["Run"] = ContextVar("run")


def current() -> "Run":
    """The run of this task's flow."""
    return _current.get()


def enter(run: "Run") -> None:
    """Make a run the current one of this flow."""
    _current.set(run)


class Run:
    """One run of one procedure, while it goes on."""

    def __init__(
        self, settings: Settings, store: Store, folder: RunFolder, journal: Journal, manifest: Manifest
    ) -> None:
        self.settings = settings
        self.store = store
        self.folder = folder
        self.journal = journal
        self.manifest = manifest
        self.header: RunHeader = folder.header
        self.lease: HeldLease | None = None
        self.evidence: list[str] = []
        self.results: list[tuple[str, str]] = []
        """What the procedure came to, in figures: name and value, for people."""
        self.approvals: list[str] = []
        """Who approved the plan, in words; or why nobody had to."""
        self.azure_seconds: float | None = None
        """Of the step that is going on: how long Azure itself took."""
        self.where_things_stand: Callable[[], Awaitable[str]] | None = None
        """Reads, for a run that is cancelled, what state things are in."""
        self._stack = AsyncExitStack()
        self._app: AppService | None = None
        self._connection: AzureConnection | None = None
        self._servers: FlexibleServers | None = None
        self._apps: Apps | None = None
        self._vaults: dict[str, KeyVault] = {}
        self._cache: RedisCache | None = None
        self._static_sites: StaticSites | None = None
        self._resources: Resources | None = None
        self._browser: Browser | None = None
        self._github: GitHubConnection | None = None
        self._deployments: Deployments | None = None

    @property
    def backend(self) -> Backend:
        """The environment's backend; raises `UnknownEnvironment`."""
        return self.settings.backend(self.header.environment)

    async def connection(self) -> AzureConnection:
        """The connection to Azure, one for the whole run."""
        if self._connection is None:
            self._connection = await self._stack.enter_async_context(azure.connect(self.settings.azure))
        return self._connection

    async def app_service(self) -> AppService:
        """The environment's app."""
        if self._app is None:
            app = AppService(await self.connection(), self.backend, self.manifest)
            self._app = await self._stack.enter_async_context(app)
        return self._app

    @property
    def database(self) -> Database:
        """What the platform file says of the environment's database; raises `NoDatabase`."""
        return self.settings.database(self.header.environment)

    async def servers(self) -> FlexibleServers:
        """The subscription's PostgreSQL servers."""
        if self._servers is None:
            self._servers = await self._stack.enter_async_context(FlexibleServers(await self.connection()))
        return self._servers

    async def apps(self) -> Apps:
        """The subscription's apps, as users of secrets."""
        if self._apps is None:
            self._apps = await self._stack.enter_async_context(Apps(await self.connection()))
        return self._apps

    async def key_vault(self, vault: str = "") -> KeyVault:
        """A vault by name; without one, that with the database's address."""
        name = vault or self.database.vault
        if name not in self._vaults:
            self._vaults[name] = await self._stack.enter_async_context(KeyVault(await self.connection(), name))
        return self._vaults[name]

    async def cache(self) -> RedisCache:
        """The environment's cache; raises `NoCache`."""
        if self._cache is None:
            cache = RedisCache(await self.connection(), self.settings.cache(self.header.environment))
            self._cache = await self._stack.enter_async_context(cache)
        return self._cache

    async def static_sites(self) -> StaticSites:
        """The subscription's Static Web Apps."""
        if self._static_sites is None:
            self._static_sites = await self._stack.enter_async_context(StaticSites(await self.connection()))
        return self._static_sites

    async def resources(self) -> Resources:
        """The subscription's resources, by their ids."""
        if self._resources is None:
            self._resources = await self._stack.enter_async_context(Resources(await self.connection()))
        return self._resources

    async def deployments(self) -> Deployments:
        """The ARM deployments to the scope of the environment's infrastructure; raises `NoInfrastructure`."""
        if self._deployments is None:
            settings = self.settings.infrastructure(self.header.environment)
            found = Deployments(await self.connection(), settings)
            self._deployments = await self._stack.enter_async_context(found)
        return self._deployments

    async def browser(self) -> Browser:
        """What asks for pages as users do."""
        if self._browser is None:
            self._browser = await self._stack.enter_async_context(pages.open_browser())
        return self._browser

    async def github(self) -> GitHubConnection:
        """The platform's repository on GitHub; raises `NoGitHub`, or `SecretUnusable` where the token is not had."""
        if self._github is None:
            repository = self.settings.repository_on_github()
            token = await (await self.key_vault(repository.vault)).get_secret(repository.secret)
            self._github = github.connect(repository, token.value, self.note)
        return self._github

    @property
    def throttled_seconds(self) -> float | None:
        """How long Azure's throttling made the run wait; none where it asked Azure nothing."""
        return self._connection.throttle.waited_seconds if self._connection else None

    async def measure(self) -> Measurements | None:
        """What users got before and during the run, as Azure counted it; none where it does not tell in time."""
        if self._connection is None:
            return None
        try:
            async with asyncio.timeout(MEASURE_SECONDS):
                measured = await metrics.measure(
                    self._connection, self.backend, self.header.started_at - MEASURE_BEFORE
                )
        except (RollbackError, TimeoutError):
            return None
        # One a step, when the last of its changes was seen: a restore changes dozens of things.
        confirmed = [each for each in self.journal.entries if each.event is Event.CONFIRMED]
        marks = {each.step: Mark(at=each.at, text=each.step or each.change) for each in confirmed}
        return Measurements(source=measured.source, minutes=measured.minutes, marks=tuple(marks.values()))

    def take_azure_seconds(self) -> float | None:
        """How long Azure itself took in the step that ends."""
        taken, self.azure_seconds = self.azure_seconds, None
        return taken

    async def close(self) -> None:
        """Close the connections."""
        await self._stack.aclose()

    def note(self, text: str) -> None:
        """Tell something about the step that is going on."""
        self.journal.write(Event.NOTE, text=text)

    def find_bad(self, why: str) -> FoundBad:
        """What was put in place is bad: kept in the journal, so that a resumed run takes it back too."""
        self.journal.write(Event.VERDICT, text=why)
        return FoundBad(why)

    def stop_if_found_bad(self) -> None:
        """Raise `FoundBad` again where an earlier try of this run found it so."""
        if verdict := self.journal.verdict():
            raise FoundBad(verdict)

    def check_lease(self) -> None:
        """To be called right before each change; raises `LeaseLost` where the environment is not ours."""
        if self.lease is None:
            raise LeaseLost(f"'{self.header.environment}' is not leased to this run.", remedy="Nothing was sent.")
        self.lease.check()
