import pytest

from rollback.postgres.errors import DatabaseUrlInvalid
from rollback.postgres.url import DatabaseUrl

SECRET = "hunter2%40%2F:x"  # noqa: S105 - made up
DECODED = "hunter2@/:x"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
@pytest.mark.parametrize("host", ["127.0.0.7", "fundrbolt-production-pg.postgres.database.azure.com", "[fd00::7]"])
@pytest.mark.parametrize("rest", [":5432/fundrbolt?sslmode=require", "/fundrbolt", ":6432/f%20b?a=1&sslmode=require\n"])
def test_only_the_host_of_a_url_changes(scheme: str, host: str, rest: str) -> None:
    text = f"{scheme}://fundrbolt_app:{SECRET}@{host}{rest}"
    url = DatabaseUrl.parse(text)

    assert (url.user, url.host, url.password.get_secret_value()) == ("fundrbolt_app", host.strip("[]"), DECODED)
    moved = url.with_host("127.0.0.8")
    assert moved.text.get_secret_value() == f"{scheme}://fundrbolt_app:{SECRET}@127.0.0.8{rest}"
    assert moved.with_host(url.host) == url


def test_a_host_that_also_occurs_elsewhere_in_the_url_changes_only_where_it_is_the_host() -> None:
    url = DatabaseUrl.parse("postgresql://pg:pg@pg:5432/pg?application_name=pg")
    assert url.with_host("new").text.get_secret_value() == "postgresql://pg:pg@new:5432/pg?application_name=pg"


def test_port_and_database_are_read() -> None:
    url = DatabaseUrl.parse("postgres://me:secret@[::1]:6432/my%20db")
    assert (url.port, url.database) == (6432, "my db")
    assert DatabaseUrl.parse("postgres://me:secret@host/db").port == 5432
    assert url.with_host("fd00::8").text.get_secret_value() == "postgres://me:secret@[fd00::8]:6432/my%20db"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host=there user=me password=hunter2 dbname=db", "keyword connection string"),
        ("mysql://me:hunter2@there/db", "not hold a PostgreSQL"),
        ("hunter2", "not hold a PostgreSQL"),
        ("postgresql://me:hunter2@2@there/db", "more than one '@'"),
        ("postgresql://me:hunter2@here,there/db", "several hosts"),
        ("postgresql://me:hunter2@here:1,there:2/db", "several hosts"),
        ("postgresql://me:hunter2@there/db?host=elsewhere", "sets host among its options"),
        ("postgresql://me:hunter2@there/db?hostaddr=10.0.0.1&sslmode=require", "sets hostaddr"),
        ("postgresql://me:hunter2@/db", "lacks its host"),
        ("postgresql://there/db", "lacks its host, user"),
        ("postgresql://me:hunter/2@there/db", "cannot be taken apart"),
        ("postgresql://me:hunter2@there", "cannot be taken apart"),
    ],
)
def test_what_cannot_be_pointed_elsewhere_is_refused_without_being_shown(text: str, words: str) -> None:
    with pytest.raises(DatabaseUrlInvalid, match=words) as refusal:
        DatabaseUrl.parse(text)
    assert "hunter" not in f"{refusal.value} {refusal.value!r} {refusal.value.__cause__}"


def test_the_password_is_in_no_representation() -> None:
    url = DatabaseUrl.parse(f"postgresql://me:{SECRET}@there/db")
    assert "hunter2" not in f"{url} {url!r} {url.model_dump()} {url.model_dump_json()}"
