"""A real Valkey behind TLS, trusted by this process."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from valkey_server import Cluster, Valkey, running_cluster, running_valkey


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
