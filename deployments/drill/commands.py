"""Programs that a drill starts: the `rollback` command as an operator gives it, and what it looks with."""

import signal
import subprocess
import sys
from collections.abc import Mapping

from deployments.local_platform import ROOT, LocalPlatform


def begin(
    platform: LocalPlatform, *arguments: str, environment: Mapping[str, str] | None = None, quiet: bool = False
) -> subprocess.Popen[bytes]:
    """Start `rollback` in this terminal, by default with the platform's own credential."""
    return subprocess.Popen(  # noqa: S603 - our own program, with arguments that we chose
        [sys.executable, "-m", "deployments.cli", *arguments],
        cwd=ROOT,
        env=environment or platform.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    """Its exit status; Ctrl-C is passed on, and it ends by itself."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def tell(platform: LocalPlatform, module: str, *arguments: str) -> str:
    """What a program of ours prints."""
    return platform.run("drill", "-m", module, *arguments)
