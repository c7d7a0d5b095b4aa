"""How fast a rollback is, beside the runbook done by hand with the Azure CLI, on the same sandbox.

    python benchmarks/rollback_speed.py [--rounds 5] [--pace fast] [--scale 1.0] [--az PATH]

Each round starts from the same state: production serves v1.2.3. Measured from the start of the command, in seconds: to
the first request to Azure Resource Manager, to the swap's request, until the routing is switched (users are served),
and to the end. `here` is the command line without a Prefect server, `worker` the same command with one, where the
worker takes the run. The CLI is signed in beforehand, and does only what the runbook says: look at the slots, swap,
look at /health; it verifies nothing else.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from deployments.local_platform import ROOT, LocalPlatform
from sandbox.control import Control

MEASURES = ("first request", "swap sent", "users served", "end")


def measure(control: Control, command: Callable[[], None]) -> dict[str, float]:
    """One round of a command; seconds from its start."""
    control.reset()
    began = datetime.now(UTC)
    started = time.monotonic()
    command()
    ended = time.monotonic() - started
    asked = [entry for entry in control.audit(began) if entry.host == "management.azure.com"]
    swap = next(entry for entry in asked if entry.path.endswith("slotsswap"))
    switched = control.swaps()[-1].time
    return {
        "first request": (asked[0].time - began).total_seconds(),
        "swap sent": (swap.time - began).total_seconds(),
        "users served": (switched - began).total_seconds(),
        "end": ended,
    }


def run(arguments: list[str], environment: dict[str, str]) -> str:
    """Run a program to its end; its standard output."""
    done = subprocess.run(  # noqa: S603 - our own programs, and the CLI that was named
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise click.ClickException(f"{arguments[:4]} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def by_hand(az: str, environment: dict[str, str]) -> None:
    """What the runbook's page says, with the genuine CLI."""
    app = ["-g", "fundrbolt-production-rg", "-n", "fundrbolt-production-api"]
    run([az, "webapp", "deployment", "slot", "list", *app], environment)
    run(
        [az, "webapp", "deployment", "slot", "swap", *app, "--slot", "staging", "--target-slot", "production"],
        environment,
    )
    trusting = environment | {"CURL_CA_BUNDLE": environment["SSL_CERT_FILE"]}
    run(["curl", "-fsS", "https://fundrbolt-production-api.azurewebsites.net/health"], trusting)


@click.command(help=__doc__)
@click.option("--rounds", default=5, type=click.IntRange(1, 50))
@click.option("--pace", default="fast", type=click.Choice(["fast", "azure"]))
@click.option("--scale", default=1.0)
@click.option("--az", help="The Azure CLI; without it that row is left out.")
def main(rounds: int, pace: str, scale: float, az: str | None) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as folder, LocalPlatform(Path(folder)) as platform:
        platform.start_server()
        platform.start_sandbox("--pace", pace, "--scale", str(scale))
        platform.wait_for_server()
        platform.start_worker()
        control, environment = Control(platform.sandbox_folder), platform.environment
        records = Path(environment["ROLLBACK_STATE"]) / "environments"
        rollback = [sys.executable, "-m", "deployments.cli", "run", "roll-back-backend", "-e", "production"]

        def with_options(*options: str) -> Callable[[], None]:
            def command() -> None:
                (records / "production.served.jsonl").unlink(missing_ok=True)
                run([*rollback, "--reason", "a benchmark", "--quiet", *options], environment)

            return command

        ways: dict[str, Callable[[], None]] = {"here": with_options("--here"), "worker": with_options()}
        if az:
            login = ["login", "--service-principal", "-u", environment["AZURE_CLIENT_ID"]]
            login += ["-p", environment["AZURE_CLIENT_SECRET"], "--tenant", environment["AZURE_TENANT_ID"]]
            run([az, *login], environment)
            ways["by hand (az)"] = lambda: by_hand(az, environment)
        table: dict[str, list[dict[str, Any]]] = {}
        for way, command in ways.items():
            table[way] = [measure(control, command) for _ in range(rounds)]
    _print(table, rounds, pace, scale)


def _print(table: dict[str, list[dict[str, Any]]], rounds: int, pace: str, scale: float) -> None:
    click.echo(f"{rounds} rounds, pace {pace} x {scale:g}, {os.cpu_count()} cores; median (worst), seconds\n")
    click.echo("| way | " + " | ".join(MEASURES) + " |\n|---|" + "---|" * len(MEASURES))
    for way, rows in table.items():
        cells = [
            f"{statistics.median(row[each] for row in rows):.2f} ({max(row[each] for row in rows):.2f})"
            for each in MEASURES
        ]
        click.echo(f"| {way} | " + " | ".join(cells) + " |")
    click.echo(json.dumps(table), err=True)


if __name__ == "__main__":
    main()
