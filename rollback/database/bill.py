"""The data-loss bill: what a move to another server takes from whom, by table, as far as it can be told."""

from typing import ClassVar, Generic, Self, TypeVar

from rollback.models import Model

UNKNOWN = "unknown"


class TableBill(Model):
    """What one table loses. A count that is not known is none."""

    table: str
    how: str
    """How it was found."""

    @property
    def counts(self) -> dict[str, int | None]:
        """By kind of change."""
        raise NotImplementedError

    @property
    def matters(self) -> bool:
        """Whether anything is lost, or may be."""
        return any(count is None or count for count in self.counts.values())

    @property
    def words(self) -> str:
        """For people, with how it was found."""
        counted = ", ".join(f"{_number(count)} {kind}" for kind, count in self.counts.items())
        return f"{counted} ({self.how})"


class TableLoss(TableBill):
    """What one table loses by a restore."""

    inserts: int | None
    """Rows added since the restore point: gone."""
    updates: int | None
    """Rows changed since: as they were."""
    deletes: int | None
    """Rows deleted since: back again."""

    @property
    def counts(self) -> dict[str, int | None]:
        """By kind of change."""
        return {"inserts": self.inserts, "updates": self.updates, "deletes": self.deletes}


class TableWritten(TableBill):
    """What was written to one table of a restored server: lost where the restore is undone."""

    written: int | None
    """Rows that were added or changed."""
    deletes: int | None

    @property
    def counts(self) -> dict[str, int | None]:
        """By kind of change."""
        return {"inserts or updates": self.written, "deletes": self.deletes}


TableKind = TypeVar("TableKind", bound=TableBill)


class AnyBill(Model, Generic[TableKind]):
    """What all tables lose."""

    kinds: ClassVar[tuple[str, ...]]
    unlisted: ClassVar[int | None] = None
    """What a table loses that has no line."""

    tables: tuple[TableKind, ...] = ()
    how: str

    @property
    def total_words(self) -> str:
        """In one line."""
        totals: list[str] = []
        for kind in self.kinds:
            counts = [table.counts[kind] for table in self.tables]
            known = sum(count or 0 for count in counts)
            if None not in counts:
                totals.append(f"{_number(known)} {kind}")
            else:
                totals.append(f"{f'at least {_number(known)}' if known else UNKNOWN} {kind}")
        return ", ".join(totals)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """For people: the whole, each table that loses something, and how it was found."""
        return [
            ("Lost", self.total_words),
            *((f"Lost of {each.table}", each.words) for each in self.tables if each.matters),
            ("How it was found", self.how),
        ]

    def worse_than(self, approved: Self, rows: int, share: float) -> list[str]:
        """Where this bill exceeds the approved one by more than the tolerance, in words.

        A count that was unknown when it was approved counts as none. One that is not known now is worse than any,
        unless it was approved so.
        """
        before = {each.table: each for each in approved.tables}
        worse: list[str] = []
        for table in self.tables:
            listed = before.get(table.table)
            said = listed.counts if listed else dict.fromkeys(table.counts, self.unlisted)
            for kind, count in table.counts.items():
                expected = said[kind] or 0
                as_unknown = count is None and listed is not None and said[kind] is None
                if not as_unknown and (count is None or count > expected + max(rows, share * expected)):
                    told = "nothing" if said[kind] == 0 else _number(said[kind])
                    worse.append(f"{table.table}: {_number(count)} {kind}, {told} approved")
        return worse


class Bill(AnyBill[TableLoss]):
    """What all tables lose by a restore."""

    kinds = ("inserts", "updates", "deletes")


class WrittenBill(AnyBill[TableWritten]):
    """What was written to a restored server since the cut-over. A table without a line was not written to."""

    kinds = ("inserts or updates", "deletes")
    unlisted = 0


def _number(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}".replace(",", " ")
