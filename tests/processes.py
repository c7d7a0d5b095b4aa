"""Other processes, seen from a test."""

import time

import psutil


def wait_until_gone(pid: int) -> None:
    """Ended counts, whether or not somebody has fetched its status; one that was killed takes a moment to end."""
    ends = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < ends, "it lives on"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
