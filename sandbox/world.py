"""The running sandbox's memory: state, pace and processes, and the rule that every change is written down at once."""

import asyncio
import logging
from collections.abc import Coroutine
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from sandbox.asking import Inside, Nobody
from sandbox.container_logs import ContainerLogs
from sandbox.deployments import history as template_history
from sandbox.deployments.model import WhatIfResult
from sandbox.folder import Folder, Secrets
from sandbox.github import start as github
from sandbox.guests import Guests
from sandbox.insights.book import Book
from sandbox.keyvault import references
from sandbox.keyvault.start import furnish, keep_token
from sandbox.pace import Pace
from sandbox.postgresql import start as database_servers
from sandbox.postgresql.clusters import Clusters
from sandbox.processes import SITE_NAME, Launch, Place, Pulled, Workers
from sandbox.providers import start as plain_resources
from sandbox.redis import start as caches
from sandbox.redis.caches import Caches
from sandbox.registry import images
from sandbox.ssh.shells import Shells
from sandbox.start import release_of, starting_state
from sandbox.state import ConnectionString, RoleDefinition, Site, Slot, State
from sandbox.static_sites.start import furnish as furnish_static_sites

log = logging.getLogger(__name__)

T = TypeVar("T")

SLOW_START = "slow-start"
NEVER_RESTARTS = "instance-never-restarts"

CANCEL_AGAIN_SECONDS = 1.0

BASE_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
"""Nothing of the sandbox's own environment."""


