"""One resource, brought back by one PATCH, whatever happens to the request.

What others change meanwhile is reported, not fought.
"""

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.errors import NotVerified, OperationInProgress, PlanIsStale, RollbackError, SomebodyElseChanged, Transient
from rollback.journal import Event
from rollback.resources.archives import Archived, replaced_by
from rollback.resources.by_id import MovedMeanwhile, Resources, Shown
from rollback.resources.diff import comparable, differences
from rollback.resources.patching import with_tags
from rollback.resources.revert_plans import RevertResourcePlan
from rollback.resources.secrets import Tree, without_secrets

WITHIN_SECONDS = 900.0
MOST_TOLD = 5


class Reverter:
    """Carries out one plan."""

    def __init__(self, run: Run, resources: Resources, plan: RevertResourcePlan, settle_seconds: float) -> None:
        self._run = run
        self._resources = resources
        self._plan = plan
        self._settle_seconds = settle_seconds
        self._shown: Shown | None = None

    @property
    def change(self) -> str:
        """The change's name in the journal."""
        return f"{self._plan.resource.short} as in {self._plan.then}"

    async def revert(self) -> None:
        """Bring it about; on return the resource has what the plan brings back."""
        plan = self._plan
        await self._keep_replaced()
        change = Change(
            name=self.change,
            doing=f"Patching {plan.resource.short}: {'; '.join(each.words for each in plan.changes)}.",
            done=f"{plan.resource.short} has {'; '.join(each.place for each in plan.changes)} as in {plan.then}.",
            is_done=self._is_done,
            send=self._send,
        )
        if not await converge(self._run, change, WITHIN_SECONDS, self._settle_seconds):
            self._run.note(f"{plan.resource.short} is as in {plan.then} already.")

    async def verify(self) -> None:
        """Read it again: nothing of the plan is missing, and Azure calls it done; raises `NotVerified`."""
        run, plan = self._run, self._plan
        shown = await self._resources.get(plan.resource, plan.api_version)
        now = self._configuration(shown)
        problems = [f"{each.words} is still to come back" for each in plan.missing(now)]
        if shown.provisioning_state.lower() not in {"", "succeeded"}:
            problems.append(f"Azure calls it {shown.provisioning_state}")
        if problems:
            raise NotVerified(
                f"{plan.resource.short}: {'; '.join(problems[:MOST_TOLD])}.", remedy="Look at it in the portal."
            )
        if shown.awaits_restart:
            server = plan.resource.root.parts[0][1]
            raise NotVerified(
                f"{plan.resource.short} is set and does not hold yet: the server has to restart.",
                remedy=f"Restart it when its users can do without: az postgres flexible-server restart -g "
                f"{plan.resource.group} -n {server}. Then run this again.",
            )
        planned = {each.path for each in plan.changes}
        beside = [each for each in differences(plan.before, now, partial=False) if each.path not in planned]
        if beside and not plan.already_there:
            run.note(f"Changed with it: {'; '.join(each.words for each in beside[:MOST_TOLD])}.")
        run.evidence = [f"{plan.resource.short} was read again: {len(plan.changes)} properties are as in {plan.then}"]

    async def describe(self) -> str:
        """How it is, for people."""
        missing = self._plan.missing(self._configuration(await self._resources.get(self._plan.resource)))
        left = f"{len(missing)} of {len(self._plan.changes)} properties are still to come back" if missing else ""
        return f"{self._plan.resource.short}: {left or f'as in {self._plan.then}'}"

    def _configuration(self, shown: Shown) -> Tree:
        return comparable(self._plan.resource.type, shown.content)

    async def _is_done(self) -> bool:
        plan = self._plan
        self._shown = shown = await self._resources.get(plan.resource, plan.api_version)
        now = self._configuration(shown)
        if shown.moving:
            raise _moving(shown, sent=self._is_open)
        if plan.reached(now):
            return True
        drift = differences(plan.before, now, partial=False)
        if not drift:
            return False
        told = "; ".join(each.words for each in drift[:MOST_TOLD])
        if self._is_open:
            raise SomebodyElseChanged(
                f"{plan.resource.short} is neither as it was nor as it is to be: {told}.",
                remedy="Nothing more is sent. Find out who it was, then plan again.",
            )
        raise PlanIsStale(
            f"{plan.resource.short} was changed since the plan was made: {told}.",
            remedy="Nothing was touched. Plan again.",
        )

    @property
    def _is_open(self) -> bool:
        return self.change in self._run.journal.open_changes()

    async def _send(self) -> None:
        shown = self._shown
        if shown is None:
            raise AssertionError("a change is sent before it was looked whether it is needed")
        body = with_tags(self._plan.body, self._plan.changes, shown.content.get("tags"))
        try:
            await self._resources.patch(shown, body)
        except MovedMeanwhile as moved:
            # Azure did nothing with this request; an earlier one of ours may have had its effect.
            found = await self._resources.get(self._plan.resource, self._plan.api_version)
            if not self._plan.reached(self._configuration(found)):
                self._run.journal.write(Event.NO_EFFECT, change=self.change, text=f"Not done: {moved.message}")
            raise

    async def _keep_replaced(self) -> None:
        """Archive what is about to be replaced, once, so that this can be undone."""
        plan, run = self._plan, self._run
        shown = await self._resources.get(plan.resource, plan.api_version)
        content = without_secrets(plan.resource.type, shown.content)
        kept = Archived(id=str(plan.resource), type=plan.resource.type, api_version=plan.api_version, content=content)
        name = replaced_by(run.header.run, plan.made_at)
        run.store.archives(plan.environment).keep(name, plan.made_at, run.header.run, [kept], {})
        run.note(f"What it is now is kept as archive {name}: to undo this, name it with --archive.")


def _moving(shown: Shown, *, sent: bool) -> RollbackError:
    told = f"Azure changes {shown.id.short} ({shown.provisioning_state})."
    return Transient(told) if sent else OperationInProgress(told, remedy="Wait for it to end, then try again.")
