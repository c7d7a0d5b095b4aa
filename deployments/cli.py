"""`rollback`: plan and run procedures, see what holds an environment, check what a rollback needs.

Only what answers at once is imported up here: `rollback --help` must not wait for Prefect.
"""

import io
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deployments.manifest import manifest
from deployments.options import (
    OWN_REASONS,
    check_usage,
    config_option,
    environment_option,
    need_target,
    offer,
    target_options,
    with_own,
)
from rollback.outcomes import EXIT_STATUS, EndState

if TYPE_CHECKING:
    from deployments.procedures import Request
    from rollback.settings import Settings

Result = TypeVar("Result")


def _exit_statuses() -> str:
    """The table at the end of the help texts."""
    named = {1: "a defect of this program; the place of its details is printed", 2: "wrong usage of this command"}
    for state, number in EXIT_STATUS.items():
        named[number] = f"{named[number]}; {state.value}" if number in named else state.value
    lines = [f"{number:>5}  {name}" for number, name in sorted(named.items())]
    return "\n".join(["\b", "Exit statuses:", *lines])


class OneMessageGroup(click.Group):
    """Shows an error of ours as one message, with the exit status of `refused`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from rollback.errors import RollbackError

        try:
            return super().invoke(ctx)
        except RollbackError as error:
            click.echo(f"rollback: {error}", err=True)
            ctx.exit(EndState.REFUSED.exit_status)
        except KeyboardInterrupt:
            click.echo("rollback: cancelled before anything was started.", err=True)
            ctx.exit(EndState.CANCELLED.exit_status)


def _wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    import asyncio

    return asyncio.run(work)


@click.group(
    cls=OneMessageGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_exit_statuses(),
)
@config_option
def main() -> None:
    """Roll the platform back, and say exactly what was done.

    \b
    Examples:
      rollback doctor                                           is everything there that a rollback needs?
      rollback plan roll-back-backend -e production             what would be done; only reads
      rollback run roll-back-backend -e production --reason "checkout fails since v1.2.3"
      rollback status                                           what holds each environment, and the latest runs
    """
    sys.excepthook = _told_in_one_line
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a mark must not end a rollback.
            stream.reconfigure(errors="replace")


@main.command(epilog=_exit_statuses())
@target_options
@click.option("--reason", default="", help="Why, for the record.")
def plan(
    procedure: str,
    environment: str,
    release: str | None,
    reason: str,
    as_json: bool,
    **own: Any,
) -> None:
    """Show what PROCEDURE would do, on which resources and why; only reads.

    \b
    Examples:
      rollback plan roll-back-backend -e production
      rollback plan roll-back-backend -e production --release v1.2.2 --json
      rollback plan redeploy-frontend -e production
      rollback plan restore-database -e production --restore-point 2026-03-01T10:02:13Z
      rollback plan undo-restore-database -e production --restore 1f6c20ab
      rollback plan downgrade-database -e production --target previous
      rollback plan clear-cache -e production --pattern 'cache:donations:*'
      rollback plan revert-resource -e production --resource /subscriptions/…/sites/fundrbolt-production-api/config/web
      rollback plan roll-back-infrastructure -e production --release v1.2.2
    """
    from deployments.procedures import Request
    from deployments.run_command import show_plan

    asked = Request(procedure, environment, release, reason, dry_run=True)
    asked = with_own(asked, own)
    need_target(asked)
    settings, request = _checked(asked)
    sys.exit(_wait_for(show_plan(settings, request, as_json=as_json)))


@main.command(epilog=_exit_statuses())
@target_options
@click.option("--reason", default="", help="Why, for the record. Needed for a new run.")
@click.option("--dry-run", is_flag=True, help="Stop after the plan: nothing is touched.")
@click.option("--watch-minutes", type=click.FloatRange(0, 120, min_open=True), help="How long deploy-backend watches.")
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=offer("unfinished_runs"),
    help="Go on with an unfinished run, by its name.",
)
@click.option(
    "--abandon",
    metavar="RUN",
    shell_complete=offer("unfinished_runs"),
    help="Give an unfinished run up: frees the environment, changes nothing.",
)
@click.option("--here", is_flag=True, help="Run in this process, even if a Prefect server and worker are there.")
@click.option("--quiet", is_flag=True, help="Print only how it ended.")
def run(
    procedure: str,
    environment: str,
    release: str | None,
    reason: str,
    dry_run: bool,
    watch_minutes: float | None,
    resume: str | None,
    abandon: str | None,
    here: bool,
    as_json: bool,
    quiet: bool,
    **own: Any,
) -> None:
    """Carry PROCEDURE out and watch it to its end.

    With a Prefect server (PREFECT_API_URL) and a live worker the run is started there; otherwise it says so and does
    the same by itself. Ctrl-C cancels the run, which then ends by itself and says what state things are in.

    \b
    Examples:
      rollback run roll-back-backend -e production --reason "checkout fails since v1.2.3"
      rollback run roll-back-backend -e production --release v1.2.2 --reason "…" --here
      rollback run redeploy-backend -e production --release v1.2.1 --reason "…"
      rollback run deploy-backend -e production --release v1.2.4 --reason "…" --watch-minutes 10
      rollback run redeploy-frontend -e production --frontend web --reason "…"
      rollback run rerun-frontend-workflow -e production --release v1.2.2 --reason "…"
      rollback run restore-database -e production --restore-point 2026-03-01T10:02:13Z --reason "…"
      rollback run undo-restore-database -e production --restore 1f6c20ab --reason "…"
      rollback run clear-cache -e production --pattern 'cache:*' --reason "stale pages since v1.2.3"
      rollback run downgrade-database -e production --target d95a3b1e7f08 --reason "…"
      rollback run revert-resource -e production --resource /subscriptions/… --only properties.alwaysOn --reason "…"
      rollback run archive -e production
      rollback run roll-back-infrastructure -e production --release v1.2.2 --reason "…"
      rollback run roll-back-infrastructure -e production --archived 1f6c20ab --reason "…"
      rollback run roll-back-backend -e production --resume 1f6c20ab
      rollback run roll-back-backend -e production --abandon 1f6c20ab
    """
    from deployments.procedures import Request
    from deployments.run_command import abandon_run, carry_out

    reason = reason or OWN_REASONS.get(procedure, "")
    check_usage(release, reason, resume, abandon, dry_run=dry_run)
    asked = Request(
        procedure, environment, release, reason, dry_run=dry_run, resume=resume, watch_minutes=watch_minutes
    )
    asked = with_own(asked, own)
    if not (resume or abandon):
        need_target(asked)
    if watch_minutes is not None and procedure != "deploy-backend":
        raise click.UsageError("--watch-minutes goes with deploy-backend only.")
    settings, request = _checked(asked)
    if abandon:
        sys.exit(abandon_run(settings, request, abandon))
    # A worker reads its own platform file: one that is named here can only be meant for this process.
    own_file = click.get_current_context().find_root().obj is not None
    sys.exit(_wait_for(carry_out(settings, request, here=here, own_file=own_file, as_json=as_json, quiet=quiet)))


@main.command()
@click.argument("run", shell_complete=offer("runs"))
@click.option("--hash", "typed", metavar="HASH", help="The first 8 digits of the plan's hash, instead of typing them.")
@click.option("--yes", is_flag=True, help="Do not ask again; only with --hash.")
@click.option("--note", default="", help="For the record.")
@config_option
def approve(run: str, typed: str | None, yes: bool, note: str) -> None:
    """Show the plan that RUN waits with, and approve exactly that plan as who you are in Entra ID.

    Signed in with 'az login', or by AZURE_USERNAME and AZURE_PASSWORD, or as an application. On the machine, and as
    the user, that runs RUN. Exit status 0: the run has accepted it; 4: it has not, and says why.

    \b
    Examples:
      rollback approve 1f6c20ab
      rollback approve 1f6c20ab --hash 3fa91c02 --yes --note "CHG0031"
    """
    from deployments.approve import approve_run
    from rollback.settings import load_settings

    if yes and typed is None:
        raise click.UsageError("--yes goes only with --hash: an approval is over a plan that was read.")
    approve_run(load_settings(), run, typed=typed, sure=yes, note=note)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@config_option
def status(as_json: bool) -> None:
    """Show what holds each environment, the latest runs, and what is known to have served; only reads files."""
    from deployments.status import show_status
    from rollback.settings import load_settings

    show_status(load_settings(), as_json=as_json)


@main.command()
@environment_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@config_option
def versions(environment: str, as_json: bool) -> None:
    """List what can be returned to: releases and images, what runs where, what each frontend serves; only reads.

    A private registry needs ROLLBACK_REGISTRY_TOKEN, a token that may read packages.
    """
    from deployments.versions import show_versions
    from rollback.settings import load_settings

    _wait_for(show_versions(load_settings(), environment, as_json=as_json))


@main.command()
@environment_option
@click.option("--resource", metavar="ID", shell_complete=offer("resources"), help="Only the states of this resource.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@config_option
def archives(environment: str, resource: str | None, as_json: bool) -> None:
    """List the archives that a resource can be reverted to, and what changed between them; only reads files.

    \b
    Examples:
      rollback archives -e production
      rollback archives -e production --resource /subscriptions/…/sites/fundrbolt-production-api/config/web
    """
    from deployments.archives import show_archives
    from rollback.settings import load_settings

    show_archives(load_settings(), environment, resource, as_json=as_json)


@main.command()
@click.option("-e", "--environment", shell_complete=offer("environments"), help="Only this environment. Default: all.")
@config_option
def doctor(environment: str | None) -> None:
    """Check everything that a rollback needs; only reads. Exit status 0, or 4 where something is missing.

    Needs a platform file and a credential (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET; a managed identity;
    or 'az login'), nothing else.
    """
    from deployments.doctor import examine

    sys.exit(0 if _wait_for(examine(environment)) else EndState.REFUSED.exit_status)


@main.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the script with which SHELL completes commands, environments, releases and runs.

    \b
    Install it, once:
      bash  rollback completion bash > ~/.local/share/bash-completion/completions/rollback
            (the folder may have to be made; needs the package bash-completion)
      zsh   rollback completion zsh > ~/.zfunc/_rollback
            and in ~/.zshrc:  fpath+=~/.zfunc; autoload -Uz compinit; compinit
      fish  rollback completion fish > ~/.config/fish/completions/rollback.fish

    \b
    Try it, in this shell only:
      eval "$(rollback completion bash)"
      eval "$(rollback completion zsh)"
      rollback completion fish | source
    """
    from deployments.completion import script

    click.echo(script(main, shell))


main.add_command(manifest)


def _checked(request: "Request") -> "tuple[Settings, Request]":
    """The settings and the complete request; raises a `Refused` for what is wrong in them."""
    from deployments.procedures import check
    from rollback.settings import load_settings

    settings = load_settings()
    return settings, check(settings, request)


def _told_in_one_line(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """A defect: one line for the operator, the details in a file."""
    from deployments.defects import keep_details

    click.echo(f"rollback: a defect of this program ({kind.__name__}). {keep_details(error, trace)}", err=True)


if __name__ == "__main__":
    main()
