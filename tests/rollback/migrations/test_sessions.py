import pytest
from postgresql_server import ADMINISTRATOR, APP, PostgreSql

from rollback.migrations.sessions import can_see_all, hand_over, sessions_at_work
from rollback.postgres.url import DatabaseUrl

PLACE = "postgresql+psycopg://app:p%40ss@db.example.org/fundrbolt"


@pytest.mark.parametrize(
    ("options", "kept", "given"),
    [
        pytest.param("", "", "", id="nothing"),
        pytest.param("?sslmode=verify-full", "?sslmode=verify-full", "", id="what is not ours"),
        pytest.param("?application_name=api&sslmode=require", "?sslmode=require", "", id="a name of its own"),
        pytest.param("?options=-c%20search_path%3Dapp", "", "-c search_path=app ", id="options"),
        pytest.param("?a=1&options=-csearch_path%3Dapp&b=%20", "?a=1&b=%20", "-csearch_path=app ", id="in between"),
    ],
)
def test_a_urls_own_name_and_limits_do_not_hide_ours(options: str, kept: str, given: str) -> None:
    handed = hand_over(DatabaseUrl.parse(PLACE + options), "4f2a", 2.5)
    assert handed.url.text.get_secret_value() == PLACE + kept
    assert handed.environment == {
        "PGOPTIONS": f"{given}-c lock_timeout=2500",
        "PGAPPNAME": "rollback-migration 4f2a",
    }


async def test_sessions_of_migrations_are_seen_whoever_they_belong_to(server: PostgreSql) -> None:
    database = server.make_database()
    session = await server.session(database)
    try:
        assert await sessions_at_work(session) == ()
        with server.connect(database, APP, application_name="rollback-migration 4f2a") as theirs:
            assert await sessions_at_work(session) == (theirs.info.backend_pid,)
    finally:
        await session.connection.close()


@pytest.mark.parametrize(("role", "sees"), [(ADMINISTRATOR, True), (APP, False)])
async def test_a_role_without_pg_monitor_cannot_tell(server: PostgreSql, role: str, sees: bool) -> None:
    session = await server.session(server.make_database(), role)
    try:
        assert await can_see_all(session) is sees
    finally:
        await session.connection.close()
