"""Which build the slot holds, and whether it may be put into production: the plan of a rollback by swap.

Only reads. Whatever speaks against the swap is refused here, with what is known and what to do, before anything is
touched.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from rollback import compatibility
from rollback.app_service import AppService
from rollback.backend_plans import SwapPlan
from rollback.compatibility import Current
from rollback.errors import OperationInProgress, SlotUnhealthy, TargetUnfit, TargetUnknown
from rollback.permissions import ACTIONS
from rollback.releases import Manifest
from rollback.served import TAG_BAD_DIGEST, TAG_PREVIOUS_DIGEST, TAG_SINCE, ServedRecord, Verdict
from rollback.slots import PRODUCTION, Slot

PROCEDURE = "roll-back-backend"
SWAP_TAIL = timedelta(minutes=10)
"""A swap itself modifies both slots, and Azure's last modification may be stamped somewhat after the swap."""


class SwapPlanner:
    """Plans one environment's rollback by swap; `read_schema` gives what was read meanwhile of its database."""

    def __init__(
        self,
        app: AppService,
        record: ServedRecord,
        manifest: Manifest,
        read_schema: Callable[[], Awaitable[Current]],
    ) -> None:
        self._app = app
        self._record = record
        self._manifest = manifest
        self._read_schema = read_schema

    async def plan(self, environment: str, resource_group: str, release: str | None, reason: str) -> SwapPlan:
        """The plan; raises a `Refused` that says why not."""
        named_digest = self._manifest.digest_of(release) if release else None
        await self._app.check_permissions(ACTIONS[PROCEDURE])
        production, slot = await self._app.get_pair()
        already_there = named_digest is not None and production.build.digest == named_digest
        evidence, schema_fit, warnings = "named, and in production already", None, ()
        if not already_there:
            check_at_rest(production, slot)
            self._check_build(production, slot, release, named_digest)
            evidence = await self._find_evidence(production, slot, release)
            warnings = await self._warnings(production, slot, release)
            schema = await self._read_schema()
            judged = compatibility.judge(self._manifest, environment, production.build, slot.build, schema)
            schema_fit, warnings = judged.require(), (*judged.warnings, *warnings)
        return SwapPlan(
            procedure=PROCEDURE,
            environment=environment,
            reason=reason,
            resource_group=resource_group,
            app=self._app.name,
            slot=slot.name,
            serving=production.build,
            target=production.build if already_there else slot.build,
            evidence=evidence,
            last_swap_at=production.last_swap.at if production.last_swap else None,
            slot_modified_at=slot.last_modified,
            ramp_up=() if already_there else production.ramp_up,
            schema_fit=schema_fit,
            already_there=already_there,
            warnings=warnings,
        )

    def _check_build(self, production: Slot, slot: Slot, release: str | None, named_digest: str | None) -> None:
        for each in (production, slot):
            if each.build.digest is None:
                raise TargetUnknown(
                    f"Which build {describe(each)} runs is not known: {each.build.image} is not pinned by digest.",
                    remedy="Deploy images by digest, or name the tag's digest in the release manifest.",
                )
        if slot.build.digest == production.build.digest:
            raise TargetUnfit(
                f"{describe(slot)} runs the same build as production: {slot.build}.",
                remedy="A swap would change nothing for users.",
            )
        if named_digest and slot.build.digest != named_digest:
            raise TargetUnfit(
                f"{describe(slot)} runs {slot.build}, not {release}.",
                remedy=f"A swap cannot bring {release} back; it has to be redeployed.",
            )
        known = self._record.latest(slot.build.digest)
        if known and known.verdict is Verdict.BAD:
            raise TargetUnfit(
                f"{describe(slot)} runs {slot.build}, the bad build that users were taken off at "
                f"{known.at:%Y-%m-%d %H:%M} UTC (run {known.run}).",
                remedy="Swapping would bring it back. Deploy a mended release instead.",
            )
        if slot.build.digest == production.tags.get(TAG_BAD_DIGEST):
            raise TargetUnfit(
                f"{describe(slot)} runs {slot.build}, the bad build that users were taken off; the app's tags say so.",
                remedy="Swapping would bring it back. Deploy a mended release instead.",
            )

    async def _find_evidence(self, production: Slot, slot: Slot, release: str | None) -> str:
        if release:
            return "named by the operator"
        known = self._record.latest(slot.build.digest)
        if known:
            seen = f"{known.at:%Y-%m-%d %H:%M} UTC (run {known.run})"
            return f"our record: it served {known.environment}, seen good at {seen}"
        if slot.build.digest == production.tags.get(TAG_PREVIOUS_DIGEST):
            return f"the app's own tags: it served production until {production.tags.get(TAG_SINCE, 'a time unknown')}"
        swap = production.last_swap
        if swap is None:
            raise TargetUnknown(
                f"No build is known to have served production before: our record knows none, Azure tells no swap. "
                f"{describe(slot)} runs {slot.build}.",
                remedy="If that is the release you want, name it with --release.",
            )
        deployed = await self._app.list_deployments_since(slot.name, swap.at)
        changed = slot.last_modified if slot.last_modified and slot.last_modified > swap.at + SWAP_TAIL else None
        if deployed or changed:
            raise TargetUnknown(
                f"{describe(slot)} was redeployed at {(deployed[0] if deployed else changed):%Y-%m-%d %H:%M} UTC, "
                f"after the last swap at {swap.at:%Y-%m-%d %H:%M} UTC: its build {slot.build} is not known to have "
                "served production.",
                remedy="If that is the release you want, name it with --release.",
            )
        at = f"{swap.at:%Y-%m-%d %H:%M} UTC"
        return f"Azure's last swap took it out of production into '{slot.name}' at {at}; not deployed since"

    async def _warnings(self, production: Slot, slot: Slot, release: str | None) -> tuple[str, ...]:
        warnings = [f"After the swap the bad build {production.build} goes on running in slot '{slot.name}'."]
        if differing := await self._app.list_sticky_settings_that_differ():
            warnings.append(f"Settings that stay with their slot and differ: {', '.join(differing)}.")
        warnings += [
            f"Auto-swap is on: the next deployment to '{each.name}' goes to '{each.auto_swap_to}' by itself."
            for each in (production, slot)
            if each.auto_swap_to
        ]
        swap = production.last_swap
        if release and swap and slot.last_modified and slot.last_modified > swap.at + SWAP_TAIL:
            warnings.append(
                f"Slot '{slot.name}' was modified at {slot.last_modified:%Y-%m-%d %H:%M} UTC, after its last swap."
            )
        return tuple(warnings)


