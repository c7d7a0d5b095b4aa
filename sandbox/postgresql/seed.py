"""What the platform's databases hold in the beginning: the hook for whoever owns their schema."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

OWNER = Path(__file__).parents[1] / "fundrbolt"

Fill = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Seed:
    """Schema and rows of a new server's database `fundrbolt`.

    They become part of the template, so `fill` runs once for each template, not at each `up` or `reset`.
    """

    fingerprint: str
    """Changes whenever `fill` would do something else: another template is made then."""
    fill: Fill
    """Called with a connection string (`postgresql://…`, without TLS, never to be kept or logged) that signs in as the
    app's role, the owner of schema `public`. On return everything must be committed."""


async def _fill(connection: str) -> None:
    # Here, not above: alembic and SQLAlchemy take their time, and most sandboxes find a template or need none.
    from sandbox.fundrbolt.seeding import seed

    await asyncio.to_thread(seed, connection)


def _digest() -> str:
    files = [OWNER / "seeding.py", *sorted((OWNER / "migrations").rglob("*.py"))]
    return sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


SEED = Seed(_digest(), _fill)
"""What this sandbox's servers hold."""
