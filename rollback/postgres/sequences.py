"""Sequences of two servers: a restored one stands further back, and would give numbers again that lost rows have."""

import asyncio
from collections.abc import Iterable

from psycopg.sql import SQL, Composed, Identifier, Literal

from rollback.models import Model
from rollback.postgres.session import Session


class SequenceComparison(Model):
    """A sequence's last number on both servers; none where it has given none, or does not exist."""

    schema_name: str
    name: str
    old: int | None
    new: int | None

    @property
    def sequence(self) -> str:
        """Schema and name."""
        return f"{self.schema_name}.{self.name}"

    @property
    def behind(self) -> bool:
        """Whether the restored one would give numbers again."""
        return self.old is not None and (self.new is None or self.new < self.old)


class _Sequence(Model):
    schema_name: str
    name: str
    last: int | None


async def compare_sequences(old: Session, new: Session) -> tuple[SequenceComparison, ...]:
    """The sequences of either server that stand elsewhere on the other."""
    here, there = await asyncio.gather(_read(old), _read(new))
    return tuple(
        SequenceComparison(schema_name=name[0], name=name[1], old=here.get(name), new=there.get(name))
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    )


async def _read(session: Session) -> dict[tuple[str, str], int | None]:
    query = "SELECT schemaname AS schema_name, sequencename AS name, last_value AS last FROM pg_sequences"
    return {(each.schema_name, each.name): each.last for each in await session.fetch_models(_Sequence, query)}


async def advance_sequences(session: Session, sequences: Iterable[SequenceComparison]) -> tuple[str, ...]:
    """Let sequences go on after the old server's numbers, so that lost rows' numbers stay free; their names.

    Needs a session that may write and owns them, as the app's role does. Safe to repeat.
    """
    behind = [each for each in sequences if each.behind]
    for each in behind:
        await session.execute(advancing(each))
    return tuple(each.sequence for each in behind)


def advancing(sequence: SequenceComparison) -> Composed:
    """The statement that lets one go on; it does nothing where the sequence is missing or further already."""
    name = Identifier(sequence.schema_name, sequence.name)
    return SQL(
        "SELECT setval(oid::regclass, {number}) FROM pg_class WHERE oid = to_regclass({name})"
        " AND coalesce(pg_sequence_last_value(oid), 0) < {number};"
    ).format(name=Literal(name.as_string()), number=Literal(sequence.old))
