"""The plan of bringing one resource's configuration back."""

import json

from pydantic import JsonValue

from rollback.plans import Plan, PlannedStep, Risk
from rollback.resources.archives import REPLACED, name_of
from rollback.resources.diff import Difference, value_at
from rollback.resources.ids import ResourceId
from rollback.resources.patching import Left

REVERT, VERIFY = "Patch the resource", "Read it again"
HIGH_RISK = (
    "microsoft.dbforpostgresql",
    "microsoft.keyvault",
    "microsoft.web/sites/config",
    "microsoft.web/sites/slots/config",
    "microsoft.web/sites",
    "microsoft.sql",
    "microsoft.network",
    "microsoft.authorization",
)
"""Types whose configuration decides whether users are served, and who gets at their data; all below them too."""
RESTARTING = frozenset({"microsoft.web/sites/config", "microsoft.web/sites/slots/config"})
"""Types whose change restarts the app."""
HARMLESS = ("tags",)
"""Top properties whose change is of medium risk with every type."""
MOST_IN_TITLE = 3


class RevertResourcePlan(Plan):
    """Let one resource have an earlier configuration again, by one PATCH of what differs."""

    resource: ResourceId
    api_version: str
    source: str
    """Where the earlier configuration is from, for people."""
    then: str
    """The same as a word for its state: an archive's name, or a commit and path."""
    only: tuple[str, ...] = ()
    """Paths of what is to come back; none: all of it."""
    before: dict[str, JsonValue]
    """The configuration when the plan is made, without secrets: it must still be this when it is patched."""
    changes: tuple[Difference, ...]
    left: tuple[Left, ...] = ()
    """Differences that stay."""
    body: dict[str, JsonValue]
    """What is sent, but for tags, which are put together with those of our own that there are then."""
    has_etag: bool
    serves: bool
    """Whether it is the environment's app: then users are asked for, too."""

    @property
    def risk(self) -> Risk:
        """High where users or their data hang on it; else medium."""
        kind = self.resource.type.lower()
        harmless = all(each.path[0] in HARMLESS for each in self.changes)
        return "high" if kind.startswith(HIGH_RISK) and not harmless else "medium"

    @property
    def title(self) -> str:
        """What it does, in one line."""
        if self.already_there:
            where = f" in {', '.join(self.only)}" if self.only else ""
            return f"'{self.resource.short}' is as in {self.then}{where}: nothing to revert"
        places = [each.place for each in self.changes]
        more = f" and {len(places) - MOST_IN_TITLE} more" if len(places) > MOST_IN_TITLE else ""
        return f"'{self.resource.short}' back to {self.then}: {', '.join(places[:MOST_IN_TITLE])}{more}"

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        but = f", but for {len(self.left)} that cannot be patched" if self.left else ""
        what = ", ".join(self.only) or "its configuration"
        return f"'{self.resource.short}' has {what} of {self.then}{but}"

    @property
    def proof(self) -> str:
        """How it is shown that the goal is reached."""
        return "verified from outside and by reading it again" if self.serves else "verified by reading it again"

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference."""
        return 900.0

    def reached(self, now: dict[str, JsonValue]) -> bool:
        """Whether a configuration has everything that the plan brings back."""
        return not self.missing(now)

    def missing(self, now: dict[str, JsonValue]) -> list[Difference]:
        """What it does not have of that, with what is there instead."""
        found = [each.model_copy(update={"now": value_at(now, each.path)}) for each in self.changes]
        return [each for each in found if each.now != each.then]

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        users = "; and the app's health from outside" if self.serves else ""
        verifying = PlannedStep(title=VERIFY, detail=f"no difference is left but what is marked{users}", changes=False)
        if self.already_there:
            return [verifying]
        guard = "only if it is still as it is now (If-Match)" if self.has_etag else "read right before: it has no ETag"
        names = ", ".join(dict.fromkeys(".".join(each.top) for each in self.changes))
        restarts = "; Azure restarts the app with it" if self.resource.type.lower() in RESTARTING else ""
        return [PlannedStep(title=REVERT, detail=f"one PATCH of {names}; {guard}{restarts}"), verifying]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        return [
            ("Resource", str(self.resource)),
            ("Earlier configuration", self.source),
            *((each.place, each.words.partition(": ")[2]) for each in self.changes),
            *(("Stays", each.words) for each in self.left),
            ("Sent", f"{len(json.dumps(self.body))} bytes, API version {self.api_version}"),
        ]

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        undo = f"{name_of(self.made_at)}{REPLACED}"
        return (
            f"Changed: {'; '.join(each.words for each in self.changes)}.",
            f"To undo it: rollback run revert-resource -e {self.environment} --resource {self.resource} "
            f"--archive {undo} --reason '…'",
            "Does the template say the same? If not, the next infrastructure deployment changes it again.",
            *(f"Still different: {each.words}" for each in self.left),
        )
