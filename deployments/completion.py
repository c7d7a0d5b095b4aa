"""What a shell offers while a `rollback` command is typed: environments, releases and runs, read from files only.

It answers at every press of a key: nothing heavy is imported, nothing is checked, and what cannot be read is not
offered.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import click
from click.shell_completion import CompletionItem, get_completion_class

from rollback.errors import RollbackError
from rollback.outcomes import EndState
from rollback.platform_file import DEFAULT_STATE, find_platform_file, read_toml, state_directory

MOST_RUNS = 20
OPEN_ENDS = frozenset({EndState.PART_WAY, EndState.OUTCOME_UNKNOWN, EndState.CANCELLED})
"""How a run ended that may still be resumed or abandoned."""


def script(command: click.Command, shell: str) -> str:
    """The script that a shell must read to complete `rollback`."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    return kind(command, {}, "rollback", "_ROLLBACK_COMPLETE").source()


def environments(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """The environments of the platform file."""
    found = _table(_platform(), "environments")
    return [CompletionItem(name) for name in found if name.startswith(typed)]


def releases(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """The releases of the manifest, the newest first as far as their names tell."""
    with suppress(RollbackError, TypeError):
        manifest = find_platform_file().parent / _table(_platform(), "releases").get("manifest", "")
        names = _table(read_toml(manifest), "releases")
        return [CompletionItem(name) for name in sorted(names, reverse=True) if name.startswith(typed)]
    return []


def frontends(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The frontends of the environment that was typed."""
    environment = _table(_table(_platform(), "environments"), str(context.params.get("environment")))
    return [CompletionItem(name) for name in _table(environment, "frontends") if name.startswith(typed)]


def archives(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The archives of the environment that was typed, the newest first."""
    names = [index.parent.name for index in _archives(context)]
    return [CompletionItem(name) for name in names if name.startswith(typed)]


def resources(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The resources that the newest archive of the environment that was typed has."""
    newest = next(iter(_archives(context)), None)
    entries = cast("list[dict[str, str]]", _json(newest).get("entries", [])) if newest else []
    ids = [each.get("id", "") for each in entries]
    return [CompletionItem(each) for each in ids if each.lower().startswith(typed.lower())]


def _archives(context: click.Context) -> list[Path]:
    """The index of each archive of the environment that was typed, the newest first."""
    folder = state_directory(_table(_platform(), "state").get("directory", DEFAULT_STATE)) / "archive"
    found = (folder / str(context.params.get("environment"))).glob("[0-9]*Z/index.json")
    return sorted(found, key=lambda each: each.parent.name, reverse=True)


def runs(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """The latest runs, the newest first."""
    return [_item(header) for header, _ in _latest_runs() if header["run"].startswith(typed)]


def restores(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The latest restores of a database, of the environment that was typed."""
    return _runs_of("restore-database", context, typed)


def infrastructure_runs(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The latest rollbacks of the infrastructure, of the environment that was typed."""
    return _runs_of("roll-back-infrastructure", context, typed)


def _runs_of(procedure: str, context: click.Context, typed: str) -> list[CompletionItem]:
    environment = context.params.get("environment")
    return [
        _item(header)
        for header, _ in _latest_runs()
        if header["run"].startswith(typed)
        and header.get("procedure") == procedure
        and environment in {None, header.get("environment")}
    ]


def unfinished_runs(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The latest runs that were cut off or stopped on their way, of the environment that was typed."""
    environment = context.params.get("environment")
    return [
        _item(header)
        for header, end_state in _latest_runs()
        if header["run"].startswith(typed)
        and (end_state is None or end_state in OPEN_ENDS)
        and environment in {None, header.get("environment")}
    ]


def _item(header: dict[str, Any]) -> CompletionItem:
    what = f"{header.get('procedure')} on {header.get('environment')}"
    return CompletionItem(header["run"], help=f"{what}, started {str(header.get('started_at'))[:16]}")


def _latest_runs() -> Iterator[tuple[dict[str, Any], str | None]]:
    """What is known of each run from its start, and the end state that it had."""
    folder = state_directory(_table(_platform(), "state").get("directory", DEFAULT_STATE)) / "runs"
    with suppress(OSError):
        newest = sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        for run in newest[:MOST_RUNS]:
            header = _json(run / "run.json")
            if header.get("run") == run.name:
                yield header, _json(run / "outcome.json").get("end_state")


def _platform() -> dict[str, Any]:
    with suppress(RollbackError):
        return read_toml(find_platform_file())
    return {}


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _json(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    return {}
