"""Whether users get a version of a frontend whole, seen from outside within a time limit.

The version and index.html past every cache, several times in a row; everything that index.html refers to; the calls
that it makes to the backend, as its own site may make them; and in a real browser, where the machine has one.
"""

import asyncio
from collections import Counter
from urllib.parse import urlsplit

from rollback.errors import BrowserUnusable
from rollback.frontends import chromium
from rollback.frontends.goals import FrontendGoal
from rollback.frontends.pages import Browser, Look, Page, references_of
from rollback.frontends.settings import Frontend
from rollback.verification import Verified

IN_A_ROW = 3
TIMES = 5
"""Each call to the backend: one alone would often not meet what fails now and then."""
PAUSE_SECONDS = 0.3
HTML = "text/html"


async def verify_frontend(browser: Browser, frontend: Frontend, target: FrontendGoal) -> list[Verified]:
    """What is found at each address under which users get it; no problem means good."""
    return await asyncio.gather(*(_verify(browser, frontend, target, each) for each in target.hosts))


async def _verify(browser: Browser, frontend: Frontend, target: FrontendGoal, address: str) -> Verified:
    host = urlsplit(address).netloc
    looks: list[Look] = []
    served = False
    try:
        async with asyncio.timeout(frontend.verify_within_seconds):
            look = await _until_served(browser, frontend, target, address, looks)
            served = True
            evidence, problems = await _look_closer(browser, frontend, look, address)
    except TimeoutError:
        within = f"within {frontend.verify_within_seconds:g} s"
        late = f"not {target.version} {within}: {looks[-1] if looks else 'no answer'}"
        if served:
            what = "its files, its calls and the page in a browser"
            late = f"serves {target.version}, but {what} could not all be looked at {within}"
        return Verified(host=host, evidence=(), problems=(late,))
    told = f"serves {target.version}, {IN_A_ROW} times in a row past every cache (of {len(looks)})"
    if target.contents is not None:
        told += f", with the archive's own index.html ({target.contents.index_digest[:19]}…)"
    return Verified(host=host, evidence=(told, *evidence), problems=tuple(problems))


async def _until_served(
    browser: Browser, frontend: Frontend, target: FrontendGoal, address: str, looks: list[Look]
) -> Look:
    in_a_row = 0
    while True:
        look = await browser.look(address, frontend.version)
        looks.append(look)
        in_a_row = in_a_row + 1 if look.known and target.serves(look.version, look.index_digest) else 0
        if in_a_row == IN_A_ROW:
            return look
        await asyncio.sleep(PAUSE_SECONDS)


async def _look_closer(browser: Browser, frontend: Frontend, look: Look, address: str) -> tuple[list[str], list[str]]:
    references = references_of(look.index, address)
    loaded, called, (shown, hidden) = await asyncio.gather(
        asyncio.gather(*(browser.get(each) for each in references)),
        asyncio.gather(*(browser.get(each, origin=address) for each in frontend.calls * TIMES)),
        _look_with_chromium(frontend, address),
    )
    problems = [wrong for page in loaded if (wrong := _not_loaded(page))]
    failed = Counter(wrong for page in called if (wrong := _not_called(page, address)))
    problems += [f"{wrong} ({times} of {TIMES})" for wrong, times in failed.items()]
    evidence = [
        f"all {len(references)} files that its page refers to load" if references else "its page refers to no file",
        f"its calls to the backend work, {TIMES} times each" if called else "no calls to the backend are configured",
    ]
    return [*([] if problems else evidence), *shown], [*problems, *hidden]


def _not_loaded(page: Page) -> str:
    """A missing file may be answered by the site's fallback page, with 200."""
    place = urlsplit(page.url).path
    if page.problem or page.status != 200:
        return f"its page refers to {place}: {page.problem or page.status}"
    if page.content_type == HTML and not place.endswith((".html", "/")):
        return f"its page refers to {place}, and gets a page of HTML instead"
    return ""


def _not_called(page: Page, address: str) -> str:
    parts = urlsplit(page.url)
    place = f"{parts.netloc}{parts.path}"
    if page.problem or page.status != 200:
        return f"its call to {place}: {page.problem or page.status}"
    if page.allowed_origin not in {address, "*"}:
        return f"its call to {place}: a browser refuses the answer, which is not for {address} (CORS)"
    return ""


async def _look_with_chromium(frontend: Frontend, address: str) -> tuple[list[str], list[str]]:
    """What a real browser shows: evidence, and problems."""
    if not frontend.shows:
        return [], []
    try:
        seen = await chromium.look(f"{address}/")
    except BrowserUnusable as error:
        return [f"not looked at in a browser: {error.message}"], []
    problems = [f"in a browser: {each}" for each in seen.errors]
    if frontend.shows not in seen.text:
        return [], [f"in a browser it does not show '{frontend.shows}'", *problems]
    return ([] if problems else [f"in a browser it shows '{frontend.shows}', without an error"]), problems
