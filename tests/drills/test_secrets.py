"""Secrets everywhere they can be, everything run with debug logging and under faults: none is written down anywhere.

Looked through: Prefect's database, logs, artifacts, reports, the state folder, what commands print, and the command
lines and environments of all processes.
"""

import base64
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import psutil
import pytest
from frontends import SITES, Frontends
from rollback_command import Command, Ended
from support import Sandbox, World, quick_platform_file

from deployments.local_platform import LocalPlatform
from rollback.redaction import BLACK
from rollback.runs import Store

ARM = "https://management.azure.com/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups"
VERSION = "?api-version=2024-11-01"
REASON = ("--reason", "a drill")
PRODUCTION = ("roll-back-backend", "-e", "production", "--release", "v1.2.2")
SITE = (
    "--resource",
    "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/fundrbolt-production-rg/providers/Microsoft.Web"
    "/sites/fundrbolt-production-api/config/web",
)
DEBUG = {
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "DEBUG",
    # Everybody else, httpx and httpcore among them, to the console. Sent to Prefect's own API, their lines would make
    # more of them.
    "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "azure,msal,urllib3,flows,tasks,rollback,deployments",
}
TOKEN = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.")
"""A token as Entra ID signs them."""
SIGNED = re.compile(rb"githubusercontent\.com/[^\s\"']*[?&]sig=[\w%]")
"""An address from which anybody can fetch a file of a private repository."""
SAMPLE_SECONDS = 0.1
LOOKS = 50
"""At each process: another program that takes its place has done so by then."""


def canary(place: str) -> str:
    return f"canary-{place}-{secrets.token_hex(12)}"


PLANTED = {
    place: canary(place) for place in ("setting", "sticky", "connection", "logged", "pattern", "registry", "prefect")
}


@pytest.fixture
def platform(running_sandbox: Sandbox, world: World, tmp_path: Path) -> Generator[LocalPlatform]:
    folder = tmp_path / "platform"
    folder.mkdir()
    login = f"oncall:{PLANTED['prefect']}"
    environment = {
        "ROLLBACK_CONFIG": str(platform_file(folder)),
        "ROLLBACK_REGISTRY_TOKEN": PLANTED["registry"],
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_API_AUTH_STRING": login,
    }
    with LocalPlatform(folder, sandbox=running_sandbox.folder, environment=environment) as made:
        made.start_server()
        # Not the server: at its debug level uvicorn logs each message of a websocket, the login among them.
        made.environment |= DEBUG
        made.start_sandbox()
        plant(running_sandbox)
        made.wait_for_server()
        made.start_worker()
        yield made


def platform_file(folder: Path) -> Path:
    """Rollbacks want a signature, and a broken image is noticed soon."""
    file = quick_platform_file(folder)
    content = file.read_text(encoding="utf-8")
    content = content.replace('risks = ["low"]\nneeds = "none"', 'risks = ["low"]\nneeds = "signed"')
    content = content.replace('app = "fundrbolt-dev-api"\n', 'app = "fundrbolt-dev-api"\nstart_within_seconds = 6\n')
    content = content.replace('secret = "database-url"\n', 'secret = "database-url"\nsettle_seconds = 2\n')
    content = content.replace('platform = "Fundrbolt"\n', 'platform = "Fundrbolt"\nazure.read_retries = 1\n')
    relaxed = (
        '[[approval.rules]]\nrisks = ["low"]\nenvironments = ["dev"]\nneeds = "none"\n\n'
        '[[approval.rules]]\nprocedures = ["restore-database", "redeploy-frontend"]\nneeds = "none"\n\n'
        "[[approval.rules]]"
    )
    # A script that prints whatever it is given, and no look by a browser, which takes long.
    script = 'way = "script"\nscript = { command = ["sh", "-c", "env; sh frontend/deploy.sh web"] }\n'
    content = re.sub(r'^artifact = "frontend-web.*\n', script, content, flags=re.M)
    content = re.sub(r"^shows = .*\n", "", content, flags=re.M)
    file.write_text(content.replace("[[approval.rules]]", relaxed, 1), encoding="utf-8")
    return file


def plant(sandbox: Sandbox) -> None:
    """Put secrets into app settings, sticky ones, connection strings, and an app that logs what it is told."""
    token = sandbox.control.token("rollback", "https://management.azure.com/.default")
    with httpx.Client(timeout=60) as client:

        def ask(method: str, path: str, body: object = None) -> Any:
            answer = client.request(
                method, f"{ARM}{path}{VERSION}", json=body, headers={"Authorization": f"Bearer {token}"}
            )
            answer.raise_for_status()
            return answer.json()

        production = "/fundrbolt-production-rg/providers/Microsoft.Web/sites/fundrbolt-production-api"
        dev = "/fundrbolt-dev-rg/providers/Microsoft.Web/sites/fundrbolt-dev-api"
        for site in (production, f"{production}/slots/staging", dev):
            settings = ask("POST", f"{site}/config/appsettings/list")["properties"]
            settings |= {"PAYMENT_KEY": PLANTED["setting"], "STICKY_KEY": PLANTED["sticky"]}
            if site == dev:
                # An app that cannot be started with it says so, with the value.
                settings["FAILURE_SEED"] = f"postgresql://fundrbolt:{PLANTED['logged']}@db.internal/fundrbolt"
            ask("PUT", f"{site}/config/appsettings", {"properties": settings})
            if site != production:
                continue
            string = {"value": f"Server=db;Password={PLANTED['connection']}", "type": "PostgreSQL"}
            ask("PUT", f"{site}/config/connectionstrings", {"properties": {"main": string}})
        ask("PUT", f"{production}/config/slotConfigNames", {"properties": {"appSettingNames": ["STICKY_KEY"]}})


