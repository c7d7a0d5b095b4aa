"""Where the platform file is and what is written in it, unchecked.

Apart from `settings` so that what must answer at once, such as shell completion, need not import the library that
checks it.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

from rollback.errors import SettingsInvalid

PLATFORM_FILE = "fundrbolt.toml"
DEFAULT_STATE = "~/.local/state/rollback"


def find_platform_file(named: Path | None = None) -> Path:
    """The platform file: named, or `ROLLBACK_CONFIG`, or in this folder or one above, also under its `deployments/`."""
    chosen = named or (Path(os.environ["ROLLBACK_CONFIG"]) if os.environ.get("ROLLBACK_CONFIG") else None)
    if chosen is not None:
        if not chosen.is_file():
            raise SettingsInvalid(f"There is no platform file {chosen}.", remedy="Check --config or ROLLBACK_CONFIG.")
        return chosen.resolve()
    for folder in (Path.cwd(), *Path.cwd().parents):
        for candidate in (folder / PLATFORM_FILE, folder / "deployments" / PLATFORM_FILE):
            if candidate.is_file():
                return candidate
    raise SettingsInvalid(
        f"There is no {PLATFORM_FILE} here or in a folder above.", remedy="Name one with --config or ROLLBACK_CONFIG."
    )


def read_toml(file: Path) -> dict[str, Any]:
    """What is written in a TOML file; raises `SettingsInvalid` where it cannot be read."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsInvalid(f"{file} cannot be read: {error}.", remedy="Mend the file.") from error


def state_directory(written: str | Path) -> Path:
    """Where runs are kept: `ROLLBACK_STATE`, else what the platform file says."""
    return Path(os.environ.get("ROLLBACK_STATE") or written).expanduser()
