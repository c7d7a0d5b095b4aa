"""`make up`: the sandbox, Prefect's server with its UI, and a worker, until Ctrl-C."""

import fcntl
import signal
import sys
import time
from pathlib import Path
from typing import IO

import click

from deployments.local_platform import ROOT, LocalPlatform
from rollback.errors import RollbackError

LOOK_SECONDS = 0.5


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state",
    default=ROOT / ".state",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for everything that is kept.",
)
def main(state: Path) -> None:
    """Keep the sandbox, Prefect's server with its UI and a worker running, until Ctrl-C."""
    folder = state / "up"
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "addresses.txt"
    held = _hold(folder / "lock")
    if held is None:
        click.echo(f"It runs already.\n\n{told.read_text(encoding='utf-8') if told.exists() else ''}")
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with held, LocalPlatform(folder, sandbox=state / "sandbox") as platform:
            _start(platform)
            told.write_text(_addresses(platform), encoding="utf-8")
            click.echo(f"\n{_addresses(platform)}\nCtrl-C ends it.")
            _stay(platform)
    except RollbackError as error:
        click.echo(f"up: {error}", err=True)
        sys.exit(1)
    finally:
        told.unlink(missing_ok=True)
    click.echo("Ended.")


def _hold(file: Path) -> IO[bytes] | None:
    """Hold the folder until this process ends; none where another holds it."""
    held = file.open("ab")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        return None
    return held


def _start(platform: LocalPlatform) -> None:
    platform.start_server()
    click.echo("Starting the sandbox …")
    platform.start_sandbox()
    click.echo("Starting Prefect's server …")
    platform.wait_for_server()
    click.echo("Starting the worker, and deploying the procedures …")
    platform.start_worker()


def _stay(platform: LocalPlatform) -> None:
    """Return at Ctrl-C; raises `NotStarted` where a part has ended by itself."""
    try:
        while True:
            platform.check()
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        click.echo("\nEnding. A run that goes on is waited for; Ctrl-C again cancels it, and it ends by itself.")


def _addresses(platform: LocalPlatform) -> str:
    python, sandbox, environment = sys.executable, platform.sandbox_folder, platform.environment
    exports = " ".join(
        f"{name}={environment[name]}" for name in ("PREFECT_API_URL", "ROLLBACK_CONFIG", "ROLLBACK_STATE")
    )
    return f"""\
Prefect's UI   {platform.ui_url}/deployments
Sandbox        {sandbox}
Log in with    {platform.login_file} (the whole line)
Logs           {platform.folder / "logs"}

In another shell, once:
  cd {ROOT}
  eval "$({python} -m sandbox env --state {sandbox})"
  export {exports} PREFECT_API_AUTH_STRING="$(cat {platform.login_file})"

See what users of production get:
  {python} -m sandbox.traffic --url https://api.fundrbolt.com --duration 5 --out {platform.folder}/traffic.jsonl
Roll it back:
  {Path(python).parent}/rollback run roll-back-backend --environment production --reason "v1.2.3 fails"
Back to the beginning, to break it again:
  {python} -m sandbox reset --state {sandbox}
"""


if __name__ == "__main__":
    main()
