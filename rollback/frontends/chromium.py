"""A page in a real browser without a window, where the machine has one: its text, its picture, its console's errors.

Certificates are verified as ever. Where SSL_CERT_FILE names authorities of one's own, Chromium, which reads no such
variable, is told of them by a database of its own (`certutil`, Debian's libnss3-tools).
"""

import asyncio
import html
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from rollback.errors import BrowserUnusable
from rollback.models import Model
from rollback.programs.process import network_environment, run_in_group
from rollback.redaction import blacken

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
LOOK_SECONDS = 40.0
VIRTUAL_MILLISECONDS = 10_000
"""How long the page may go on by itself, in its own time, before it is looked at."""
MOST_AUTHORITIES = 10
"""More in SSL_CERT_FILE are a system's own bundle, which the browser has too."""
MOST_ERRORS = 5
MOST_BYTES = 4 * 1024**2
WINDOW = "--window-size=1100,900"
"""Of a picture, in pixels: all of a page of ours at its top."""
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--dump-dom",
)
_CONSOLE = re.compile(
    r'^\[[\d:/.]+:(?:INFO|WARNING|ERROR):CONSOLE[^\]\n]*\] "'
    r'(?P<said>(?:(?!^\[[\d:/.]+:[A-Z]+:).)*?)", source: (?P<source>\S*) \(\d+\)$',
    re.MULTILINE | re.DOTALL,
)
"""What a page said, on several lines where it said so."""
_LOG = re.compile(r"^\[[\d:/.]+:[A-Z]+:.*$\n?", re.MULTILINE)
_PAGE = re.compile(r"^<(?:!DOCTYPE|html)\b", re.MULTILINE | re.IGNORECASE)
_ERROR = re.compile(r"error|failed|refused|blocked|uncaught|cannot", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.S | re.I)
_AUTHORITY = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
_NOT_LOADED = re.compile(r"^\[[\d:/.]+:ERROR:.*Page load failed: net::(?P<why>ERR_[A-Z_]+)", re.MULTILINE)


class Seen(Model):
    """What a browser showed."""

    text: str
    """The page's text, once its scripts have run."""
    errors: tuple[str, ...]
    """What its console complained of."""


async def look(url: str) -> Seen:
    """Open a page; raises `BrowserUnusable` where there is no browser, or it could not be used; says why."""
    said = await _open(url)
    page = _LOG.sub("", _CONSOLE.sub("", said))
    begins = _PAGE.search(page)
    text = " ".join(html.unescape(_TAGS.sub(" ", page[begins.start() if begins else 0 :])).split())
    errors = [
        f"{' '.join(each['said'].split())} ({each['source']})"
        for each in _CONSOLE.finditer(said)
        if _ERROR.search(each["said"])
    ]
    return Seen(text=text, errors=tuple(blacken(each)[:300] for each in dict.fromkeys(errors))[:MOST_ERRORS])


async def take_picture(url: str, file: Path) -> None:
    """Keep what a browser shows of a page as a PNG file; raises `BrowserUnusable` as `look` does."""
    place = await asyncio.to_thread(file.absolute)
    await _open(url, f"--screenshot={place}", WINDOW)
    if not await asyncio.to_thread(place.exists):
        raise BrowserUnusable("it took no picture")


async def _open(url: str, *flags: str) -> str:
    """What a browser says of a page: its log, and in the end the page; raises `BrowserUnusable`."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise BrowserUnusable("there is none on this machine")
    with tempfile.TemporaryDirectory(prefix="fundrbolt-rollback-", ignore_cleanup_errors=True) as folder:
        environment = network_environment() | {"HOME": folder}
        await _trust(Path(folder), environment)
        said = await _dump([program, *flags], Path(folder), environment, url)
    if found := _NOT_LOADED.search(said):
        raise BrowserUnusable(f"it could not open the page ({found['why']})")
    return said


async def _dump(program: list[str], folder: Path, environment: dict[str, str], url: str) -> str:
    """The page as its scripts have left it, and what was logged meanwhile."""
    said = bytearray()

    def received(piece: bytes) -> None:
        said.extend(piece[: max(0, MOST_BYTES - len(said))])

    root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # as root Chromium runs without its own sandbox only
    options = (*FLAGS, *root, *_proxy_options(environment))
    options = (*options, f"--user-data-dir={folder / 'profile'}", f"--virtual-time-budget={VIRTUAL_MILLISECONDS}")
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            status = await run_in_group(
                [*program, *options, url], folder=folder, environment=environment, received=received
            )
    except TimeoutError as error:
        raise BrowserUnusable(f"it did not end within {LOOK_SECONDS:g} s") from error
    except OSError as error:
        raise BrowserUnusable(f"it cannot be started ({error.strerror})") from error
    if status != 0:
        raise BrowserUnusable(f"it ended with status {status}")
    return said.decode(errors="replace")


def _proxy_options(environment: Mapping[str, str]) -> Iterator[str]:
    """How it reaches the network.

    A command line is seen by all users of the machine, so that a proxy's user and password cannot be told: raises
    `BrowserUnusable` where it has them.
    """
    proxy = environment.get("https_proxy", environment.get("HTTPS_PROXY"))
    if not proxy:
        return
    if "@" in proxy:
        raise BrowserUnusable("it cannot be told the proxy's user and password")
    yield f"--proxy-server={proxy}"
    entries = (each.strip() for each in environment.get("no_proxy", environment.get("NO_PROXY", "")).split(","))
    if rules := ";".join(rule for each in entries if each for rule in _bypassing(each)):
        yield f"--proxy-bypass-list={rules}"


def _bypassing(entry: str) -> tuple[str, ...]:
    """The browser's rules for an entry of NO_PROXY: a name stands for those below it as well, an address for itself."""
    if entry.startswith("."):
        return (f"*{entry}",)
    is_name = entry[-1].isalpha() and ":" not in entry
    return (entry, f"*.{entry}") if is_name else (entry,)


async def _trust(home: Path, environment: dict[str, str]) -> None:
    """Let the browser trust the authorities of SSL_CERT_FILE, where they are one's own."""
    bundle = environment.get("SSL_CERT_FILE")
    if not bundle:
        return
    try:
        told = await asyncio.to_thread(Path(bundle).read_text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise BrowserUnusable(f"SSL_CERT_FILE cannot be read ({error.strerror})") from error
    authorities = _AUTHORITY.findall(told)
    if len(authorities) > MOST_AUTHORITIES:
        return
    certutil = shutil.which("certutil")
    if certutil is None:
        raise BrowserUnusable("certutil (Debian: libnss3-tools) is needed to let it trust SSL_CERT_FILE")
    database = home / ".pki" / "nssdb"
    await asyncio.to_thread(database.mkdir, parents=True)
    commands = [["-N", "--empty-password"], *(["-A", "-n", f"own-{n}", "-t", "C,,"] for n in range(len(authorities)))]
    for arguments, given in zip(commands, ["", *authorities], strict=True):
        status = await run_in_group(
            [certutil, "-d", f"sql:{database}", *arguments],
            folder=home,
            environment=environment,
            received=lambda _: None,
            given=given.encode(),
        )
        if status != 0:
            raise BrowserUnusable(f"it could not be told of the authorities of SSL_CERT_FILE (certutil: {status})")
