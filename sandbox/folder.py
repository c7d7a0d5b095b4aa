"""The state folder: one file per thing, private to its owner, replaced as a whole: a kill leaves no half file."""

import fcntl
import os
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from sandbox.errors import AlreadyRunningError, NotRunningError, SandboxError


class Secrets(BaseModel):
    """Made at the first `up`, never shown but by `env` and never logged."""

    client_secret: str
    control_token: str
    signing_key: str
    publishing_password: str
    passwords: dict[str, str] = {}
    """By principal; the rollback principal's is `client_secret`."""
    github_token: str = ""
    """Empty in a folder from before there was a GitHub: `up` makes one."""

    def password_of(self, name: str) -> str:
        """The password or client secret of a principal."""
        return self.client_secret if name == "rollback" else self.passwords[name]


class Running(BaseModel):
    """Where the running sandbox is. Kept after `down`, so that the next one takes the same ports if they are free."""

    pid: int
    proxy_port: int
    control_port: int
    pace: str
    scale: float


class Folder:
    """Paths in one state folder, and how files there are written."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.state = self.root / "state.json"
        self.audit = self.root / "audit.jsonl"
        self.log = self.root / "sandbox.log"
        self.ca_bundle = self.root / "ca.pem"
        self.ca_key = self.root / "ca-key.pem"
        self.leaf = self.root / "leaf.pem"
        self.azure_config = self.root / "azure-cli"
        self.databases = self.root / "databases"
        self.postgresql = self.root / "postgresql"
        self.redis = self.root / "redis"
        self.images = self.root / "images"
        self.container_root = self.root / "container-root"
        self.repository = self.root / "platform.git"
        self._secrets = self.root / "secrets.json"
        self._running = self.root / "running.json"
        self._lock = self.root / "lock"

    def make(self) -> None:
        """Create the folder, readable by its owner only; a folder that holds anything else is left alone."""
        try:
            if self.root.exists() and any(self.root.iterdir()) and not self._lock.exists():
                raise SandboxError(f"{self.root} holds other files: choose an empty or a new folder with --state.")
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
            for inside in (self.azure_config, self.databases, self.postgresql, self.redis, self.container_root):
                inside.mkdir(exist_ok=True, mode=0o700)
            self._lock.touch(mode=0o600)
        except OSError as error:
            raise SandboxError(f"The state folder {self.root} cannot be used: {error.strerror}.") from error

    def lock(self) -> IO[bytes]:
        """Hold this folder as long as the returned file is open; the kernel lets go when the process ends."""
        held = self._lock.open("a+b")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held.close()
            raise self._already_running() from error
        held.truncate(0)
        held.write(str(os.getpid()).encode())
        held.flush()
        return held

    def require_free(self) -> None:
        """`AlreadyRunningError` if a sandbox lives here."""
        if self.holder() is not None:
            raise self._already_running()

    def _already_running(self) -> AlreadyRunningError:
        return AlreadyRunningError(
            f"A sandbox is already running in {self.root}. Stop it: python -m sandbox down --state {self.root}"
        )

    def holder(self) -> int | None:
        """The process whose sandbox lives in this folder now."""
        if not self._lock.exists():
            return None
        with self._lock.open("rb") as looked_at:
            try:
                fcntl.flock(looked_at, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                # Empty for the moment between taking the lock and writing the number down.
                return int(looked_at.read() or 0) or None
        return None

    def write(self, path: Path, content: str) -> None:
        """Replace `path` with `content` (mode 0600) in one step."""
        beside = path.with_name(f".{path.name}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        beside.replace(path)

    def write_secrets(self, secrets: Secrets) -> None:
        """Keep the secrets, for this user only."""
        self.write(self._secrets, secrets.model_dump_json())

    def secrets(self) -> Secrets | None:
        """The secrets, or None before the first `up`."""
        return Secrets.model_validate_json(self._secrets.read_text()) if self._secrets.exists() else None

    def write_running(self, running: Running) -> None:
        """Say where the sandbox is: from now on it is ready."""
        self.write(self._running, running.model_dump_json())

    def last_running(self) -> Running | None:
        """Where the last sandbox was, running or not."""
        return Running.model_validate_json(self._running.read_text()) if self._running.exists() else None

    def running(self) -> Running:
        """Where the running sandbox is; `NotRunningError` without one."""
        running = self.last_running()
        if running is None or running.pid != self.holder():
            raise NotRunningError(
                f"No sandbox is running in {self.root}. Start one: python -m sandbox up --detach --state {self.root}"
            )
        return running
