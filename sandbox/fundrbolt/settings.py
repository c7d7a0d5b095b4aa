"""What a release is told at its start: command line and app settings, parsed once."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from sandbox.fundrbolt.releases import BEHAVIOURS
from sandbox.fundrbolt.store import database_url

INSTANCE_CHARACTERS = 12
"""So much of the instance's id tells instances apart; PostgreSQL cuts the whole name at 63 bytes."""


@dataclass(frozen=True)
class CacheSettings:
    """A cache to use."""

    url: str = field(repr=False)
    """With the access key in it."""
    authorities: str | None
    """File with the certificates that its own may be signed with; None: the system's."""
    clustered: bool
    seconds: float
    """How long a page of donations is kept; 0: none is put there, those that are there are used."""


@dataclass(frozen=True)
class Settings:
    """One running build."""

    release: str
    port: int
    """0 takes any free port."""
    database: str = field(repr=False)
    """Its URL, password included."""
    cache: CacheSettings | None
    """None: there is none."""
    client: str
    """How a database server shows this process among its sessions: site and instance."""
    failure_share: float
    failure_seed: int | None
    """None: failures differ from run to run."""
    damage_share: float
    damage_seed: int | None
    """None: what is damaged differs from run to run."""
    background_seconds: float
    """Between two writes of its own, as a background worker does them; 0: none."""
    warm_up_seconds: float
    """Everything is answered 503 for so long after the start."""
    maintenance: bool
    """Every page but /health is answered 503, and no database is used."""


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
        epilog="App settings, from the environment: DATABASE_URL (sqlite:///FILE or postgresql://…; in memory "
        "without), WARM_UP_SECONDS, FAILURE_SHARE and DAMAGE_SHARE (0 to 1, instead of the release's own), "
        "FAILURE_SEED, DAMAGE_SEED, BACKGROUND_SECONDS (between two writes of its own; none without), "
        "MAINTENANCE_MODE (on or off, which it is without), REDIS_URL (rediss://:KEY@HOST:PORT/0; no cache without), "
        "REDIS_CLUSTER (on or off), REDIS_CA_FILE, CACHE_SECONDS (how long a page of donations is kept; none without).",
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
            database=database_url(environment.get("DATABASE_URL", "")),
            cache=cache_settings(environment),
            client=client_name(environment),
            failure_share=number(environment, "FAILURE_SHARE", BEHAVIOURS[release].failure_share, most=1),
            failure_seed=seed(environment, "FAILURE_SEED"),
            damage_share=number(environment, "DAMAGE_SHARE", BEHAVIOURS[release].damage_share, most=1),
            damage_seed=seed(environment, "DAMAGE_SEED"),
            background_seconds=number(environment, "BACKGROUND_SECONDS", 0, most=3600),
            warm_up_seconds=number(environment, "WARM_UP_SECONDS", 0, most=3600),
            maintenance=switch(environment, "MAINTENANCE_MODE"),
        )
    except ValueError as error:
        parser.error(f"app setting: {error}")


def cache_settings(environment: Mapping[str, str]) -> CacheSettings | None:
    """The cache to use, if there is one."""
    url = environment.get("REDIS_URL")
    if not url:
        return None
    return CacheSettings(
        url=url,
        authorities=environment.get("REDIS_CA_FILE"),
        clustered=switch(environment, "REDIS_CLUSTER"),
        seconds=number(environment, "CACHE_SECONDS", 0, most=86_400),
    )


def client_name(environment: Mapping[str, str]) -> str:
    """Site and instance, as far as the platform tells them."""
    instance = environment.get("WEBSITE_INSTANCE_ID", "")[:INSTANCE_CHARACTERS]
    return "/".join(part for part in (environment.get("WEBSITE_SITE_NAME", "fundrbolt"), instance) if part)


def switch(environment: Mapping[str, str], name: str) -> bool:
    """Whether the app setting `name` is on."""
    text = environment.get(name) or "off"
    if text not in ("on", "off"):
        raise ValueError(f"{name} must be on or off, not {text!r}")
    return text == "on"


def seed(environment: Mapping[str, str], name: str) -> int | None:
    """The app setting `name` as the seed of chance."""
    text = environment.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
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
