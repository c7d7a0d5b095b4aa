"""Issues, their comments and labels.

Source: docs.github.com/rest/issues: issues, comments, labels.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sandbox.clock import now
from sandbox.github.frame import Call, Route, answer, invalid, not_found, page, stamp
from sandbox.github.model import Comment, Issue
from sandbox.github.names import HTML, URL, node_id
from sandbox.github.people import IDS, TYPES, user

LABELS = {
    "bug": ("d73a4a", "Something isn't working"),
    "incident": ("b60205", "Users are affected"),
    "rollback": ("fbca04", "About a rollback"),
}
NEW_LABEL = "ededed"
LABEL_ID = 5_400_200_100


class NewIssue(BaseModel):
    """What an issue is made of."""

    model_config = ConfigDict(extra="forbid")

    title: str
    body: str | None = None
    labels: list[str] = []
    assignees: list[str] = []


class Changes(BaseModel):
    """What is changed of an issue; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    title: str = ""
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    state_reason: Literal["completed", "not_planned", "duplicate", "reopened"] | None = None
    labels: list[str] = []
    assignees: list[str] = []


class Words(BaseModel):
    """A comment's text."""

    model_config = ConfigDict(extra="forbid")

    body: str


class Labels(BaseModel):
    """Labels by their names."""

    model_config = ConfigDict(extra="forbid")

    labels: list[str] = []


def _label(name: str) -> dict[str, Any]:
    number = LABEL_ID + sum(name.encode())
    color, description = LABELS.get(name, (NEW_LABEL, None))
    return {
        "id": number,
        "node_id": node_id("LA", number),
        "url": f"{URL}/labels/{name.replace(' ', '%20')}",
        "name": name,
        "color": color,
        "default": name == "bug",
        "description": description,
    }


def _full_label(call: Call, name: str) -> dict[str, Any]:
    archived = {"archived_at": None, "archived_by": None} if call.version > "2026" else {}
    return {**_label(name), **archived}


def shown(call: Call, issue: Issue) -> dict[str, Any]:
    """An issue as the API tells of it. The API's version of 2026 has no `assignee` any more."""
    url, assignees = f"{URL}/issues/{issue.number}", [user(each) for each in issue.assignees]
    return {
        "url": url,
        "repository_url": URL,
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": f"{HTML}/issues/{issue.number}",
        "id": issue.id,
        "node_id": node_id("I", issue.id),
        "number": issue.number,
        "title": issue.title,
        "user": user(issue.by),
        "labels": [_label(each) for each in issue.labels],
        "state": issue.state,
        "locked": False,
        **({"assignee": assignees[0] if assignees else None} if call.version < "2026" else {}),
        "assignees": assignees,
        "milestone": None,
        "comments": len(issue.comments),
        "created_at": stamp(issue.created),
        "updated_at": stamp(issue.updated),
        "closed_at": stamp(issue.closed) if issue.closed else None,
        "author_association": "MEMBER",
        "active_lock_reason": None,
        "body": issue.body,
        "timeline_url": f"{url}/timeline",
        "performed_via_github_app": None,
        "state_reason": issue.state_reason,
    }


def _shown_comment(issue: Issue, comment: Comment) -> dict[str, Any]:
    return {
        "url": f"{URL}/issues/comments/{comment.id}",
        "html_url": f"{HTML}/issues/{issue.number}#issuecomment-{comment.id}",
        "issue_url": f"{URL}/issues/{issue.number}",
        "id": comment.id,
        "node_id": node_id("IC", comment.id),
        "user": user(comment.by),
        "created_at": stamp(comment.created),
        "updated_at": stamp(comment.created),
        "author_association": "MEMBER",
        "body": comment.body,
        "performed_via_github_app": None,
    }


def create(call: Call, wanted: NewIssue) -> Issue:
    """A new issue in the repository."""
    _require_people(call, wanted.assignees)
    at = now()
    issue = Issue(
        id=call.github.new_id(),
        number=len(call.github.issues) + 1,
        title=wanted.title,
        body=wanted.body,
        by=call.user,
        labels=list(dict.fromkeys(wanted.labels)),
        assignees=wanted.assignees,
        created=at,
        updated=at,
    )
    call.github.issues.append(issue)
    call.world.save()
    return issue


def _require_people(call: Call, logins: list[str]) -> None:
    unknown = [each for each in logins if each not in IDS or each in TYPES]
    if unknown:
        raise invalid(call, "Issue", "assignees", "invalid")


def _find(call: Call) -> Issue:
    number = call.number("issue")
    found = next((each for each in call.github.issues if each.number == number), None)
    if found is None:
        raise not_found(call)
    return found


