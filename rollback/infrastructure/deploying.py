"""One template, deployed once, whatever happens to the request: the deployment's name is the run's own.

Whether it was sent is asked of Azure by that name. A try that Azure ended as failed keeps its name and its history; a
resumed run sends the next one, which converges: it is the same template, incrementally.
"""

import asyncio
from collections.abc import Iterable

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.errors import DeploymentFailed, PlanIsStale, SomebodyElseChanged, Transient
from rollback.infrastructure.deployments import NESTED, ArmDeployment, Deployments, Operation
from rollback.infrastructure.planning import InfrastructurePlanner, Target
from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.infrastructure.what_if import ResourceChange, name_of, type_of
from rollback.journal import Event

FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 10.0
MOST_TRIES = 20
"""Deployments of one run, before we give up counting."""
MOST_TOLD = 3
SUCCEEDED, FAILED = "Succeeded", "Failed"


class Deployer:
    """Carries out a plan."""

    def __init__(self, run: Run, plan: RollBackInfrastructurePlan, client: Deployments) -> None:
        self._run = run
        self._plan = plan
        self._client = client
        self._settings = run.settings.infrastructure(plan.environment)
        self._told: set[tuple[str, str]] = set()

    async def deploy(self) -> None:
        """Bring it about; on return Azure says that all of it is deployed.

        Raises `PlanIsStale` or what refuses before anything is sent, `DeploymentFailed` with every failure,
        `OutcomeUnknown` where its end was not seen in time.
        """
        name, before = await self._find_try()
        target = await self._check_again() if before is None else None
        change = Change(
            name=f"deployment {name}",
            doing=f"Deploying {self._plan.target} to {self._plan.where} as '{name}'.",
            done=f"Azure deployed {self._plan.target} as '{name}'.",
            is_done=lambda: self._is_done(name),
            send=lambda: self._send(name, target),
        )
        clock = asyncio.get_running_loop().time
        started = clock()
        if not await converge(self._run, change, self._settings.deploy_timeout_seconds, self._settings.settle_seconds):
            self._run.note(f"'{name}' is deployed already.")
        self._run.azure_seconds = clock() - started

    async def describe(self) -> str:
        """What Azure says of it now, for people."""
        name, there = await self._find_try()
        return f"deployment '{name}' is {there.state.lower()}" if there else f"there is no deployment '{name}'"

    async def _find_try(self) -> tuple[str, ArmDeployment | None]:
        """The name of the try that is to be made or gone on with, and what Azure knows of it."""
        for number in range(1, MOST_TRIES + 1):
            name = self._plan.name if number == 1 else f"{self._plan.name}-{number}"
            there = await self._client.find(name)
            if there is None or there.succeeded or not there.ended:
                return name, there
            await self._keep_failure(name, there)
        raise DeploymentFailed(
            f"{MOST_TRIES} deployments of this run failed.", remedy="Look at them in the portal, then plan again."
        )

    async def _check_again(self) -> Target:
        """Read and ask everything again: what is sent is what was approved, and nobody else deploys.

        Raises `PlanIsStale` or `OperationInProgress` where it is not so.
        """
        plan = self._plan
        planner = InfrastructurePlanner(self._run)
        target = await planner.read_target(plan.release and plan.commit, plan.archived)
        if target.template.digest != plan.template_digest or target.parameters_digest != plan.parameters_digest:
            what = "template" if target.template.digest != plan.template_digest else "parameters"
            raise PlanIsStale(
                f"The {what} of {plan.target} are not what they were when the plan was made.",
                remedy="Nothing more was sent. Plan again.",
            )
        foreseen = await planner.foresee(target)
        self._compare(foreseen.changes, partly=self._was_begun)
        self._client.require_idle(await self._client.list_named(self._settings.deployment))
        return target

    @property
    def _was_begun(self) -> bool:
        """Whether an earlier try of this run sent something."""
        return any(each.event is Event.SENDING for each in self._run.journal.entries)

    def _compare(self, changes: Iterable[ResourceChange], *, partly: bool) -> None:
        """Raise `PlanIsStale` where what-if says something else; what a try of ours did already may be missing."""
        planned, found = _bound(self._plan.changes), _bound(changes)
        new = sorted(found - planned)
        gone = [] if partly else sorted(planned - found)
        if new or gone:
            told = [f"{each} is new" for each in _names(new)] + [f"{each} is gone" for each in _names(gone)]
            more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
            raise PlanIsStale(
                f"What-if says something else than when the plan was made: {'; '.join(told[:MOST_TOLD])}{more}.",
                remedy="Nothing more was sent. Find out who changed it, then plan again.",
            )

    async def _send(self, name: str, target: Target | None) -> None:
        if target is None:
            raise SomebodyElseChanged(
                f"Deployment '{name}' was there and is no more.", remedy="Nothing more was sent. Resume this run."
            )
        await self._client.send(name, target.template.body, target.parameters.given, self._run.header.run)
        await self._follow(name)

    async def _is_done(self, name: str) -> bool:
        there = await self._client.find(name)
        if there is not None and not there.ended:
            there = await self._follow(name)
        if there is None:
            return False
        if there.succeeded:
            return True
        raise await self._keep_failure(name, there)

    async def _follow(self, name: str) -> ArmDeployment | None:
        """Watch it to its end, telling each resource as Azure ends it."""
        pause = FIRST_POLL_SECONDS
        while True:
            try:
                there = await self._client.find(name)
                self._tell(await self._client.list_operations(name) if there else [])
            except Transient as error:
                self._run.note(f"Azure deploys, and its word is not had: {error.message}")
            else:
                if there is None or there.ended:
                    return there
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_POLL_SECONDS)

    def _tell(self, operations: list[Operation]) -> None:
        """Each resource once: what is deployed stays so, whatever becomes of the rest."""
        confirmed = self._run.journal.confirmed_changes()
        for each in operations:
            told = f"{type_of(each.resource)} {name_of(each.resource)}"
            if each.type.lower() == NESTED or (each.resource, each.state) in self._told:
                continue
            self._told.add((each.resource, each.state))
            if each.state == SUCCEEDED:
                if each.resource not in confirmed:
                    self._run.journal.write(Event.CONFIRMED, change=each.resource, text=f"{told} deployed")
            else:
                self._run.note(f"{told}: {each.state}{f': {each.failure}' if each.failure else ''}")

    async def _keep_failure(self, name: str, there: ArmDeployment) -> DeploymentFailed:
        """Close the try in the journal, with what was applied; the error tells every failure in full."""
        operations = await self._client.list_operations(name)
        self._tell(operations)
        failures = [
            f"{type_of(each.resource)} {name_of(each.resource)}: {each.failure}" for each in operations if each.failure
        ]
        applied = sum(each.state == SUCCEEDED and each.type.lower() != NESTED for each in operations)
        told = "; ".join(dict.fromkeys(failures)) or there.failure or "Azure does not say why"
        if f"deployment {name}" in self._run.journal.open_changes():
            self._run.journal.write(
                Event.NO_EFFECT,
                change=f"deployment {name}",
                text=f"Azure ended '{name}' as {there.state.lower()}: {told}",
            )
        return DeploymentFailed(
            f"Azure ended deployment '{name}' as {there.state.lower()}, {applied} resources are deployed: {told}.",
            remedy="Mend what it names, then resume this run: it deploys the same template again.",
        )


def _bound(changes: Iterable[ResourceChange]) -> set[tuple[str, str, str]]:
    """What counts of a what-if, in pieces that can be compared: resource, property, and from what to what."""
    pieces: set[tuple[str, str, str]] = set()
    for each in changes:
        if not each.counts and not each.is_skipped:
            continue
        own = [(own.path, own.model_dump_json(exclude={"high", "noise"})) for own in each.counting]
        whole = f"{each.kind} {each.payload}{' perhaps' if each.potential else ''}"
        pieces |= {(each.id.lower(), path, content) for path, content in own or [("", whole)]}
    return pieces


def _names(pieces: Iterable[tuple[str, str, str]]) -> list[str]:
    return [f"{name_of(resource)}{f' {path}' if path else ''}" for resource, path, _ in pieces]
