"""The shell script that runs alembic, the same on this machine and in a container; POSIX, as `sh` understands it."""

import re
import shlex
from collections.abc import Mapping, Sequence

from rollback.errors import SettingsInvalid

NO_FOLDER = 121
NO_CONFIGURATION = 122
"""Exit statuses of our own, which neither shells (1, 2, 126 to 255) nor alembic (1, 2, 255) use."""
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""POSIX: the command was found but cannot be run, or was not found."""

_ELSEWHERE = (
    "PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS PGSSLMODE"
)
"""What libpq reads beside the URL: PGHOSTADDR alone leads a URL's host to another server."""


def running(
    folder: str, command: Sequence[str], arguments: Sequence[str], url_variable: str, environment: Mapping[str, str]
) -> str:
    """A script that reads the URL from the first line of its standard input, and becomes the command.

    It never starts without a URL: an empty input ends it, and what the container's own environment holds is not used.
    """
    return " && ".join(
        (
            _enter(folder),
            f"unset {_ELSEWHERE}",
            f"IFS= read -r {_variable(url_variable)}",
            f"export {url_variable}",
            "export PYTHONUNBUFFERED=1",
            *(f"export {_variable(name)}={shlex.quote(value)}" for name, value in environment.items()),
            f"exec {shlex.join([*command, *arguments])}",
        )
    )


def looking(folder: str, command: Sequence[str], revision: str) -> str:
    """A script that lets alembic show a revision, which needs the revision's file and no database."""
    show = shlex.join([*command, "show", revision])
    return f"{_enter(folder)} && {{ [ -f alembic.ini ] || exit {NO_CONFIGURATION}; }} && exec {show}"


def packing(folder: str) -> str:
    """A script that writes alembic.ini and the folders that it names as a gzipped tar."""
    names = r"s/^[[:space:]]*\(script_location\|version_locations\)[[:space:]]*=[[:space:]]*//p"
    folders = f"sed -n '{names}' alembic.ini | sed 's,%(here)s/,,g' | tr ',:;' '   '"
    return f"{_enter(folder)} && exec tar -czf - --exclude=__pycache__ alembic.ini $({folders}) 2>/dev/null"


def _enter(folder: str) -> str:
    # `cd -` and CDPATH would lead elsewhere.
    return f"{{ CDPATH= cd -- {shlex.quote(folder)} || exit {NO_FOLDER}; }}"


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise SettingsInvalid(f"'{name}' is no name of an environment variable.", remedy="Look at url_variable.")
    return name