def all_secrets(sandbox: Sandbox) -> dict[str, str]:
    """Every secret that there is, by where it is."""
    found = dict(PLANTED)
    made = json.loads((sandbox.folder / "secrets.json").read_text(encoding="utf-8"))
    found |= {name: made[name] for name in ("client_secret", "control_token", "publishing_password")}
    found |= {f"password of {name}": password for name, password in made["passwords"].items()}
    state = json.loads((sandbox.folder / "state.json").read_text(encoding="utf-8"))
    for vault in state["vaults"]:
        for secret in vault["secrets"]:
            found |= {f"{vault['name']}/{secret['name']}": each["value"] for each in secret["versions"]}
    found |= {f"deployment token of {site}": Frontends.deployment_token(site) for site in SITES}
    urls = {name: urlsplit(value) for name, value in found.items() if value.startswith("postgresql:")}
    found |= {f"{name}, password": url.password for name, url in urls.items() if url.password}
    assert urls
    return {name: value for name, value in found.items() if not value.startswith("sqlite:")}


def spellings(value: str) -> set[bytes]:
    return {
        value.encode(),
        quote(value, safe="").encode(),
        base64.b64encode(value.encode()).rstrip(b"="),
        json.dumps(value)[1:-1].encode(),
    }


@contextmanager
def watching_processes() -> Generator[set[str]]:
    """The command lines of every process that was seen meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        looks: dict[int, int] = {}
        while not over.wait(SAMPLE_SECONDS):
            looks = {pid: looks.get(pid, 0) + 1 for pid in psutil.pids()}
            for pid in [pid for pid, number in looks.items() if number <= LOOKS]:
                with suppress(psutil.Error):
                    seen.add(" ".join(psutil.Process(pid).cmdline()))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def leaks(content: bytes, known: Mapping[str, str]) -> list[str]:
    found = [name for name, value in known.items() if any(each in content for each in spellings(value))]
    found += ["a token"] if TOKEN.search(content) else []
    return [*found, *(["a signed address"] if SIGNED.search(content) else [])]


def as_principal(sandbox: Sandbox, environment: Mapping[str, str], name: str) -> dict[str, str]:
    """The platform's environment as somebody else."""
    from sandbox.commands import environment as environment_of
    from sandbox.folder import Folder

    cleaned = {key: value for key, value in environment.items() if not key.startswith("AZURE_CLIENT_SECRET")}
    return cleaned | environment_of(Folder(sandbox.folder), name)


def test_no_secret_is_written_down_anywhere(
    platform: LocalPlatform, running_sandbox: Sandbox, world: World, tmp_path: Path
) -> None:
    def start(*arguments: str, **changes: str) -> Command:
        return Command(tmp_path, platform.environment | changes, *arguments)

    def rollback(*arguments: str, **changes: str) -> Ended:
        return start(*arguments, **changes).end()

    known = all_secrets(running_sandbox)
    with watching_processes() as command_lines:
        look_around(start)
        run_under_faults(rollback, world)
        approve_and_roll_back(start, running_sandbox, platform, tmp_path)
        log_of_a_broken_app(rollback, platform)
        bring_frontends_back(rollback, platform)
        archive_and_plan_a_revert(rollback, platform)
        restore_under_faults(rollback, world)
        environments = {name: environment_of_process(platform.pid_of(name)) for name in ("server", "worker")}
    told = {str(file.relative_to(tmp_path)): content for file, content in written_files(tmp_path)}
    told |= {f"command line {line[:80]}": line.encode() for line in command_lines}
    found = {where: leaks_here for where, content in told.items() if (leaks_here := leaks(content, known))}
    assert not found
    assert any(b"DEBUG" in content for content in told.values()), "nothing was logged at that level"
    assert any(where.endswith(".db") for where in told)
    needed = {"server": {"prefect"}, "worker": {"prefect", "registry", "client_secret"}}
    for name, content in environments.items():
        assert set(leaks(content, known)) <= needed[name], name


def look_around(start: Callable[..., Command]) -> None:
    """Everything that only reads, side by side; some with a credential that is wrong."""
    good = [
        start(*arguments)
        for arguments in (
            ("plan", *PRODUCTION),
            ("plan", *PRODUCTION, "--json"),
            ("doctor", "-e", "production"),
            ("status",),
            ("versions", "-e", "production"),
        )
    ]
    wrong = [
        start("plan", *PRODUCTION, AZURE_CLIENT_SECRET=PLANTED["setting"]),
        start("plan", *PRODUCTION, AZURE_TENANT_ID="not-a-tenant"),
        start("versions", "-e", "production", ROLLBACK_REGISTRY_TOKEN=PLANTED["pattern"]),
    ]
    assert [command.end().status for command in good] == [0, 0, 0, 0, 0]
    assert [command.end().status for command in wrong][:2] == [4, 4]


