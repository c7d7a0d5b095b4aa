"""The few questions of GitHub's GraphQL API that its command line asks; any other field is answered 501.

Source: docs.github.com/graphql/reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel

from sandbox.github import issues
from sandbox.github.frame import Call, Route, missing, stamp
from sandbox.github.graphql_language import Document, Field, GraphQLSyntaxError, Spread, Variable, parse
from sandbox.github.model import Issue, Release
from sandbox.github.names import FULL_NAME, HTML, NAME, ORGANISATION, ORGANISATION_ID, REPOSITORY_ID, node_id
from sandbox.github.people import IDS, NAMES

Arguments = Mapping[str, Any]
Maker = Callable[[Arguments], Any]


@dataclass(frozen=True)
class Node:
    """An object of the graph: its type, and what its fields are or how they are made."""

    type: str
    fields: Mapping[str, Any]


class Question(BaseModel):
    """What is sent to the GraphQL API."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 -- GraphQL's own spelling


class Refused(Exception):
    """An answer that is an error, of a type such as `NOT_FOUND`."""

    def __init__(self, kind: str, path: str, message: str) -> None:
        super().__init__(message)
        self.body = {"type": kind, "path": [path], "message": message}


async def _ask(call: Call) -> object:
    question = call.parse(Question)
    try:
        document = parse(question.query)
    except GraphQLSyntaxError as error:
        return {"errors": [{"message": str(error)}]}
    root = _mutations(call) if document.kind == "mutation" else _queries(call)
    resolver = _Resolver(call, document, {**document.defaults, **(question.variables or {})})
    try:
        return {"data": resolver.select(root, document.selection)}
    except Refused as refused:
        return {"data": {str(refused.body["path"][0]): None}, "errors": [refused.body]}


class _Resolver:
    def __init__(self, call: Call, document: Document, variables: Mapping[str, Any]) -> None:
        self._call, self._document, self._variables = call, document, variables

    def select(self, node: Node, selection: list[Field | Spread]) -> dict[str, Any]:
        """The fields of `node` that are asked for."""
        found = dict[str, Any]()
        for part in selection:
            if isinstance(part, Spread):
                named = self._document.fragments[part.fragment] if part.fragment else part
                if named.on in ("", node.type):
                    found |= self.select(node, named.selection)
            else:
                found[part.alias] = self._resolve(node, part)
        return found

    def _resolve(self, node: Node, part: Field) -> Any:
        if part.name == "__typename":
            return node.type
        if part.name not in node.fields:
            raise missing(self._call.request, f"the field {part.name} of {node.type} is not answered")
        value = node.fields[part.name]
        if callable(value):
            given = cast("Arguments", self._filled(part.arguments))
            value = cast("Maker", value)(given)
        return self._shown(value, part)

    def _shown(self, value: Any, part: Field) -> Any:
        if isinstance(value, Node):
            return self.select(value, part.selection)
        if isinstance(value, list):
            return [self._shown(each, part) for each in cast("list[Any]", value)]
        return value

    def _filled(self, value: Any) -> Any:
        """An argument with its variables' values."""
        if isinstance(value, Variable):
            return self._variables.get(value.name)
        if isinstance(value, Mapping):
            return {key: self._filled(each) for key, each in cast("Mapping[str, Any]", value).items()}
        if isinstance(value, list):
            return [self._filled(each) for each in cast("list[Any]", value)]
        return value


def _queries(call: Call) -> Node:
    made: dict[str, Maker] = {
        "repository": lambda given: _repository(call, given),
        "viewer": lambda _: _person(call.user),
        "__type": lambda given: _type(call, given["name"]),
    }
    return Node("Query", made)


def _mutations(call: Call) -> Node:
    made: dict[str, Maker] = {"createIssue": lambda given: _create_issue(call, given["input"])}
    return Node("Mutation", made)


def _repository(call: Call, given: Arguments) -> Node:
    if f"{given['owner']}/{given['name']}".lower() != FULL_NAME:
        told = f"Could not resolve to a Repository with the name '{given['owner']}/{given['name']}'."
        raise Refused("NOT_FOUND", "repository", told)
    github = call.github
    made: dict[str, Maker] = {
        "issues": lambda given: _issues(call, given),
        "issue": lambda given: _issue_by_number(call, given),
        "pullRequests": lambda given: _connection([], given, "PullRequestConnection"),
        "labels": lambda given: _connection([_label(each) for each in issues.LABELS], given, "LabelConnection"),
        "label": lambda given: _label(given["name"]) if given["name"] in issues.LABELS else None,
        "releases": lambda given: _releases(call, given),
        "release": lambda given: _release_by_tag(call, given),
    }
    fields: dict[str, Any] = {
        **made,
        "id": node_id("R", REPOSITORY_ID),
        "name": NAME,
        "owner": Node("Organization", {"id": node_id("O", ORGANISATION_ID), "login": ORGANISATION}),
        "nameWithOwner": FULL_NAME,
        "url": HTML,
        "isPrivate": True,
        "description": "The fundraising platform",
        "hasIssuesEnabled": True,
        "hasWikiEnabled": False,
        "viewerPermission": "WRITE",
        "defaultBranchRef": Node("Ref", {"name": "main"}),
        "parent": None,
        "mergeCommitAllowed": True,
        "rebaseMergeAllowed": True,
        "squashMergeAllowed": True,
        "issueTemplates": [],
        "pullRequestTemplates": [],
        "latestRelease": _release(github.releases[-1], latest=True),
    }
    return Node("Repository", fields)