class World:
    """What every part of the sandbox reads and changes."""

    def __init__(self, folder: Folder, secrets: Secrets, pace: Pace, postgresql_template: Path | None = None) -> None:
        self.folder = folder
        self.secrets = secrets
        self.pace = pace
        self.clusters = Clusters(folder.postgresql, secrets.signing_key, postgresql_template)
        self.caches = Caches(folder.redis, secrets.signing_key)
        self.state = self._load()
        self.clusters.hold(self.state.database_servers)
        self.caches.hold(self.state.caches)
        self.logs = ContainerLogs(folder.root / "containers")
        self._local_images = self._images_in_use()
        """Images that are on a site's machine already, whatever the registry says."""
        self.workers = Workers(self, self._start_delay_seconds, self._pull, pace, self.logs)
        self.guests = Guests()
        self.shells = Shells()
        self.book = Book(folder)
        self.arm: Inside = Nobody()
        self.what_ifs: dict[str, WhatIfResult] = {}
        """What clients of the last what-ifs come back for."""
        self.resets = 0
        """How often the world began anew: caches from before are worth nothing."""
        self._background: set[asyncio.Task[None]] = set()

    def _load(self) -> State:
        if self.folder.state.exists():
            state = State.model_validate_json(self.folder.state.read_text())
            if not state.github.releases:
                # From before there was a GitHub.
                state.github = github.begin()
                keep_token(state, self.secrets.github_token)
            return state
        return self._begin()

    def _begin(self, *rollback_roles: RoleDefinition) -> State:
        state = starting_state(self.folder.databases, *rollback_roles)
        database_servers.furnish(state, self.clusters)
        caches.furnish(state, self.caches)
        furnish(state, self.secrets.signing_key, self.secrets.github_token)
        furnish_static_sites(state, self.folder.root)
        plain_resources.furnish(state)
        template_history.furnish(state)
        state.github = github.begin()
        return state

    def save(self) -> None:
        """Write the state down. Called after every change, before anybody is told of it."""
        self.folder.write(self.folder.state, self.state.model_dump_json(indent=1))

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` beside the requests; an error in it is logged, and `reset` and `stop` cancel it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)

    async def cancel_background(self) -> None:
        """End everything that `start` began, and the processes that faults and people in containers brought."""
        await asyncio.gather(self.guests.end_all(), self.shells.end_all())
        tasks = set(self._background)
        while tasks:
            for task in tasks:
                task.cancel()
            # Python 3.11's `wait_for`, with which redis-py sends, can lose a cancellation.
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL_AGAIN_SECONDS)

    def places(self, site: Site) -> list[Place]:
        """Where processes of `site` run."""
        return [(site.name, slot) for slot in site.slots]

    def needs_restart(self, site: Site, slot: Slot) -> bool:
        """Whether the slot's process was started with something else than it should have now."""
        place = (site.name, slot.name)
        launch = self.launch_of(place)
        return any(worker.launch != launch for worker in self.workers.all_at(place))

    def settle_references(self, site: Site, slot: Slot, *, anew: bool = False) -> dict[str, str]:
        """The app settings as the slot's process gets them. References are fetched where that is due, or `anew`."""
        settings, strings = effective_settings(site, slot), effective_connection_strings(site, slot)
        basis = references.basis_of(slot, settings, strings)
        if anew or references.are_due(slot, basis):
            references.fetch(self.state, site, slot, settings, basis)
            self.save()
        return references.resolved(slot, settings)

    async def run_slots(self) -> None:
        """Start what must run and does not."""
        places = [place for site in self.state.sites for place in self.places(site)]
        await asyncio.gather(*(self.workers.refresh(place) for place in places))

    async def reset(self) -> None:
        """Back to the starting state, data of the apps included. Processes that are as they were go on running."""
        await self.cancel_background()
        self.resets += 1
        self.book.clear()
        self.logs.clear()
        old = self.state
        self.state = self._begin(*old.rollback_roles)
        self._local_images = self._images_in_use()
        # Tokens stay valid: a client that keeps one must not notice a reset between two tests.
        self.state.tokens_issued = old.tokens_issued
        self.state.tokens_refused = old.tokens_refused
        for site in self.state.sites:
            places = self.places(site)
            if any(worker.wrote for place in places for worker in self.workers.all_at(place)):
                await self.workers.empty(places)
                for file in self.folder.databases.glob(f"{site.environment}.sqlite*"):
                    file.unlink()
        self.save()
        await self.caches.reset(self.state.caches)
        renewed = await self.clusters.reset(self.state.database_servers)
        await self.workers.empty(self._places_on(renewed))
        for site in self.state.sites:
            for one, other in combinations(self.places(site), 2):
                await self.workers.exchange_if_wanted(one, other)
        await self.run_slots()

    def _places_on(self, servers: set[str]) -> list[Place]:
        """Where processes run that use one of these database servers."""
        hosts = [f"@{each.address}:" for each in self.state.database_servers if each.name in servers]
        return [
            place
            for site in self.state.sites
            for place in self.places(site)
            if any(host in worker.database_url for worker in self.workers.all_at(place) for host in hosts)
        ]

    def app_processes(self) -> list[tuple[int, str]]:
        """Every process on the app's side of the network, and its app."""
        return [*self.workers.processes(), *self.guests.processes(), *self.shells.processes()]

    def _start_delay_seconds(self) -> float:
        """Every process is started so much later, because of a fault."""
        return max((float(each.options["seconds"]) for each in self.state.faults if each.name == SLOW_START), default=0)

    def launch_of(self, place: Place) -> Launch | None:
        """What the process of a place must be started with now; None for a stopped one."""
        site = next(site for site in self.state.sites if site.name == place[0])
        slot = site.slots[place[1]]
        settings = self.settle_references(site, slot)
        if slot.state == "Stopped":
            return None
        strings = effective_connection_strings(site, slot)
        environment = (
            self.base_environment(site)
            | settings
            | {f"{string.type.upper()}CONNSTR_{name}": string.value for name, string in strings.items()}
        )
        image = slot.content.linux_fx_version
        return Launch(release_of(image), tuple(sorted(environment.items())), image)

    def base_environment(self, site: Site) -> dict[str, str]:
        """What every process on the app's side of the network gets."""
        # libpq's own name for the authorities that it trusts.
        authorities = str(self.folder.ca_bundle)
        return BASE_ENVIRONMENT | {SITE_NAME: site.name, "PGSSLROOTCERT": authorities, "REDIS_CA_FILE": authorities}

    def instances_of(self, place: Place) -> list[str]:
        """The ids of the instances that a place must run on. Slots of an app, and apps of a plan, share them."""
        site = next(site for site in self.state.sites if site.name == place[0])
        return [sha256(f"{site.plan}/{number}".encode()).hexdigest() for number in range(site.instances)]

    def never_restarts(self, place: Place, instance: str) -> bool:
        """Whether a fault keeps the process of a place on one of its instances as it is."""
        site = next(site for site in self.state.sites if site.name == place[0])
        instances = self.instances_of(place)
        numbers = [
            int(fault.options["number"])
            for fault in self.state.faults
            if fault.name == NEVER_RESTARTS
            and (fault.options["environment"], fault.options["slot"]) == (site.environment, place[1])
        ]
        return instance in [instances[min(number, len(instances)) - 1] for number in numbers]

    def _images_in_use(self) -> set[tuple[str, str]]:
        return {(site.name, slot.content.linux_fx_version) for site in self.state.sites for slot in site.slots.values()}

    def _pull(self, place: Place, launch: Launch) -> Pulled:
        image, error = images.shown(launch.image), images.pull_error(self.state, launch.image)
        self.logs.platform(place, "INFO", f"Pulling image: {image}")
        here = (place[0], launch.image)
        if error is None:
            self.logs.platform(place, "INFO", f"Digest: {images.digest_of(launch.image)}")
            self.logs.platform(place, "INFO", f"Pull Image successful: {image}")
            self._local_images.add(here)
            return "broken" if images.is_broken(self.state, launch.image) else "here"
        self.logs.platform(place, "ERROR", f"DockerApiException: Docker API responded with {error}")
        self.logs.platform(place, "WARN", "Image pull failed. Defaulting to local copy if present.")
        if here in self._local_images and launch.release is not None:
            return "here"
        told = "Image pull failed: Verify docker image configuration and credentials (if using private repository)"
        self.logs.platform(place, "ERROR", told)
        self.logs.platform(place, "INFO", f"Stopping site {place[0]} because it failed during startup.")
        return "missing"


def effective_settings(site: Site, slot: Slot) -> dict[str, str]:
    """App settings that the slot's process gets: while a swap is prepared, the sticky ones are the target's."""
    other = site.slots[slot.prepared_for] if slot.prepared_for is not None else slot
    return merge_sticky(slot.content.settings, other.content.settings, site.sticky_settings)


def effective_connection_strings(site: Site, slot: Slot) -> dict[str, ConnectionString]:
    """As `effective_settings`, for connection strings."""
    other = site.slots[slot.prepared_for] if slot.prepared_for is not None else slot
    return merge_sticky(
        slot.content.connection_strings, other.content.connection_strings, site.sticky_connection_strings
    )


def merge_sticky(own: dict[str, T], sticky_from: dict[str, T], sticky: list[str]) -> dict[str, T]:
    """`own` without its sticky entries, with those of `sticky_from`."""
    return {name: value for name, value in own.items() if name not in sticky} | {
        name: value for name, value in sticky_from.items() if name in sticky
    }
