"""`rollback manifest build|fetch|check`: making, fetching and checking what is known of each release."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployments.manifest_fetch import fetch
from deployments.options import config_option, offer
from rollback.outcomes import EndState

if TYPE_CHECKING:
    from rollback.manifest_checks import Checked
    from rollback.releases import Manifest
    from rollback.settings import Settings

ON_STANDARD_OUTPUT = "-"

path_option = click.option(
    "--path", metavar="FOLDER", help="Where alembic.ini is in the repository. Default: the only place that there is."
)


@click.group()
def manifest() -> None:
    """Make, fetch and check the release manifest: which image a release is, and which schemas it can use."""


@manifest.command()
@click.option("--release", required=True, shell_complete=offer("releases"), help="The release, for instance v1.2.3.")
@click.option(
    "--checkout",
    required=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A git repository of the platform. Read by a clean worktree that is removed again.",
)
@click.option("--revision", metavar="TAG", help="The release's tag or commit there. Default: the release's name.")
@path_option
@click.option(
    "--image",
    metavar="REF",
    help="The release's image. Its digest is taken from the reference, else asked of the registry for its tag, else "
    "for the tag with the release's name. It tells the digest only: the schemas come from the checkout. Default: the "
    "digest that the manifest has.",
)
@click.option(
    "--oldest-schema",
    metavar="REVISION",
    help="It runs on this one and all after it. Default: as the manifest has it, else its own head: what nobody "
    "tested is not claimed.",
)
@click.option(
    "--newest-schema",
    metavar="REVISION",
    help="It runs on this one and all before it, back to the oldest. May be a later release's. Default: as the "
    "manifest has it, else its own head.",
)
@click.option("--frontend-version", metavar="VERSION", help="The frontend that belongs to it.")
@click.option("--cache-version", metavar="VERSION", help="The format of what it caches.")
@click.option(
    "--output",
    metavar="FILE",
    help="The manifest to write to; '-' only prints. Default: releases.manifest of the platform file. A new file gets "
    "this release's table only, to be a file of the GitHub release.",
)
@config_option
def build(
    release: str,
    checkout: Path,
    revision: str | None,
    path: str | None,
    image: str | None,
    oldest_schema: str | None,
    newest_schema: str | None,
    frontend_version: str | None,
    cache_version: str | None,
    output: str | None,
) -> None:
    """Write a release's entry from a checkout, and print it; every other entry and comment stays.

    Alembic reads the revisions in a process without our environment and credentials. A private registry needs
    ROLLBACK_REGISTRY_TOKEN, a token that may read packages.

    \b
    Examples:
      rollback manifest build --release v1.2.4 --checkout . --image ghcr.io/fundrbolt/fundrbolt-api:v1.2.4
      rollback manifest build --release v1.2.4 --checkout . --oldest-schema d95a3b1e7f08
      rollback manifest build --release v1.2.4 --checkout . --output -
      rollback manifest build --release v1.2.4 --checkout . --image … --output release.toml
    """
    told = {
        "oldest_schema": oldest_schema,
        "newest_schema": newest_schema,
        "frontend_version": frontend_version,
        "cache_version": cache_version,
    }
    _build(release, (checkout, revision or release, path), image, told, output)


Place = tuple[Path, str, str | None]
"""A checkout, a tag or commit of it, and where alembic.ini is in that."""


def _build(release: str, place: Place, image: str | None, told: dict[str, str | None], output: str | None) -> None:
    from rollback.manifest_entries import entry_text, find_digest, make_entry, read_chain, write_entry
    from rollback.releases import load_manifest
    from rollback.settings import load_settings

    settings = load_settings()
    only_print = output == ON_STANDARD_OUTPUT
    file = Path(output) if output and not only_print else settings.releases.manifest
    if file is None and not only_print:
        raise click.UsageError("The platform file names no releases.manifest: add --output FILE or --output -.")
    known = load_manifest(file if file and file.exists() else None)

    async def read() -> tuple[tuple[str, ...], str | None]:
        return await read_chain(*place), await find_digest(image, release, settings.registry.token) if image else None

    chain, digest = asyncio.run(read())
    entry = make_entry(known, release, chain, digest, told)
    if file is not None and not only_print:
        write_entry(file, release, entry)
        click.echo(f"Written to {file}:", err=True)
    click.echo(entry_text(release, entry), nl=False)
    if settings.github is not None:
        click.echo(_how_to_upload(settings, release, None if only_print else file), err=True)


def _how_to_upload(settings: "Settings", release: str, written: Path | None) -> str:
    """How the entry becomes a file of the GitHub release, where `fetch` finds it."""
    asset = settings.releases.asset
    if written is not None and written.name == asset:
        return f"Upload it with the release: gh release upload {release} {written}"
    return f"For the release on GitHub: add --output {asset}, then: gh release upload {release} {asset}"


manifest.add_command(fetch)


@manifest.command()
@click.option("--image", metavar="REPOSITORY", help="Where the images are, for instance ghcr.io/owner/app.")
@click.option(
    "--checkout",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A git repository of the platform: alembic must say the same of each release's tag.",
)
@path_option
@click.option("--strict", is_flag=True, help="Fail on what is unknown, too.")
@config_option
def check(image: str | None, checkout: Path | None, path: str | None, strict: bool) -> None:
    """Compare every entry with itself, the others, the registry and the code. Exit status 0, or 4 on a contradiction.

    What is not known is named; without --image and --checkout nobody is asked.
    """
    from rollback.errors import SettingsInvalid
    from rollback.releases import load_manifest
    from rollback.settings import load_settings

    settings = load_settings()
    known = load_manifest(settings.releases.manifest)
    if known.file is None:
        raise SettingsInvalid(
            f"{settings.file} names no release manifest.", remedy="Name a file in releases.manifest, and build it."
        )
    found = asyncio.run(_check(known, image, settings.registry.token, checkout, path))
    _print(known, found)
    bad = any(each.contradictions or (strict and each.unknown) for each in found)
    sys.exit(EndState.REFUSED.exit_status if bad else 0)


async def _check(
    known: "Manifest", image: str | None, token: str | None, checkout: Path | None, path: str | None
) -> "list[Checked]":
    from rollback.manifest_checks import Checked, check_checkout, check_each_other, check_registry

    found = check_each_other(known)
    unasked = [name for name, asked in (("registry", image), ("checkout", checkout)) if not asked]
    more = [[Checked(release=each.release, unknown=(f"{name}: not asked",)) for each in found] for name in unasked]
    if image:
        more.append(await check_registry(known, image, token))
    if checkout:
        more.append(await check_checkout(known, checkout, path))
    for others in more:
        found = [one.merged(other) for one, other in zip(found, others, strict=True)]
    return found


def _print(known: "Manifest", found: "list[Checked]") -> None:
    from rollback.compatibility import span

    lines = [("release", "image", "head", "runs on", "confirmed by", "")]
    for each in found:
        release = known.releases[each.release]
        usable = span(release.usable) if release.usable else "unknown"
        mark = "CONTRADICTION" if each.contradictions else "ok"
        image, head = f"{release.image_digest[:19]}…", release.alembic_head or "unknown"
        lines.append((each.release, image, head, usable, ", ".join(each.agreed) or "nobody", mark))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for each in found:
        for text in each.contradictions:
            click.echo(f"✗ {each.release}: {text}")
        if each.unknown:
            click.echo(f"– {each.release}: unknown: {', '.join(each.unknown)}")
