"""Processes forked from one that has imported what flows and commands import: most of their time would go into that.

The standard library's fork server is that one, in an instance of its own: the sandbox has another.
"""

import atexit
import gc
import logging
import multiprocessing
import os
import runpy
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from importlib.abc import MetaPathFinder
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from unittest.mock import patch

TESTS = Path(__file__).parent
ROOT = TESTS.parent
OURS = ("deployments", "flows", "rollback", "tasks")
WITH_PREFECT = ("flows", "tasks")
"""The packages that import Prefect."""
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where the trusted certificates are. Reading them takes longer than all the rest of a small command."""

Streams = tuple[Path, Path, Path]
"""Where standard input comes from, and where standard output and standard error go."""


def fork(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Call the function in a process of its own, which ends with this one at the latest."""
    process = multiprocessing.get_context("forkserver").Process(target=target, args=arguments, daemon=True)
    with patch.object(forkserver, "connect_to_new_process", _server().connect_to_new_process):
        process.start()
    return process


@cache
def _server() -> forkserver.ForkServer:
    server = forkserver.ForkServer()
    server.set_forkserver_preload(["forked_imports"])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join((str(ROOT), str(TESTS)))):
        server.ensure_running()
    return server


class ForkedModule:
    """`python -m MODULE`, forked: in a session of its own, with this environment and nothing else of its parent's.

    Used like a `subprocess.Popen`.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], streams: Streams) -> None:
        self._process = fork(_run_module, module, tuple(arguments), dict(environment), streams)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self._process.is_alive() and self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def take_environment(environment: Mapping[str, str]) -> None:
    """Called in the child: have exactly this environment, in what aiohttp has read of it before as well."""
    import aiohttp.connector

    trusted = [os.environ.get(name) for name in AUTHORITIES]
    os.environ.clear()
    os.environ.update(environment)
    if trusted != [os.environ.get(name) for name in AUTHORITIES]:
        vars(aiohttp.connector)["_SSL_CONTEXT_VERIFIED"] = ssl.create_default_context()


def _run_module(module: str, arguments: tuple[str, ...], environment: dict[str, str], streams: Streams) -> None:
    """Runs in the child."""
    os.setsid()
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _take_streams(streams)
    take_environment(environment)
    sys.argv = [module, *arguments]
    sys.path[:] = [str(ROOT), *(each for each in sys.path if Path(each) != TESTS)]
    _forget_imports()
    with ExitStack() as end:
        end.callback(_finish)
        end.push(_tell)
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _take_streams(streams: Streams) -> None:
    for number, path in enumerate(streams):
        with path.open("rb" if number == 0 else "ab", buffering=0) as file:
            os.dup2(file.fileno(), number)
    sys.stdin = os.fdopen(0, encoding=sys.stdout.encoding, closefd=False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream is sys.stderr)


def _forget_imports() -> None:
    """Let our modules be imported again, when the command imports them, and Prefect be set up at that time."""
    from prefect.logging import configuration

    for name in [each for each in sys.modules if each.partition(".")[0] in OURS]:
        del sys.modules[name]
    for name in (None, *configuration.PROCESS_LOGGING_CONFIG["loggers"]):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET if name else logging.WARNING)
    configuration.PROCESS_LOGGING_CONFIG.clear()
    sys.meta_path.insert(0, _PrefectSetUp())


class _PrefectSetUp(MetaPathFinder):
    """Finds nothing; lets Prefect read its settings when a module of ours is about to import it."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname in WITH_PREFECT:
            from prefect.context import refresh_global_settings_context
            from prefect.logging.configuration import setup_logging

            sys.meta_path.remove(self)
            refresh_global_settings_context()
            setup_logging()


def _tell(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    """An error that nobody caught is told as the interpreter tells it."""
    if kind is not None and error is not None and not isinstance(error, SystemExit):
        sys.excepthook(kind, error, trace)
        sys.exit(1)


def _finish() -> None:
    """What else the interpreter does before it ends: what is still open may say so."""
    atexit._run_exitfuncs()
    gc.collect()
