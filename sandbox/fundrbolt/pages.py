"""What the API keeps in its cache: pages of donations, who is signed in, and which tokens are revoked."""

import json
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from sandbox.fundrbolt.settings import CacheSettings
from sandbox.fundrbolt.store import SESSION_LASTS

if TYPE_CHECKING:
    from sandbox.fundrbolt.cache import Cache

LATEST = "cache:donations:{latest}:"
"""Before the number of donations on a page. The braces keep the pages together in a cluster."""
SESSION, REVOKED = "session:", "jwt_blacklist:"
REVOKED_SECONDS = 7 * 86_400
FIELDS = ("id", "amount_cents", "currency", "donor", "created_at")
DOLLARS, RENAMED = 3, 4
"""Schemas of a page as v1.2.3 writes it: amounts in dollars, or in dollars and under another name. Releases before it
look at no schema."""


class CacheUnavailableError(Exception):
    """The cache cannot be reached, or refuses what was asked of it."""


class UnreadablePageError(Exception):
    """A page in the cache is not as this release knows it."""


class Pages:
    """The API's own keys. Donations are there without it, signing in is not."""

    def __init__(self, settings: CacheSettings, *, in_dollars: bool) -> None:
        self._settings = settings
        self._in_dollars = in_dollars

    @cached_property
    def _cache(self) -> "Cache":
        # Not above: the client takes longer to import than all the rest.
        from sandbox.fundrbolt.cache import Cache

        return Cache(self._settings)

    async def close(self) -> None:
        """Let go of the cache."""
        await self._cache.close()

    async def word(self) -> str:
        """How the cache is, for the health report."""
        try:
            await self._cache.check()
        except CacheUnavailableError:
            return "unavailable"
        return "ok"

    async def latest(self, limit: int) -> list[dict[str, object]] | None:
        """The page of the newest donations, if it is there."""
        try:
            page = await self._cache.get(f"{LATEST}{limit}")
        except CacheUnavailableError:
            return None
        return read_page(page, knows_dollars=self._in_dollars) if page is not None else None

    async def keep(self, limit: int, donations: list[dict[str, object]]) -> None:
        """Put a page there, if this build keeps pages at all."""
        if self._settings.seconds >= 1:
            page = write_page(donations, DOLLARS if self._in_dollars else None)
            with suppress(CacheUnavailableError):
                await self._cache.put(f"{LATEST}{limit}", page, int(self._settings.seconds))

    async def sign_in(self, session: str) -> str:
        """Remember a session; a token for it."""
        with suppress(CacheUnavailableError):
            await self._cache.put(SESSION + session, json.dumps({"id": session}), int(SESSION_LASTS.total_seconds()))
        return f"{session}.{uuid4()}"

    async def session(self, authorization: str) -> dict[str, object] | None:
        """The session of a request's token, unless it has ended or the token is revoked."""
        session, token = _parts(authorization)
        kept = await self._cache.get(SESSION + session)
        if kept is None or await self._cache.get(REVOKED + token) is not None:
            return None
        return json.loads(kept)

    async def revoke(self, authorization: str) -> None:
        """Let nobody in any more with a request's token."""
        await self._cache.put(REVOKED + _parts(authorization)[1], "logout", REVOKED_SECONDS)


def _parts(authorization: str) -> tuple[str, str]:
    """The session and the token's own id, of `Bearer SESSION.ID`."""
    session, _, token = authorization.removeprefix("Bearer ").rpartition(".")
    return session, token


def read_page(text: str, *, knows_dollars: bool) -> list[dict[str, object]]:
    """The donations of a page in the cache, as a release understands them: right or not."""
    page = json.loads(text)
    donations = cast("list[dict[str, Any]]", page["donations"])
    if knows_dollars and page.get("schema") in (DOLLARS, RENAMED):
        donations = [{**each, "amount_cents": _cents(each)} for each in donations]
    try:
        return [{name: each[name] for name in FIELDS} for each in donations]
    except KeyError as error:
        raise UnreadablePageError(str(error)) from error


def _cents(donation: dict[str, Any]) -> int:
    return round(100 * float(donation["amount_cents"] if "amount_cents" in donation else donation["amount"]))


def write_page(donations: list[dict[str, object]], schema: int | None) -> str:
    """A page for the cache: in v1.2.3's form of this schema, or in that of the releases before (None)."""
    if schema is None:
        return json.dumps({"donations": donations})
    name = "amount_cents" if schema == DOLLARS else "amount"
    changed: list[dict[str, object]] = []
    for each in donations:
        others = {key: value for key, value in each.items() if key != "amount_cents"}
        changed.append({**others, name: cast("int", each["amount_cents"]) / 100})
    return json.dumps({"schema": schema, "donations": changed})