def _connection(nodes: list[Node], given: Arguments, kind: str) -> Node:
    """A page of `nodes`; a cursor is the number of those before it."""
    start = int(str(given.get("after") or "0").removeprefix("cursor:"))
    end = min(start + int(given.get("first") or 30), len(nodes))
    info = Node("PageInfo", {"hasNextPage": end < len(nodes), "endCursor": f"cursor:{end}" if nodes else None})
    return Node(kind, {"totalCount": len(nodes), "nodes": nodes[start:end], "pageInfo": info})


def _issues(call: Call, given: Arguments) -> Node:
    states = {str(each).lower() for each in given.get("states") or ("OPEN", "CLOSED")}
    filters: Arguments = given.get("filterBy") or {}
    if unknown := [name for name, value in filters.items() if value is not None and name not in ("createdBy",)]:
        raise missing(call.request, f"issues are not filtered by {unknown[0]}")
    chosen = [
        each
        for each in reversed(call.github.issues)
        if each.state in states and filters.get("createdBy") in (None, each.by)
    ]
    return _connection([_issue(each) for each in chosen], given, "IssueConnection")


def _issue_by_number(call: Call, given: Arguments) -> Node:
    found = next((each for each in call.github.issues if each.number == given["number"]), None)
    if found is None:
        told = f"Could not resolve to an Issue with the number of {given['number']}."
        raise Refused("NOT_FOUND", "repository", told)
    return _issue(found)


def _issue(issue: Issue) -> Node:
    people = [_person(each) for each in issue.assignees]
    labels = [_label(each) for each in issue.labels]
    made: dict[str, Maker] = {
        "labels": lambda given: _connection(labels, given, "LabelConnection"),
        "assignees": lambda given: _connection(people, given, "UserConnection"),
        "comments": lambda given: Node("IssueCommentConnection", {"totalCount": len(issue.comments)}),
    }
    fields: dict[str, Any] = {
        **made,
        "id": node_id("I", issue.id),
        "number": issue.number,
        "title": issue.title,
        "body": issue.body or "",
        "state": issue.state.upper(),
        "stateReason": issue.state_reason.upper() if issue.state_reason else None,
        "closed": issue.state == "closed",
        "url": f"{HTML}/issues/{issue.number}",
        "author": _person(issue.by),
        "createdAt": stamp(issue.created),
        "updatedAt": stamp(issue.updated),
        "closedAt": stamp(issue.closed) if issue.closed else None,
        "milestone": None,
    }
    return Node("Issue", fields)


def _label(name: str) -> Node:
    color, description = issues.LABELS.get(name, (issues.NEW_LABEL, None))
    return Node("Label", {"id": _label_id(name), "name": name, "color": color, "description": description})


def _label_id(name: str) -> str:
    return node_id("LA", issues.LABEL_ID + sum(name.encode()))


def _person(login: str) -> Node:
    return Node("User", {"id": node_id("U", IDS[login]), "login": login, "name": NAMES.get(login)})


def _releases(call: Call, given: Arguments) -> Node:
    newest = call.github.releases[-1]
    nodes = [_release(each, latest=each is newest) for each in reversed(call.github.releases)]
    order: Arguments = given.get("orderBy") or {}
    if order.get("direction") == "ASC":
        nodes.reverse()
    return _connection(nodes, given, "ReleaseConnection")


def _release_by_tag(call: Call, given: Arguments) -> Node | None:
    found = next((each for each in call.github.releases if each.tag == given["tagName"]), None)
    return _release(found, latest=found is call.github.releases[-1]) if found is not None else None


def _release(release: Release, *, latest: bool) -> Node:
    at = stamp(release.published)
    words = {"name": release.tag, "tagName": release.tag, "createdAt": at, "publishedAt": at}
    flags = {"isDraft": False, "isLatest": latest, "isPrerelease": False, "immutable": False}
    url = f"{HTML}/releases/tag/{release.tag}"
    return Node("Release", {**words, **flags, "id": node_id("RE", release.id), "databaseId": release.id, "url": url})


def _create_issue(call: Call, given: Arguments) -> Node:
    if given.get("repositoryId") != node_id("R", REPOSITORY_ID):
        told = f"Could not resolve to a node with the global id of '{given.get('repositoryId')}'"
        raise Refused("NOT_FOUND", "createIssue", told)
    wanted_names = {name for name, value in given.items() if value not in (None, [], "")}
    if unknown := wanted_names - {"repositoryId", "title", "body", "labelIds", "assigneeIds"}:
        raise missing(call.request, f"an issue is not created with {min(unknown)}")
    labels = [name for name in issues.LABELS if _label_id(name) in (given.get("labelIds") or [])]
    people = [login for login in NAMES if node_id("U", IDS[login]) in (given.get("assigneeIds") or [])]
    wanted = issues.NewIssue(title=given["title"], body=given.get("body"), labels=labels, assignees=people)
    return Node("CreateIssuePayload", {"issue": _issue(issues.create(call, wanted))})


def _type(call: Call, name: str) -> Node | None:
    """What a type has: how clients find out which fields they may ask for."""
    github = call.github
    at = github.releases[0].published
    sample = Issue(id=0, number=0, title="", by=call.user, created=at, updated=at)
    known = {
        "Issue": _issue(sample),
        "Release": _release(github.releases[-1], latest=True),
        "Repository": _repository(call, {"owner": ORGANISATION, "name": NAME}),
    }
    if name not in known:
        raise missing(call.request, f"the type {name} is not described")
    return Node("__Type", {"name": name, "fields": [Node("__Field", {"name": each}) for each in known[name].fields]})


ROUTES = [Route("POST", "/graphql", _ask, docs="https://docs.github.com/graphql")]
