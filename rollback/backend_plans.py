"""The plans of the procedures that change a backend."""

from datetime import datetime
from typing import ClassVar

from rollback.compatibility import SchemaFit
from rollback.outcomes import EndState
from rollback.plans import Plan, PlannedStep, Risk
from rollback.releases import Build
from rollback.slot_swap import SwapBasis
from rollback.slots import PRODUCTION, RampUpRule


def _schema_fact(found: SchemaFit | None, target: Build) -> list[tuple[str, str]]:
    return [("Schema", found.describe(target))] if found else []


class SwapPlan(Plan):
    """Bring the slot's build into production by swapping the two."""

    rated: ClassVar[Risk] = "low"
    resource_group: str
    app: str
    slot: str
    serving: Build
    """What production runs when the plan is made."""
    target: Build
    evidence: str
    """Why the target may serve: named by a person, or known to have served production."""
    last_swap_at: datetime | None
    """Azure's time stamp of the last swap when the plan is made."""
    slot_modified_at: datetime | None
    ramp_up: tuple[RampUpRule, ...]
    schema_fit: SchemaFit | None = None
    """None where nothing is put in place."""

    @property
    def title(self) -> str:
        """What it does, in one line."""
        if self.already_there:
            return f"{self.environment} already serves {self.target.name}: nothing to swap"
        return f"{self.environment} back from {self.serving.name} to {self.target.name}, by swapping slot '{self.slot}'"

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        verify = PlannedStep(
            title="Verify from outside",
            detail=f"users of {self.app} get {self.target.name}, several times in a row, without errors",
            changes=False,
        )
        if self.already_there:
            return [verify]
        swap = PlannedStep(
            title="Swap slots",
            detail=f"slot '{self.slot}' of {self.app} ({self.target}) becomes production; "
            f"{self.serving} goes on running in '{self.slot}'",
        )
        routing = [
            PlannedStep(
                title="Remove ramp-up rules",
                detail=f"rule '{rule.name}' sends {rule.percent:g} % of users to {rule.host}: "
                "after the swap that is the bad build",
            )
            for rule in self.ramp_up
        ]
        return [swap, *routing, verify]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        swapped = f"{self.last_swap_at:%Y-%m-%d %H:%M:%S} UTC" if self.last_swap_at else "none that Azure tells"
        return [
            ("App", f"{self.app} in {self.resource_group}, slot '{self.slot}'"),
            ("Production now", str(self.serving)),
            ("Comes back", str(self.target)),
            ("Why it may serve", self.evidence),
            *_schema_fact(self.schema_fit, self.target),
            ("Last swap", swapped),
        ]

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        return (
            f"The bad build {self.serving} still runs in slot '{self.slot}': do not swap by hand, it would come back.",
            "Find the root cause, and deploy a mended release.",
        )

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference: 30 s beyond Azure's own swap."""
        return 30.0

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        return f"{self.environment} serves {self.target.name}"

    @property
    def basis(self) -> SwapBasis:
        """What must still hold when the swap is sent."""
        return SwapBasis(
            app=self.app,
            slot=self.slot,
            serving=self.serving,
            target=self.target,
            last_swap_at=self.last_swap_at,
            slot_modified_at=self.slot_modified_at,
        )


class ImagePlan(Plan):
    """Put a release's image in place: on the slot first and then into production by a swap, or on the app itself."""

    rated: ClassVar[Risk] = "low"
    resource_group: str
    app: str
    slot: str | None
    """Where the image is tried before it gets users; none where the environment has no slots."""
    serving: Build
    holds: Build | None
    """What the slot runs when the plan is made; put back if the new image proves bad there."""
    target: Build
    evidence: str
    last_swap_at: datetime | None
    schema_fit: SchemaFit | None = None
    """None where nothing is put in place."""

    @property
    def title(self) -> str:
        """What it does, in one line."""
        if self.already_there:
            return f"{self.environment} already serves {self.target.name}: nothing to deploy"
        how = f"by slot '{self.slot}' and a swap" if self.slot else "on the app itself"
        return f"{self.environment} from {self.serving.name} to {self.target.name}, {how}"

    @property
    def rto_target_seconds(self) -> float:
        """Azure's own swap and the watched window apart."""
        return 300

    @property
    def place(self) -> str:
        """The slot on which the image is put."""
        return self.slot or PRODUCTION

    @property
    def before(self) -> Build:
        """What ran in that place, and comes back if the image proves bad there."""
        return self.holds or self.serving

    @property
    def linux_fx_version(self) -> str:
        """The image as App Service takes it."""
        return f"DOCKER|{self.target.image}"

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        verify = PlannedStep(
            title="Verify from outside",
            detail=f"users of {self.app} get {self.target.name}, several times in a row, without errors",
            changes=False,
        )
        if self.already_there:
            return [verify]
        where = f"slot '{self.slot}' of {self.app}" if self.slot else f"{self.app}, which restarts"
        put = PlannedStep(title="Put the image in place", detail=f"{self.target} on {where}, instead of {self.before}")
        if self.slot is None:
            return [put, verify]
        probe = PlannedStep(
            title="Probe the new image",
            detail=f"slot '{self.slot}' answers as {self.target.name} without errors; else {self.before} comes back",
            changes=False,
        )
        swap = PlannedStep(
            title="Swap slots",
            detail=f"slot '{self.slot}' becomes production; {self.serving} goes on running in '{self.slot}'",
        )
        return [put, probe, swap, verify]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        return [
            ("App", f"{self.app} in {self.resource_group}" + (f", slot '{self.slot}'" if self.slot else ", no slots")),
            ("Production now", str(self.serving)),
            *([("The slot now", str(self.holds))] if self.holds else []),
            ("Comes into production", str(self.target)),
            ("The image", self.evidence),
            *_schema_fact(self.schema_fit, self.target),
        ]

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        return f"{self.environment} serves {self.target.name}"


class RedeployPlan(ImagePlan):
    """Bring a named release back by its image."""


class DeployPlan(ImagePlan):
    """Bring a new release into production, watched, with the way back open."""

    success: ClassVar[EndState] = EndState.DEPLOYED
    unproven: ClassVar[EndState] = EndState.DEPLOYED_NOT_VERIFIED

    watch_minutes: float

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        steps = super().steps()
        if self.already_there:
            return steps
        watch = PlannedStep(
            title="Watch production",
            detail=f"error rate and probes for {self.watch_minutes:g} min; if it turns bad, {self.serving} comes back",
            changes=False,
        )
        return [*steps, watch]
