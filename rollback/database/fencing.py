"""The fence around the old server: no commit of anybody's reaches it any more, and everything can be put back.

By Azure: the server's default becomes read-only, and the firewall rules that let the apps in are removed (a server with
private access has none; there the apps' role is kept from signing in, where we may). By SQL: every session is ended,
and the server is watched until it is shown to be at rest. Each change is in the journal under a name of its own; the
undo puts back exactly those.
"""

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database import signing_in
from rollback.database.models import FirewallRule, Parameter
from rollback.database.plans import RestorePlan
from rollback.journal import Event
from rollback.postgres import fence
from rollback.postgres.errors import FirewallRefuses, ServerUnreachable

READ_ONLY_ON = "fence: read-only"
BARRED = "fence: role"
OPENED = "undo: "


async def raise_fence(run: Run, plan: RestorePlan) -> fence.Stillness:
    """Keep every writer out of the old server; on return it was seen to be at rest for the settling time.

    Raises `WritesDoNotStop` with who still writes.
    """
    database = run.database
    closed = plan.read_only.model_copy(update={"value": "on", "is_default": False})
    await _set_parameter(run, plan, closed, READ_ONLY_ON)
    for rule in rules_for_apps(plan):
        await _remove_rule(run, plan, rule)
    if plan.private:
        await _bar_role(run, plan)
    async with signing_in.administrator(run, plan.source_host, plan.database) as session:
        still = await fence.prove_still(
            session, settle_seconds=database.settle_seconds, timeout_seconds=database.answer_timeout_seconds
        )
    run.note(
        f"At rest: {still.readings} readings since {still.since:%H:%M:%S} UTC without a session or a change of "
        f"anybody's, {len(still.ended)} sessions ended."
    )
    return still


def rules_for_apps(plan: RestorePlan) -> tuple[FirewallRule, ...]:
    """The rules that let the apps in; none where no other rule would be left for ourselves."""
    addresses = {address for each in plan.consumers for address in each.addresses}
    rules = plan.settings.firewall_rules
    chosen = tuple(rule for rule in rules if rule.is_for_azure or any(rule.covers(each) for each in addresses))
    return chosen if len(chosen) < len(rules) else ()


async def lower_fence(run: Run, plan: RestorePlan) -> None:
    """Undo: let everybody write again, putting back exactly what this run changed."""
    sent = {*run.journal.open_changes(), *run.journal.confirmed_changes()}
    for rule in plan.settings.firewall_rules:
        if _rule_change(rule) in sent:
            await put_rule(run, plan, rule)
    if plan.private and BARRED in sent:
        async with signing_in.administrator(run, plan.source_host, plan.database, read_only=False) as session:
            await fence.allow_login(session, fence.LoginBar(role=plan.user, barred=True, reason=""))
        run.journal.write(Event.CONFIRMED, change=f"{OPENED}role", text=f"Role {plan.user} may sign in again.")
    if READ_ONLY_ON in sent:
        await _set_parameter(run, plan, plan.read_only, f"{OPENED}read-only")


def _rule_change(rule: FirewallRule) -> str:
    return f"fence: firewall rule {rule.name}"


async def _set_parameter(run: Run, plan: RestorePlan, wanted: Parameter, name: str) -> None:
    servers = await run.servers()

    async def is_done() -> bool:
        return (await servers.get_parameter(plan.source, wanted.name)).value == wanted.value

    change = Change(
        name=name,
        doing=f"Setting {wanted.name} to {wanted.value} on '{plan.source.name}'.",
        done=f"{wanted.name} is {wanted.value} on '{plan.source.name}'.",
        is_done=is_done,
        send=lambda: servers.set_parameter(plan.source, wanted),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)


async def _remove_rule(run: Run, plan: RestorePlan, rule: FirewallRule) -> None:
    """Remove one rule, and put it back at once where it turns out to be the one that lets us in."""
    servers = await run.servers()
    source = await servers.get(plan.source)

    async def is_done() -> bool:
        return rule.name not in {each.name for each in await servers.list_firewall_rules(source)}

    change = Change(
        name=_rule_change(rule),
        doing=f"Removing firewall rule {rule} of '{plan.source.name}'.",
        done=f"Firewall rule {rule} of '{plan.source.name}' is removed: it let the apps in.",
        is_done=is_done,
        send=lambda: servers.delete_firewall_rule(plan.source, rule),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)
    try:
        async with signing_in.administrator(run, plan.source_host, plan.database):
            return
    except (FirewallRefuses, ServerUnreachable) as error:
        run.note(f"Firewall rule '{rule.name}' lets us in too, and is put back: {error.message}")
        await put_rule(run, plan, rule)


async def put_rule(run: Run, plan: RestorePlan, rule: FirewallRule) -> None:
    """Put back a rule of the old server's."""
    servers = await run.servers()
    source = await servers.get(plan.source)

    async def is_done() -> bool:
        return rule in await servers.list_firewall_rules(source)

    change = Change(
        name=f"{OPENED}firewall rule {rule.name}",
        doing=f"Putting back firewall rule {rule} of '{plan.source.name}'.",
        done=f"Firewall rule {rule} of '{plan.source.name}' is back.",
        is_done=is_done,
        send=lambda: servers.put_firewall_rule(plan.source, rule),
    )
    await converge(run, change, run.database.change_timeout_seconds, run.database.settle_seconds)


async def _bar_role(run: Run, plan: RestorePlan) -> None:
    """Keep the apps' role from signing in, as far as we may: an extra to the read-only default."""
    if BARRED in run.journal.confirmed_changes():
        return
    run.check_lease()
    run.journal.write(Event.SENDING, change=BARRED, text=f"Keeping role {plan.user} from signing in.")
    async with signing_in.administrator(run, plan.source_host, plan.database, read_only=False) as session:
        bar = await fence.bar_login(session, plan.user)
    if bar.barred:
        run.journal.write(Event.CONFIRMED, change=BARRED, text=f"Role {plan.user} may not sign in.")
    else:
        run.journal.write(Event.NO_EFFECT, change=BARRED, text=f"Role {plan.user} stays as it is: {bar.reason}")
