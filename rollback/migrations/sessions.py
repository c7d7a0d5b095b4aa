"""Alembic's own sessions on the server: with a name by which they are found again and a limit to waiting for locks."""

from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from rollback.postgres.session import Session
from rollback.postgres.url import DatabaseUrl

APPLICATION = "rollback-migration"
"""How alembic's sessions are known on the server; the run's name follows."""
_AT_WORK = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s ORDER BY pid
"""
_SEES_ALL = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"


class Handed(NamedTuple):
    """What alembic is given."""

    url: DatabaseUrl
    environment: dict[str, str]
    """For libpq; nothing in it is secret."""


def application_of(run: str) -> str:
    """The application name of a run's sessions."""
    return f"{APPLICATION} {run}"


def hand_over(url: DatabaseUrl, run: str, lock_timeout_seconds: float) -> Handed:
    """The URL and the environment by which alembic's session has our name and lock timeout.

    What a URL says wins over the environment: its own name is left out, and its options are kept before ours.
    """
    address, _, options = url.text.get_secret_value().strip().partition("?")
    kept: list[str] = []
    given = ""
    for each in options.split("&") if options else []:
        name, _, value = each.partition("=")
        if unquote(name) == "options":
            given = f"{unquote_plus(value)} "
        elif unquote(name) != "application_name":
            kept.append(each)
    milliseconds = round(lock_timeout_seconds * 1000)
    environment = {"PGOPTIONS": f"{given}-c lock_timeout={milliseconds}", "PGAPPNAME": application_of(run)}
    return Handed(DatabaseUrl.parse("?".join([address, *(["&".join(kept)] if kept else [])])), environment)


async def sessions_at_work(session: Session) -> tuple[int, ...]:
    """The processes of our migrations' sessions in this database, whichever run began them."""
    return tuple(int(row[0]) for row in await session.fetch(_AT_WORK, (f"{APPLICATION} %",)))


async def can_see_all(session: Session) -> bool:
    """Whether the names of other roles' sessions are shown to us at all."""
    return bool(await session.fetch_value(_SEES_ALL))
