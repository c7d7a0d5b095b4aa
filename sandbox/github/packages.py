"""The organisation's container package: which image of it has which tags.

Source: docs.github.com/rest/packages/packages. The package is public, as its images are on ghcr.io.
"""

from typing import Any

from sandbox.fundrbolt.releases import IMAGE, RELEASES
from sandbox.github.frame import Call, GitHubError, Route, not_found, page, stamp
from sandbox.github.names import API, HTML, ORGANISATION
from sandbox.github.people import user
from sandbox.github.repository import minimal
from sandbox.registry import images

NAME = IMAGE.rpartition("/")[2]
URL = f"{API}/orgs/{ORGANISATION}/packages/container/{NAME}"
PACKAGE_ID, VERSION_ID = 2_114_870, 310_442_100


def _version(call: Call, tag: str) -> dict[str, Any]:
    number = VERSION_ID + list(RELEASES).index(tag)
    release = next(each for each in call.github.releases if each.tag == tag)
    return {
        "id": number,
        "name": RELEASES[tag],
        "url": f"{URL}/versions/{number}",
        "package_html_url": f"{HTML}/pkgs/container/{NAME}",
        "html_url": f"{HTML}/pkgs/container/{NAME}/{number}",
        "created_at": stamp(release.published),
        "updated_at": stamp(release.published),
        "metadata": {"package_type": "container", "container": {"tags": [tag]}},
    }


def _require_package(call: Call) -> None:
    if call.names["kind"] != "container" or call.names["name"].lower() != NAME:
        raise GitHubError(404, "Package not found.", call.route.docs)


def _available(call: Call) -> list[str]:
    return [tag for tag in reversed(RELEASES) if tag in images.available(call.world.state)]


async def _package(call: Call) -> object:
    _require_package(call)
    releases = call.github.releases
    return {
        "id": PACKAGE_ID,
        "name": NAME,
        "package_type": "container",
        "owner": user(ORGANISATION),
        "repository": minimal(),
        "version_count": len(_available(call)),
        "visibility": "public",
        "url": URL,
        "created_at": stamp(releases[0].published),
        "updated_at": stamp(releases[-1].published),
        "html_url": f"{HTML}/pkgs/container/{NAME}",
    }


async def _versions(call: Call) -> object:
    _require_package(call)
    if call.request.query.get("state", "active") == "deleted":
        return page(call, [])
    return page(call, [_version(call, tag) for tag in _available(call)])


async def _one(call: Call) -> object:
    _require_package(call)
    found = [each for each in (_version(call, tag) for tag in _available(call)) if each["id"] == call.number("version")]
    if not found:
        raise not_found(call)
    return found[0]


BASE = "/orgs/{org}/packages/{kind}/{name}"
DOCS = "packages/packages#"
ROUTES = [
    Route("GET", BASE, _package, docs=f"{DOCS}get-a-package-for-an-organization"),
    Route(
        "GET",
        f"{BASE}/versions",
        _versions,
        frozenset({"state"}),
        f"{DOCS}list-package-versions-for-a-package-owned-by-an-organization",
        paged=True,
    ),
    Route("GET", f"{BASE}/versions/{{version}}", _one, docs=f"{DOCS}get-a-package-version-for-an-organization"),
]
