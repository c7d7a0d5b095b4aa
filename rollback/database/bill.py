"""The data-loss bill: what a restore takes from whom, by table, as far as it can be told."""

from rollback.models import Model

UNKNOWN = "unknown"


class TableLoss(Model):
    """What one table loses. A count that is not known is none."""

    table: str
    inserts: int | None
    """Rows added since the restore point: gone."""
    updates: int | None
    """Rows changed since: as they were."""
    deletes: int | None
    """Rows deleted since: back again."""
    how: str
    """How it was found."""

    @property
    def counts(self) -> dict[str, int | None]:
        """By kind of change."""
        return {"inserts": self.inserts, "updates": self.updates, "deletes": self.deletes}

    @property
    def matters(self) -> bool:
        """Whether anything is lost, or may be."""
        return any(count is None or count for count in self.counts.values())

    @property
    def words(self) -> str:
        """For people, with how it was found."""
        counted = ", ".join(f"{_number(count)} {kind}" for kind, count in self.counts.items())
        return f"{counted} ({self.how})"


class Bill(Model):
    """What all tables lose."""

    tables: tuple[TableLoss, ...] = ()
    how: str

    @property
    def total_words(self) -> str:
        """In one line."""
        totals: list[str] = []
        for kind in ("inserts", "updates", "deletes"):
            counts = [table.counts[kind] for table in self.tables]
            known = sum(count or 0 for count in counts)
            if None not in counts:
                totals.append(f"{_number(known)} {kind}")
            else:
                totals.append(f"{f'at least {_number(known)}' if known else UNKNOWN} {kind}")
        return ", ".join(totals)

    def worse_than(self, approved: "Bill", rows: int, share: float) -> list[str]:
        """Where this bill exceeds the approved one by more than the tolerance, in words; an unknown counts as none."""
        before = {each.table: each for each in approved.tables}
        worse: list[str] = []
        for table in self.tables:
            said = before[table.table].counts if table.table in before else {}
            for kind, count in table.counts.items():
                expected = said.get(kind) or 0
                if (count or 0) > expected + max(rows, share * expected):
                    told = "nothing" if said.get(kind) == 0 else _number(said.get(kind))
                    worse.append(f"{table.table}: {_number(count)} {kind}, {told} approved")
        return worse


def _number(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}".replace(",", " ")
