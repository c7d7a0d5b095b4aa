"""The plan of clearing a cache: which keys of which cache go, how many, and who notices."""

from typing import Any, ClassVar

from pydantic import Field

from rollback.cache.counting import Count
from rollback.models import Model
from rollback.outcomes import EndState
from rollback.plans import Plan, PlannedStep, Risk

CLEAR, RESTART, VERIFY_KEYS, VERIFY = "Clear the cache", "Restart the app", "Verify the keys", "Verify from outside"
ALL_KEYS = "*"
MORE_KEYS_SHARE, MORE_KEYS = 2, 100
"""A plan holds while there are at most so many times the keys that it told, or so many more: in all, and of each."""


class Noticed(Model):
    """What people notice of the keys that go."""

    effect: str
    count: Count


class ClearCachePlan(Plan):
    """Take keys out of an environment's cache."""

    rated: ClassVar[Risk] = "medium"
    success: ClassVar[EndState] = EndState.CLEARED
    unproven: ClassVar[EndState] = EndState.CLEARED_NOT_VERIFIED

    resource_group: str
    cache: str
    kind: str
    """Azure's service, tier and size, for people."""
    host: str
    port: int
    redis_database: int = 0
    """The number of the one that has the keys."""
    everything: bool
    patterns: tuple[str, ...]
    guards: tuple[str, ...]
    """Keys of these are kept, whatever pattern matches them."""
    revocations: tuple[str, ...]
    """Lists of revoked tokens that are deleted: the tokens become valid again."""
    explicitly: tuple[str, ...]
    restart: bool
    app: str
    version: str
    """The server's."""
    primaries: tuple[str, ...]
    total: int
    """In the whole database, by DBSIZE, when the plan is made."""
    elsewhere: dict[str, int] = Field(default_factory=dict[str, int])
    """Keys in the server's other databases, by name."""
    counts: tuple[Count, ...]
    spared: tuple[Count, ...]
    noticed: tuple[Noticed, ...]
    counted: str
    """From a sample or a full scan, in words."""
    seconds: float
    """How long the deletion should take."""
    rate: str
    """What that rests on."""

    @staticmethod
    def tolerates(told: int, now: int) -> bool:
        """Whether the plan holds where there are `now` keys of what it told of."""
        return now <= max(MORE_KEYS_SHARE * told, told + MORE_KEYS)

    def binding(self) -> dict[str, Any]:
        """Targets and facts; keys come and go, and a failover does not change which are meant."""
        counts = ("total", "elsewhere", "counts", "spared", "noticed", "counted")
        volatile = ("version", "primaries", *counts, "seconds", "rate")
        return {name: value for name, value in super().binding().items() if name not in volatile}

    @property
    def risk(self) -> Risk:
        """High where revoked tokens become valid again."""
        return "high" if self.revocations else self.rated

    @property
    def needs_person(self) -> bool:
        """Never unattended where revoked tokens become valid again."""
        return bool(self.revocations)

    @property
    def restarts(self) -> bool:
        """Whether the app restarts: not where no key goes."""
        return self.restart and not self.already_there

    @property
    def what(self) -> str:
        """What is deleted, for people."""
        return "all keys" if self.everything else f"the keys of {', '.join(self.patterns)}"

    @property
    def title(self) -> str:
        """What it does, in one line."""
        return f"{self.what} out of {self.environment}'s cache '{self.cache}'"

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        found = ", ".join(f"{name} ({keys:,} keys)" for name, keys in self.elsewhere.items())
        unseen = "" if self.everything or not found else f"; {found} was not looked at"
        where = f"database {self.redis_database} of " if self.redis_database or unseen else ""
        cache = f"{where}{self.environment}'s cache '{self.cache}'"
        return f"{self.what} that there were are gone from {cache}{self.but_kept}{unseen}"

    @property
    def but_kept(self) -> str:
        """What the patterns match and what is declared keeps, for people; empty where there is nothing of the kind."""
        kept = [each for each in self.spared if each.number]
        told = ", ".join(f"{each.words} of {each.what}" for each in kept)
        return f", but for {sum(each.number for each in kept):,} kept keys: {told}" if kept else ""

    @property
    def overtaken(self) -> str:
        """What is said of a run that found nothing to do."""
        return "No key was there to delete"

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference."""
        return 120

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        many = f"{len(self.primaries)} primaries" if len(self.primaries) > 1 else "the primary"
        way = (
            f"FLUSHALL ASYNC on {many}"
            if self.everything
            else f"one pass of SCAN over {many}, UNLINK of what matches {', '.join(self.patterns)}"
        )
        restart = PlannedStep(title=RESTART, detail=f"production of '{self.app}', once")
        clear = PlannedStep(title=CLEAR, detail=f"{way}; {self.rate}", expected_seconds=self.seconds)
        return [
            *([] if self.already_there else [clear]),
            PlannedStep(title=VERIFY_KEYS, detail="none is left that was there; how many are new", changes=False),
            *([restart] if self.restarts else []),
            PlannedStep(title=VERIFY, detail="health pages and real requests", changes=False),
        ]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people, and how many keys they are."""
        revoked = ", ".join(self.revocations)
        return [
            ("Cache", f"{self.cache} ({self.kind}), {self.host}:{self.port}, {self.version}"),
            ("Primaries", ", ".join(self.primaries)),
            ("Keys in all", f"{self.total:,} in database {self.redis_database}"),
            *([("HIGH RISK", f"revoked tokens become valid again: {revoked}")] if revoked else []),
            *((f"Deleted: {each.what}", f"{each.words} keys") for each in self.counts),
            ("Counted by", self.counted),
            ("Holds while", f"of each there are at most {MORE_KEYS_SHARE} times as many, or {MORE_KEYS} more"),
            *(
                (f"Kept: {each.what}", f"{each.words} keys that a pattern matches")
                for each in self.spared
                if each.number
            ),
            ("Never deleted", ", ".join(self.guards) or "nothing is declared"),
            *(("Who notices", f"{each.effect} ({each.count.what}: {each.count.words})") for each in self.noticed),
            ("Takes", f"about {self.seconds:.1f} s; {self.rate}"),
            ("Restart", self._restart_words),
        ]

    @property
    def _restart_words(self) -> str:
        if self.restart and self.already_there:
            return "not needed: no key goes"
        return f"production of {self.app}" if self.restart else "not asked for"

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        if self.revocations:
            return ("Revoked tokens are valid again: revoke them anew, or change the key that signs tokens.",)
        return ()
