"""Whether a release can use the database as it is, by the release manifest; and if not, what would help.

Knows neither databases nor Azure: it compares what the manifest says with the revision that was read.
"""

from enum import StrEnum

from rollback.errors import PlanIsStale, TargetUnfit
from rollback.models import Model
from rollback.releases import Build, Manifest


class Fit(StrEnum):
    """What is known of a release and a schema."""

    FITS = "fits"
    UNFIT = "does not fit"
    UNKNOWN = "unknown"


class Current(Model):
    """Where a database is in alembic's history."""

    revisions: tuple[str, ...] | None = None
    """Usually one; several where branches were never merged, none where alembic was never there. None: not known."""
    unread: str = ""
    """Why it is not known."""

    def __str__(self) -> str:
        if self.revisions is None:
            return f"where the database is could not be read: {self.unread.rstrip('.')}"
        return f"the database is at {' and '.join(self.revisions) or 'no revision'}"


class SchemaFit(Model):
    """The fact that a plan rests on: where the database was, and what the target runs on."""

    fit: Fit
    revisions: tuple[str, ...] | None
    """Those of the database; None: they could not be read."""
    usable: tuple[str, ...]
    """The revisions that the target is said to run on, oldest first; empty where the manifest does not say."""

    def describe(self, target: Build) -> str:
        """The fact, for people."""
        if self.revisions is None or not self.usable:
            return "unknown"
        at = " and ".join(self.revisions) or "no revision"
        return f"the database is at {at}; {target.name} runs on {span(self.usable)}" + (
            ", whether on that is unknown" if self.fit is Fit.UNKNOWN else ""
        )


class Judgement(Model):
    """Whether the target can use the database, why, and what would help."""

    fact: SchemaFit
    why: str
    remedy: str = ""

    def require(self) -> SchemaFit:
        """The fact; raises `TargetUnfit` where the target is known not to run on the schema."""
        if self.fact.fit is Fit.UNFIT:
            raise TargetUnfit(self.why, remedy=self.remedy)
        return self.fact

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person has to decide, where it is not known."""
        return (f"Schema: unknown: {self.why}",) if self.fact.fit is Fit.UNKNOWN else ()


def judge(manifest: Manifest, environment: str, serving: Build, target: Build, current: Current) -> Judgement:
    """Whether the target's build can use the database as it is."""
    release = manifest.releases.get(target.release or "")
    usable = release.usable if release else ()
    unknown = SchemaFit(fit=Fit.UNKNOWN, revisions=current.revisions, usable=usable)
    if release is None:
        return Judgement(fact=unknown, why=f"the release manifest does not know {target}.")
    if not usable:
        return Judgement(fact=unknown, why=f"the release manifest does not say on which schemas {target.name} runs.")
    if current.revisions is None or len(current.revisions) != 1:
        return Judgement(fact=unknown, why=f"{current}; {target.name} runs on {span(usable)}.")
    revision = current.revisions[0]
    if revision in usable:
        return Judgement(fact=unknown.model_copy(update={"fit": Fit.FITS}), why=f"{target.name} runs on {revision}.")
    is_newer = _is_newer(manifest, revision, usable)
    if is_newer is None:
        why = f"{current}, of which no release tells whether it is before or after {span(usable)} of {target.name}."
        return Judgement(fact=unknown, why=why)
    return Judgement(
        fact=unknown.model_copy(update={"fit": Fit.UNFIT}),
        why=f"The database is at {revision}; {target.name} runs on {span(usable)}.",
        remedy=_remedy(manifest, environment, serving, target, revision, is_newer=is_newer),
    )


def check_still_holds(planned: SchemaFit, now: Judgement) -> str:
    """Make sure that the fact of a plan is still true; raises `PlanIsStale`. Returns what is not known, in words.

    A database that can no longer be read does not stop a rollback: nothing shows that it moved.
    """
    found = now.fact
    if found.revisions is None:
        return f"The schema could not be read again. {now.why}"
    learned = planned.revisions is None and found.fit is not Fit.UNFIT
    if found == planned or learned:
        return ""
    was = " and ".join(planned.revisions or ()) or "at an unknown revision"
    raise PlanIsStale(f"The schema is not as planned ({was}): {now.why}", remedy="Nothing was touched. Plan again.")


def span(revisions: tuple[str, ...]) -> str:
    """Revisions in their order, for people: the first to the last."""
    return revisions[0] if len(revisions) == 1 else f"{revisions[0]} to {revisions[-1]}"


def _is_newer(manifest: Manifest, revision: str, usable: tuple[str, ...]) -> bool | None:
    """Whether a revision comes after those, as every release that knows both says; none where they do not say."""
    said: set[bool | None] = set()
    for chain in (each.schemas for each in manifest.releases.values()):
        places = [chain.index(each) for each in usable if each in chain]
        if revision in chain and places:
            at = chain.index(revision)
            said.add(True if at > max(places) else False if at < min(places) else None)
    return said.pop() if len(said) == 1 else None


def _remedy(
    manifest: Manifest, environment: str, serving: Build, target: Build, revision: str, *, is_newer: bool
) -> str:
    """What to do first, in an order in which every release always runs on the schema that is there, if there is one."""
    usable = manifest.releases[target.release or ""].usable
    running = manifest.releases.get(serving.release or "")
    runs_on = running.usable if running else ()
    shared = tuple(each for each in usable if each in runs_on)
    goal = (shared or usable)[-1 if is_newer else 0]
    command = f"rollback run downgrade-database -e {environment} --target {goal}"
    migrate = f"run '{command}'" if is_newer else f"migrate the database up to {goal}"
    if shared:
        order = f"{migrate} first: {serving.name}, which serves now, runs on it too. Then start this again."
    elif runs_on:
        order = (
            f"there is no order without downtime, {serving.name}, which serves now, does not run on {goal}. Stop the "
            f"app or put it into maintenance, {migrate}, then start this again."
        )
    else:
        order = (
            f"whether {serving.name}, which serves now, runs on {goal} is not known. If it does not, stop the app or "
            f"put it into maintenance; {migrate}, then start this again."
        )
    others = sorted(
        name
        for name, each in manifest.releases.items()
        if revision in each.usable and name not in {serving.release, target.release}
    )
    without = f" Without a migration: {', '.join(others)}." if others else ""
    return order[0].upper() + order[1:] + without
