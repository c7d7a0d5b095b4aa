"""What a release is told at its start: command line and app settings, parsed once."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from sandbox.fundrbolt.releases import BEHAVIOURS

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Settings:
    """One running build."""

    release: str
    port: int
    """0 takes any free port."""
    database: str
    """Path of the SQLite file, or `:memory:`."""
    failure_share: float
    failure_seed: int | None
    """None: failures differ from run to run."""
    warm_up_seconds: float
    """Everything is answered 503 for so long after the start."""


class OneLineParser(argparse.ArgumentParser):
    """Ends with one line on stderr and status 2, without the usage in front of it: slots keep it as their last log."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end."""
        self.exit(2, f"{self.prog}: {message}\n")


def read_settings(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> Settings:
    """Command line and app settings as `Settings`; ends the process with status 2 where one makes no sense."""
    parser = OneLineParser(
        prog="fundrbolt",
        description="The sample Fundrbolt API, on 127.0.0.1.",
        epilog="App settings, from the environment: DATABASE_URL (sqlite:///FILE; in memory without), WARM_UP_SECONDS, "
        "FAILURE_SHARE (0 to 1, instead of the release's own), FAILURE_SEED.",
    )
    parser.add_argument("--release", required=True, help=f"one of {', '.join(BEHAVIOURS)}")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes any free port")
    options = parser.parse_args(arguments)
    release = str(options.release)
    if release not in BEHAVIOURS:
        parser.error(f"there is no release {release!r}; known: {', '.join(BEHAVIOURS)}")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port must be 0 to 65535, not {options.port}")
    try:
        return Settings(
            release=release,
            port=options.port,
            database=database_path(environment.get("DATABASE_URL", "")),
            failure_share=number(environment, "FAILURE_SHARE", BEHAVIOURS[release].failure_share, most=1),
            failure_seed=seed(environment.get("FAILURE_SEED", "")),
            warm_up_seconds=number(environment, "WARM_UP_SECONDS", 0, most=3600),
        )
    except ValueError as error:
        parser.error(f"app setting: {error}")


def database_path(url: str) -> str:
    """Path of the SQLite file that `url` names. The URL itself is never told: real ones hold a password."""
    if url in ("", "sqlite://", "sqlite:///:memory:"):
        return ":memory:"
    if not url.startswith(SQLITE) or url == SQLITE:
        raise ValueError("DATABASE_URL must look like sqlite:///FILE")
    return url.removeprefix(SQLITE)


def seed(text: str) -> int | None:
    """The seed of the failures."""
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"FAILURE_SEED must be a whole number, not {text!r}")
    return int(text)


def number(environment: Mapping[str, str], name: str, default: float, most: float) -> float:
    """The app setting `name` as a number from 0 to `most`."""
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise ValueError(f"{name} must be a number from 0 to {most:g}, not {text!r}")
    return value
