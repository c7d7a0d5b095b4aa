"""What every plan is: absolute targets and the facts that bind it, under one hash."""

import hashlib
import json
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from rollback.models import Model, now
from rollback.outcomes import EndState

Risk = Literal["low", "medium", "high"]
"""What carrying a plan out may cost when it goes wrong, as the runbook rates its procedures."""


class PlannedStep(Model):
    """One line of a plan: what will be done, on which resource."""

    title: str
    detail: str
    changes: bool = True
    """Whether it changes anything, or only looks."""
    expected_seconds: float | None = None
    """How long it should take, Azure's part included; none where nobody knows."""


class Difference(Model):
    """One line of what a plan changes, property by property, for people."""

    resource: str
    change: str
    """What happens to it, in Azure's word."""
    path: str = ""
    """The property's; empty for the resource as a whole."""
    before: str = ""
    after: str = ""
    high: str = ""
    """Why it is of high risk; empty where it is not."""
    noise: str = ""
    """Why it means nothing; empty where it counts."""


class Plan(Model):
    """The base of all plans. Planning only reads; every relative word has become an absolute value."""

    procedure: str
    environment: str
    reason: str
    made_at: datetime = Field(default_factory=now)
    warnings: tuple[str, ...] = ()
    """What the operator should know and the procedure does not change."""
    observations: tuple[str, ...] = ()
    """Volatile facts, shown and not bound: latencies, counts."""

    def binding(self) -> dict[str, Any]:
        """Targets and facts that must still hold when the plan is carried out."""
        return self.model_dump(mode="json", exclude={"made_at", "observations", "reason", "warnings"})

    @property
    def hash(self) -> str:
        """SHA-256, in hex, over the binding facts in canonical JSON."""
        canonical = json.dumps(self.binding(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def risk(self) -> Risk:
        """Decides, with procedure and environment, whose approval is needed."""
        return self.rated

    @property
    def needs_person(self) -> bool:
        """Whether a person has to agree, whatever the platform file's rules say."""
        return False

    @property
    def title(self) -> str:
        """What it does, in one line."""
        raise NotImplementedError

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        raise NotImplementedError

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        raise NotImplementedError

    rated: ClassVar[Risk] = "high"
    """The risk of this kind of plan; one that says nothing is high."""
    success: ClassVar[EndState] = EndState.ROLLED_BACK
    """The end state of a run that did what the plan says, and proved it."""
    unproven: ClassVar[EndState] = EndState.NOT_VERIFIED
    """The end state of a run that did it and could not prove it."""

    @property
    def proof(self) -> str:
        """How it is shown that the goal is reached, in words."""
        return "verified from outside"

    @property
    def doubt(self) -> str:
        """What is said of a run that did it and could not prove it."""
        return "done, but not verified"

    @property
    def overtaken(self) -> str:
        """What is said of a run that found nothing to do, although there was something when it was planned."""
        return "Somebody else got there first"

    already_there: bool = False
    """Whether the goal is reached before anything is done."""

    def differences(self) -> tuple[Difference, ...]:
        """What changes, property by property, where the plan knows it: high risk first, noise last."""
        return ()

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        return ()

    def after_part(self) -> tuple[str, ...]:
        """What of that holds where only a part was done; nothing, unless a plan says so."""
        return ()

    @property
    def rto_target_seconds(self) -> float | None:
        """What the runbook allows, Azure's own time and waiting for people apart; none: no promise."""
        return None

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        raise NotImplementedError
