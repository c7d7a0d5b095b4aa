"""Which archived configuration a resource goes back to: the one that is named, or the newest.

Nothing is guessed: what was wrong may have been archived, too. Where no archive is named, the newest is taken only if
the resource is not as in any other one either, and no run has replaced just this since.
"""

import difflib
from typing import NamedTuple

from rollback.errors import NoEarlierState, PropertyUnknown
from rollback.resources import earlier
from rollback.resources.archives import Archives
from rollback.resources.by_id import Resources, Shown
from rollback.resources.diff import Difference, comparable, differences, digest_of, places
from rollback.resources.earlier import Earlier
from rollback.resources.ids import ResourceId
from rollback.resources.secrets import Tree

PARAMETER = "microsoft.dbforpostgresql/flexibleservers/configurations"
MOST_TOLD = 5


class Compared(NamedTuple):
    """An earlier configuration beside the present one."""

    then: Earlier
    shown: Shown
    now: Tree
    wanted: Tree
    found: tuple[Difference, ...]
    """Of what is to come back."""
    others: int
    """How many differences there are besides."""


class Chooser:
    """Compares one resource with what it was."""

    def __init__(
        self, archives: Archives, resources: Resources, resource: ResourceId, only: tuple[str, ...] = ()
    ) -> None:
        self._archives = archives
        self._resources = resources
        self._resource = resource
        self._only = only
        self._shown: dict[str, Shown] = {}

    async def named(self, name: str) -> Compared:
        """With the archive of that name; raises `NoEarlierState`."""
        found = await self._archived(self._archives.find(name))
        if found is None:
            raise await self._no_state(f"archive {name}")
        return await self.given(found)

    async def given(self, then: Earlier) -> Compared:
        """With this one."""
        compared = await self._beside(then)
        self._require_properties([compared])
        return compared

    async def newest(self) -> Compared:
        """With the newest archive that has it; raises `NoEarlierState` where it may be another one that is meant."""
        states = [await self._beside(each) for name in self._archives.names() if (each := await self._archived(name))]
        if not states:
            raise await self._no_state("any archive")
        self._require_properties(states)
        differing = {digest_of(each.wanted): each for each in reversed(states) if each.found}
        if differing and (why := self._against(states)):
            told = [f"{each.then.name} ({_words(each.found)})" for each in list(differing.values())[::-1][:MOST_TOLD]]
            raise NoEarlierState(
                f"'{self._resource.short}' {why}: nothing says what it is to go back to.",
                remedy=f"Name one with --archive: {'; '.join(told)}. All of them: 'rollback archives --resource'.",
            )
        return states[0]

    async def _beside(self, then: Earlier) -> Compared:
        """With an earlier configuration, read by the same API version."""
        kind, shown = self._resource.type, await self._get(then.api_version)
        now, wanted = comparable(kind, shown.content), comparable(kind, then.content)
        found = differences(now, wanted, partial=then.partial)
        chosen = tuple(each for each in found if not self._only or is_among(each.place, self._only))
        return Compared(then, shown, now, wanted, chosen, len(found) - len(chosen))

    def _require_properties(self, states: list[Compared]) -> None:
        """Each path that was named is of a property that can be compared; raises `PropertyUnknown`."""
        known = {place for each in states for tree in (each.now, each.wanted) for place in places(tree)}
        for path in self._only:
            if not any(is_among(place, (path,)) for place in known):
                near = [each for each in sorted(known) if each.endswith(f".{path}")]
                near = near or difflib.get_close_matches(path, sorted(known), MOST_TOLD)
                raise PropertyUnknown(
                    f"'{path}' names no property of '{self._resource.short}' that comes back, now or then.",
                    remedy=f"What Azure decides and secrets never do. Alike: {', '.join(near) or 'none'}.",
                )

    async def _get(self, api_version: str = "") -> Shown:
        if api_version not in self._shown:
            self._shown[api_version] = await self._resources.get(self._resource, api_version)
        return self._shown[api_version]

    async def _archived(self, name: str) -> Earlier | None:
        """As an archive has it; a server's parameter that it does not have was as Azure sets it."""
        if (found := earlier.archived(self._archives, self._resource, name)) is not None:
            return found
        parent = self._resource.parent
        of_server = self._resource.type.lower() == PARAMETER
        if not of_server or parent is None or self._archives.read(name, parent) is None:
            return None
        shown = await self._get()
        properties = shown.content.get("properties")
        default = properties.get("defaultValue") if isinstance(properties, dict) else None
        content: Tree = {"properties": {"value": default}}
        source = f"archive {name}, in which it was as Azure sets it"
        return Earlier(content, shown.api_version, f"archive {name}", source, partial=True)

    def _against(self, states: list[Compared]) -> str:
        """What speaks against the newest; empty where nothing does."""
        newest = states[0]
        name = newest.then.name.removeprefix("archive ")
        if not newest.found:
            return f"is as in the newest archive, {name}, and was something else before"
        if same := next((each for each in states if not each.found), None):
            return f"is as in {same.then.name}, but not as in the newest, {name}"
        if by := self._replaced_since(name, newest.wanted):
            return f"is not as in the newest archive, {name}, which was replaced by a run since (kept as {by})"
        return ""

    def _replaced_since(self, name: str, wanted: Tree) -> str:
        """What a run kept as it replaced just this configuration, after it was archived."""
        for each in self._archives.all_names():
            if each > name and each not in self._archives.names():
                kept = self._archives.read(each, self._resource)
                if kept is not None and digest_of(comparable(kept.type, kept.content)) == digest_of(wanted):
                    return each
        return ""

    async def _no_state(self, where: str) -> NoEarlierState:
        """Where no archive has it; raises `ResourceMissing` where Azure does not have it either."""
        await self._get()
        known = ", ".join(self._archives.names()[:MOST_TOLD]) or "none; run archive daily"
        return NoEarlierState(
            f"'{self._resource.short}' is not in {where}.",
            remedy=f"There are: {known}. Or name a file in git with --from-git.",
        )


def is_among(place: str, paths: tuple[str, ...]) -> bool:
    """Whether a property is one of these, or within one."""
    return any(place == each or place.startswith((f"{each}.", f"{each}[")) for each in paths)


def _words(found: tuple[Difference, ...]) -> str:
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return "; ".join(each.words for each in found[:MOST_TOLD]) + more
