"""Making an entry of the release manifest from a checkout's own alembic graph, and writing it into the file."""

import asyncio
import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError
from tomlkit.items import Table

from rollback import registry
from rollback.errors import Refused, SettingsInvalid
from rollback.migrations.graph import read_graph
from rollback.programs.repository import worktree
from rollback.releases import Manifest, Release, load_manifest, wrong_fields

ALEMBIC_FILE = "alembic.ini"


class CheckoutUnfit(Refused):
    """The checkout's revisions are no chain with one head, or are not found."""


class EntryInvalid(Refused):
    """What the entry would say contradicts itself, or the revisions that there are."""


async def read_chain(checkout: Path, revision: str, path: str | None = None) -> tuple[str, ...]:
    """The alembic revisions of a tag or commit, oldest first; the last one is its head.

    Read from a clean worktree, which is removed again. `path` is where alembic.ini is in the repository. Raises
    `CheckoutUnfit`, or a `Refused` of git's.
    """
    async with worktree(checkout, revision) as tree:
        folder = tree / path if path else await asyncio.to_thread(_find_alembic, tree, revision)
        graph = await read_graph(folder)
    if graph.problems:
        raise CheckoutUnfit(
            f"The revisions of '{revision}' are no chain: {'; '.join(graph.problems)}.", remedy="Mend them, and tag."
        )
    if len(graph.heads) != 1:
        heads = ", ".join(graph.heads) or "none"
        raise CheckoutUnfit(f"The revisions of '{revision}' have not one head: {heads}.", remedy="Merge them, and tag.")
    return tuple(reversed(graph.history))


def _find_alembic(tree: Path, revision: str) -> Path:
    found = sorted(tree.rglob(ALEMBIC_FILE))
    if len(found) != 1:
        places = ", ".join(str(each.parent.relative_to(tree)) for each in found) or "nowhere"
        raise CheckoutUnfit(
            f"'{revision}' has not one {ALEMBIC_FILE}: {places}.", remedy="Name its folder in the repository by --path."
        )
    return found[0].parent


async def find_digest(image: str, release: str, token: str | None) -> str:
    """The digest in an image's reference, or the registry's for its tag, or for the tag with the release's name."""
    _, at, digest = image.partition("@")
    if at:
        return digest
    repository = registry.parse_repository(image)
    tag = image.removeprefix(str(repository)).removeprefix(":")
    async with registry.connect(image, token) as asked:
        return await asked.get_digest(tag or release)


def make_entry(
    manifest: Manifest, name: str, chain: tuple[str, ...], digest: str | None, told: dict[str, str | None]
) -> Release:
    """A release's entry: what is told, else what the manifest says already, else what is safe to say.

    `chain` has the release's own revisions, oldest first. Raises `EntryInvalid` with the field.
    """
    before = manifest.releases.get(name)
    kept = before.model_dump(exclude={"schemas"}, exclude_none=True) if before else {}
    fields: dict[str, Any] = kept | {key: value for key, value in told.items() if value}
    fields |= {"alembic_head": chain[-1], "image_digest": digest or kept.get("image_digest")}
    if fields["image_digest"] is None:
        raise EntryInvalid(f"{name}: image_digest is not known.", remedy="Name the image with --image.")
    # Only what is known to work is claimed: a release runs on its own head.
    fields = {"oldest_schema": chain[-1], "newest_schema": chain[-1]} | fields
    fields["schemas"] = _with_later(manifest, name, chain, fields["newest_schema"])
    try:
        return Release.model_validate(fields)
    except ValidationError as error:
        raise EntryInvalid(f"{name}: {wrong_fields(error)}.", remedy="Name it otherwise.") from error


def _with_later(manifest: Manifest, name: str, chain: tuple[str, ...], newest: str) -> tuple[str, ...]:
    """The chain, with the later revisions up to the newest, in the order in which other releases have them."""
    if newest in chain:
        return chain
    for release in manifest.releases.values():
        known = release.schemas
        if newest in known and chain[-1] in known and known.index(chain[-1]) < known.index(newest):
            return (*chain, *known[known.index(chain[-1]) + 1 : known.index(newest) + 1])
    raise EntryInvalid(
        f"{name}: newest_schema {newest} is no revision of its own, and no other release tells what comes before it.",
        remedy="Build the entry of the release that brings it first.",
    )


def entry_text(name: str, entry: Release) -> str:
    """The entry as it stands in the file."""
    document = tomlkit.document()
    _put(document, name, entry)
    return tomlkit.dumps(document)


def write_entry(file: Path, name: str, entry: Release) -> None:
    """Put one entry into the manifest, as `write_entries`."""
    write_entries(file, {name: entry})


def write_entries(file: Path, entries: Mapping[str, Release]) -> None:
    """Put entries into the manifest, all or none; everything else in the file stays as it is, comments too.

    Raises `SettingsInvalid` where the file cannot be read or written; it is then as it was.
    """
    _ = load_manifest(file) if file.exists() else None
    document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.exists() else tomlkit.document()
    for name, entry in entries.items():
        _put(document, name, entry)
    text = tomlkit.dumps(document)
    Manifest.model_validate(tomllib.loads(text))
    try:
        _replace(file, text)
    except OSError as error:
        raise SettingsInvalid(
            f"{file} cannot be written: {error.strerror}.", remedy="Check its folder, or use '--output -'."
        ) from error


def _put(document: tomlkit.TOMLDocument, name: str, entry: Release) -> None:
    if "releases" not in document:
        document["releases"] = tomlkit.table(is_super_table=True)
    releases = document["releases"]
    fields = entry.model_dump(mode="json", exclude_defaults=True)
    if not isinstance(releases, Table):
        raise SettingsInvalid("The manifest's releases are no tables.", remedy='Write each as [releases."v1.2.3"].')
    if name not in releases:
        releases[name] = tomlkit.table()
    there = releases[name]
    for key, value in fields.items():
        if there.get(key) != value:
            there[key] = value


def _replace(file: Path, text: str) -> None:
    """Write beside and rename: a reader sees the old file or the new one."""
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(beside).chmod(file.stat().st_mode & 0o777 if file.exists() else 0o644)
        Path(beside).replace(file)
    finally:
        Path(beside).unlink(missing_ok=True)
