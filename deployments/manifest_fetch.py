"""`rollback manifest fetch`: the manifest's entries from the files of the GitHub releases."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from deployments.checks import GOOD, HINT, MISSING
from deployments.options import config_option
from rollback.outcomes import EndState

if TYPE_CHECKING:
    from rollback.manifest_assets import Fetched
    from rollback.releases import Manifest
    from rollback.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell: nothing is written.")
@config_option
def fetch(*, dry_run: bool) -> None:
    """Write what the releases on GitHub say of themselves into the manifest; every other entry and comment stays.

    Each release's file is releases.asset of the platform file, by default release.toml. Exit status 0, or 4 where one
    is wrong or GitHub cannot be read: then nothing is written.
    """
    from rollback.errors import SettingsInvalid
    from rollback.manifest_entries import write_entries
    from rollback.releases import load_manifest
    from rollback.settings import load_settings

    settings = load_settings()
    file = settings.releases.manifest
    if file is None:
        raise SettingsInvalid(
            f"{settings.file} names no release manifest.", remedy="Name a file in releases.manifest: it may be missing."
        )
    found = asyncio.run(_fetch(settings, load_manifest(file if file.exists() else None)))
    for each in found:
        _print(each, settings.releases.asset)
    if any(each.wrong for each in found):
        click.echo("Nothing was written: mend what is wrong first.", err=True)
        sys.exit(EndState.REFUSED.exit_status)
    entries = {each.release: each.entry for each in found if each.entry and (each.added or each.changed)}
    if not entries:
        click.echo(f"Nothing to write: {file} says the same.")
    elif dry_run:
        click.echo(f"Not written to {file}, as asked.")
    else:
        write_entries(file, entries)
        click.echo(f"Written to {file}: {', '.join(entries)}.")


async def _fetch(settings: "Settings", known: "Manifest") -> "list[Fetched]":
    from rollback import azure, manifest_assets
    from rollback.github import connection as github
    from rollback.key_vault import KeyVault

    repository = settings.repository_on_github()
    async with azure.connect(settings.azure) as connection, KeyVault(connection, repository.vault) as vault:
        token = await vault.get_secret(repository.secret)
        asked = github.connect(repository, token.value, lambda text: click.echo(text, err=True))
        return await manifest_assets.fetch(asked, settings.releases.asset, known)


def _print(found: "Fetched", asset: str) -> None:
    if found.wrong:
        for each in found.wrong:
            click.echo(f"{MISSING} {found.release}: wrong: {each}")
    elif found.missing:
        click.echo(f"{HINT} {found.release}: has no file {asset} on GitHub")
    elif found.added:
        click.echo(f"{GOOD} {found.release}: added")
    elif found.changed:
        click.echo(f"{GOOD} {found.release}: changed: {'; '.join(found.changed)}")
    else:
        click.echo(f"{GOOD} {found.release}: as it was")
