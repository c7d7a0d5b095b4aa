"""Releases and their assets.

Source: docs.github.com/rest/releases: releases, assets.
"""

from typing import Any

from aiohttp import web

from sandbox.github import assets, links
from sandbox.github.frame import Call, Route, not_found, page, stamp
from sandbox.github.model import Asset, Release
from sandbox.github.names import ASSETS_HOST, HTML, REPOSITORY_ID, URL, node_id
from sandbox.github.people import DEVELOPER, user
from sandbox.state import State

BYTES = "application/octet-stream"
KINDS = {".zip": "application/zip", ".toml": BYTES}


def asset_url(asset: Asset) -> str:
    """Where the API has an asset."""
    return f"{URL}/releases/assets/{asset.id}"


def download_url(release: Release, asset: Asset) -> str:
    """Where people download an asset."""
    return f"{HTML}/releases/download/{release.tag}/{asset.name}"


def asset_path(asset: Asset) -> str:
    """Where blob storage has an asset."""
    return f"/github-production-release-asset/{REPOSITORY_ID}/{asset.id:032x}"


def kind_of(asset: Asset) -> str:
    """An asset's media type."""
    return KINDS[asset.name[asset.name.rindex(".") :]]


def visible_assets(state: State, release: Release) -> list[tuple[Asset, assets.Content]]:
    """The assets that are there, with what they hold."""
    pairs = ((each, assets.content_of(state, release.tag, each.name)) for each in release.assets)
    return [(asset, content) for asset, content in pairs if content is not None]


def find_asset(state: State, number: int) -> tuple[Release, Asset, assets.Content] | None:
    """The asset with this id, if it is there."""
    for release in state.github.releases:
        for asset, content in visible_assets(state, release):
            if asset.id == number:
                return release, asset, content
    return None


def shown_asset(release: Release, asset: Asset, content: assets.Content) -> dict[str, Any]:
    """An asset as the API tells of it."""
    return {
        "url": asset_url(asset),
        "id": asset.id,
        "node_id": node_id("RA", asset.id),
        "name": asset.name,
        "label": "",
        "uploader": user(DEVELOPER),
        "content_type": kind_of(asset),
        "state": "uploaded",
        "size": content.size,
        "digest": content.digest,
        "download_count": asset.downloads,
        "created_at": stamp(release.published),
        "updated_at": stamp(release.published),
        "browser_download_url": download_url(release, asset),
    }


def shown(state: State, release: Release) -> dict[str, Any]:
    """A release as the API tells of it."""
    url = f"{URL}/releases/{release.id}"
    return {
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"{url.replace('//api.', '//uploads.')}/assets{{?name,label}}",
        "html_url": f"{HTML}/releases/tag/{release.tag}",
        "id": release.id,
        "author": user(DEVELOPER),
        "node_id": node_id("RE", release.id),
        "tag_name": release.tag,
        "target_commitish": "main",
        "name": release.tag,
        "draft": False,
        "immutable": False,
        "prerelease": False,
        "created_at": stamp(release.published),
        "updated_at": stamp(release.published),
        "published_at": stamp(release.published),
        "assets": [shown_asset(release, *pair) for pair in visible_assets(state, release)],
        "tarball_url": f"{URL}/tarball/{release.tag}",
        "zipball_url": f"{URL}/zipball/{release.tag}",
        "body": f"Release {release.tag}",
    }


def _newest_first(call: Call) -> list[Release]:
    return list(reversed(call.github.releases))


async def _list(call: Call) -> object:
    return page(call, [shown(call.world.state, each) for each in _newest_first(call)])


async def _latest(call: Call) -> object:
    return shown(call.world.state, _newest_first(call)[0])


async def _by_tag(call: Call) -> object:
    found = [each for each in call.github.releases if each.tag == call.names["tag"]]
    if not found:
        raise not_found(call)
    return shown(call.world.state, found[0])


def _find(call: Call) -> Release:
    number = call.number("release")
    found = next((each for each in call.github.releases if each.id == number), None)
    if found is None:
        raise not_found(call)
    return found


async def _get(call: Call) -> object:
    return shown(call.world.state, _find(call))


async def _assets(call: Call) -> object:
    release = _find(call)
    return page(call, [shown_asset(release, *pair) for pair in visible_assets(call.world.state, release)])


async def _asset(call: Call) -> object:
    found = find_asset(call.world.state, call.number("asset"))
    if found is None:
        raise not_found(call)
    release, asset, content = found
    if BYTES not in call.request.headers.get("Accept", ""):
        return shown_asset(release, asset, content)
    asset.downloads += 1
    call.world.save()
    seed = call.world.secrets.signing_key
    where = links.link(seed, ASSETS_HOST, asset_path(asset), asset.name, kind_of(asset))
    return web.Response(status=302, headers={"Location": where})


BASE = "/repos/{owner}/{repo}/releases"
ROUTES = [
    Route("GET", BASE, _list, docs="releases/releases#list-releases", paged=True),
    Route("GET", f"{BASE}/latest", _latest, docs="releases/releases#get-the-latest-release"),
    Route("GET", f"{BASE}/tags/{{tag}}", _by_tag, docs="releases/releases#get-a-release-by-tag-name"),
    Route("GET", f"{BASE}/assets/{{asset}}", _asset, docs="releases/assets#get-a-release-asset"),
    Route("GET", f"{BASE}/{{release}}", _get, docs="releases/releases#get-a-release"),
    Route("GET", f"{BASE}/{{release}}/assets", _assets, docs="releases/assets#list-release-assets", paged=True),
]
