"""A real Valkey behind TLS, trusted by this process, and a run that clears it without Azure."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from valkey_plans import make_plan
from valkey_server import PRIMARY_KEY, SECONDARY_KEY, Cluster, Valkey, running_cluster, running_valkey

from rollback.cache.clearing import Clearing
from rollback.cache.servers import AccessKeys, Address
from rollback.cache.settings import Cache
from rollback.cache.topology import Finder, Topology
from rollback.cache.verification import verify_keys
from rollback.errors import LeaseLost
from rollback.journal import Entry, Event, Journal


@pytest.fixture
async def valkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Valkey]:
    async with running_valkey(tmp_path / "valkey") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "valkey" / "cache.pem"))
        yield server


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Cluster]:
    async with running_cluster(tmp_path / "cluster") as nodes:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cluster" / "cache.pem"))
        yield nodes


class CacheRun:
    """What a deletion needs of a run: the journal is real, the servers are, and Azure is two keys."""

    def __init__(self, folder: Path, node: Valkey) -> None:
        self.keys: tuple[str, ...] = (PRIMARY_KEY, SECONDARY_KEY)
        self.asked_for_keys = 0
        self.checks = 0
        self.lose_lease_at = 0
        self.watch: Callable[[Entry], None] = lambda _: None
        self.journal = Journal(folder / "journal.jsonl", [self._tell])
        self.results: list[tuple[str, str]] = []
        self.evidence: list[str] = []
        self.settings = self
        endpoint = Address(host="127.0.0.1", port=node.front.port, certified="127.0.0.1")
        self.finder = Finder(endpoint, AccessKeys(self._fetch), answer_seconds=5)
        self.cache_settings = Cache(resource_group="a-group", name="a-cache", away_seconds=5)

    def _tell(self, entry: Entry) -> None:
        self.watch(entry)

    async def _fetch(self) -> tuple[SecretStr, ...]:
        self.asked_for_keys += 1
        return tuple(SecretStr(each) for each in self.keys)

    def cache(self, environment: str = "") -> Any:
        return self.cache_settings if environment else self._cache()

    async def _cache(self) -> Finder:
        return self.finder

    async def find(self) -> Topology:
        return await self.finder.find()

    def note(self, text: str) -> None:
        self.journal.write(Event.NOTE, text=text)

    def check_lease(self) -> None:
        self.checks += 1
        if self.checks == self.lose_lease_at:
            raise LeaseLost("It is not ours any more.")

    @property
    def notes(self) -> str:
        return "\n".join(each.text for each in self.journal.entries)

    async def clear(self, *patterns: str, guards: tuple[str, ...] = (), everything: bool = False) -> Clearing:
        """Delete, and look whether anything is left."""
        plan = make_plan(patterns, guards, everything=everything)
        self.journal.write(Event.STEP_STARTED, step="Clear the cache")
        clearing = Clearing(self, plan)
        await clearing.clear()
        await verify_keys(self, plan, clearing)
        return clearing


@asynccontextmanager
async def run_on(folder: Path, node: Valkey) -> AsyncGenerator[CacheRun]:
    run = CacheRun(folder, node)
    try:
        yield run
    finally:
        await run.finder.close()


@pytest.fixture
async def run(tmp_path: Path, valkey: Valkey) -> AsyncGenerator[CacheRun]:
    async with run_on(tmp_path, valkey) as made:
        yield made


@pytest.fixture
async def cluster_run(tmp_path: Path, cluster: Cluster) -> AsyncGenerator[CacheRun]:
    async with run_on(tmp_path, cluster.nodes[0]) as made:
        yield made
