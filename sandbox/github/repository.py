"""The repository, its commits, tags and references.

Source: docs.github.com/rest: repos/repos, repos/tags, commits/commits, git/refs, git/tags.
"""

from typing import Any

from sandbox.github.frame import Call, Route, not_found, page, unprocessable
from sandbox.github.git import Commit, Git, Tag
from sandbox.github.names import FULL_NAME, HTML, NAME, ORGANISATION, REPOSITORY_ID, URL, node_id
from sandbox.github.people import user

NODE = node_id("R", REPOSITORY_ID)
CREATED = "2025-03-04T08:15:00Z"
WORDS = [
    "archive:{archive_format}{/ref}",
    "assignees{/user}",
    "blobs:git/blobs{/sha}",
    "branches{/branch}",
    "collaborators{/collaborator}",
    "comments{/number}",
    "commits{/sha}",
    "compare/{base}...{head}",
    "contents/{+path}",
    "contributors",
    "deployments",
    "downloads",
    "events",
    "forks",
    "git_commits:git/commits{/sha}",
    "git_refs:git/refs{/sha}",
    "git_tags:git/tags{/sha}",
    "hooks",
    "issue_comment:issues/comments{/number}",
    "issue_events:issues/events{/number}",
    "issues{/number}",
    "keys{/key_id}",
    "labels{/name}",
    "languages",
    "merges",
    "milestones{/number}",
    "notifications{?since,all,participating}",
    "pulls{/number}",
    "releases{/id}",
    "stargazers",
    "statuses/{sha}",
    "subscribers",
    "subscription",
    "tags",
    "teams",
    "trees:git/trees{/sha}",
]


def _links() -> dict[str, str]:
    links = dict[str, str]()
    for word in WORDS:
        name, colon, path = word.partition(":") if ":" in word else (word, "", "")
        if colon:
            links[f"{name}_url"] = f"{URL}/{path}"
        else:
            key = word.partition("{")[0].partition("/")[0]
            links[f"{key}_url"] = f"{URL}/{word}"
    return links


def minimal() -> dict[str, Any]:
    """The repository as it stands inside of other answers."""
    return {
        "id": REPOSITORY_ID,
        "node_id": NODE,
        "name": NAME,
        "full_name": FULL_NAME,
        "private": True,
        "owner": user(ORGANISATION),
        "html_url": HTML,
        "description": "The fundraising platform",
        "fork": False,
        "url": URL,
        **_links(),
    }


def full(version: str, git: Git, open_issues: int) -> dict[str, Any]:
    """The repository by itself. The API's version of 2026 has no `has_downloads` any more."""
    counts = dict.fromkeys(("forks_count", "stargazers_count", "watchers_count", "forks", "watchers"), 0)
    pushed = git.commits[git.main].date.replace("+00:00", "Z")
    abilities = {"has_issues": True, "has_projects": True, "has_wiki": False, "has_pages": False}
    return {
        **minimal(),
        "git_url": f"git://github.com/{FULL_NAME}.git",
        "ssh_url": f"git@github.com:{FULL_NAME}.git",
        "clone_url": f"{HTML}.git",
        "svn_url": HTML,
        "mirror_url": None,
        "homepage": None,
        "language": "Python",
        **counts,
        "size": 14_230,
        "default_branch": "main",
        "open_issues_count": open_issues,
        "open_issues": open_issues,
        "is_template": False,
        "topics": [],
        **abilities,
        "has_discussions": False,
        **({"has_downloads": True} if version < "2026" else {}),
        "archived": False,
        "disabled": False,
        "visibility": "private",
        "pushed_at": pushed,
        "created_at": CREATED,
        "updated_at": pushed,
        "permissions": {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True},
        "license": None,
        "allow_forking": False,
        "web_commit_signoff_required": False,
        "organization": user(ORGANISATION),
        "subscribers_count": 4,
        "network_count": 0,
    }


def commit(found: Commit) -> dict[str, Any]:
    """A commit with its author; nobody on GitHub has that e-mail address."""
    who = {"name": found.name, "email": found.email, "date": found.date.replace("+00:00", "Z")}
    return {
        "sha": found.sha,
        "node_id": node_id("C", REPOSITORY_ID, int(found.sha[:12], 16)),
        "commit": {
            "author": who,
            "committer": who,
            "message": found.message,
            "tree": {"sha": found.tree, "url": f"{URL}/git/trees/{found.tree}"},
            "url": f"{URL}/git/commits/{found.sha}",
            "comment_count": 0,
            "verification": _unsigned(),
        },
        "url": f"{URL}/commits/{found.sha}",
        "html_url": f"{HTML}/commit/{found.sha}",
        "comments_url": f"{URL}/commits/{found.sha}/comments",
        "author": None,
        "committer": None,
        "parents": [
            {"sha": sha, "url": f"{URL}/commits/{sha}", "html_url": f"{HTML}/commit/{sha}"} for sha in found.parents
        ],
    }


