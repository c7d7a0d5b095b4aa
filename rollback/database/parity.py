"""The restored server made like its source: what Azure leaves behind is set again, and what still differs is named.

Compared with the plan's own record of the source, not with the source: that one is fenced meanwhile.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from rollback.context import Run
from rollback.convergence import Change, converge
from rollback.database.models import RUN_TAG, Administrator, FirewallRule, Parameter, Server
from rollback.database.plans import RestorePlan
from rollback.errors import Permanent

Send = Callable[[], Awaitable[None]]


class Parity:
    """Sets one restored server as the plan recorded its source."""

    def __init__(self, run: Run, plan: RestorePlan) -> None:
        self._run = run
        self._plan = plan
        self._refused: dict[str, str] = {}
        """Azure's words for what it would not set."""

    async def let_in(self) -> None:
        """Set who is let in, by address and by name: without these nothing can be asked of the server."""
        for rule in self._plan.settings.firewall_rules:
            await self._put_rule(rule)
        for administrator in self._plan.settings.administrators:
            await self._add_administrator(administrator)

    async def set_rest(self) -> None:
        """Set parameters, tags, backups and high availability; what Azure refuses is told by `differences`."""
        for parameter in self._plan.settings.parameters:
            await self._unless_refused(f"parameter {parameter.name}", self._set_parameter(parameter))
        await self._restart_if_pending()
        await self._set_own_properties()

    async def differences(self) -> dict[str, str]:
        """What differs now, by name, in words."""
        servers = await self._run.servers()
        server = await servers.get(self._plan.new)
        wanted, found = self._plan.settings, await servers.get_settings(server)
        parameters = {each.name: each for each in await servers.list_parameters(server.id)}
        told: dict[str, str] = {}
        for rule in wanted.firewall_rules:
            if rule not in found.firewall_rules:
                told[f"firewall rule {rule.name}"] = f"{rule} is not there"
        for parameter in wanted.parameters:
            has = parameters.get(parameter.name)
            if has is None or has.value != parameter.value or has.is_pending_restart:
                told[f"parameter {parameter.name}"] = f"{has.value if has else 'missing'} instead of {parameter.value}"
        known = {each.object_id for each in found.administrators}
        for administrator in wanted.administrators:
            if administrator.object_id not in known:
                told[f"administrator {administrator.name}"] = "is not there"
        for name, value in wanted.tags.items():
            if name != RUN_TAG and found.tags.get(name) != value:
                told[f"tag {name}"] = f"{found.tags.get(name, 'missing')} instead of {value}"
        told |= self._own_differences(found.model_dump(), wanted.model_dump())
        return {name: f"{words}{self._why(name)}" for name, words in told.items()}

    @staticmethod
    def _own_differences(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
        names = {
            "high_availability": "high availability",
            "backup_retention_days": "backup retention",
            "geo_redundant_backup": "geo-redundant backup",
        }
        return {
            words: f"{found[name]} instead of {wanted[name]}"
            for name, words in names.items()
            if found[name] != wanted[name]
        }

    def _why(self, name: str) -> str:
        return f" (Azure: {self._refused[name]})" if name in self._refused else ""

    async def _unless_refused(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except Permanent as error:
            self._refused[name] = error.message

    async def _put_rule(self, rule: FirewallRule) -> None:
        servers = await self._run.servers()

        async def is_done() -> bool:
            return rule in await servers.list_firewall_rules(await servers.get(self._plan.new))

        await self._make(f"firewall rule {rule}", is_done, lambda: servers.put_firewall_rule(self._plan.new, rule))

    async def _add_administrator(self, administrator: Administrator) -> None:
        servers = await self._run.servers()

        async def is_done() -> bool:
            known = await servers.list_administrators(self._plan.new)
            return administrator.object_id in {each.object_id for each in known}

        await self._make(
            f"administrator {administrator.name}",
            is_done,
            lambda: servers.add_administrator(self._plan.new, administrator),
        )

    async def _set_parameter(self, parameter: Parameter) -> None:
        servers = await self._run.servers()

        async def is_done() -> bool:
            return (await servers.get_parameter(self._plan.new, parameter.name)).value == parameter.value

        await self._make(
            f"parameter {parameter.name} = {parameter.value}",
            is_done,
            lambda: servers.set_parameter(self._plan.new, parameter),
        )

    async def _restart_if_pending(self) -> None:
        """Restart the new server, which nobody uses yet, where a parameter waits for it."""
        servers = await self._run.servers()

        async def is_done() -> bool:
            return not any(each.is_pending_restart for each in await servers.list_parameters(self._plan.new))

        await self._make("restart, for parameters that wait for it", is_done, lambda: servers.restart(self._plan.new))

    async def _set_own_properties(self) -> None:
        servers, wanted = await self._run.servers(), self._plan.settings
        tags = {**wanted.tags, RUN_TAG: self._run.header.run}
        ways: list[tuple[str, Callable[[Server], bool], Send]] = [
            ("tags", lambda server: server.tags == tags, lambda: servers.update(self._plan.new, tags=tags)),
            (
                "backup retention",
                lambda server: server.backup_retention_days == wanted.backup_retention_days,
                lambda: servers.update(self._plan.new, retention_days=wanted.backup_retention_days),
            ),
            (
                "high availability",
                lambda server: server.high_availability == wanted.high_availability,
                lambda: servers.update(self._plan.new, high_availability=wanted.high_availability),
            ),
        ]
        for name, holds, send in ways:

            async def is_done(holds: Callable[[Server], bool] = holds) -> bool:
                return holds(await servers.get(self._plan.new))

            await self._unless_refused(name, self._make(name, is_done, send))

    async def _make(self, what: str, is_done: Callable[[], Awaitable[bool]], send: Send) -> None:
        name = self._plan.new.name
        change = Change(
            name=f"{name}: {what}",
            doing=f"Setting {what} on '{name}'.",
            done=f"'{name}' has {what}." if "restart" not in what else f"'{name}' is restarted.",
            is_done=is_done,
            send=send,
        )
        await converge(self._run, change, self._run.database.change_timeout_seconds, self._run.database.settle_seconds)
