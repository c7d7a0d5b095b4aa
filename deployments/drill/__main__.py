"""`make drill`: rehearse on the sandbox while users go on using it, and show what they got meanwhile.

`rollback`: production serves a bad release and is rolled back. `deployment`: a release that passes its probes on the
slot turns production bad, and the guarded deployment swaps back. `database`: a bad release damages rows, and the
database is restored to the instant before. `migration`: the release that has to serve cannot use the schema, which is
taken down first. `frontend`: the website's release cannot show what it should, and the earlier one is deployed anew.
`cache`: a bad release has left pages in the cache that the good one cannot read, and they are taken out.
`infrastructure`: a template has brought a bad setting, and the earlier one is deployed again.
The exit status is 0 where that is what happened, else that of the command, or 1 where users were not shown to get what
they should.
"""

import shutil
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from deployments.drill import backend, cache, database, frontend, infrastructure, migration
from deployments.local_platform import ROOT, LocalPlatform
from rollback.errors import RollbackError

Say = Callable[[str], None]
Rehearsal = Callable[[LocalPlatform, str, Say], int]
MODES: dict[str, Rehearsal] = {
    "rollback": backend.rehearse_rollback,
    "deployment": backend.rehearse_deployment,
    "database": database.rehearse,
    "migration": migration.rehearse,
    "frontend": frontend.rehearse,
    "cache": cache.rehearse,
    "infrastructure": infrastructure.rehearse,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state",
    default=ROOT / ".state" / "drills",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder in which each drill makes its own.",
)
@click.option(
    "--mode", type=click.Choice(list(MODES)), default="rollback", show_default=True, help="What is rehearsed."
)
@click.option(
    "--pace", type=click.Choice(["fast", "azure"]), default="fast", show_default=True, help="As slow as Azure?"
)
def main(state: Path, mode: str, pace: str) -> None:
    """Rehearse a procedure on the sandbox, while users go on using it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = state / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    started = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - started:5.1f} s  {text}")

    try:
        with LocalPlatform(folder) as platform:
            status = MODES[mode](platform, pace, say)
        if status == 0:
            for each in ("sandbox", "prefect"):
                shutil.rmtree(folder / each)
    except RollbackError as error:
        click.echo(f"✗ drill: {error} Everything is kept in {folder}.", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo(f"⏹ drill: cancelled. Everything is kept in {folder}.", err=True)
        sys.exit(130)
    sys.exit(status)


if __name__ == "__main__":
    main()
