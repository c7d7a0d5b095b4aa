"""How long it takes to compare two databases row by row, and to export what would be lost.

    python benchmarks/database_compare.py [--gigabytes 1.0] [--damaged 2000] [--lost 5000] [--folder DIR]

A PostgreSQL of its own is started in the folder, and removed with everything at the end. One database is filled with
donations of some 250 bytes a row, copied, and then some rows of the first are changed and some are added, as after a
restore to the instant before. Both stand on one machine here, so that they share its processors and its disk.
"""

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from postgresql_server import APP, PostgreSql, running_postgresql

from rollback.postgres.comparison import Comparison, compare
from rollback.postgres.export import export_lost_rows

BYTES_A_ROW = 290

MADE = """
CREATE TABLE donations (id bigint PRIMARY KEY, donor text NOT NULL, amount_cents int NOT NULL, note text,
                        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now())
"""
FILL = """
INSERT INTO donations (id, donor, amount_cents, note)
SELECT n, 'donor ' || n, n % 100000, repeat(md5(n::text), 5) FROM generate_series(1, {rows}) AS n
"""
DAMAGE = "UPDATE donations SET amount_cents = 0 WHERE id % {every} = 0"
ADD = """
INSERT INTO donations (id, donor, amount_cents) SELECT -n, 'late', 5 FROM generate_series(1, {lost}) AS n
"""


async def measure(server: PostgreSql, old: str, new: str, folder: Path) -> tuple[Comparison, dict[str, float]]:
    """Compare and export; seconds of each, and the most memory that this process had, in megabytes."""
    sessions = await server.session(old), await server.session(new)
    for session in sessions:
        session.statement_seconds = 1800
    async with sessions[0].connection, sessions[1].connection:
        started = time.monotonic()
        comparison = await compare(*sessions)
        compared = time.monotonic()
        export = await export_lost_rows(*sessions, comparison, folder / "lost.zip", title="Benchmark")
        ended = time.monotonic()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = {"compare": compared - started, "export": ended - compared, "MB of memory": memory}
    return comparison, times | {"MB exported": export.bytes / 2**20}


@click.command()
@click.option("--gigabytes", default=1.0, show_default=True)
@click.option("--damaged", default=2000, show_default=True)
@click.option("--lost", default=5000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=None)
def main(gigabytes: float, damaged: int, lost: int, folder: Path | None) -> None:
    """Measure once, and print seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as name, running_postgresql(Path(name) / "server") as server:
        rows = int(gigabytes * 2**30 / BYTES_A_ROW)
        old = server.make_database(MADE, FILL.format(rows=rows), "ANALYZE")
        new = server.make_database(template=old)
        damage = DAMAGE.format(every=max(1, rows // damaged))
        server.sql(old, damage, ADD.format(lost=lost), "ANALYZE", user=APP)
        size = server.sql(old, "SELECT pg_database_size(current_database())")[0][0] / 2**30
        comparison, times = asyncio.run(measure(server, old, new, Path(name)))
    found = f"{comparison.only_old} lost, {comparison.differing} changed, {comparison.only_new} returned"
    click.echo(f"{size:.2f} GB each, {rows:,} rows: {found}")
    for what, value in times.items():
        click.echo(f"{what:>14} {value:8.2f}")


if __name__ == "__main__":
    main()
