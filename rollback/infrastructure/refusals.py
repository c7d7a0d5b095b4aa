"""Why Azure does not deploy, in its own words, and as the error of ours that says what to do."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from rollback.azure import ours
from rollback.errors import (
    OperationInProgress,
    PermissionMissing,
    PolicyDenied,
    QuotaExceeded,
    Refused,
    ResourceLocked,
    RollbackError,
    TemplateUnfit,
)
from rollback.redaction import blacken

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

_REFUSALS: tuple[tuple[type[Refused], str, str], ...] = (
    (PolicyDenied, "RequestDisallowedByPolicy", "Ask who owns the policy for an exemption, or name another release."),
    (ResourceLocked, "ScopeLocked", "Remove the lock if that is right, then plan again."),
    (QuotaExceeded, "QuotaExceeded", "Ask Azure for more quota, or free some: az quota usage list."),
    (QuotaExceeded, "SubscriptionQuotaExceeded", "Ask Azure for more quota, or free some."),
    (QuotaExceeded, "OperationNotAllowed", "Look at the quota of the subscription in this region."),
    (PermissionMissing, "AuthorizationFailed", "Assign a role that has the action."),
    (PermissionMissing, "LinkedAuthorizationFailed", "Assign a role that has the action."),
    (PermissionMissing, "InvalidTemplateDeployment.AuthorizationFailed", "Assign a role that has the action."),
    (OperationInProgress, "DeploymentActive", "Wait for it to end, or cancel it."),
)
_TEMPLATE = (
    "InvalidTemplate",
    "InvalidRequestContent",
    "InvalidDeployment",
    "DeploymentParameter",
    "InvalidContentLink",
)
"""How the codes begin of what is wrong with a template or its parameters."""


@contextmanager
def our_deployment_errors(what: str) -> Generator[None]:
    """Turn an SDK's error about a deployment into one of ours, with every code and message that Azure gave."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        raise (_refusal(what, error) or ours(what, error)) from error
    except AzureError as error:
        raise ours(what, error) from error


def refusal(what: str, answer: dict[str, Any]) -> RollbackError | None:
    """Our error for Azure's, by its codes, the innermost too; none where they name nothing that we know."""
    codes = {code for code, _ in _walk(answer)}
    for kind, code, remedy in _REFUSALS:
        if code in codes:
            return kind(f"Azure refuses the {what}: {told(answer)}", remedy=remedy)
    if any(code.startswith(_TEMPLATE) for code in codes):
        return TemplateUnfit(
            f"Azure does not take the {what}: {told(answer)}",
            remedy="Name a release whose template Azure takes; see secret_parameters and values in the platform file.",
        )
    return None


def told(answer: dict[str, Any]) -> str:
    """Every code and message of an error of Azure's, the outer ones first, without what looks like a secret."""
    parts = [f"{code}: {message}" if message else code for code, message in _walk(answer)]
    return blacken(" → ".join(dict.fromkeys(" ".join(part.split()) for part in parts if part)))


def _refusal(what: str, error: "HttpResponseError") -> RollbackError | None:
    if error.status_code is None or error.status_code >= 500 or error.status_code == 429:
        return None
    answer = _answer(error)
    return refusal(what, answer) if answer else None


def _answer(error: "HttpResponseError") -> dict[str, Any]:
    """The answer's error as Azure gave it."""
    response: Any = error.response
    try:
        found: Any = response.json() if response is not None else None
    except ValueError:
        return {}
    inner = cast("dict[str, Any]", found).get("error") if isinstance(found, dict) else None
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}


def _walk(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield str(answer.get("code") or ""), str(answer.get("message") or "")
    for each in cast("list[Any]", answer.get("details") or []):
        if isinstance(each, dict):
            yield from _walk(cast("dict[str, Any]", each))
