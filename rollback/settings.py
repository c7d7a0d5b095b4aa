"""The platform file `fundrbolt.toml` and the environment variables, as one frozen object.

Nobody else reads the environment. Every error names the field and the remedy.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from rollback.addresses import HttpsUrl, UrlPath
from rollback.approvals.policy import Policy
from rollback.cache.settings import Cache
from rollback.database.settings import Database
from rollback.errors import (
    NoCache,
    NoDatabase,
    NoFrontends,
    NoGitHub,
    NoInfrastructure,
    NoMigrations,
    SettingsInvalid,
    UnknownEnvironment,
)
from rollback.frontends.settings import Frontend
from rollback.github.settings import GitHub, Workflow
from rollback.infrastructure.settings import Infrastructure
from rollback.migrations.settings import Migrations
from rollback.models import Model
from rollback.platform_file import DEFAULT_STATE, find_platform_file, read_toml, state_directory
from rollback.resources.settings import Archive


class VersionEvidence(Model):
    """Where the app tells its release, as further evidence; the build's digest stays the identity."""

    header: str | None = None
    """A response header of every probe, for instance `X-Fundrbolt-Version`."""
    path: UrlPath | None = None
    """A page that tells the release in JSON."""
    json_field: str | None = None
    """Dotted path to the release in that JSON, for instance `build.version`."""

    @model_validator(mode="after")
    def _path_and_field_together(self) -> Self:
        if (self.path is None) != (self.json_field is None):
            raise ValueError("path and json_field belong together")
        return self


class Probes(Model):
    """What is asked of the app before and after, as its users ask."""

    health: tuple[UrlPath, ...] = ("/health",)
    """Pages that must answer 200."""
    requests: tuple[UrlPath, ...] = ()
    """Real requests that only read; one error among them is a failure."""
    count: int = Field(default=30, ge=1, le=500)
    """Real requests in one verification. n without an error show, with 95 % confidence, fewer than 3/n failing."""
    in_a_row: int = Field(default=3, ge=1, le=20)
    """Rounds without any failure, one after the other."""
    timeout_seconds: float = Field(default=10, gt=0, le=60)
    """For one answer."""
    verify_within_seconds: float = Field(default=25, gt=0, le=600)
    """For the whole verification: the runbook's 30 s less the readings around it."""
    version: VersionEvidence = VersionEvidence()


class Watch(Model):
    """What is looked at after a deployment, and what turns it back."""

    minutes: float = Field(default=5, gt=0, le=120)
    """How long production is watched after the swap."""
    most_failing_share: float = Field(default=0.02, gt=0, lt=1)
    """Share (0 to 1) of failing requests that is still taken for noise; more, and more than before, is bad."""
    least_requests: int = Field(default=20, ge=1)
    """Fewer requests in the metrics tell nothing."""
    metrics_within_seconds: float = Field(default=180, ge=0, le=1800)
    """After the window: time for Azure's metrics of it to arrive; without them the deployment is not verified."""


class Backend(Model):
    """An App Service app, and the slot that holds the other build."""

    resource_group: str
    app: str
    slot: str | None = None
    """The slot to swap with production; none where the environment has no slots."""
    public_url: HttpsUrl | None = None
    """The host that users see, when it is not the app's own."""
    probes: Probes = Probes()
    watch: Watch = Watch()
    insights: str | None = None
    """The Application Insights component that the app reports to; without it Azure's platform metrics are used."""
    start_within_seconds: float = Field(default=300, gt=0, le=1800)
    """For a new image to be pulled, started and answering; App Service itself gives up after 230 s by default."""
    settle_seconds: float = Field(default=30, ge=0.1, le=600)
    """After a swap whose answer is open: time without any sign of it before it may be sent again."""
    swap_timeout_seconds: float = Field(default=900, gt=0, le=3600)
    """Azure's own swap: five warm-up requests of 90 s a slot, and room."""


