"""The fence around a server that is left: no commit of anybody's reaches it any more, and everything can be put back.

By Azure: the server's default becomes read-only, and the firewall rules that let the apps in are removed (a server with
private access has none; there the apps' role is kept from signing in, where we may). By SQL: every session is ended,
and the server is watched until it is shown to be at rest. Each change is in the journal under a name of its own; the
undo puts back exactly those.
"""

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database import signing_in
from rollback.database.models import Fence, FirewallRule, Parameter
from rollback.database.moves import MovePlan
from rollback.journal import Event, Journal
from rollback.postgres import fence as postgres_fence
from rollback.postgres.errors import FirewallRefuses, ServerUnreachable

RAISED, OPENED = "fence: ", "undo: "
"""How the changes of a fence, and of its undo, begin in the journal."""
READ_ONLY, RULE, ROLE = "read-only", "firewall rule ", "role"
BARRED = f"{RAISED}{ROLE}"


def planned_fence(plan: MovePlan) -> Fence:
    """The fence around the server that a plan leaves."""
    return Fence(
        server=plan.source,
        host=plan.source_host,
        database=plan.database,
        role=plan.user,
        read_only=plan.read_only,
        rules=rules_for_apps(plan),
        bars_role=plan.private,
    )


def rules_for_apps(plan: MovePlan) -> tuple[FirewallRule, ...]:
    """The rules that let the apps in; none where no other rule would be left for ourselves."""
    addresses = {address for each in plan.consumers for address in each.addresses}
    rules = plan.settings.firewall_rules
    chosen = tuple(rule for rule in rules if rule.is_for_azure or any(rule.covers(each) for each in addresses))
    return chosen if len(chosen) < len(rules) else ()


def raised(fence: Fence, journal: Journal, way: str = RAISED) -> Fence:
    """As much of a fence as a run sent, by how its changes begin in the journal: what has to be put back."""
    sent = {*journal.open_changes(), *journal.confirmed_changes()}
    return fence.model_copy(
        update={
            "read_only": fence.read_only if f"{way}{READ_ONLY}" in sent else None,
            "rules": tuple(rule for rule in fence.rules if f"{way}{RULE}{rule.name}" in sent),
            "bars_role": fence.bars_role and f"{way}{ROLE}" in sent,
        }
    )


class Fencer:
    """Puts one fence up and takes it down again."""

    def __init__(self, run: Run, fence: Fence, *, up: str = RAISED, down: str = OPENED) -> None:
        self._run = run
        self._fence = fence
        self._up = up
        self._down = down

    async def put_up(self) -> postgres_fence.Stillness:
        """Keep every writer out; on return the server was seen to be at rest for the settling time.

        Raises `WritesDoNotStop` with who still writes.
        """
        run, database, fence = self._run, self._run.database, self._fence
        if fence.read_only:
            closed = fence.read_only.model_copy(update={"value": "on", "is_default": False})
            await self._set_parameter(closed, self._up)
        for rule in fence.rules:
            await self._remove_rule(rule)
        if fence.bars_role:
            await self._bar_role()
        async with signing_in.administrator(run, fence.host, fence.database) as session:
            still = await postgres_fence.prove_still(
                session, settle_seconds=database.settle_seconds, timeout_seconds=database.answer_timeout_seconds
            )
        run.note(
            f"At rest: {still.readings} readings since {still.since:%H:%M:%S} UTC without a session or a change of "
            f"anybody's, {len(still.ended)} sessions ended."
        )
        return still

    async def take_down(self) -> None:
        """Let everybody write again: all of the fence is put back as it was before."""
        run, fence = self._run, self._fence
        for rule in fence.rules:
            await self._put_rule(rule)
        if fence.bars_role:
            bar = postgres_fence.LoginBar(role=fence.role, barred=True, reason="")
            async with signing_in.administrator(run, fence.host, fence.database, read_only=False) as session:
                run.check_lease()
                await postgres_fence.allow_login(session, bar)
            told = f"Role {fence.role} may sign in again on '{fence.server.name}'."
            run.journal.write(Event.CONFIRMED, change=f"{self._down}{ROLE}", text=told)
        if fence.read_only:
            await self._set_parameter(fence.read_only, self._down)

    async def _set_parameter(self, wanted: Parameter, way: str) -> None:
        servers, server = await self._run.servers(), self._fence.server

        async def is_done() -> bool:
            return (await servers.get_parameter(server, wanted.name)).value == wanted.value

        change = Change(
            name=f"{way}{READ_ONLY}",
            doing=f"Setting {wanted.name} to {wanted.value} on '{server.name}'.",
            done=f"{wanted.name} is {wanted.value} on '{server.name}'.",
            is_done=is_done,
            send=lambda: servers.set_parameter(server, wanted),
        )
        await self._converge(change)

    async def _remove_rule(self, rule: FirewallRule) -> None:
        """Remove one rule, and put it back at once where it turns out to be the one that lets us in."""
        fence = self._fence
        servers = await self._run.servers()
        server = await servers.get(fence.server)

        async def is_done() -> bool:
            return rule.name not in {each.name for each in await servers.list_firewall_rules(server)}

        change = Change(
            name=f"{self._up}{RULE}{rule.name}",
            doing=f"Removing firewall rule {rule} of '{fence.server.name}'.",
            done=f"Firewall rule {rule} of '{fence.server.name}' is removed: it let the apps in.",
            is_done=is_done,
            send=lambda: servers.delete_firewall_rule(fence.server, rule),
        )
        await self._converge(change)
        try:
            async with signing_in.administrator(self._run, fence.host, fence.database):
                return
        except (FirewallRefuses, ServerUnreachable) as error:
            self._run.note(f"Firewall rule '{rule.name}' lets us in too, and is put back: {error.message}")
            await self._put_rule(rule)

    async def _put_rule(self, rule: FirewallRule) -> None:
        servers = await self._run.servers()
        server = await servers.get(self._fence.server)

        async def is_done() -> bool:
            return rule in await servers.list_firewall_rules(server)

        change = Change(
            name=f"{self._down}{RULE}{rule.name}",
            doing=f"Putting back firewall rule {rule} of '{server.id.name}'.",
            done=f"Firewall rule {rule} of '{server.id.name}' is back.",
            is_done=is_done,
            send=lambda: servers.put_firewall_rule(server.id, rule),
        )
        await self._converge(change)

    async def _bar_role(self) -> None:
        """Keep the apps' role from signing in, as far as we may: an extra to the read-only default."""
        run, fence, name = self._run, self._fence, f"{self._up}{ROLE}"
        if name in run.journal.confirmed_changes():
            return
        was_sent = name in run.journal.open_changes()
        run.check_lease()
        run.journal.write(Event.SENDING, change=name, text=f"Keeping role {fence.role} from signing in.")
        async with signing_in.administrator(run, fence.host, fence.database, read_only=False) as session:
            bar = await postgres_fence.bar_login(session, fence.role)
        # The apps sign in as it: where it cannot after a try that was cut off, that try has done it.
        if bar.barred or (was_sent and bar.reason == postgres_fence.COULD_NOT):
            run.journal.write(Event.CONFIRMED, change=name, text=f"Role {fence.role} may not sign in.")
        else:
            run.journal.write(Event.NO_EFFECT, change=name, text=f"Role {fence.role} stays as it is: {bar.reason}")

    async def _converge(self, change: Change) -> None:
        database = self._run.database
        await converge(self._run, change, database.change_timeout_seconds, database.settle_seconds)
