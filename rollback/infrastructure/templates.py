"""A release's template, from a clean worktree of its commit: as it was compiled, or compiled here.

Nothing is fetched: neither the Bicep compiler nor modules of registries.
"""

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rollback.errors import TemplateUnfit
from rollback.infrastructure.settings import Infrastructure
from rollback.programs.output import Output
from rollback.programs.process import clean_environment, run_in_group
from rollback.programs.repository import find_commit, worktree

BICEP = "bicep"
LAST_LINES = 20
MOST_BYTES = 4 * 1024**2
"""What Azure Resource Manager accepts of a template."""


@dataclass(frozen=True)
class Template:
    """A template, and where it is from."""

    body: dict[str, Any]
    commit: str
    """In full; empty where it is from an archive."""
    origin: str
    """For people: `infrastructure/main.json`, or the file and the compiler that it was compiled with."""
    file: dict[str, Any]
    """The parameters' file, its parameters by name; empty where there is none."""

    @property
    def digest(self) -> str:
        """SHA-256, in hex, over the template in canonical JSON."""
        return digest_of(self.body)


def digest_of(body: Any) -> str:
    """SHA-256, in hex, over JSON in canonical form."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def read_release(repository: Path, revision: str, settings: Infrastructure) -> Template:
    """The template of a tag or commit; raises `TemplateUnfit`, `RevisionMissing` or `RepositoryUnfit`."""
    commit = await find_commit(repository, revision)
    async with worktree(repository, commit) as tree:
        body, origin = await _read_template(tree, revision, settings)
        file = await asyncio.to_thread(_read_parameters, tree, revision, settings)
    return Template(body, commit, origin, file)


async def _read_template(tree: Path, revision: str, settings: Infrastructure) -> tuple[dict[str, Any], str]:
    compiled = _within(tree, settings.template)
    if compiled.is_file():
        return await asyncio.to_thread(_parse_template, compiled, f"'{settings.template}' of {revision}"), (
            settings.template
        )
    source = _within(tree, settings.source) if settings.source else None
    if source is None or not source.is_file():
        either = f"neither '{settings.template}' nor '{settings.source}'" if settings.source else settings.template
        raise TemplateUnfit(
            f"Release {revision} has {either}: there is no template of it.",
            remedy="Check template and source in the platform file, or name a release that has one.",
        )
    program = shutil.which(BICEP)
    if program is None:
        raise TemplateUnfit(
            f"Release {revision} has '{settings.source}' and no compiled '{settings.template}', and there is no "
            f"'{BICEP}' on PATH here.",
            remedy=f"Commit the compiled template with each release (bicep build {settings.source}), or install the "
            "Bicep CLI on this machine: nothing downloads it during a rollback.",
        )
    return await _compile(program, tree, source, revision, settings), f"{settings.source}, compiled here by {program}"


async def _compile(program: str, tree: Path, source: Path, revision: str, settings: Infrastructure) -> dict[str, Any]:
    """Compile a source; the compiler's own words become the error's."""
    output = Output()
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "main.json"
        command = [program, "build", str(source), "--outfile", str(compiled), "--no-restore"]
        try:
            async with asyncio.timeout(settings.compile_timeout_seconds):
                status = await run_in_group(command, folder=tree, environment=clean_environment(), received=output.feed)
        except TimeoutError as error:
            raise TemplateUnfit(
                f"'{settings.source}' of {revision} did not compile within {settings.compile_timeout_seconds:g} s.",
                remedy=f"Compile it by hand: {BICEP} build {settings.source}",
            ) from error
        except OSError as error:
            raise TemplateUnfit(
                f"'{program}' cannot be started: {error.strerror}.", remedy="Install the Bicep CLI anew."
            ) from error
        if status != 0 or not compiled.is_file():
            said = " | ".join(_without_folder(line, tree) for line in output.tail[-LAST_LINES:] if line.strip())
            raise TemplateUnfit(
                f"'{settings.source}' of {revision} does not compile: {said or 'the compiler said nothing'}",
                remedy="Name a release whose template compiles.",
            )
        return await asyncio.to_thread(_parse_template, compiled, f"'{settings.source}' of {revision}")


def _without_folder(line: str, tree: Path) -> str:
    """A line of the compiler's with paths as they are in the repository."""
    return line.replace(f"{tree}{os.sep}", "")


def _parse_template(file: Path, what: str) -> dict[str, Any]:
    body = _parse(file, what)
    lacking = [name for name in ("$schema", "contentVersion", "resources") if name not in body]
    if lacking:
        raise TemplateUnfit(
            f"{what} is no ARM template: it has no {' and no '.join(lacking)}.",
            remedy="Check template in the platform file.",
        )
    return body


def _read_parameters(tree: Path, revision: str, settings: Infrastructure) -> dict[str, Any]:
    if not settings.parameters:
        return {}
    file, what = _within(tree, settings.parameters), f"'{settings.parameters}' of {revision}"
    if not file.is_file():
        raise TemplateUnfit(
            f"Release {revision} has no '{settings.parameters}'.", remedy="Check parameters in the platform file."
        )
    return check_parameters(_parse(file, what).get("parameters"), what)


def check_parameters(found: Any, what: str) -> dict[str, Any]:
    """The parameters of a file by their names; raises `TemplateUnfit` where it is none."""
    parameters = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    wrong = [
        name
        for name, each in parameters.items()
        if not isinstance(each, dict) or len({"value", "reference"} & cast("dict[str, Any]", each).keys()) != 1
    ]
    if not isinstance(found, dict) or wrong:
        told = f"parameter '{wrong[0]}' has neither a value nor a reference" if wrong else "it has no 'parameters'"
        raise TemplateUnfit(f"{what} is no parameters' file: {told}.", remedy="Mend it, or name another release.")
    return parameters


def _parse(file: Path, what: str) -> dict[str, Any]:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise TemplateUnfit(
                f"{what} has more than {MOST_BYTES // 1024**2} MB.", remedy="Azure takes no larger template."
            )
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise TemplateUnfit(f"{what} cannot be read: {error}.", remedy="Name a release whose template is whole.") from (
            error
        )
    if not isinstance(found, dict):
        raise TemplateUnfit(f"{what} is no JSON object.", remedy="Name a release whose template is whole.")
    return cast("dict[str, Any]", found)


def _within(tree: Path, path: str) -> Path:
    """A file of the worktree; raises `TemplateUnfit` where the path, or a link in the release, leads out of it."""
    file = (tree / path).resolve()
    if not file.is_relative_to(tree.resolve()):
        raise TemplateUnfit(f"'{path}' leads out of the repository.", remedy="Name a path within it.")
    return file
