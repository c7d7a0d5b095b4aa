"""One real PostgreSQL per test process; every test makes the databases that it needs."""

from collections.abc import Generator

import pytest
from postgresql_server import PostgreSql, running_postgresql


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[PostgreSql]:
    with running_postgresql(tmp_path_factory.mktemp("pg") / "server") as server:
        yield server


@pytest.fixture
def server(running_server: PostgreSql) -> Generator[PostgreSql]:
    yield running_server
    running_server.drop_databases()


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading revisions leaves nothing beside them."""
    monkeypatch.setattr("sys.dont_write_bytecode", True)
