"""Become a process of a container: `python -I -S enter.py ROOT IMAGE TERMINAL COMMAND…`, with nothing imported before.

The machine's own folders are there, but `/app` is the folder IMAGE, and HOME is empty. For that the process gets user
and mount namespaces of its own, which end with it. ROOT is an empty folder to mount on; it stays empty for others.
With TERMINAL `yes` its stdin becomes the controlling terminal. The kernel ends it with the process that started it.
"""

import ctypes
import os
import signal
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSCTTY

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
APP, HOME = "app", "session"
CANNOT_ENTER = 126

libc = ctypes.CDLL(None, use_errno=True)


def enter(root: Path, image: str) -> None:
    """Give this process its own view of the machine's folders; `OSError` where that is forbidden."""
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(NEW_USER | NEW_MOUNTS), "user namespaces are forbidden here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", "/", RECURSIVE | PRIVATE)
    _mount("tmpfs", str(root), 0, "tmpfs")
    for each in os.scandir("/"):
        if each.is_symlink():
            (root / each.name).symlink_to(Path(each.path).readlink())
        elif each.is_dir() and each.name not in (APP, HOME):
            (root / each.name).mkdir()
            _mount(each.path, str(root / each.name), BIND | RECURSIVE)
    (root / APP).mkdir()
    _mount(image, str(root / APP), BIND)
    (root / HOME).mkdir()
    # A login shell forgets where the image has its programs.
    (root / HOME / ".profile").write_text(f"export PATH='{os.environ['PATH']}'\n")
    os.chroot(root)
    os.chdir(f"/{HOME}")


def _mount(source: str, target: str, flags: int, kind: str | None = None) -> None:
    given = (source.encode(), target.encode(), kind.encode() if kind else None, flags, None)
    _check(libc.mount(given[0], given[1], given[2], ctypes.c_ulong(given[3]), given[4]), f"mount on {target}")


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def main() -> None:
    """Enter, and go on as the command."""
    root, image, terminal, *command = sys.argv[1:]
    try:
        enter(Path(root), image)
    except OSError as error:
        sys.stderr.write(f"the container cannot be entered: {error.strerror}\n")
        sys.exit(CANNOT_ENTER)
    # Only now: with its new rights the process would have forgotten it.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if terminal == "yes":
        ioctl(0, TIOCSCTTY, 0)
    # Python ignores it, and what is ignored stays so in the command.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 -- this is what it is for


if __name__ == "__main__":
    main()