async def _list(call: Call) -> object:
    query = call.request.query
    state, labels = query.get("state", "open"), [each for each in query.get("labels", "").split(",") if each]
    order, downwards = query.get("sort", "created"), query.get("direction", "desc") == "desc"
    chosen = [
        each
        for each in call.github.issues
        if state in ("all", each.state)
        and set(labels) <= set(each.labels)
        and query.get("creator", each.by) == each.by
        and stamp(each.updated) >= query.get("since", "")
    ]
    chosen.sort(key=lambda each: (each.updated if order == "updated" else each.created, each.number), reverse=downwards)
    return page(call, [shown(call, each) for each in chosen])


async def _create(call: Call) -> object:
    wanted = call.parse(NewIssue)
    if not wanted.title.strip():
        raise invalid(call, "Issue", "title", "missing_field")
    made = shown(call, create(call, wanted))
    return answer(made, status=201, headers={"Location": made["url"]})


async def _get(call: Call) -> object:
    return shown(call, _find(call))


async def _change(call: Call) -> object:
    issue, wanted = _find(call), call.parse(Changes)
    _require_people(call, wanted.assignees)
    for name in wanted.model_fields_set - {"state", "state_reason"}:
        setattr(issue, name, getattr(wanted, name))
    if wanted.state is not None and wanted.state != issue.state:
        closes = wanted.state == "closed"
        issue.state, issue.closed = wanted.state, now() if closes else None
        issue.state_reason = (wanted.state_reason or "completed") if closes else "reopened"
    issue.updated = now()
    call.world.save()
    return shown(call, issue)


async def _comments(call: Call) -> object:
    issue = _find(call)
    return page(call, [_shown_comment(issue, each) for each in issue.comments])


async def _comment(call: Call) -> object:
    issue, wanted = _find(call), call.parse(Words)
    if not wanted.body.strip():
        raise invalid(call, "IssueComment", "body", "missing_field")
    comment = Comment(id=call.github.new_id(), by=call.user, body=wanted.body, created=now())
    issue.comments.append(comment)
    issue.updated = comment.created
    call.world.save()
    made = _shown_comment(issue, comment)
    return answer(made, status=201, headers={"Location": made["url"]})


async def _labels(call: Call) -> object:
    return page(call, [_full_label(call, each) for each in _find(call).labels])


async def _add_labels(call: Call) -> object:
    issue, wanted = _find(call), call.parse(Labels)
    issue.labels = list(dict.fromkeys([*issue.labels, *wanted.labels]))
    issue.updated = now()
    call.world.save()
    return [_full_label(call, each) for each in issue.labels]


async def _remove_label(call: Call) -> object:
    issue = _find(call)
    if call.names["name"] not in issue.labels:
        raise not_found(call)
    issue.labels.remove(call.names["name"])
    issue.updated = now()
    call.world.save()
    return [_full_label(call, each) for each in issue.labels]


async def _repository_labels(call: Call) -> object:
    used = [name for each in call.github.issues for name in each.labels]
    return page(call, [_full_label(call, each) for each in dict.fromkeys([*LABELS, *used])])


BASE = "/repos/{owner}/{repo}/issues"
ISSUE = f"{BASE}/{{issue}}"
LIST_QUERY = frozenset({"state", "labels", "sort", "direction", "creator", "since"})
ROUTES = [
    Route("GET", BASE, _list, LIST_QUERY, "issues/issues#list-repository-issues", paged=True),
    Route("POST", BASE, _create, docs="issues/issues#create-an-issue"),
    Route("GET", ISSUE, _get, docs="issues/issues#get-an-issue"),
    Route("PATCH", ISSUE, _change, docs="issues/issues#update-an-issue"),
    Route("GET", f"{ISSUE}/comments", _comments, docs="issues/comments#list-issue-comments", paged=True),
    Route("POST", f"{ISSUE}/comments", _comment, docs="issues/comments#create-an-issue-comment"),
    Route("GET", f"{ISSUE}/labels", _labels, docs="issues/labels#list-labels-for-an-issue", paged=True),
    Route("POST", f"{ISSUE}/labels", _add_labels, docs="issues/labels#add-labels-to-an-issue"),
    Route("DELETE", f"{ISSUE}/labels/{{name}}", _remove_label, docs="issues/labels#remove-a-label-from-an-issue"),
    Route(
        "GET",
        "/repos/{owner}/{repo}/labels",
        _repository_labels,
        docs="issues/labels#list-labels-for-a-repository",
        paged=True,
    ),
]
