"""Ctrl-C, SIGTERM and a closed terminal, for a run that must end by itself."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def ending_by_signals(end: Callable[[], None]) -> Generator[None]:
    """Inside the block Ctrl-C and SIGTERM call `end`, and a closed terminal does nothing."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
