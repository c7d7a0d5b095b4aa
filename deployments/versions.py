"""`rollback versions`: what an environment can be returned to."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import click

from deployments.frontend_versions import HEADINGS, FrontendVersion, look_at_frontends
from deployments.procedures import open_store
from rollback import azure, registry
from rollback.app_service import AppService
from rollback.errors import ImageMissing, RollbackError
from rollback.registry import Registry
from rollback.releases import Build, Manifest, load_manifest
from rollback.served import TAG_BAD_DIGEST, TAG_DIGEST, TAG_PREVIOUS_DIGEST, ServedRecord
from rollback.settings import Settings
from rollback.slots import Slot

MOST_ASKED_AT_ONCE = 8


@dataclass
class Version:
    """One build that is known from anywhere."""

    digest: str
    release: str | None = None
    tags: list[str] = field(default_factory=list[str])
    in_registry: bool | None = None
    """None: the registry could not be asked."""
    runs_in: list[str] = field(default_factory=list[str])
    served: str = ""


async def show_versions(settings: Settings, environment: str, *, as_json: bool) -> None:
    """Print every build that is known, newest release first; raises a `Refused` where Azure cannot be read."""
    manifest = load_manifest(settings.releases.manifest)
    backend = settings.backend(environment)
    store, frontends = open_store(settings), settings.environments[environment].frontends
    async with (
        azure.connect(settings.azure) as connection,
        AppService(connection, backend, manifest) as app,
    ):
        slots, served = await asyncio.gather(
            _slots(app, paired=bool(backend.slot)), look_at_frontends(connection, frontends, store, environment)
        )
    found = _known(manifest, slots, store.served(environment))
    problem = await _ask_registry(found, slots[0].build, settings.registry.token)
    rows = sorted(found.values(), key=lambda each: (each.release or "", each.digest), reverse=True)
    if as_json:
        told = {"versions": [asdict(each) for each in rows], "registry": problem or "asked"}
        click.echo(json.dumps(told | {"frontends": [asdict(each) for each in served]}, indent=2))
    else:
        _print(rows, problem)
        _print_frontends(served)


async def _slots(app: AppService, *, paired: bool) -> list[Slot]:
    return list(await app.get_pair()) if paired else [await app.get_slot()]


def _known(manifest: Manifest, slots: list[Slot], record: ServedRecord) -> dict[str, Version]:
    found = {
        release.image_digest: Version(release.image_digest, release=name) for name, release in manifest.releases.items()
    }
    for slot in slots:
        if slot.build.digest:
            at = found.setdefault(slot.build.digest, Version(slot.build.digest, release=slot.build.release))
            at.runs_in.append(slot.name)
    for version in found.values():
        version.served = _served(version.digest, slots[0], record)
    return found


def _served(digest: str, production: Slot, record: ServedRecord) -> str:
    known = record.latest(digest)
    if digest == production.tags.get(TAG_BAD_DIGEST):
        return "bad: users were taken off it (the app's tags)"
    if known is not None:
        return f"{known.verdict.value}, {known.at:%Y-%m-%d %H:%M} UTC (run {known.run})"
    if digest in {production.tags.get(TAG_DIGEST), production.tags.get(TAG_PREVIOUS_DIGEST)}:
        return "served (the app's tags)"
    return ""


async def _ask_registry(found: dict[str, Version], build: Build, token: str | None) -> str:
    """Fill in what the registry knows; returns why it could not be asked, or nothing."""
    gate = asyncio.Semaphore(MOST_ASKED_AT_ONCE)
    try:
        async with registry.connect(build.image, token) as asked:
            tags = await asked.list_tags()
            digests = await asyncio.gather(*(_digest(asked, tag, gate) for tag in tags))
            for tag, digest in zip(tags, digests, strict=True):
                if digest is not None:
                    found.setdefault(digest, Version(digest)).tags.append(tag)
            there = await asyncio.gather(*(_digest(asked, digest, gate) for digest in found))
    except RollbackError as error:
        return str(error)
    for version, digest in zip(found.values(), there, strict=True):
        version.in_registry = digest is not None
    return ""


async def _digest(asked: Registry, reference: str, gate: asyncio.Semaphore) -> str | None:
    async with gate:
        try:
            return await asked.get_digest(reference)
        except ImageMissing:
            return None


def _print(rows: list[Version], problem: str) -> None:
    words = {True: "yes", False: "MISSING", None: "unknown"}
    lines = [("release", "image", "in registry", "tags", "runs in", "known to have served")]
    lines += [
        (
            each.release or "unknown",
            each.digest[:19] + "…",
            words[each.in_registry],
            ", ".join(each.tags),
            ", ".join(each.runs_in),
            each.served,
        )
        for each in rows
    ]
    _print_table(lines)
    if problem:
        click.echo(f"The registry could not be asked: {problem}", err=True)


def _print_frontends(served: list[FrontendVersion]) -> None:
    if served:
        click.echo("")
        _print_table([HEADINGS, *(each.row() for each in served)])
    for each in served:
        if each.problem:
            click.echo(f"What {each.frontend} serves could not be read: {each.problem}", err=True)


def _print_table(lines: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
