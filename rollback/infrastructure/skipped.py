"""What Azure's what-if skipped, as the template itself has it, in the form of what-if's own changes."""

from collections.abc import Collection, Iterable, Iterator

from rollback.errors import WrongDatabase
from rollback.infrastructure.declared import DEPLOYMENT, Declared, Name, at
from rollback.infrastructure.expressions import Unknown
from rollback.infrastructure.what_if import NOWHERE, POTENTIAL, ChangeKind, RawChange, name_of, type_of

PLACE = "place"
"""In a change: where in the template it is, for people."""
Key = tuple[str, str]
"""Type and name in lower letters. What concerns a database has a name that no other group knows."""


def read_skipped(
    declared: Iterable[Declared], changes: Iterable[RawChange], skipped: Collection[str], concerned: Collection[str]
) -> list[RawChange]:
    """The resources of the `concerned` types that Azure did not evaluate.

    `skipped`: the ids that it did not, those of deployments with all that is in them. Raises `WrongDatabase` where it
    cannot be told what they are.
    """
    return list(_read(declared, changes, {_key(each) for each in skipped}, concerned)) if skipped else []


def _read(
    declared: Iterable[Declared], changes: Iterable[RawChange], skipped: set[Key], concerned: Collection[str]
) -> Iterator[RawChange]:
    evaluated = {_key(str(each.get("resourceId"))) for each in changes if each.get("after") and POTENTIAL not in each}
    evaluated -= skipped
    for each in declared:
        if not isinstance(each.name, Unknown) and (each.kind, each.name.lower()) in evaluated:
            continue
        within = next((own for own in each.within if _is_skipped(DEPLOYMENT, own, skipped)), None)
        if within is None and not _is_skipped(each.kind, each.name, skipped):
            continue
        place = "" if within is None else f" in {_called(DEPLOYMENT, within)}, which Azure did not evaluate"
        if each.kind == DEPLOYMENT and not isinstance(at(each.body, "properties", "template"), dict):
            raise _untold(f"{_called(DEPLOYMENT, each.name)}{place}, whose own template is not in it")
        if each.kind in concerned:
            yield _as_change(each, place)


def _is_skipped(kind: str, name: Name, skipped: set[Key]) -> bool:
    """Whether it is one of those, or may be: where its name, or what Azure speaks of, cannot be told."""
    kinds = {own for own, _ in skipped}
    if _key(NOWHERE)[0] in kinds:
        return True
    return kind in kinds if isinstance(name, Unknown) else (kind, name.lower()) in skipped


def _as_change(declared: Declared, place: str) -> RawChange:
    if isinstance(declared.name, Unknown):
        raise _untold(f"{_called(declared.kind, declared.name)}{place}")
    space, *types = declared.kind.split("/")
    parts = [part for pair in zip(types, declared.name.split("/"), strict=False) for part in pair]
    return {
        "resourceId": "/".join(["/providers", space, *parts]),
        "changeType": ChangeKind.DEPLOY.value,
        "after": {"properties": declared.shown("properties")},
        PLACE: place,
    }


def _called(kind: str, name: Name) -> str:
    what = "nested deployment" if kind == DEPLOYMENT else f"a resource of type {kind}"
    return f"{what} whose name cannot be told" if isinstance(name, Unknown) else f"{what} '{name}'"


def _untold(what: str) -> WrongDatabase:
    return WrongDatabase(
        f"Azure's what-if did not evaluate {what}: it may lead the app to another database.",
        remedy="Name it, and what is in it, by parameters instead of reference(), or name another release; nothing was "
        "touched.",
    )


def _key(resource: str) -> Key:
    return type_of(resource).lower(), name_of(resource).lower()
