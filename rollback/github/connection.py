"""One connection to GitHub: token, timeouts and tries in one place, its errors turned into ours.

Requests that only read are tried again after GitHub's own errors. A rate limit is waited for where that is short, for
changes too: GitHub refuses before anything is done. Source: docs.github.com, REST API version 2026-03-10, "Best
practices for using the REST API" and "Rate limits for the REST API".
"""

import logging
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
from pydantic import SecretStr

from rollback.errors import (
    CredentialRejected,
    GitHubLimited,
    GitHubUnreachable,
    Permanent,
    ResourceMissing,
    RollbackError,
)
from rollback.github.settings import GitHub as Repository
from rollback.models import now
from rollback.redaction import Blackening, blacken

if TYPE_CHECKING:
    from githubkit import GitHub, TokenAuthStrategy
    from githubkit.exception import GitHubException, RequestFailed
    from githubkit.typing import RetryOption

TIMEOUT_SECONDS = 20.0
READ_TRIES = 4
TELL_ADDRESSES = ("httpx", "httpcore.http11", "httpcore.http2")
"""Loggers that tell addresses and headers whole, the signed ones among them, when they are turned on."""
BLACKENING = Blackening()
LONGEST_LIMIT_SECONDS = 60.0
"""A rate limit that is longer is told, and not waited for."""
SHORTEST_LIMIT = timedelta(seconds=1)
"""GitHub tells whole seconds, and clocks differ."""
NEEDED = "the token must be able to read contents, and to read and write actions, deployments and environments"
"""As a fine-grained token's permissions for the repository are called."""
UNTOLD_LIMIT = timedelta(seconds=60)
"""Of one whose length GitHub does not tell. Source: "wait for at least one minute"."""


class GitHubConnection:
    """GitHub's API for one repository."""

    def __init__(self, api: "GitHub[TokenAuthStrategy]", repository: Repository) -> None:
        self.api = api
        self.repository = repository

    @property
    def place(self) -> tuple[str, str]:
        """Owner and name, as every call takes them."""
        return self.repository.owner, self.repository.name


def connect(repository: Repository, token: SecretStr, note: Callable[[str], None]) -> GitHubConnection:
    """Speak to GitHub with a token; `note` is told when a rate limit is waited for.

    Each request has a connection of its own: the library keeps one open in a context variable, which tasks that run
    side by side do not share, so that nobody would close it.
    """
    from githubkit import GitHub, TokenAuthStrategy

    for name in TELL_ADDRESSES:
        logging.getLogger(name).addFilter(BLACKENING)
    api = GitHub(
        TokenAuthStrategy(token.get_secret_value()),
        user_agent="fundrbolt-rollback",
        timeout=TIMEOUT_SECONDS,
        follow_redirects=False,
        ssl_verify=ssl.create_default_context(),
        http_cache=False,
        auto_retry=_retries(note),
    )
    return GitHubConnection(api, repository)


def _retries(note: Callable[[str], None]) -> "Callable[[GitHubException, int], RetryOption]":
    """Decides whether a request is sent again, and after which time."""
    from githubkit.typing import RetryOption

    def decide(error: "GitHubException", tried: int) -> "RetryOption":
        if tried + 1 >= READ_TRIES:
            return RetryOption(do_retry=False)
        if limit := _limit(error):
            seconds = limit.total_seconds()
            short = seconds <= LONGEST_LIMIT_SECONDS
            if short:
                note(f"GitHub's rate limit: waiting {seconds:.0f} s.")
            return RetryOption(do_retry=short, retry_after=limit)
        return RetryOption(do_retry=_only_reads_and_may_pass(error), retry_after=timedelta(seconds=2**tried / 2))

    return decide


def _limit(error: "GitHubException") -> timedelta | None:
    """How long GitHub's rate limit lasts, where that is the error; a secondary one may come without any header."""
    from githubkit.exception import RateLimitExceeded, RequestFailed

    if isinstance(error, RateLimitExceeded):
        return max(error.retry_after, SHORTEST_LIMIT)
    if not isinstance(error, RequestFailed) or error.response.status_code not in {403, 429}:
        return None
    return UNTOLD_LIMIT if "secondary rate limit" in _message(error) else None


def _only_reads_and_may_pass(error: "GitHubException") -> bool:
    from githubkit.exception import RequestFailed

    cause = getattr(error, "exc", None)
    reads = isinstance(cause, httpx.HTTPError) and cause.request.method in {"GET", "HEAD"}
    return reads and (not isinstance(error, RequestFailed) or error.response.status_code >= 500)


@contextmanager
def github_errors(what: str) -> Generator[None]:
    """Turn GitHub's errors about `what` (in words) into ours, with the library's as the cause."""
    from githubkit.exception import GitHubException, RequestFailed

    try:
        yield
    except RequestFailed as error:
        if limit := _limit(error):
            raise GitHubLimited(
                f"GitHub's rate limit is used up until {now() + limit:%H:%M:%S} UTC: {what} was not asked for.",
                remedy="Try again then, or use a token of its own for the rollback.",
            ) from error
        raise _from_status(what, error) from error
    except GitHubException as error:
        raise GitHubUnreachable(
            f"No answer from GitHub about {what}.", remedy="Check the network and https://www.githubstatus.com."
        ) from error
    except ValueError as error:
        raise GitHubUnreachable(
            f"GitHub's answer about {what} cannot be read.",
            remedy="Look whether something else answers in GitHub's place, such as a proxy's own page.",
        ) from error


def _from_status(what: str, error: "RequestFailed") -> RollbackError:
    status = error.response.status_code
    if status == 401:
        return CredentialRejected(
            f"GitHub does not accept the token ({_message(error)}), asked about {what}.",
            remedy="Put a valid one into the secret that [github] of the platform file names.",
        )
    if status == 404 or (status == 422 and _message(error).startswith("No commit found")):
        return ResourceMissing(
            f"GitHub shows no {what}.", remedy="Check the name, and that the token may read the repository."
        )
    if status >= 500:
        return GitHubUnreachable(f"GitHub answers {status} about {what}.", remedy="See https://www.githubstatus.com.")
    remedy = f"Look whether the token may do that: {NEEDED}." if status == 403 else ""
    return Permanent(f"GitHub refuses {what}: {status} {_message(error).removesuffix('.')}.", remedy=remedy)


def _message(error: "RequestFailed") -> str:
    try:
        return blacken(str(error.response.json()["message"]))
    except (ValueError, KeyError, TypeError):
        return "without a message"
