"""The options of `rollback plan` and `rollback run`, and the request that they make together."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from deployments.procedures import Request

Command = TypeVar("Command", bound=Callable[..., Any])
RESTORE, UNDO_RESTORE, DOWNGRADE = "restore-database", "undo-restore-database", "downgrade-database"
REDEPLOY_FRONTEND, RERUN_WORKFLOW = "redeploy-frontend", "rerun-frontend-workflow"
CLEAR_CACHE = "clear-cache"
REVERT, ARCHIVE = "revert-resource", "archive"
INFRASTRUCTURE = "roll-back-infrastructure"
PROCEDURES = (
    "roll-back-backend",
    "redeploy-backend",
    "deploy-backend",
    REDEPLOY_FRONTEND,
    RERUN_WORKFLOW,
    RESTORE,
    UNDO_RESTORE,
    DOWNGRADE,
    CLEAR_CACHE,
    REVERT,
    ARCHIVE,
    INFRASTRUCTURE,
)
"""The deployments' own names, so that the UI, alert rules and the command line say the same."""
NEED_RELEASE = ("redeploy-backend", "deploy-backend", RERUN_WORKFLOW)


def offer(what: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Completes a word by a function of `deployments.completion`, imported when a shell asks."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> Any:
        from deployments import completion

        return getattr(completion, what)(context, parameter, typed)

    return complete


def _use_platform_file(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    if file is not None:
        os.environ["ROLLBACK_CONFIG"] = str(file)
        ctx.find_root().obj = file


def config_option(command: Command) -> Command:
    """Add --config."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        expose_value=False,
        callback=_use_platform_file,
        help="Platform file. Default: ROLLBACK_CONFIG, or fundrbolt.toml here or above.",
    )(command)


def environment_option(command: Command) -> Command:
    """Add --environment, which has to be given."""
    return click.option(
        "-e",
        "--environment",
        required=True,
        shell_complete=offer("environments"),
        help="An environment of the platform file.",
    )(command)


def target_options(command: Command) -> Command:
    """Add what `plan` and `run` have in common."""
    options = [
        click.argument("procedure", type=click.Choice(PROCEDURES)),
        environment_option,
        click.option(
            "--release",
            shell_complete=offer("releases"),
            help="The release that must come back; for roll-back-infrastructure a tag or a commit. Default: the newest "
            "known to have been good.",
        ),
        click.option(
            "--frontend",
            "frontends",
            multiple=True,
            metavar="NAME",
            shell_complete=offer("frontends"),
            help="redeploy-frontend: one of the environment's frontends; may be given again. Default: all of them.",
        ),
        click.option(
            "--restore-point",
            metavar="INSTANT",
            help="restore-database: the instant to go back to, with its time zone, as 2026-03-01T10:02:13Z.",
        ),
        click.option(
            "--stop-writes",
            type=click.Choice(("now", "at-cut-over")),
            help="restore-database: when writes stop. Default: as the platform file says.",
        ),
        click.option(
            "--waive",
            multiple=True,
            metavar="NAME",
            help="restore-database: a difference that may stay. downgrade-database: what speaks against it and is "
            "accepted, by the name that the refusal told.",
        ),
        click.option(
            "--target",
            metavar="REVISION",
            help="downgrade-database: the revision to go down to: its id or beginning, 'previous', '-2' or 'base'.",
        ),
        click.option(
            "--rehearse/--no-rehearse",
            default=None,
            help="downgrade-database: first down, up and down again on a scratch restore. Default: where the platform "
            "file names a resource group for it.",
        ),
        click.option(
            "--restore",
            metavar="RUN",
            shell_complete=offer("restores"),
            help="undo-restore-database: the restore's run, by its name.",
        ),
        click.option(
            "--pattern",
            "patterns",
            multiple=True,
            metavar="GLOB",
            help="clear-cache: keys to delete, as cache:*; may be given again. Default: the platform file's.",
        ),
        click.option("--everything", is_flag=True, default=None, help="clear-cache: all keys, instead of patterns."),
        click.option(
            "--explicitly",
            multiple=True,
            metavar="GLOB",
            help="clear-cache: what is refused unless it is named, exactly as it is written; may be given again.",
        ),
        click.option(
            "--restart/--no-restart",
            default=None,
            help="clear-cache: whether production restarts afterwards. Default: it does.",
        ),
        click.option(
            "--resource",
            metavar="ID",
            shell_complete=offer("resources"),
            help="revert-resource: the resource's id, as 'az resource show' gives it: /subscriptions/….",
        ),
        click.option(
            "--archive",
            metavar="NAME",
            shell_complete=offer("archives"),
            help="revert-resource: the archive to go back to, by its name or beginning. Default: the newest; "
            "refused where it may be another one that is meant.",
        ),
        click.option(
            "--from-git",
            metavar="TAG:PATH",
            help="revert-resource: a file of the platform's repository instead, with what 'az resource show' printed.",
        ),
        click.option(
            "--only",
            multiple=True,
            metavar="PATH",
            help="revert-resource: a property that comes back, as properties.alwaysOn; may be given again. Default: "
            "all that differ.",
        ),
        click.option(
            "--archived",
            metavar="RUN",
            shell_complete=offer("infrastructure_runs"),
            help="roll-back-infrastructure: instead of a release, the run that is undone.",
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output."),
        config_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def check_usage(release: str | None, reason: str, resume: str | None, abandon: str | None, *, dry_run: bool) -> None:
    """Refuse options of a run that exclude each other."""
    known = [name for name, given in (("--resume", resume), ("--abandon", abandon)) if given]
    if len(known) == 2:
        raise click.UsageError("--resume and --abandon exclude each other.")
    if known and (release or dry_run):
        raise click.UsageError(f"{known[0]} takes the run as it was planned: without --release and --dry-run.")
    if not known and not reason.strip():
        raise click.UsageError("Missing option '--reason': a run is kept with why it was started.")


TAKES: dict[str, tuple[str, ...]] = {
    RESTORE: ("restore_point", "stop_writes", "waive"),
    UNDO_RESTORE: ("restore",),
    DOWNGRADE: ("target", "rehearse", "waive"),
    REDEPLOY_FRONTEND: ("frontends",),
    CLEAR_CACHE: ("patterns", "everything", "explicitly", "restart"),
    REVERT: ("resource", "archive", "from_git", "only"),
    ARCHIVE: (),
    INFRASTRUCTURE: ("archived",),
}
"""What only some procedures take, by their options' names."""
OPTIONS = {"frontends": "frontend", "patterns": "pattern"}
"""Their names on the command line, where those are others."""
WITHOUT_RELEASE = (RESTORE, UNDO_RESTORE, DOWNGRADE, CLEAR_CACHE, REVERT, ARCHIVE)
OWN_REASONS = {ARCHIVE: "by hand"}
"""Where nobody has to say why: nothing is changed."""


def with_own(asked: "Request", options: Mapping[str, Any]) -> "Request":
    """The request with what only its procedure takes."""
    from dataclasses import replace

    from rollback.database.settings import StopWrites

    given = {name: value for name, value in options.items() if value not in (None, ())}
    taken = TAKES.get(asked.procedure, ())
    for name in given:
        if name not in taken:
            takers = " and ".join(each for each, names in TAKES.items() if name in names)
            raise click.UsageError(f"--{OPTIONS.get(name, name.replace('_', '-'))} goes with {takers} only.")
    if asked.procedure not in TAKES:
        return asked
    if asked.release and asked.procedure in WITHOUT_RELEASE:
        raise click.UsageError(f"--release does not go with {asked.procedure}.")
    if asked.resume and given:
        raise click.UsageError("--resume takes the run as it was planned: without options of the plan.")
    if stop_writes := given.get("stop_writes"):
        given["stop_writes"] = StopWrites(stop_writes.replace("at-cut-over", "at cut-over"))
    return replace(asked, **given)


def need_target(asked: "Request") -> None:
    """Refuse a new run that does not say what it is to bring back."""
    if asked.procedure in NEED_RELEASE and not asked.release:
        raise click.UsageError(f"Missing option '--release' for {asked.procedure}. See 'rollback versions'.")
    if asked.procedure == RESTORE and not asked.restore_point:
        raise click.UsageError(f"Missing option '--restore-point' for {RESTORE}.")
    if asked.procedure == UNDO_RESTORE and not asked.restore:
        raise click.UsageError(f"Missing option '--restore' for {UNDO_RESTORE}. See 'rollback status'.")
    if asked.procedure == REVERT and not asked.resource:
        raise click.UsageError(f"Missing option '--resource' for {REVERT}: its id, as 'az resource show' gives it.")
    if asked.archive and asked.from_git:
        raise click.UsageError("--archive and --from-git exclude each other.")
    if asked.procedure == DOWNGRADE and not asked.target:
        raise click.UsageError(f"Missing option '--target' for {DOWNGRADE}, for instance 'previous'.")
    if asked.procedure == INFRASTRUCTURE and bool(asked.release) == bool(asked.archived):
        raise click.UsageError(f"{INFRASTRUCTURE} needs either '--release' or '--archived'.")
