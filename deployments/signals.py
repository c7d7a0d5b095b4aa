"""Ctrl-C, SIGTERM and a closed terminal, for a run that must end by itself."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def ending_by_signals(end: Callable[[], None]) -> Generator[None]:
    """Inside the block Ctrl-C and SIGTERM call `end`, and a closed terminal does nothing.

    After it they do nothing any more: the run has ended, and what is left is to say how, with its exit status.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