class Environment(Model):
    """One environment of the platform; its name is the table's name."""

    backend: Backend
    database: Database | None = None
    migrations: Migrations | None = None
    frontends: dict[str, Frontend] = Field(default_factory=dict[str, Frontend])
    workflow: Workflow | None = None
    """Deploys the frontends."""
    cache: Cache | None = None
    infrastructure: Infrastructure | None = None
    archive: Archive = Archive()

    @property
    def resource_groups(self) -> tuple[str, ...]:
        """All that the tables name, without case, in order."""
        named = [self.backend.resource_group, *(each.resource_group for each in self.frontends.values())]
        named += [each.resource_group for each in (self.cache, self.infrastructure) if each and each.resource_group]
        return tuple({each.lower(): each for each in (*named, *self.archive.resource_groups)}.values())


class Releases(Model):
    """Where a release's facts come from."""

    manifest: Path | None = None
    """A TOML file of releases, relative to the platform file."""
    asset: str = Field(default="release.toml", pattern=r"^[\w.-]+$")
    """The file of each GitHub release that has its own table of that manifest."""


class Repository(Model):
    """The platform's own git repository, as it is cloned on the machine of the run."""

    path: Path | None = None
    """Relative to the platform file; without it the work tree that the platform file is in."""


class Registry(Model):
    """Where images are; the token comes from ROLLBACK_REGISTRY_TOKEN and is never kept."""

    token: str | None = Field(default=None, repr=False, exclude=True)


class State(Model):
    """Where runs, leases and records are kept."""

    directory: Path = Path(DEFAULT_STATE)


class Azure(Model):
    """The subscription; the credential comes from the environment, as every Azure SDK finds it."""

    subscription_id: str = ""
    read_retries: int = Field(default=4, ge=0, le=10)
    """Tries again of a request that only reads. A request that changes something is never repeated by the SDK."""
    connect_timeout_seconds: float = Field(default=10, gt=0, le=20)
    read_timeout_seconds: float = Field(default=20, gt=0, le=40)
    """With the one for connecting shorter than the lease, so that no request outlives it."""


class Prefect(Model):
    """The server that shows and starts procedures."""

    work_pool: str = "rollback"


class Settings(Model):
    """Everything that the platform file and the environment say."""

    file: Path
    platform: str = "Fundrbolt"
    azure: Azure = Azure()
    releases: Releases = Releases()
    repository: Repository = Repository()
    registry: Registry = Registry()
    state: State = State()
    prefect: Prefect = Prefect()
    approval: Policy = Policy()
    github: GitHub | None = None
    environments: dict[str, Environment]

    def backend(self, environment: str) -> Backend:
        """The backend of an environment.

        Raises `UnknownEnvironment` with the names that there are.
        """
        if environment not in self.environments:
            known = ", ".join(sorted(self.environments))
            raise UnknownEnvironment(f"There is no environment '{environment}'.", remedy=f"{self.file} knows: {known}.")
        return self.environments[environment].backend

    def database(self, environment: str) -> Database:
        """The database of an environment; raises `UnknownEnvironment`, or `NoDatabase` where the file has none."""
        _ = self.backend(environment)
        database = self.environments[environment].database
        if database is None:
            raise NoDatabase(
                f"'{environment}' has no database that could be restored.",
                remedy=f"Name vault and secret in environments.{environment}.database of {self.file}.",
            )
        return database

    def cache(self, environment: str) -> Cache:
        """The cache of an environment; raises `UnknownEnvironment`, or `NoCache` where the file has none."""
        _ = self.backend(environment)
        cache = self.environments[environment].cache
        if cache is None:
            raise NoCache(
                f"'{environment}' has no cache that could be cleared.",
                remedy=f"Name group, cache and patterns in environments.{environment}.cache of {self.file}.",
            )
        return cache

    def migrations(self, environment: str) -> Migrations:
        """How the environment's schema is taken down; raises `NoMigrations` where the file does not say."""
        _ = self.database(environment)
        migrations = self.environments[environment].migrations
        if migrations is None:
            raise NoMigrations(
                f"How '{environment}' runs alembic is not known.",
                remedy=f"Say it in environments.{environment}.migrations of {self.file}.",
            )
        return migrations

    def frontends(self, environment: str, names: Iterable[str] = ()) -> dict[str, Frontend]:
        """The frontends of an environment: those that are named, or all; raises `UnknownEnvironment`, `NoFrontends`."""
        _ = self.backend(environment)
        known = self.environments[environment].frontends
        unknown = [name for name in names if name not in known]
        if not known or unknown:
            missing = f"frontend '{unknown[0]}'" if unknown else "frontend"
            raise NoFrontends(
                f"'{environment}' has no {missing} in the platform file.",
                remedy=f"It knows: {', '.join(known)}."
                if known
                else f"Name group and app in environments.{environment}.frontends.NAME of {self.file}.",
            )
        return {name: known[name] for name in dict.fromkeys(names or known)}

    def workflow(self, environment: str) -> Workflow:
        """The workflow that deploys the environment's frontends; raises `UnknownEnvironment`, `NoFrontends`."""
        _ = self.frontends(environment)
        workflow = self.environments[environment].workflow
        if workflow is None:
            raise NoFrontends(
                f"Which workflow deploys the frontends of '{environment}' is not known.",
                remedy=f"Name its file in environments.{environment}.workflow of {self.file}.",
            )
        return workflow

    def infrastructure(self, environment: str) -> Infrastructure:
        """The environment's template; raises `UnknownEnvironment`, or `NoInfrastructure` where the file has none."""
        _ = self.backend(environment)
        infrastructure = self.environments[environment].infrastructure
        if infrastructure is None:
            raise NoInfrastructure(
                f"Which template '{environment}' is deployed from is not known.",
                remedy=f"Name deployment and template in environments.{environment}.infrastructure of {self.file}.",
            )
        return infrastructure

    def repository_on_github(self) -> GitHub:
        """The platform's repository; raises `NoGitHub` where the file names none."""
        if self.github is None:
            raise NoGitHub(
                "Which GitHub repository the platform comes from is not known.",
                remedy=f"Name repository, vault and secret in [github] of {self.file}.",
            )
        return self.github


