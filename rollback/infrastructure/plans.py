"""The plan of rolling infrastructure back: which template, and what Azure says that it would change."""

from datetime import datetime
from typing import Any, ClassVar

from rollback.infrastructure.what_if import UNEVALUATED, WRITTEN, ChangeKind, PropertyChange, ResourceChange
from rollback.models import Model
from rollback.plans import Difference, Plan, PlannedStep, Risk

ARCHIVE, DEPLOY, VERIFY = "Archive what is replaced", "Deploy the template", "Verify the infrastructure"
MOST_NAMED = 8


class Left(Model):
    """A resource that incremental mode leaves where it is, though the template does not have it."""

    id: str
    type: str
    name: str
    seen: bool
    """Whether Azure shows that it is there."""


class RollBackInfrastructurePlan(Plan):
    """Deploy the template of an earlier release again, incrementally."""

    rated: ClassVar[Risk] = "medium"

    release: str = ""
    """The tag or commit that was asked for."""
    archived: str = ""
    """Or the run whose replaced template is deployed again."""
    commit: str = ""
    origin: str
    """Where the template is from, for people."""
    where: str
    """The scope, for people."""
    name: str
    """The ARM deployment's, of this run alone."""
    template_digest: str
    parameters: dict[str, str]
    """For people, without secrets."""
    parameters_digest: str
    """Keyed: over all parameters, secrets included."""
    changes: tuple[ResourceChange, ...]
    replaced: str = ""
    """The ARM deployment that is replaced; empty where Azure's history has none."""
    replaced_at: datetime | None = None
    left: tuple[Left, ...] = ()
    database: tuple[str, ...] = ()
    """What was checked of the database that the app uses."""

    def binding(self) -> dict[str, Any]:
        """Targets and facts: of the what-if all but its noise, and but resources that the template does not have."""
        bound = super().binding()
        bound["changes"] = [each.binding() for each in self.changes if each.kind in WRITTEN or each.is_skipped]
        return bound

    @property
    def risk(self) -> Risk:
        """High where anything that Azure says is."""
        return "high" if any(each.is_high for each in self.changes) else self.rated

    @property
    def counting(self) -> tuple[ResourceChange, ...]:
        """The resources that change, noise apart; those of high risk first."""
        return tuple(each for each in self.changes if each.counts)

    @property
    def target(self) -> str:
        """What is deployed, for people."""
        return f"{self.release} (commit {self.commit[:12]})" if self.release else f"what run {self.archived} archived"

    @property
    def title(self) -> str:
        """What it does, in one line."""
        if self.already_there:
            return f"{self.environment}'s infrastructure is as {self.target} says: nothing to deploy"
        return f"{self.environment}'s infrastructure back to {self.target}: {self._amount}"

    @property
    def _amount(self) -> str:
        high = sum(each.is_high for each in self.counting)
        count = len(self.counting)
        return f"{count} resource{'' if count == 1 else 's'} changed{f', {high} of high risk' if high else ''}"

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        return f"{self.environment}'s infrastructure is as {self.target} says"

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference."""
        return 900.0

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        verifying = PlannedStep(
            title=VERIFY,
            detail="what-if once more, in which nothing may be left; each resource's state; the app's health",
            changes=False,
        )
        if self.already_there:
            return [verifying]
        kept = f"the template of '{self.replaced}' and its parameters" if self.replaced else "nothing: there is none"
        return [
            PlannedStep(title=ARCHIVE, detail=f"{kept}, in the run's folder", changes=False),
            PlannedStep(
                title=DEPLOY,
                detail=f"{self.origin} to {self.where} as '{self.name}', incrementally, if what-if says the same again",
            ),
            verifying,
        ]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        replaced = f"{self.replaced}, of {self.replaced_at:%Y-%m-%d %H:%M:%S} UTC" if self.replaced_at else "unknown"
        return [
            ("Target", self.target),
            ("Template", f"{self.origin}, {self.template_digest[:12]}"),
            ("Deployed to", self.where),
            ("As", self.name),
            ("Replaces", replaced),
            ("Changes", self._amount),
            ("Parameters", "; ".join(f"{name} = {value}" for name, value in self.parameters.items()) or "none"),
            ("Database", "; ".join(self.database) or "not checked"),
            ("Not evaluated by Azure", _named(self.unevaluated) or "nothing"),
            ("Stays, though not in it", "; ".join(f"{each.type} {each.name}" for each in self.left) or self._no_left),
        ]

    @property
    def _no_left(self) -> str:
        hiding = [f"'{each.name}'" for each in self.changes if each.hides]
        return f"not known: Azure did not look into {', '.join(hiding)}" if hiding else "nothing"

    @property
    def unevaluated(self) -> tuple[ResourceChange, ...]:
        """What Azure did not look into: it may change, or stay as it is."""
        return tuple(each for each in self.changes if each.kind in UNEVALUATED or each.is_open)

    def differences(self) -> tuple[Difference, ...]:
        """The what-if, property by property: high risk first, noise last."""
        rows = [row for each in self.changes if each.kind is not ChangeKind.NO_CHANGE for row in _rows(each)]
        return tuple(sorted(rows, key=lambda row: (bool(row.noise), not row.high)))

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        stays = [
            f"{each.type} '{each.name}' stays{'' if each.seen else ', if it is still there'}: incremental mode deletes "
            f"nothing. Where nobody uses it: az resource delete --ids {each.id}"
            for each in self.left
        ]
        undo = [
            f"To undo this: roll-back-infrastructure with archived {self.name.rpartition('-')[2]}, this run's name."
        ]
        unknown = [f"What stays, though the template does not have it, is {self._no_left}."]
        return (
            *stays,
            *(unknown if any(each.hides for each in self.changes) else []),
            *(undo if self.replaced else []),
            "The next deployment from the main branch brings the later template back: revert it there.",
        )

    def after_part(self) -> tuple[str, ...]:
        """All of that: what is replaced was archived before anything was deployed."""
        return self.afterwards()


def _named(changes: tuple[ResourceChange, ...]) -> str:
    told = [f"{each.type} {each.name} ({each.kind.value}{_untold(each)})" for each in changes]
    more = f"; and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return "; ".join(told[:MOST_NAMED]) + more


def _untold(change: ResourceChange) -> str:
    """Why, or what, Azure did not evaluate of it."""
    why = change.why or ", ".join(each.path for each in change.properties if each.is_open)
    return f": {why}" if why else ""


def _rows(change: ResourceChange) -> list[Difference]:
    perhaps = ": perhaps" if change.potential else ""
    resource, kind = f"{change.type} {change.name}", f"{change.kind.value}{perhaps}"
    if change.kind is ChangeKind.MODIFY and change.properties:
        return [_row(resource, each, perhaps) for each in change.properties]
    noise = ""
    if change.kind in UNEVALUATED:
        kind = f"{kind}: not evaluated"
        noise = "" if change.is_skipped else "it is not in the template"
    return [Difference(resource=resource, change=kind, after=change.why, high=change.high, noise=noise)]


def _row(resource: str, own: PropertyChange, perhaps: str) -> Difference:
    return Difference(
        resource=resource,
        change=f"{own.kind}{perhaps}{': evaluated only when it is deployed' if own.is_open else ''}",
        path=own.path,
        before=own.before.text if own.before else "",
        after=own.after.text if own.after else "",
        high=own.high,
        noise=own.noise,
    )
