"""The end of a drill, for people: what users got before, during and after, and one line of how it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import click

from deployments.local_platform import LocalPlatform
from rollback.runs import Store


class Seen(Protocol):
    """What users got at one moment."""

    t: datetime

    def is_good(self, release: str) -> bool:
        """Whether it was good, and from this release."""
        ...


SeenType = TypeVar("SeenType", bound=Seen)


@dataclass(frozen=True)
class Audience(Generic[SeenType]):
    """Whose experience a drill tells, in its words."""

    heading: str
    told: Callable[[Sequence[SeenType]], str]
    good: str
    """What is true in the end, for instance "users are served by v1.2.2 again"."""
    not_begun: str


def conclude(
    platform: LocalPlatform,
    audience: Audience[SeenType],
    seen: Sequence[SeenType],
    release: str,
    begun: datetime,
    status: int,
) -> int:
    """Print what users got and the one line at the end; the exit status."""
    last_bad = max((each.t for each in seen if not each.is_good(release)), default=begun)
    phases = {
        "before": [each for each in seen if each.t <= begun],
        "during": [each for each in seen if begun < each.t <= last_bad],
        "after": [each for each in seen if each.t > max(begun, last_bad)],
    }
    click.echo(f"\n{audience.heading}")
    for name, phase in phases.items():
        if phase:
            click.echo(f"  {name:<7} {audience.told(phase)}")
    run = Store(platform.folder / "rollback").latest(1)
    outcome = run[0].outcome() if run else None
    if status == 0:
        after = (last_bad - begun).total_seconds()
        click.echo(f"✓ drill: {audience.good}, {max(after, 0):.1f} s after the command was given.")
    else:
        ended = outcome.end_state.value if outcome else audience.not_begun
        click.echo(f"✗ drill: {ended}; see {platform.folder}.")
    if run:
        click.echo(f"Report: {run[0].report_file}")
    return status
