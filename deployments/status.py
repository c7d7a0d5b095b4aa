"""`rollback status`: what holds each environment, the latest runs, what is known to have served.

Reads files, and asks runs on this machine whether they wait for an approval; never Azure.
"""

import json
from typing import Any

import click

from deployments.procedures import open_store
from rollback.approvals.handover import SOCKET, Wanted, ask
from rollback.errors import NotWaiting
from rollback.lease import Lease
from rollback.report import MARK, seconds
from rollback.runs import RunFolder, Store
from rollback.settings import Settings

LATEST_RUNS = 10
LATEST_SERVED = 3


def show_status(settings: Settings, *, as_json: bool) -> None:
    """Print it, for people or as one JSON document."""
    store = open_store(settings)
    environments = {name: _environment(store, name) for name in sorted(settings.environments)}
    runs = [_run(store, folder) for folder in store.latest(LATEST_RUNS)]
    if as_json:
        click.echo(json.dumps({"environments": environments, "runs": runs}, indent=2, ensure_ascii=False))
        return
    for name, found in environments.items():
        click.echo(f"{name}: {found['words']}")
        for served in found["served"]:
            click.echo(f"    {served['build']} served, {served['verdict']} at {served['at']} (run {served['run']})")
    click.echo("\nLatest runs (UTC):" if runs else f"\nNo run yet in {settings.state.directory}.")
    for run in runs:
        click.echo(f"  {run['words']}")


def _environment(store: Store, name: str) -> dict[str, Any]:
    lease = store.leases.read(name)
    state, words = _held(name, lease)
    served = [
        {
            "build": str(each.build),
            "digest": each.build.digest,
            "verdict": each.verdict.value,
            "at": f"{each.at:%Y-%m-%d %H:%M} UTC",
            "run": each.run,
        }
        for each in store.served(name).all()[-LATEST_SERVED:]
    ]
    return {"state": state, "words": words, "run": lease.run if lease and state != "free" else None, "served": served}


def _held(name: str, lease: Lease | None) -> tuple[str, str]:
    if lease is None or (lease.is_over() and not lease.changed):
        return "free", "free"
    since = f"{lease.procedure}, since {lease.acquired_at:%Y-%m-%d %H:%M:%S} UTC"
    if not lease.is_over():
        return "held", f"held by run {lease.run} ({since})"
    command = f"rollback run {lease.procedure} --environment {name}"
    return "unfinished", (
        f"unfinished: {lease.run} ({since})\n"
        f"    finish it:  {command} --resume {lease.run}\n"
        f"    give it up: {command} --abandon {lease.run}"
    )


def _run(store: Store, folder: RunFolder) -> dict[str, Any]:
    header, outcome = folder.header, folder.outcome()
    described: dict[str, Any] = header.model_dump(mode="json")
    begun = f"{header.run}  {header.started_at:%Y-%m-%d %H:%M:%S}  {header.procedure} on {header.environment}"
    if outcome is None:
        lease = store.leases.read(header.environment)
        at_work = lease is not None and lease.run == header.run and not lease.is_over()
        wanted = _wanted(folder) if at_work else None
        until = f"{wanted.until:%H:%M:%S} UTC" if wanted else None
        state = "running" if at_work else "no outcome"
        if until:
            state = f"waits for approval until {until}: rollback approve {header.run}"
        return described | {"end_state": None, "waits_for_approval_until": until, "words": f"{begun}  {state}"}
    state = outcome.end_state
    took = seconds(outcome.duration)
    return described | {
        "end_state": state.value,
        "headline": outcome.headline,
        "report": str(outcome.report),
        "words": f"{begun}  {MARK[state]} {state.value} after {took}: {' '.join(outcome.headline.split())}",
    }


def _wanted(folder: RunFolder) -> Wanted | None:
    """What a run waits for, as it says itself; none where it waits for nobody."""
    if not (folder.folder / SOCKET).exists():
        return None
    try:
        return ask(folder.folder)
    except NotWaiting:
        return None
