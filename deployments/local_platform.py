"""A whole platform on this machine: the sandbox, Prefect's server with its UI, and a worker, as processes.

Everything is kept in one folder. What was started is ended, in reverse order, whatever happens in between.
"""

import base64
import http.client
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from rollback.errors import Permanent

ROOT = Path(__file__).parent.parent
WORK_POOL = "rollback"
"""Of that file and of the platform file."""
SANDBOX = ("-m", "sandbox")
SERVER = ("-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "warning")
"""What `prefect server start` runs, without the wait for its command line."""
OURS = ("AZURE_", "ROLLBACK_")
"""Variables that Prefect's server has no use for: credentials among them."""
READY_SECONDS = 90.0
LOOK_SECONDS = 0.1
REQUEST_SECONDS = 5.0
LEFTOVER_SECONDS = 30.0
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
}
"""The server asks nobody outside and registers nothing that is not used here."""


class NotStarted(Permanent):
    """A part of the local platform did not come up; names its log."""


@dataclass
class LocalPlatform:
    """Sandbox, server and worker in one folder; a context that ends what it started.

    `environment` is what the parts are started in, and what any further command needs to work with them.
    """

    folder: Path
    sandbox: Path | None = None
    """The sandbox's state folder; none: `sandbox` inside the folder."""
    environment: dict[str, str] = field(default_factory=dict[str, str])
    api_url: str = ""

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        self.sandbox_folder = (self.sandbox or self.folder / "sandbox").absolute()
        self._processes = self.folder / "processes"
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        # Prefect settings of this machine's user must not leak in, nor this platform's out.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ROLLBACK_"))
        }
        own = {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "ROLLBACK_CONFIG": str(ROOT / "deployments" / "fundrbolt.toml"),
            "ROLLBACK_STATE": str(self.folder / "rollback"),
        }
        self.environment = inherited | QUIET | own | self._login() | self.environment
        self._end_leftovers()
        return self

    def _login(self) -> dict[str, str]:
        """The one login of the server, made at its first start: who may reach the port is not yet who may roll back."""
        self.login_file.touch(mode=0o600)
        login = self.login_file.read_text(encoding="utf-8")
        if not login:
            login = f"oncall:{secrets.token_urlsafe(18)}"
            self.login_file.write_text(login, encoding="utf-8")
        return {
            "PREFECT_SERVER_API_AUTH_STRING": login,
            "PREFECT_API_AUTH_STRING": login,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        }

    @property
    def login_file(self) -> Path:
        """Holds `user:password`, as the UI asks for it and `PREFECT_API_AUTH_STRING` takes it."""
        return self.folder / "prefect-login"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._processes.unlink(missing_ok=True)

    @property
    def ui_url(self) -> str:
        """Prefect's UI."""
        return self.api_url.removesuffix("/api")

    def start_sandbox(self, *options: str) -> None:
        """Start the sandbox, or use the one that runs in its folder; the environment then points clients at it."""
        told = self._ask_sandbox("env")
        if told is None:
            self._stack.callback(self._end_sandbox)
            self.run("sandbox", *SANDBOX, "up", "--detach", "--state", str(self.sandbox_folder), *options)
            told = self.run("sandbox", *SANDBOX, "env", "--state", str(self.sandbox_folder))
        self.environment |= dict(_export(line) for line in told.splitlines())

    def _end_sandbox(self) -> None:
        if self._ask_sandbox("down") is None and self._ask_sandbox("env") is not None:
            raise NotStarted("The sandbox has not ended.", remedy=f"See {self.log('sandbox')}.")

    def environment_of(self, who: str) -> dict[str, str]:
        """The environment in which a person of the sandbox's directory is signed in, and nobody else."""
        told = self.ask_sandbox("env", "--as", who)
        others = {name: value for name, value in self.environment.items() if not name.startswith("AZURE_")}
        return others | dict(_export(line) for line in told.splitlines() if line.startswith("export "))

    def ask_sandbox(self, *command: str) -> str:
        """What a command of the sandbox answers; raises `NotStarted` where it refuses or does not run."""
        return self.run("sandbox", *SANDBOX, *command, "--state", str(self.sandbox_folder))

    def _ask_sandbox(self, command: str) -> str | None:
        """What a command of the sandbox answers; none where no sandbox runs in the folder."""
        try:
            return self.ask_sandbox(command)
        except NotStarted:
            return None

    def start_server(self) -> None:
        """Start Prefect's server on a free port; `wait_for_server` before it is used."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.api_url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self.environment |= {"PREFECT_API_URL": self.api_url, "PREFECT_UI_API_URL": self.api_url}
            # The bound socket is handed over: nobody can take the port in between.
            inherited = listener.fileno()
            self.start("server", *SERVER, "--fd", str(inherited), descriptors=(inherited,), without=OURS)

    def wait_for_server(self) -> None:
        """Return when the server answers; raises `NotStarted`."""
        self._wait_for("server", "/api/health")

    def start_worker(self) -> None:
        """Start the worker, and deploy the procedures as soon as it has made its work pool; raises `NotStarted`."""
        self.start("worker", "-m", "deployments.worker")
        self._wait_for("worker", f"/api/work_pools/{WORK_POOL}")
        self.run("deploy", "-m", "deployments.deploy")

    def check(self) -> None:
        """Raise `NotStarted` where a part has ended by itself."""
        for name, process in self._parts.items():
            if process.poll() is not None:
                raise NotStarted(f"The {name} has ended.", remedy=f"See {self.log(name)}.")

    def pid_of(self, name: str) -> int:
        """The process id of a part."""
        return self._parts[name].pid

    def start(
        self, name: str, *arguments: str, descriptors: tuple[int, ...] = (), without: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a Python program in this platform's environment, ended with it; its output is in `logs`.

        `without` names how variables begin that it must not see.
        """
        environment = {name: value for name, value in self.environment.items() if not name.startswith(without)}
        with self.log(name).open("ab") as output:
            # A group of its own: Ctrl-C must end the parts in order, not all at once.
            process = subprocess.Popen(  # noqa: S603 - our own programs, with arguments that we chose
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=descriptors,
            )
        self._stack.callback(end, process)
        self._parts[name] = process
        self._remember(process)
        return process

    def _remember(self, process: subprocess.Popen[bytes]) -> None:
        """Write down what was started: a process's id can be used again, its start time cannot."""
        with self._processes.open("a", encoding="utf-8") as file:
            file.write(f"{process.pid} {psutil.Process(process.pid).create_time()}\n")

    def _end_leftovers(self) -> None:
        """End what an earlier one in this folder started and was killed before it could end."""
        lines = self._processes.read_text(encoding="utf-8").splitlines() if self._processes.exists() else []
        for pid, created in (line.split() for line in lines):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(pid))
                if process.create_time() == float(created):
                    process.terminate()
                    process.wait(LEFTOVER_SECONDS)
        self._processes.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Where a part's output is."""
        return self.folder / "logs" / f"{name}.log"

    def run(self, name: str, *arguments: str) -> str:
        """Run a Python program to its end; its standard output. Raises `NotStarted` where it fails."""
        done = subprocess.run(  # noqa: S603 - our own programs, with arguments that we chose
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            with self.log(name).open("a", encoding="utf-8") as log:
                log.write(done.stdout + done.stderr)
            last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
            raise NotStarted(f"{name} failed: {last}", remedy=f"See {self.log(name)}.")
        return done.stdout

    def _wait_for(self, name: str, path: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(self.api_url, path, self.environment["PREFECT_API_AUTH_STRING"]):
            self.check()
            if time.monotonic() > deadline:
                raise NotStarted(f"The {name} is not ready after {READY_SECONDS:g} s.", remedy=f"See {self.log(name)}.")
            time.sleep(LOOK_SECONDS)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a process end, however long what it does takes; a second Ctrl-C makes it end sooner."""
    while process.poll() is None:
        process.terminate()
        try:
            process.wait()
        except KeyboardInterrupt:
            continue


def _answers(api_url: str, path: str, login: str) -> bool:
    authorization = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    connection = http.client.HTTPConnection(api_url.split("/")[2], timeout=REQUEST_SECONDS)
    try:
        connection.request("GET", path, headers=authorization)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _export(line: str) -> tuple[str, str]:
    """Name and value of a line like `export NAME=value`."""
    name, _, value = shlex.split(line)[1].partition("=")
    return name, value
