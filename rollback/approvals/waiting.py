"""When it is enough: the approvals that a plan has, those that it needs, and which of those that are offered count."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from rollback.approvals.policy import SHORT_HASH, Need, Requirement
from rollback.approvals.records import Approval, ApprovalBooks, ApprovalRecord
from rollback.approvals.tokens import Identity, TokenVerifier
from rollback.errors import ApprovalExpired, ApprovalRefused
from rollback.models import now
from rollback.plans import Plan


class Waiting:
    """One plan's approval, while it is waited for. `tell` gets each thing that happens, in words."""

    def __init__(
        self,
        plan: Plan,
        run: str,
        requirement: Requirement,
        books: ApprovalBooks,
        record: ApprovalRecord,
        *,
        verifier: TokenVerifier | None,
        starter: Identity | None,
        tell: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.run = run
        self.requirement = requirement
        self.until: datetime = now() + requirement.rule.lifetime
        self.approvals: list[Approval] = []
        self._enough = asyncio.Event()
        self._books = books
        self._record = record
        self._verifier = verifier
        self._starter = starter
        self._tell = tell

    @property
    def missing(self) -> int:
        """How many approvals are still needed.

        Where two people are asked for, who started the run is one of them, if that is known.
        """
        rule = self.requirement.rule
        known = 1 if rule.people == 2 and self._starter else 0
        return max(0, rule.people - known - len(self.approvals))

    @property
    def seconds_left(self) -> float:
        """Until it expires."""
        return max(0.0, (self.until - now()).total_seconds())

    def take_kept(self) -> None:
        """Count what an earlier try of this run was given over this very plan, while it holds."""
        kept, broken = self._record.kept(self.plan.hash, self.requirement.rule.lifetime)
        if broken:
            self._tell(f"{broken} kept approvals do not bear our seal: they count for nothing.")
        for each in kept:
            if self._counts(each):
                self.approvals.append(each)
                self._tell(f"Approved before: {each}.")
        self._end_if_enough()

    def _counts(self, approval: Approval) -> bool:
        if self.requirement.rule.needs is Need.SIGNED:
            return approval.how is Need.SIGNED and self._objection(approval.oid) is None
        return True

    def _objection(self, oid: str | None) -> str | None:
        if any(each.oid == oid for each in self.approvals):
            return "You approved this plan already: another person has to."
        if self.requirement.rule.people == 2 and self._starter and self._starter.oid == oid:
            return "You started this run: another person has to approve."
        return None

    async def take_token(self, plan_hash: str, token: str, note: str, via: str) -> str:
        """Count a signed approval, and say what is still missing; raises `ApprovalRefused` with the reason."""
        self._require_open(plan_hash)
        if self._verifier is None:
            raise AssertionError("a token was asked for where none is needed")
        signature = await self._verifier.verify(token)
        # From here on nothing is awaited: meanwhile the time may have run out, or others may have signed.
        self._require_open(plan_hash)
        if objection := self._objection(signature.by.oid):
            raise ApprovalRefused(objection)
        self._books.use(signature.token_id, self.run, plan_hash, signature.until)
        return self._keep(signature.by, note, via)

    def take_click(self, typed_hash: str, note: str, via: str) -> str:
        """Count a click by nobody knows whom; raises `ApprovalRefused` with the reason."""
        if self.requirement.rule.needs is Need.SIGNED:
            raise ApprovalRefused(
                "A click does not approve this plan: nobody would know whose it was.",
                remedy=f"It has to be signed: 'rollback approve {self.run}'.",
            )
        short = typed_hash.strip().lower()
        if len(short) < SHORT_HASH or not self.plan.hash.startswith(short):
            raise ApprovalRefused(
                f"'{typed_hash[:80]}' is not how this plan's hash begins.",
                remedy=f"Read the plan, then type the {SHORT_HASH} digits that it shows.",
            )
        self._require_open(self.plan.hash)
        return self._keep(None, note, via)

    def _require_open(self, plan_hash: str) -> None:
        if not self.missing:
            raise ApprovalRefused(f"Run {self.run} is approved already, and goes on.")
        if not self.seconds_left:
            raise ApprovalRefused(f"The time for approving run {self.run} is over.")
        if plan_hash != self.plan.hash:
            raise ApprovalRefused(
                f"Run {self.run} waits with another plan than the one that was shown.", remedy="Look at it again."
            )

    def _keep(self, by: Identity | None, note: str, via: str) -> str:
        approval = Approval(
            run=self.run,
            plan_hash=self.plan.hash,
            at=now(),
            how=Need.SIGNED if by else Need.CLICK,
            via=via,
            rule=self.requirement.name,
            oid=by.oid if by else None,
            name=by.name if by else None,
            upn=by.upn if by else None,
            note=" ".join(note.split())[:500],
        )
        self._record.keep(approval)
        self.approvals.append(approval)
        rest = f"{self.missing} more person has to approve" if self.missing else "the run goes on"
        self._tell(f"Approved: {approval}; {rest}.")
        self._end_if_enough()
        return f"{approval.who} approved plan {self.plan.hash[:SHORT_HASH]} of run {self.run}; {rest}."

    def _end_if_enough(self) -> None:
        if not self.missing:
            self._enough.set()

    async def until_approved(self) -> None:
        """Return as soon as it is enough; raises `ApprovalExpired`."""
        try:
            async with asyncio.timeout(self.seconds_left):
                await self._enough.wait()
        except TimeoutError as error:
            has = f" It has: {'; '.join(map(str, self.approvals))}." if self.approvals else ""
            raise ApprovalExpired(
                f"The plan was not approved within {self.requirement.rule.expires_after_minutes:g} min "
                f"({self.requirement.words}).{has}",
                remedy="Nothing is done. Start or resume it when somebody is there to approve.",
            ) from error
