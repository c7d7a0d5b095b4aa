"""`rollback plan` and `rollback run`: where a run takes place, what is shown meanwhile, and the one line at its end."""

import json
import shutil
import sys
import textwrap

import click

from deployments.live_view import NARROW, View, make_view
from deployments.procedures import Request, open_store, plan_of
from rollback.expectations import usual_seconds
from rollback.journal import Journal
from rollback.outcomes import EndState
from rollback.plans import Difference, Plan
from rollback.report import MARK, seconds
from rollback.runs import Outcome, RunFolder
from rollback.settings import Settings


async def show_plan(settings: Settings, request: Request, *, as_json: bool) -> int:
    """Plan in this process and print what would be done; the end state's exit status."""
    from deployments.plain_run import run_here

    with make_view(_title(request), quiet=as_json, to_stderr=True, expected=_usual(settings, request)) as view:
        outcome = await run_here(request, view)
    plan = plan_of(open_store(settings).get(outcome.run))
    if as_json:
        click.echo(_json({"outcome": _document(outcome), "plan": plan and plan.model_dump(mode="json")}))
        return outcome.end_state.exit_status
    if plan is not None and outcome.end_state is EndState.PLANNED:
        print_plan(plan)
    _print_end(outcome)
    return outcome.end_state.exit_status


async def carry_out(
    settings: Settings, request: Request, *, here: bool, own_file: bool, as_json: bool, quiet: bool
) -> int:
    """Run the procedure where it can be run, watch it, print how it ended; the end state's exit status."""
    with make_view(_title(request), quiet=quiet, to_stderr=as_json, expected=_usual(settings, request)) as view:
        outcome = await _run(settings, request, view, here=here, own_file=own_file)
    if as_json:
        click.echo(_json(_document(outcome)))
    elif quiet:
        click.echo(outcome_line(outcome))
    else:
        _print_end(outcome)
    return outcome.end_state.exit_status


def _usual(settings: Settings, request: Request) -> dict[str, float]:
    return usual_seconds(open_store(settings), request.procedure, request.environment, other_than=request.resume or "")


async def _run(settings: Settings, request: Request, view: View, *, here: bool, own_file: bool) -> Outcome:
    from deployments.plain_run import run_here
    from deployments.prefect_api import PrefectAway
    from deployments.prefect_runs import run_by_worker

    if own_file and not here:
        view.say("Running in this process: a worker would use its own platform file, not the one of --config.")
    elif not here:
        try:
            return await run_by_worker(settings, request, view)
        except PrefectAway as why:
            view.say(f"Running in this process, without Prefect: {why}.")
    return await run_here(request, view)


def abandon_run(settings: Settings, request: Request, run: str) -> int:
    """Free the environment of an unfinished run and say what is known of it. Nothing in Azure is changed."""
    store = open_store(settings)
    folder = store.get(run)
    store.leases.abandon(request.environment, run)
    header, journal = folder.header, folder.journal()
    click.echo(f"{header.procedure} on {header.environment}, started {header.started_at:%Y-%m-%d %H:%M:%S} UTC")
    for line in (*_known(folder, journal),):
        click.echo(f"  {line}")
    click.echo(f"Run {run} is abandoned; '{request.environment}' is free. Look at it before you start another run.")
    return 0


def _known(folder: RunFolder, journal: Journal) -> list[str]:
    plan, outcome = plan_of(folder), folder.outcome()
    lines = [f"plan: {plan.title}"] if plan else ["it ended before it had a plan"]
    lines += [f"{step.title}: {step.state}" for step in journal.steps()]
    lines += [f"{change}: happened" for change in journal.confirmed_changes()]
    lines += [f"{change}: sent, and not known whether it happened" for change in journal.open_changes()]
    lines.append(f"it ended: {outcome.headline}" if outcome else "it was cut off and had no end")
    return lines


def outcome_line(outcome: Outcome) -> str:
    """How a run ended, in one line."""
    azure = f", of which Azure {outcome.azure_seconds:.1f} s" if outcome.azure_seconds else ""
    headline = " ".join(outcome.headline.split())
    state = outcome.end_state
    return f"{MARK[state]} {state.value}: {headline} ({seconds(outcome.duration)}{azure})"


def _print_end(outcome: Outcome) -> None:
    for title, lines in (("Not done", outcome.not_done), ("What to do next", outcome.next_steps)):
        if lines:
            click.echo(f"{title}:")
            for line in lines:
                _echo(f"  - {line}", indent=4)
    _echo(outcome_line(outcome), indent=2)
    if outcome.report is not None:
        click.echo(f"Report: {outcome.report}")
    elif outcome.report_failure:
        _echo(f"There is no report: {outcome.report_failure}", indent=2)


def print_plan(plan: Plan) -> None:
    """Print what would be done, in order, the facts that bind it, and its hash."""
    click.echo("")
    _echo(plan.title, indent=2)
    click.echo("")
    for number, step in enumerate(plan.steps(), start=1):
        _echo(f"  {number}. {step.title}{'' if step.changes else ' (only looks)'}: {step.detail}", indent=5)
    click.echo("")
    for name, value in plan.facts():
        _echo(f"  {name}: {value}", indent=4)
    _print_differences(plan)
    for title, lines in (("Good to know", plan.warnings), ("Seen while planning", plan.observations)):
        if lines:
            click.echo(f"\n{title}:")
            for line in lines:
                _echo(f"  - {line}", indent=4)
    click.echo(f"\nPlan {plan.hash[:12]}, made {plan.made_at:%Y-%m-%d %H:%M:%S} UTC")


def _print_differences(plan: Plan) -> None:
    """What changes, property by property: high risk first, known noise last and grey."""
    differences = plan.differences()
    if differences:
        click.echo("\nWhat changes:")
    for number, each in enumerate(differences):
        if number == 0 or differences[number - 1].resource != each.resource:
            click.echo(f"  {each.resource}")
        mark = "!" if each.high else "~"
        whole = f"    {mark} {each.change}{f' {each.path}' if each.path else ''}{_from_to(each)}"
        reason = each.high or each.noise
        text = f"{whole}{f'  [{reason}]' if reason else ''}"
        click.echo(click.style(text, dim=True) if each.noise else click.style(text, bold=bool(each.high)))


def _from_to(difference: Difference) -> str:
    told = [difference.before, difference.after] if difference.path else [difference.after]
    return f": {' → '.join(each or 'nothing' for each in told)}" if any(told) else ""


def _echo(text: str, *, indent: int) -> None:
    """Print it; on a terminal wrapped between words, elsewhere as one line, which programs can search."""
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns, NARROW)
        text = textwrap.fill(
            text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
    click.echo(text)


def _title(request: Request) -> str:
    return f"{request.procedure} on {request.environment}{', only planning' if request.dry_run else ''}"


def _document(outcome: Outcome) -> dict[str, object]:
    state = outcome.end_state
    return {**outcome.model_dump(mode="json"), "exit_status": state.exit_status}


def _json(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
