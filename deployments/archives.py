"""`rollback archives`: what a resource can be reverted to. Only reads files."""

import json
from typing import Any

import click

from deployments.procedures import open_store
from rollback.errors import ArchiveUnreadable
from rollback.resources.archives import Archives, Index
from rollback.resources.ids import ResourceId
from rollback.settings import Settings

DAMAGED = "damaged: its index is not what was written"


def show_archives(settings: Settings, environment: str, resource: str | None, *, as_json: bool) -> None:
    """Print the archives, the newest first, for people or as one JSON document."""
    _ = settings.backend(environment)
    archives = open_store(settings).archives(environment)
    found = _states(archives, ResourceId.parse(resource)) if resource else _all(archives)
    if as_json:
        click.echo(json.dumps({"environment": environment, "archives": found}, indent=2, ensure_ascii=False))
        return
    if not found:
        what = "has this resource" if resource else f"of '{environment}' is there"
        click.echo(f"No archive {what} in {settings.state.directory}: rollback run archive -e {environment}")
    for each in found:
        click.echo(f"  {each['name']}  {each['words']}")


def _all(archives: Archives) -> list[dict[str, Any]]:
    """Each archive, and how many of its resources are not as in the one before."""
    indexes = _indexes(archives)
    whole = [name for name in archives.names() if indexes[name] is not None]
    found: list[dict[str, Any]] = []
    for name, index in indexes.items():
        if index is None:
            found.append({"name": name, "words": DAMAGED})
            continue
        before = next((indexes[each] for each in whole if each < name), None)
        changed = len(index.configurations.items() - before.configurations.items()) if before else None
        words = f"{len(index.entries)} resources"
        if name not in whole:
            words = f"{ResourceId.parse(index.entries[0].id).short} as it was before run {index.run}"
        elif changed is not None:
            words += f", {changed} changed"
        if index.unread:
            words += f", {len(index.unread)} could not be read"
        found.append(
            {
                "name": name,
                "at": index.at.isoformat(),
                "run": index.run,
                "resources": len(index.entries),
                "changed": changed,
                "unread": index.unread,
                "words": words,
            }
        )
    return found


def _states(archives: Archives, resource: ResourceId) -> list[dict[str, Any]]:
    """Each archive that has the resource, or may have it, and whether it is in it as in the one before."""
    indexes = _indexes(archives)
    digests = {
        name: entry.configuration
        for name, index in indexes.items()
        for entry in (index.entries if index else ())
        if entry.id.lower() == resource.key
    }
    found: list[dict[str, Any]] = []
    for name, index in indexes.items():
        if index is None:
            found.append({"name": name, "words": DAMAGED})
        if name not in digests:
            continue
        digest = digests[name]
        before = next((each for each in digests if each < name), None)
        words = "first seen" if before is None else "as before" if digests[before] == digest else "changed"
        found.append({"name": name, "configuration": digest, "words": words})
    return found


def _indexes(archives: Archives) -> dict[str, Index | None]:
    """By name, the newest first; none where it is damaged."""

    def of(name: str) -> Index | None:
        try:
            return archives.index(name)
        except ArchiveUnreadable:
            return None

    return {name: of(name) for name in archives.all_names()}