def head_commit(found: Commit) -> dict[str, Any]:
    """A commit as it stands in a workflow run."""
    who = {"name": found.name, "email": found.email}
    return {
        "id": found.sha,
        "tree_id": found.tree,
        "message": found.message,
        "timestamp": found.date,
        "author": who,
        "committer": who,
    }


def _unsigned() -> dict[str, Any]:
    return {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}


def _reference(name: str, kind: str, sha: str) -> dict[str, Any]:
    place = {"tag": "git/tags", "commit": "git/commits"}[kind]
    return {
        "ref": f"refs/{name}",
        "node_id": node_id("REF", REPOSITORY_ID, len(name)),
        "url": f"{URL}/git/refs/{name}",
        "object": {"sha": sha, "type": kind, "url": f"{URL}/{place}/{sha}"},
    }


def _references(git: Git) -> list[dict[str, Any]]:
    tags = [_reference(f"tags/{each.name}", "tag", each.sha) for each in git.tags.values()]
    return [_reference("heads/main", "commit", git.main), *tags]


def _listed_tag(tag: Tag) -> dict[str, Any]:
    return {
        "name": tag.name,
        "zipball_url": f"{URL}/zipball/refs/tags/{tag.name}",
        "tarball_url": f"{URL}/tarball/refs/tags/{tag.name}",
        "commit": {"sha": tag.commit, "url": f"{URL}/commits/{tag.commit}"},
        "node_id": node_id("REF", REPOSITORY_ID, len(tag.name)),
    }


async def _repository(call: Call) -> object:
    open_issues = sum(each.state == "open" for each in call.github.issues)
    return full(call.version, call.git, open_issues)


async def _tags(call: Call) -> object:
    return page(call, [_listed_tag(each) for each in reversed(call.git.tags.values())])


async def _commits(call: Call) -> object:
    start = call.git.find(call.request.query.get("sha", "main"))
    if start is None:
        raise not_found(call)
    history = list(call.git.commits.values())
    return page(call, [commit(each) for each in history[history.index(start) :]])


async def _commit(call: Call) -> object:
    found = call.git.find(call.names["ref"])
    if found is None:
        # A name that could be an id but is none, and a name that could not be one, are told apart.
        raise unprocessable(call, f"No commit found for SHA: {call.names['ref']}")
    return {**commit(found), "stats": {"additions": 0, "deletions": 0, "total": 0}, "files": []}


async def _ref(call: Call) -> object:
    found = [each for each in _references(call.git) if each["ref"] == f"refs/{call.names['ref']}"]
    if not found:
        raise not_found(call)
    return found[0]


async def _matching_refs(call: Call) -> object:
    wanted = f"refs/{call.names.get('ref', '')}"
    return page(call, [each for each in _references(call.git) if each["ref"].startswith(wanted)])


async def _tag(call: Call) -> object:
    found = next((each for each in call.git.tags.values() if each.sha == call.names["sha"]), None)
    if found is None:
        raise not_found(call)
    return {
        "node_id": node_id("TA", REPOSITORY_ID, int(found.sha[:12], 16)),
        "sha": found.sha,
        "url": f"{URL}/git/tags/{found.sha}",
        "tagger": {"name": found.tagger, "email": found.email, "date": found.date.replace("+00:00", "Z")},
        "object": {"sha": found.commit, "type": "commit", "url": f"{URL}/git/commits/{found.commit}"},
        "tag": found.name,
        "message": found.message,
        "verification": _unsigned(),
    }


ROUTES = [
    Route("GET", "/repos/{owner}/{repo}", _repository, docs="repos/repos#get-a-repository"),
    Route("GET", "/repos/{owner}/{repo}/tags", _tags, docs="repos/repos#list-repository-tags", paged=True),
    Route(
        "GET",
        "/repos/{owner}/{repo}/commits",
        _commits,
        query=frozenset({"sha"}),
        docs="commits/commits#list-commits",
        paged=True,
    ),
    Route("GET", "/repos/{owner}/{repo}/commits/{ref*}", _commit, docs="commits/commits#get-a-commit"),
    Route("GET", "/repos/{owner}/{repo}/git/ref/{ref*}", _ref, docs="git/refs#get-a-reference"),
    Route(
        "GET",
        "/repos/{owner}/{repo}/git/matching-refs/{ref*}",
        _matching_refs,
        docs="git/refs#list-matching-references",
        paged=True,
    ),
    Route("GET", "/repos/{owner}/{repo}/git/tags/{sha}", _tag, docs="git/tags#get-a-tag"),
]
