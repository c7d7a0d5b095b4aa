"""`python -m sandbox`: start, stop, look at, break and repair the local Azure."""

import asyncio
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import psutil

from sandbox.control import Control, Status
from sandbox.errors import SandboxError
from sandbox.folder import Folder
from sandbox.pace import PaceName

READY_SECONDS = 60
DOWN_SECONDS = 20
POLL_SECONDS = 0.05
ROLLBACK = "rollback"
SIGN_IN = ("AZURE_CLIENT_SECRET", "AZURE_USERNAME", "AZURE_PASSWORD")

STATE = click.option(
    "--state",
    envvar="SANDBOX_STATE",
    default=".state/sandbox",
    show_default=True,
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that holds everything: state, secrets, certificates, logs.",
)


class OneLineGroup(click.Group):
    """Shows our own errors as one line, with status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SandboxError as error:
            click.echo(f"sandbox: {error}", err=True)
            ctx.exit(2)


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """A local Azure: the genuine Azure SDKs and the genuine Azure CLI work on it as they are.

    \b
      python -m sandbox up --detach          start it
      eval "$(python -m sandbox env)"        point any client at it
      python -m sandbox break swap-fails     break something, see `break --list`
      python -m sandbox status               look
      python -m sandbox down                 stop it; `up` goes on where it was
    """


@main.command()
@STATE
@click.option("--detach", is_flag=True, help="Return as soon as it is ready; its log is in the state folder.")
@click.option(
    "--pace", type=click.Choice(["fast", "azure"]), default="fast", show_default=True, help="As slow as Azure?"
)
@click.option(
    "--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Times the pace."
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Custom role, as `az role definition create` takes it: all that the rollback principal may do, instead of *. "
    "It has it on the resource groups of AssignableScopes, or else on those of the apps. May be repeated.",
)
@click.option(
    "--record",
    envvar="SANDBOX_RECORD",
    show_envvar=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append every request to Azure's APIs and its answer to this file, without secrets.",
)
@click.option(
    "--postgresql-template",
    envvar="SANDBOX_POSTGRESQL_TEMPLATE",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder where seeded databases are kept to be copied; many sandboxes can share it. Made when missing.",
)
def up(
    state: Path,
    detach: bool,
    pace: PaceName,
    scale: float,
    roles: tuple[Path, ...],
    record: Path | None,
    postgresql_template: Path | None,
) -> None:
    """Start it, in the foreground unless --detach. What was there before goes on where it was."""
    folder = Folder(state)
    folder.make()
    if roles:
        from sandbox.rbac import read_role

        for each in roles:
            read_role(each)
    if detach:
        more = [
            ("--record", record),
            ("--postgresql-template", postgresql_template),
            *(("--role", each) for each in roles),
        ]
        words = [word for name, path in more if path is not None for word in (name, str(path.absolute()))]
        _up_detached(folder, ["--pace", pace, "--scale", str(scale), *words])
    else:
        _serve(folder, pace, scale, roles, record, postgresql_template)


def _serve(
    folder: Folder,
    pace: PaceName,
    scale: float,
    roles: tuple[Path, ...],
    record: Path | None,
    postgresql_template: Path | None,
) -> None:
    # Here, not above: the other commands need neither a web server nor cryptography, and start at once.
    from sandbox.rbac import read_role
    from sandbox.server import Server

    rollback_roles = [read_role(each) for each in roles]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    held = folder.lock()
    try:
        asyncio.run(Server(folder, pace, scale, rollback_roles, record, postgresql_template).run())
    finally:
        held.close()


def _up_detached(folder: Folder, options: list[str]) -> None:
    folder.require_free()
    command = [sys.executable, "-m", "sandbox", "up", "--state", str(folder.root), *options]
    with folder.log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=Path(__file__).parents[1],
        )

    def is_ready() -> bool:
        if process.poll() is not None:
            raise SandboxError(f"The sandbox ended at its start; its log says why: {folder.log}")
        running = folder.last_running()
        return running is not None and running.pid == process.pid

    try:
        _wait(
            is_ready, READY_SECONDS, f"The sandbox is not ready after {READY_SECONDS} s; its log says why: {folder.log}"
        )
    except (SandboxError, KeyboardInterrupt):
        process.terminate()
        raise
    click.echo(f"The sandbox is running; its state is in {folder.root}")
    click.echo(f'Point a client at it: eval "$(python -m sandbox env --state {shlex.quote(str(folder.root))})"')


def _wait(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SandboxError(otherwise)
        time.sleep(POLL_SECONDS)


def _runs(pid: int) -> bool:
    """Whether a process is at work; one that only waits to be noticed by its parent is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@main.command()
@STATE
def down(state: Path) -> None:
    """Stop it and every slot's process. The state stays."""
    folder = Folder(state)
    running = folder.running()
    os.kill(running.pid, signal.SIGTERM)
    # The folder is free a moment before the process has gone.
    _wait(
        lambda: folder.holder() is None and not _runs(running.pid),
        DOWN_SECONDS,
        f"Process {running.pid} has not ended after {DOWN_SECONDS} s.",
    )
    click.echo("The sandbox has ended.")


@main.command()
@STATE
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def status(state: Path, as_json: bool) -> None:
    """What each slot runs, what is broken, which swaps were executed."""
    report = Control(state).status()
    click.echo(report.model_dump_json(indent=2) if as_json else _told(report))


