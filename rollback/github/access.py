"""What a token may do on GitHub, and how much of it is left. Only reads.

Source: docs.github.com, REST API version 2026-03-10, "Rate limits for the REST API", "Workflows" and "Environments".
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

from rollback.github.connection import GitHubConnection, github_errors
from rollback.models import Model

EXPIRES = "github-authentication-token-expiration"
ACTIVE = "active"
REVIEWERS = "required_reviewers"


class Access(Model):
    """Whose token it is, and what is left of its rate limit."""

    user: str
    limit: int
    left: int
    """Requests in this hour, of `limit`."""
    resets_at: datetime
    expires_at: datetime | None
    """When the token ends; none where GitHub does not tell, or it never does."""


async def get_access(connection: GitHubConnection) -> Access:
    """See that the token is accepted and shows the repository; raises `CredentialRejected`, `ResourceMissing`."""
    with github_errors(f"repository {connection.repository.repository}"):
        user, seen = await asyncio.gather(
            connection.api.rest.users.async_get_authenticated(), connection.api.rest.repos.async_get(*connection.place)
        )
    headers = seen.headers
    return Access(
        user=user.parsed_data.login,
        limit=int(headers["x-ratelimit-limit"]),
        left=int(headers["x-ratelimit-remaining"]),
        resets_at=datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), UTC),
        expires_at=_expiry(headers),
    )


def _expiry(headers: Mapping[str, str]) -> datetime | None:
    with suppress(ValueError):
        return datetime.strptime(headers.get(EXPIRES, ""), "%Y-%m-%d %H:%M:%S %Z").replace(tzinfo=UTC)
    return None


async def get_workflow_state(connection: GitHubConnection, workflow: str) -> str:
    """`active`, or how a workflow is disabled; raises `ResourceMissing` where there is none."""
    with github_errors(f"workflow '{workflow}' in {connection.repository.repository}"):
        response = await connection.api.rest.actions.async_get_workflow(*connection.place, workflow)
        return str(response.parsed_data.state)


async def may_review(connection: GitHubConnection, environment: str, user: str) -> bool | None:
    """Whether a user approves deployments to an environment; none where a team's members would have to be known."""
    with github_errors(f"environment '{environment}' in {connection.repository.repository}"):
        response = await connection.api.rest.repos.async_get_environment(*connection.place, environment)
        told = cast("dict[str, Any]", response.json())
    rules = cast("list[dict[str, Any]]", told.get("protection_rules") or [])
    named = [cast("list[dict[str, Any]]", each.get("reviewers") or []) for each in rules if each["type"] == REVIEWERS]
    reviewers = [each for some in named for each in some]
    if any(each["type"] == "User" and each["reviewer"]["login"].lower() == user.lower() for each in reviewers):
        return True
    return None if any(each["type"] == "Team" for each in reviewers) else False
