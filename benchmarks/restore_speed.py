"""How long a whole restore of a database takes, step by step, on the sandbox's real PostgreSQL.

    python benchmarks/restore_speed.py [--gigabytes 1.0] [--pace fast] [--stop-writes now]

The database is filled with a table of that size, some of its rows are changed after the restore point, and the
procedure is run from the command line without a Prefect server. Azure's own restore takes minutes to hours; here only
the log is replayed, so what is shown is our own work: fence, comparison, export, cut-over, proof.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import click
import psycopg

from deployments.local_platform import ROOT, LocalPlatform
from rollback.runs import Store

ROW_BYTES = 290
CHANGED_SHARE = 0.001
FILL = """
CREATE TABLE public.ballast (id bigint PRIMARY KEY, told timestamptz NOT NULL DEFAULT now(), words text NOT NULL);
INSERT INTO public.ballast (id, words) SELECT g, repeat(md5(g::text), 7) FROM generate_series(1, %s) AS g
"""
CHANGE = "UPDATE public.ballast SET words = 'damaged' WHERE id <= %s"


async def read_url() -> str:
    """The apps' own database URL."""
    from rollback import azure
    from rollback.key_vault import KeyVault
    from rollback.settings import load_settings

    settings = load_settings()
    database = settings.database("production")
    async with azure.connect(settings.azure) as connection, KeyVault(connection, database.vault) as vault:
        return (await vault.get_secret(database.secret)).value.get_secret_value()


def ask(url: str, statements: LiteralString, rows: int) -> None:
    """Run statements as the apps do."""
    root = os.environ["SSL_CERT_FILE"]
    with (
        psycopg.connect(url, autocommit=True, sslmode="verify-full", sslrootcert=root) as connection,
        psycopg.ClientCursor(connection) as cursor,
    ):
        for statement in statements.split(";"):
            cursor.execute(statement, (rows,) if "%s" in statement else ())


def platform_file(folder: Path) -> Path:
    """The platform's own, in which nobody has to approve a restore."""
    text = (ROOT / "deployments" / "fundrbolt.toml").read_text(encoding="utf-8")
    text = text.replace('manifest = "releases.toml"', f'manifest = "{ROOT}/deployments/releases.toml"')
    rule = '[[approval.rules]]\nprocedures = ["restore-database"]\nneeds = "none"\n\n[[approval.rules]]'
    file = folder / "fundrbolt.toml"
    file.write_text(text.replace("[[approval.rules]]", rule, 1), encoding="utf-8")
    return file


@click.command(help=__doc__)
@click.option("--gigabytes", default=1.0, type=click.FloatRange(0.001, 5))
@click.option("--pace", default="fast", type=click.Choice(["fast", "azure"]))
@click.option("--stop-writes", default="now", type=click.Choice(["now", "at-cut-over"]))
def main(gigabytes: float, pace: str, stop_writes: str) -> None:
    """Fill, damage, restore, and print a table."""
    rows = int(gigabytes * 1e9 / ROW_BYTES)
    with tempfile.TemporaryDirectory() as folder, LocalPlatform(Path(folder)) as platform:
        platform.environment["ROLLBACK_CONFIG"] = str(platform_file(Path(folder)))
        platform.start_sandbox("--pace", pace)
        platform.ask_sandbox("break", "redeploy", "release=v1.2.2", "slot=production")
        # Before any client is imported: some read the trusted authorities only then.
        os.environ.update(platform.environment)
        url = asyncio.run(read_url())
        began = time.monotonic()
        ask(url, FILL, rows)
        click.echo(f"{rows} rows written in {time.monotonic() - began:.1f} s")
        point = datetime.now(UTC).isoformat()
        ask(url, CHANGE, int(rows * CHANGED_SHARE))
        began = time.monotonic()
        status = subprocess.run(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", "deployments.cli", "run", "restore-database", "-e", "production", "--here"),
                *("--restore-point", point, "--stop-writes", stop_writes, "--reason", "a benchmark", "--quiet"),
            ],
            cwd=ROOT,
            env=platform.environment,
            check=False,
        ).returncode
        click.echo(f"status {status} after {time.monotonic() - began:.1f} s")
        click.echo("\n| step | seconds | of which Azure |\n|---|---|---|")
        (run,) = Store(platform.folder / "rollback").latest(1)
        for step in run.journal().steps():
            if step.duration is not None:
                click.echo(f"| {step.title} | {step.duration.total_seconds():.1f} | {step.azure_seconds or 0:.1f} |")
    sys.exit(status)


if __name__ == "__main__":
    main()
