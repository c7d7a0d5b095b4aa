"""The approval that a plan needs: by the first rule of the platform file that covers it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal, Self
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from rollback.errors import SettingsInvalid
from rollback.models import Model
from rollback.plans import Plan, Risk

LONGEST_MINUTES = 60
"""For an approval to be waited for, and to hold: the procedure's own time limit goes on running meanwhile."""
SHORT_HASH = 8
"""Digits of the plan's hash that a person types: enough to have read the plan, few enough at night."""


class Need(StrEnum):
    """How a plan is approved."""

    NONE = "none"
    """Not at all: speed matters more."""
    CLICK = "click"
    """By anybody who can reach the run and types the plan's hash; who it was is not known."""
    SIGNED = "signed"
    """By a person of the approvers' group, known by a token of Entra ID."""


class Rule(Model):
    """For which plans it is, and what these need. Names are globs; what is left out covers everything."""

    procedures: tuple[str, ...] = ("*",)
    risks: tuple[Risk, ...] = ("low", "medium", "high")
    environments: tuple[str, ...] = ("*",)
    needs: Need
    people: Literal[1, 2] = 1
    """2: one of them may be who started the run, if that is known; otherwise two have to approve."""
    apps: bool = False
    """Whether an application's signature counts, for instance a pipeline's."""
    expires_after_minutes: float = Field(default=30, gt=0, le=LONGEST_MINUTES)
    """How long an approval is waited for, and how long one holds for a run that is resumed."""

    @model_validator(mode="after")
    def _only_signatures_are_people(self) -> Self:
        if self.needs is not Need.SIGNED and (self.people == 2 or self.apps):
            raise ValueError("people and apps need 'needs = \"signed\"': otherwise nobody knows who it was")
        return self

    def covers(self, plan: Plan) -> bool:
        """Whether it is for this plan."""
        return (
            plan.risk in self.risks
            and any(fnmatchcase(plan.procedure, each) for each in self.procedures)
            and any(fnmatchcase(plan.environment, each) for each in self.environments)
        )

    def of_people(self) -> "Rule":
        """The same, without applications."""
        return self.model_copy(update={"apps": False})

    @property
    def lifetime(self) -> timedelta:
        """How long an approval is waited for, and holds."""
        return timedelta(minutes=self.expires_after_minutes)


# Where no rule matches nothing is known of the environment: it is treated as production, and a click never counts.
UNMATCHED: dict[Risk, Rule] = {
    "low": Rule(needs=Need.NONE),
    "medium": Rule(needs=Need.SIGNED),
    "high": Rule(needs=Need.SIGNED, people=2),
}


@dataclass(frozen=True)
class Requirement:
    """What one plan needs, and by which rule."""

    rule: Rule
    name: str
    """`rule 2`, as counted in the platform file."""

    @property
    def words(self) -> str:
        """What is needed, for people."""
        match self.rule.needs:
            case Need.NONE:
                return f"not needed, by {self.name}"
            case Need.CLICK:
                return f"somebody types the plan's hash, by {self.name}"
            case Need.SIGNED:
                who = "two people" if self.rule.people == 2 else "one person"
                return f"signed by {who} of the approvers' group, by {self.name}"


@dataclass(frozen=True)
class Signers:
    """Whose signatures count: all of it must be told by the platform file."""

    audience: str
    group: str
    tenant_id: str

    @property
    def authority(self) -> str:
        """The tenant's address at Entra ID."""
        return f"https://login.microsoftonline.com/{self.tenant_id}"

    @property
    def issuer(self) -> str:
        """Who issues its version 2 tokens."""
        return f"{self.authority}/v2.0"

    @property
    def scope(self) -> str:
        """What to ask Entra ID for."""
        return f"{self.audience}/.default"


class Policy(Model):
    """Which plans need whose approval."""

    audience: str = ""
    """The app registration that approval tokens are for, exactly as they carry it in `aud`."""
    group: UUID | None = None
    """Object id of the approvers' group in Entra ID."""
    tenant_id: str = ""
    """Default: AZURE_TENANT_ID."""
    rules: tuple[Rule, ...] = ()

    @field_validator("audience")
    @classmethod
    def _without_scope(cls, audience: str) -> str:
        if audience.endswith(("/", "/.default")):
            raise ValueError("must be the bare audience, without '/' or '/.default' at its end")
        return audience

    @model_validator(mode="after")
    def _signatures_can_be_checked(self) -> Self:
        if any(rule.needs is Need.SIGNED for rule in self.rules) and not (self.audience and self.group):
            raise ValueError("a rule asks for signed approvals: audience and group must be set")
        return self

    def requirement(self, plan: Plan) -> Requirement:
        """What a plan needs. One that needs a person is never left to nobody, or to an application."""
        for number, rule in enumerate(self.rules, start=1):
            if rule.covers(plan) and not (plan.needs_person and rule.needs is Need.NONE):
                return Requirement(rule.of_people() if plan.needs_person else rule, f"rule {number}")
        return Requirement(UNMATCHED[plan.risk], f"the default for risk {plan.risk}: no rule covers it")

    def signers(self) -> Signers:
        """Whose signatures count; raises `SettingsInvalid` naming the field that is not set."""
        for name, value in (("audience", self.audience), ("group", self.group), ("tenant_id", self.tenant_id)):
            if not value:
                raise SettingsInvalid(
                    f"The plan needs a signed approval, and approval.{name} is not set.",
                    remedy="Set it in the platform file; nothing was touched.",
                )
        try:
            tenant = str(UUID(self.tenant_id))
        except ValueError as error:
            raise SettingsInvalid(
                "approval.tenant_id (or AZURE_TENANT_ID) is not the tenant's id.",
                remedy="Give its GUID: a token carries the id, never the domain's name.",
            ) from error
        return Signers(audience=self.audience, group=str(self.group), tenant_id=tenant)