class OfferEnvironments:
    """Annotates a form's field: the environments of the platform file, where there is one, become its choices."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The field's JSON schema, with the choices."""
        schema = handler(core_schema)
        with suppress(SettingsInvalid):
            schema["enum"] = list(_read(find_platform_file()).environments)
        return schema


EnvironmentName = Annotated[str, OfferEnvironments()]


def load_settings(named: Path | None = None) -> Settings:
    """The settings of this process.

    `AZURE_SUBSCRIPTION_ID`, `ROLLBACK_STATE` and `ROLLBACK_REPOSITORY` win over the file. Raises `SettingsInvalid`
    naming file and field.
    """
    return _with_environment(_read(find_platform_file(named)))


def _read(file: Path) -> Settings:
    content = read_toml(file)
    try:
        return Settings.model_validate({"file": file, **content})
    except ValidationError as error:
        raise SettingsInvalid(f"{file}: {_describe(error)}", remedy="Mend the field.") from error


def _with_environment(settings: Settings) -> Settings:
    subscription = os.environ.get("AZURE_SUBSCRIPTION_ID", settings.azure.subscription_id)
    if not subscription:
        raise SettingsInvalid(
            "No subscription is set.",
            remedy=f"Set AZURE_SUBSCRIPTION_ID, or azure.subscription_id in {settings.file}.",
        )
    state = state_directory(settings.state.directory)
    manifest = settings.file.parent / settings.releases.manifest if settings.releases.manifest else None
    tenant = settings.approval.tenant_id or os.environ.get("AZURE_TENANT_ID", "")
    return settings.model_copy(
        update={
            "azure": settings.azure.model_copy(update={"subscription_id": subscription}),
            "registry": Registry(token=os.environ.get("ROLLBACK_REGISTRY_TOKEN") or None),
            "state": State(directory=state),
            "approval": settings.approval.model_copy(update={"tenant_id": tenant}),
            "releases": settings.releases.model_copy(update={"manifest": manifest}),
            "repository": Repository(path=_repository(settings)),
        }
    )


def _repository(settings: Settings) -> Path:
    named = os.environ.get("ROLLBACK_REPOSITORY") or settings.repository.path or "."
    return settings.file.parent.absolute() / named


def _describe(error: ValidationError) -> str:
    """One line per wrong field, without the values: a value may be a secret in the wrong place."""
    return " ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}." for each in error.errors())