def _told(report: Status) -> str:
    lines = [f"running, process {report.pid}, proxy {report.proxy}, pace {report.pace} x {report.scale:g}"]
    for site in report.sites.values():
        lines.append(f"{site.name} in {site.group}")
        if site.operation is not None:
            lines.append(f"  in progress: {site.operation.name} {site.operation.id}")
        for slot in site.slots.values():
            process = f"process {slot.pid}" if slot.listens else "no process"
            prepared = f", prepared for a swap with {slot.prepared_for}" if slot.prepared_for else ""
            lines.append(f"  {slot.name:<12}{slot.release or slot.image}  {slot.state}, {process}{prepared}")
    lines += [
        f"{site.name} in {site.group}\n  {site.version or 'unknown'}  {site.build_status}"
        for site in report.static_sites.values()
    ]
    for fault in report.faults:
        options = " ".join(f"{key}={value}" for key, value in fault.options.items() if value != "")
        left = "until repaired" if fault.left is None else f"{fault.left} more"
        lines.append(f"broken: {fault.name} {options} ({left})")
    lines += [
        f"swap: {swap.time:%H:%M:%S} {swap.site} {swap.source} -> {swap.target}, by {swap.by}" for swap in report.swaps
    ]
    lines += [
        f"frontend: {each.time:%H:%M:%S} {each.site} {each.version or ''} {each.outcome}, by {each.by}"
        for each in report.frontend_deployments
    ]
    return "\n".join(lines)


AS = click.option(
    "--as", "name", default=None, help="Who: rollback (the default), deployer, oncall, lead, second, intern."
)


@main.command()
@STATE
@AS
def env(state: Path, name: str | None) -> None:
    """Print `export` lines that point the Azure SDKs, httpx and the Azure CLI at it. They hold a secret.

    With --as also an `unset` line, for what another principal may have left in the shell.
    """
    exports = environment(Folder(state), name or ROLLBACK)
    for key, value in exports.items():
        click.echo(f"export {key}={shlex.quote(value)}")
    if name is not None:
        click.echo("unset " + " ".join(key for key in SIGN_IN if key not in exports))


def environment(folder: Folder, name: str = ROLLBACK) -> dict[str, str]:
    """What the environment of a client must hold that works as the principal `name`."""
    running = folder.running()
    proxy, bundle, loopback = f"http://127.0.0.1:{running.proxy_port}", str(folder.ca_bundle), "127.0.0.1,localhost,::1"
    return {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "WEBSOCKET_CLIENT_CA_BUNDLE": bundle,
        **_sign_in(folder, name),
        "AZURE_CONFIG_DIR": str(folder.azure_config if name == ROLLBACK else folder.azure_config / name),
        "AZURE_CORE_COLLECT_TELEMETRY": "false",
        "AZURE_CORE_LOGIN_EXPERIENCE_V2": "off",
        "ROLLBACK_REPOSITORY": str(folder.repository),
    }


def _sign_in(folder: Folder, name: str) -> dict[str, str]:
    from sandbox import directory, start
    from sandbox.rbac import names

    principals, secrets = directory.principals(), folder.secrets()
    who = next((each for each in principals if each.name == name and each.kind != "Group"), None)
    if who is None:
        raise SandboxError(f"There is no {name!r} who could sign in; there are {', '.join(names(principals))}.")
    if secrets is None:
        raise SandboxError(f"The secrets of {folder.root} are gone: stop the sandbox and start it again.")
    common = {"AZURE_TENANT_ID": start.TENANT, "AZURE_SUBSCRIPTION_ID": start.SUBSCRIPTION}
    password = secrets.password_of(name)
    if who.client_id is not None:
        return {**common, "AZURE_CLIENT_ID": who.client_id, "AZURE_CLIENT_SECRET": password}
    user = {"AZURE_USERNAME": who.user_name or "", "AZURE_PASSWORD": password}
    return {**common, "AZURE_CLIENT_ID": directory.AZURE_CLI_CLIENT, **user}


@main.command()
@STATE
@AS
@click.option("--scope", default="https://management.azure.com/.default", show_default=True, help="What it is for.")
@click.option("--expired", is_flag=True, help="It was valid until an hour ago.")
@click.option("--wrong-issuer", is_flag=True, help="It is from another tenant.")
@click.option("--wrong-key", is_flag=True, help="Its key is not the published one of that id.")
@click.option("--audience", help="It is for this instead of the scope's resource.")
def token(
    state: Path,
    name: str | None,
    scope: str,
    expired: bool,
    wrong_issuer: bool,
    wrong_key: bool,
    audience: str | None,
) -> None:
    """Print one access token, as a principal gets it by signing in, or with a flaw, for tests."""
    made = Control(state).token(
        name or ROLLBACK,
        scope,
        expired=expired,
        wrong_issuer=wrong_issuer,
        wrong_key=wrong_key,
        audience=audience,
    )
    click.echo(made)


@main.command("break")
@STATE
@click.option("--list", "list_all", is_flag=True, help="Every fault with its options and their defaults.")
@click.argument("fault", required=False)
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]...")
def break_(state: Path, list_all: bool, fault: str | None, options: tuple[str, ...]) -> None:
    """Break something: FAULT with its options, see --list."""
    if list_all:
        _list_faults()
        return
    if fault is None:
        raise SandboxError("Which fault? All of them: python -m sandbox break --list")
    given: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise SandboxError(f"{option!r} is not KEY=VALUE.")
        given[key] = value
    Control(state).break_(fault, **given)


def _list_faults() -> None:
    from sandbox.server import FAULTS

    for kind in FAULTS:
        click.echo(f"{kind.usage()}\n    {kind.help}")
        for key, option in kind.options.items():
            click.echo(f"    {key}: {option.help}")


@main.command()
@STATE
@click.argument("fault", required=False)
def repair(state: Path, fault: str | None) -> None:
    """Take back FAULT, or every fault."""
    Control(state).repair(fault)


@main.command()
@STATE
def reset(state: Path) -> None:
    """Back to the starting state: slots, data, faults and the log of swaps."""
    Control(state).reset()
