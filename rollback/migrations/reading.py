"""Reads a folder with `alembic.ini`, and writes its graph with every verdict to standard output as JSON.

Run by `graph.read_graph` in a process of its own, because revision scripts are other people's code: importing them may
print, exit, or take for ever. Alembic itself stops at the first script that it cannot load; here each one is tried, so
that all problems are told at once. `env.py` is not run: it would want the database.
"""

import os
import re
import sys
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from alembic import util
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap

from rollback.migrations.judging import Guest, judge, relative, tell
from rollback.migrations.models import BASE, Down, Graph, revision_map

_SCRIPT = re.compile(r"(?!\.#|__init__).*\.py")
_REVISION = re.compile(r"""^revision\s*(?::[^=\n]+)?=\s*["']([^"'\n]+)["']""", re.MULTILINE)


class Loaded(NamedTuple):
    """The scripts of a folder."""

    scripts: tuple[Script, ...]
    problems: tuple[str, ...]
    unloaded: frozenset[str]
    """Revisions of scripts that could not be imported, as far as their text tells."""


def read(folder: Path) -> Graph:
    """The graph of a folder; what hinders alembic is a problem of it, never raised."""
    config = Config(folder / "alembic.ini", toml_file=folder / "pyproject.toml", stdout=sys.stderr)
    with Guest() as guest:
        directory = ScriptDirectory.from_config(config)
        loaded = _load(directory, folder)
        problems = [*loaded.problems, *_duplicates(loaded.scripts, folder), *_missing(loaded, folder)]
        first = {script.revision: script for script in reversed(loaded.scripts)}
        downs = {name: judge(script, config, directory, folder) for name, script in first.items()}
        return _graph(downs, problems)
    problem = f"the migrations' settings in alembic.ini cannot be used ({tell(guest.error or Exception())})"
    return Graph(heads=(), problems=(problem,), history=())


def _load(directory: ScriptDirectory, folder: Path) -> Loaded:
    scripts: list[Script] = []
    problems: list[str] = []
    unloaded: set[str] = set()
    named = directory.version_locations or [Path(directory.dir) / "versions"]
    places = [util.coerce_resource_to_filename(str(each)).resolve() for each in named]
    if directory.sourceless:
        problems.append("alembic.ini says sourceless = true, and only sources can be judged")
    problems.extend(f"there is no folder {relative(each, folder)}" for each in places if not each.is_dir())
    pattern = "**/*.py" if directory.recursive_version_locations else "*.py"
    files = sorted({file for place in places for file in place.glob(pattern) if _SCRIPT.fullmatch(file.name)})
    for file in files:
        with Guest() as guest:
            module = util.load_python_file(file.parent, file.name)
            scripts.append(Script(module, module.revision, file))
        if guest.error is not None:
            problems.append(_not_loaded(file, guest.error, folder))
            unloaded.update(_REVISION.findall(file.read_text(encoding="utf-8", errors="replace")))
    return Loaded(tuple(scripts), tuple(problems), frozenset(unloaded))


def _not_loaded(file: Path, error: BaseException, folder: Path) -> str:
    text = f"{relative(file, folder)} cannot be loaded ({tell(error)})"
    if isinstance(error, ModuleNotFoundError):
        text += f": install what has '{error.name}' where this runs, or read the migrations in the app's own image"
    return text


def _duplicates(scripts: tuple[Script, ...], folder: Path) -> list[str]:
    files: dict[str, list[str]] = defaultdict(list)
    for script in scripts:
        files[script.revision].append(relative(Path(script.path), folder))
    return [
        f"revision {name} is in {len(those)} files: {' and '.join(those)}"
        for name, those in files.items()
        if len(those) > 1
    ]


def _missing(loaded: Loaded, folder: Path) -> list[str]:
    """References to revisions that no file has."""
    labels = {label for script in loaded.scripts for label in script.branch_labels}
    known = {script.revision for script in loaded.scripts} | loaded.unloaded
    return [
        f"revision {script.revision} ({relative(Path(script.path), folder)}) {how} {name}, which no file has"
        for script in loaded.scripts
        for how, names, there in (
            ("follows", script.down_revision, known),
            ("depends on", script.dependencies, known | labels),
        )
        for name in util.to_tuple(names, default=()) or ()
        if name not in there
    ]


def _graph(downs: dict[str, Down], problems: list[str]) -> Graph:
    """The graph by alembic's rules; with problems, of what is there."""
    whole = tuple(downs.values())
    sound = whole if not problems else tuple(_without_missing(down, downs) for down in whole)
    with Guest() as guest:
        revisions: RevisionMap = revision_map(sound)
        heads = tuple(sorted(revisions.heads))
        history = tuple(each.revision for each in revisions.iterate_revisions("heads", BASE))
        return Graph(
            heads=heads, problems=tuple(problems), history=history, revisions=tuple(downs[each] for each in history)
        )
    problem = f"alembic cannot order the revisions ({tell(guest.error or Exception())})"
    return Graph(heads=(), problems=(*problems, problem), history=tuple(downs), revisions=whole)


def _without_missing(down: Down, downs: dict[str, Down]) -> Down:
    labels = {label for each in downs.values() for label in each.labels}
    below = [each for each in (down.down_revision, *down.merged) if each in downs]
    return down.model_copy(
        update={
            "down_revision": below[0] if below else None,
            "merged": tuple(below[1:]),
            "depends_on": tuple(each for each in down.depends_on if each in downs or each in labels),
        }
    )


def main() -> None:
    """Write the graph of the folder that the command line names; nothing that scripts print gets in between."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        warnings.simplefilter("ignore")
        answer.write(read(Path(sys.argv[1]).resolve()).model_dump_json())


if __name__ == "__main__":
    main()