def run_under_faults(rollback: Callable[..., Ended], world: World) -> None:
    """The faults whose texts end up in errors and logs."""
    for fault, options in (
        ("error", {"status": 500, "times": 30}),
        ("error", {"status": 401, "times": 30}),
        ("drop-before", {"times": 30}),
        ("deny", {"action": "*"}),
        ("tokens-expire", {}),
    ):
        world.control.break_(fault, **options)
        ended = rollback("run", *PRODUCTION, *REASON, "--dry-run")
        assert "Started in Prefect" in ended.out, ended.out
        world.control.repair()


def approve_and_roll_back(
    start: Callable[..., Command], sandbox: Sandbox, platform: LocalPlatform, tmp_path: Path
) -> None:
    store = Store(Path(platform.environment["ROLLBACK_STATE"]))
    running = start("run", *PRODUCTION, *REASON)
    running.wait_until_it_says("rollback approve")
    run = store.latest(1)[0]
    plan = json.loads((run.folder / "plan.json").read_text(encoding="utf-8"))
    short = str(re.findall(r"\(plan ([0-9a-f]+)\)", running.out)[0]) if "(plan " in running.out else plan["hash"][:8]
    for name, status in (("intern", 4), ("lead", 0)):
        environment = as_principal(sandbox, platform.environment, name)
        approve = ("approve", run.header.run, "--hash", short, "--yes")
        assert Command(tmp_path, environment, *approve).end().status == status, name
    ended = running.end()
    assert ended.status == 0, ended.out


def log_of_a_broken_app(rollback: Callable[..., Ended], platform: LocalPlatform) -> None:
    """The last lines of an app's log are shown, with what is secret in them blackened."""
    rollback("run", "redeploy-backend", "-e", "dev", "--release", "v1.2.2", *REASON)
    folder = Store(Path(platform.environment["ROLLBACK_STATE"])).latest(1)[0].folder
    assert BLACK in (folder / "journal.jsonl").read_text(encoding="utf-8")


def bring_frontends_back(rollback: Callable[..., Ended], platform: LocalPlatform) -> None:
    """By a script that prints its environment, and by an archive's signed address."""
    ended = rollback("run", "redeploy-frontend", "-e", "production", *REASON)
    assert ended.status == 0, ended.out
    folder = Store(Path(platform.environment["ROLLBACK_STATE"])).latest(1)[0].folder
    told = (folder / "journal.jsonl").read_text(encoding="utf-8")
    assert "SWA_CLI_APP_NAME=fundrbolt-production-web" in told
    assert BLACK in told


def archive_and_plan_a_revert(rollback: Callable[..., Ended], platform: LocalPlatform) -> None:
    """Every resource, app settings and their secrets among them, is read and written down without them."""
    for command in (("run", "archive", "-e", "production"), ("plan", "revert-resource", "-e", "production", *SITE)):
        ended = rollback(*command)
        assert ended.status == 0, ended.out
    archives = Store(Path(platform.environment["ROLLBACK_STATE"])).archives("production")
    assert len(archives.names()) == 1


def restore_under_faults(rollback: Callable[..., Ended], world: World) -> None:
    """A restore that is taken back, one whose sign-in is refused, and one that succeeds: URL and password go along."""
    point = datetime.now(UTC).isoformat()
    restore = ("run", "restore-database", "-e", "production", "--restore-point", point, *REASON)
    for fault, status in (("pg-restore-fails", 8), ("pg-unreachable", 5), ("", 0)):
        if fault:
            world.control.break_(fault)
        ended = rollback(*restore)
        assert ended.status == status, ended.out
        world.control.repair()


def written_files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Everything that was written, but for the file whose purpose it is to hold the login of Prefect's server."""
    for each in folder.rglob("*"):
        # The worker goes on: what it has of a run goes with the run.
        with suppress(FileNotFoundError):
            if each.is_file() and each.name != "prefect-login":
                yield each, each.read_bytes()


def environment_of_process(pid: int) -> bytes:
    """What a part and the processes that it started were given."""
    process = psutil.Process(pid)
    found: list[str] = []
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            found += [f"{name}={value}" for name, value in each.environ().items()]
    return os.linesep.join(found).encode()


def test_the_search_finds_what_it_must() -> None:
    known = {"place": "canary/with+signs"}
    for content in (b"..canary/with+signs..", b"canary%2Fwith%2Bsigns", base64.b64encode(b"canary/with+signs")):
        assert leaks(content, known) == ["place"]
    assert leaks(b"Bearer eyJ0eXAiOiJKV1QiLCJh.eyJhdWQiOiJhcGk6Ly9m.c2ln", known) == ["a token"]
    signed = b"https://release-assets.githubusercontent.com/1/web.zip?se=2026&sig=c2ln"
    assert leaks(signed, known) == ["a signed address"]
    assert leaks(b"nothing", known) == []