def check_at_rest(production: Slot, slot: Slot) -> None:
    """Refuse slots on which something is going on, and a slot that does not run."""
    for each in (production, slot):
        if each.operation_in_progress:
            raise OperationInProgress(
                f"Operation {each.operation_in_progress} is in progress on {describe(each)}.",
                remedy="Wait until it has ended, then plan again.",
            )
        if each.unfinished_swap_with:
            raise OperationInProgress(
                f"{describe(each)} has an unfinished swap with '{each.unfinished_swap_with}' (with preview).",
                remedy="Complete or cancel it: az webapp deployment slot swap --action swap|reset.",
            )
    if slot.state != "Running":
        raise TargetUnfit(
            f"{describe(slot)} is {slot.state.lower()}: a swap would take production down.",
            remedy=f"Start it first: az webapp start --slot {slot.name}.",
        )


def check_slot_answers(slot: str, problems: tuple[str, ...]) -> None:
    """Refuse a slot whose answers show problems."""
    if problems:
        raise SlotUnhealthy(
            f"Slot '{slot}' does not answer as it must: {'; '.join(problems)}.",
            remedy="Swapping it in would not help users. Look at its log, or redeploy a good release.",
        )


def describe(slot: Slot) -> str:
    """A slot in the words of a message's beginning."""
    return "Production" if slot.name == PRODUCTION else f"Slot '{slot.name}'"
